//! What each letter does in its transaction.

use std::ops::Bound;

use btree::{TableMut, WriteTxn};
use crashtest::content::payload;
use durable_io::sim::Outcome;

use super::Op;

pub(super) const FIRST: &str = "first";
pub(super) const SECOND: &str = "second";
pub(super) const RENAMED: &str = "renamed";
/// Entries of [`Op::Split`]: one more than a leaf holds.
const MANY: usize = 5;
const MANY_SIZE: usize = 90;
/// Values of [`Op::Holes`], each with a page of its own. Half as many holes are more than a page of the list
/// of free pages holds.
const HOLES: usize = 130;

/// Entries of a table that is made by [`Op::DropTable`]: few enough for the log.
pub(super) const MADE: usize = 3;
/// Entries of [`Op::Load`], four to a leaf.
const LOADED: usize = 70;

/// What [`Op::DeleteRange`] deletes lies between these, which stay: most of what [`Op::Fill`] puts, and the
/// first of what [`Op::Split`] does.
pub(super) const BETWEEN: (&str, &str) = ("fill008", "many02");

fn many(index: usize) -> String {
    format!("many{index:02}")
}

pub(super) fn loaded(index: usize) -> String {
    format!("load{index:03}")
}

fn hole(index: usize) -> String {
    format!("hole{index:03}")
}

/// What operation `op` puts: tables, keys and the lengths of their values.
pub(super) fn puts(op: Op) -> Vec<(&'static str, String, usize)> {
    let one = |key: &str, len| vec![(FIRST, key.to_owned(), len)];
    match op {
        Op::Put => one("a", 20),
        Op::PutLarge => one("large", 520),
        Op::Split => {
            let many = (0..MANY).map(|i| (FIRST, many(i), MANY_SIZE));
            many.chain(one("next", 20)).collect()
        }
        Op::Large => (0..7).map(|i| (FIRST, many(2 * i), 96)).collect(),
        Op::TwoTables => vec![
            (FIRST, "both".to_owned(), 24),
            (SECOND, "both".to_owned(), 25),
        ],
        Op::Savepoint => one("intact", 30),
        Op::Buffered => one("b", 21),
        Op::Fill => (0..100)
            .map(|i| (FIRST, format!("fill{i:03}"), 90))
            .collect(),
        Op::Holes => (0..HOLES).map(|i| (SECOND, hole(i), 110)).collect(),
        Op::Load => (0..LOADED)
            .map(|i| (SECOND, loaded(i), if i % 30 == 7 { 520 } else { 90 }))
            .collect(),
        _ => Vec::new(),
    }
}

/// What it then deletes: tables and keys. Of what [`Op::Split`] puts, the first key leaves a leaf with so little
/// that its neighbour shares with it; the next ones make it one leaf with that, and in the end it is empty.
pub(super) fn deletes(op: Op) -> Vec<(&'static str, String)> {
    match op {
        Op::Merge => {
            let many = [1, 2, 4, 0, 3].map(many);
            let keys = std::iter::once("next".to_owned()).chain(many);
            keys.map(|key| (FIRST, key)).collect()
        }
        Op::Holes => (0..HOLES).step_by(2).map(|i| (SECOND, hole(i))).collect(),
        Op::Load => vec![(SECOND, loaded(3))],
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
    for (table, key) in deletes(op) {
        let table = if table == FIRST { first } else { table };
        write.create_table(table)?.delete(key.as_bytes())?;
    }
    Ok(())
}

fn delete_range(write: &mut WriteTxn<'_>) -> Outcome<()> {
    let first = first_name(write)?;
    let (low, high) = (BETWEEN.0.as_bytes(), BETWEEN.1.as_bytes());
    let mut table = write.create_table(first)?;
    table.delete_range((Bound::Excluded(low), Bound::Excluded(high)))?;
    Ok(())
}

fn load(write: &mut WriteTxn<'_>, op: Op, n: u64) -> Outcome<()> {
    let entries = puts(op).into_iter().enumerate();
    let mut table = write.create_table(SECOND)?;
    table.delete_range(..)?;
    table.bulk_load(entries.map(|(index, (_, key, len))| (key, payload(n, index, len))))?;
    for (_, key) in deletes(op) {
        table.delete(key.as_bytes())?;
    }
    Ok(())
}

/// Writes more pages than stay in memory, drops some of them, also after a savepoint, and takes back everything.
pub(super) fn abandon(mut write: WriteTxn<'_>, n: u64) -> Outcome<()> {
    put(&mut write, Op::Fill, n)?;
    delete_range(&mut write)?;
    let savepoint = write.savepoint()?;
    put(&mut write, Op::PutLarge, n)?;
    delete_range(&mut write)?;
    write.rollback_to(&savepoint)?;
    write.abort();
    Ok(())
}

pub(super) fn transaction(write: &mut WriteTxn<'_>, op: Op, n: u64) -> Outcome<()> {
    match op {
        Op::Savepoint => {
            put(write, op, n)?;
            let savepoint = write.savepoint()?;
            let first = first_name(write)?;
            let mut table = write.table(first)?;
            table.put(b"intact", &payload(n, 7, 40))?;
            table.put(b"rolled back", &payload(n, 8, 400))?;
            table.delete_range(..&b"many"[..])?;
            write.rollback_to(&savepoint)?;
        }
        Op::DropTable => {
            if !write.drop_table(SECOND)? {
                let entries = (0..MADE).map(|i| (loaded(i), payload(n, i, 22)));
                write.create_table(SECOND)?.bulk_load(entries)?;
            }
        }
        Op::Rename => {
            let first = first_name(write)?;
            write.create_table(first)?;
            write.rename_table(first, rename(first))?;
        }
        Op::DeleteRange => delete_range(write)?,
        Op::Load => load(write, op, n)?,
        _ => put(write, op, n)?,
    }
    Ok(())
}
