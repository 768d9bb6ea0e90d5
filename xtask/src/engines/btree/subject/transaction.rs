//! What each letter does in its transaction.

use btree::{TableMut, WriteTxn};
use crashtest::content::payload;
use durable_io::sim::Outcome;

use super::Op;

pub(super) const FIRST: &str = "first";
pub(super) const SECOND: &str = "second";
pub(super) const RENAMED: &str = "renamed";
/// Entries of [`Op::Split`]: more than a leaf holds.
const MANY: usize = 5;
const MANY_SIZE: usize = 64;

pub(super) fn many(index: usize) -> String {
    format!("many{index:02}")
}

/// What operation `op` puts: tables, keys and the lengths of their values.
pub(super) fn puts(op: Op) -> Vec<(&'static str, String, usize)> {
    let one = |key: &str, len| vec![(FIRST, key.to_owned(), len)];
    match op {
        Op::Put => one("a", 20),
        Op::PutLarge => one("large", 520),
        Op::Split => (0..MANY).map(|i| (FIRST, many(i), MANY_SIZE)).collect(),
        Op::Large => (0..7).map(|i| (FIRST, many(2 * i), 96)).collect(),
        Op::TwoTables => vec![
            (FIRST, "both".to_owned(), 24),
            (SECOND, "both".to_owned(), 25),
        ],
        Op::Savepoint => one("saved", 30),
        Op::Buffered => one("b", 21),
        Op::Fill => (0..80)
            .map(|i| (FIRST, format!("fill{i:03}"), 90))
            .collect(),
        _ => Vec::new(),
    }
}

/// The keys of the first table that it deletes.
pub(super) fn deletes(op: Op) -> Vec<String> {
    match op {
        Op::Merge => (0..MANY).filter(|i| i % 3 != 0).map(many).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn rename(name: &str) -> &'static str {
    if name == FIRST { RENAMED } else { FIRST }
}

/// The first table has one of two names.
fn first_name(write: &mut WriteTxn<'_>) -> Outcome<&'static str> {
    let is_renamed = write.tables()?.iter().any(|name| name == RENAMED);
    Ok(if is_renamed { RENAMED } else { FIRST })
}

fn put(write: &mut WriteTxn<'_>, op: Op, n: u64) -> Outcome<()> {
    let first = first_name(write)?;
    for (index, (table, key, len)) in puts(op).into_iter().enumerate() {
        let table = if table == FIRST { first } else { table };
        let mut table: TableMut<'_> = write.create_table(table)?;
        table.put(key.as_bytes(), &payload(n, index, len))?;
    }
    let deleted = deletes(op);
    if !deleted.is_empty() {
        let mut table = write.create_table(first)?;
        for key in deleted {
            table.delete(key.as_bytes())?;
        }
    }
    Ok(())
}

pub(super) fn transaction(write: &mut WriteTxn<'_>, op: Op, n: u64) -> Outcome<()> {
    match op {
        Op::Savepoint => {
            put(write, op, n)?;
            let savepoint = write.savepoint()?;
            let first = first_name(write)?;
            let mut table = write.table(first)?;
            table.put(b"saved", &payload(n, 7, 40))?;
            table.put(b"unsaved", &payload(n, 8, 400))?;
            table.delete_range(..&b"many"[..])?;
            write.rollback_to(&savepoint)?;
        }
        Op::DropTable => {
            if !write.drop_table(SECOND)? {
                write.create_table(SECOND)?;
            }
        }
        Op::Rename => {
            let first = first_name(write)?;
            write.create_table(first)?;
            write.rename_table(first, rename(first))?;
        }
        Op::DeleteRange => {
            let first = first_name(write)?;
            let mut table = write.create_table(first)?;
            table.delete_range(many(1).as_bytes()..=many(8).as_bytes())?;
        }
        _ => put(write, op, n)?,
    }
    Ok(())
}
