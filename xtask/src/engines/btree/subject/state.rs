//! What a user sees of the store: read by a reader and by a writer, and as the model has it.

use std::collections::BTreeMap;

use btree::{ReadTxn, WriteTxn};
use crashtest::content::identify;
use durable_io::sim::Outcome;

use super::Op;
use super::transaction::{BETWEEN, FIRST, MADE, RENAMED, SECOND, deletes, loaded, puts, rename};

/// What a user sees: for each table and key, the operation that wrote the value, and its index in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    tables: BTreeMap<String, BTreeMap<String, (u64, usize)>>,
    /// By the operation that made them.
    pub(super) backups: BTreeMap<u64, State>,
}

/// Everything that a reader sees.
pub(super) fn state_of(reader: &ReadTxn) -> Outcome<State> {
    let mut state = State::default();
    for name in reader.tables()? {
        let table = reader.table(&name)?;
        let mut entries = BTreeMap::new();
        for entry in table.range(..) {
            let (key, value) = entry?;
            let Some(written) = identify(&value) else {
                return Err(format!("key {key:?} has a value that nobody wrote").into());
            };
            if table.get(&key)?.as_deref() != Some(&*value) {
                return Err(format!("key {key:?} has two values").into());
            }
            entries.insert(String::from_utf8(key)?, written);
        }
        let mut backwards: Vec<_> = table.range(..).rev().collect::<Result<_, _>>()?;
        backwards.reverse();
        let keys = backwards.iter().map(|(key, _)| key.as_slice());
        if !keys.eq(entries.keys().map(String::as_bytes)) || table.len() != entries.len() as u64 {
            return Err(format!("table {name} is not the same backwards, or counted").into());
        }
        state.tables.insert(name, entries);
    }
    Ok(state)
}

/// Everything that a write transaction sees.
pub(super) fn state_of_write(write: &mut WriteTxn<'_>) -> Outcome<State> {
    let mut state = State::default();
    for name in write.tables()? {
        let table = write.table(&name)?;
        let mut entries = BTreeMap::new();
        for entry in table.range(..) {
            let (key, value) = entry?;
            let Some(written) = identify(&value) else {
                return Err(format!("key {key:?} has a value that nobody wrote").into());
            };
            entries.insert(String::from_utf8(key)?, written);
        }
        state.tables.insert(name, entries);
    }
    Ok(state)
}

/// What a store that held `before` holds after operation number `n`.
pub(super) fn after(before: &State, op: Op, n: u64) -> State {
    let mut after = before.clone();
    let tables = &mut after.tables;
    let is_renamed = tables.contains_key(RENAMED);
    let first = if is_renamed { RENAMED } else { FIRST };
    if op == Op::Load {
        tables.insert(SECOND.to_owned(), BTreeMap::new());
    }
    for (index, (table, key, _)) in puts(op).into_iter().enumerate() {
        let table = if table == FIRST { first } else { table };
        let table = tables.entry(table.to_owned()).or_default();
        table.insert(key, (n, index));
    }
    for (table, key) in deletes(op) {
        let table = if table == FIRST { first } else { table };
        tables.entry(table.to_owned()).or_default().remove(&key);
    }
    match op {
        Op::Backup | Op::Repair => {
            let backups = BTreeMap::new();
            let moment = State {
                backups,
                ..before.clone()
            };
            after.backups.insert(n, moment);
        }
        Op::DeleteRange => {
            let table = tables.entry(first.to_owned()).or_default();
            let (low, high) = BETWEEN;
            table.retain(|key, _| key.as_str() <= low || key.as_str() >= high);
        }
        Op::DropTable if tables.remove(SECOND).is_some() => {}
        Op::DropTable => {
            let entries = (0..MADE).map(|i| (loaded(i), (n, i))).collect();
            tables.insert(SECOND.to_owned(), entries);
        }
        Op::Rename => {
            tables.entry(first.to_owned()).or_default();
            let table = tables.remove(first).expect("it is there now");
            tables.insert(rename(first).to_owned(), table);
        }
        _ => {}
    }
    after
}
