//! [`Root`]: what all edits make together.

use std::collections::BTreeMap;

use wal::Lsn;

use crate::manifest::edit::{Change, TableEntry};
use crate::options::KeyspaceOptions;

/// A keyspace, as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyspaceEntry {
    pub(crate) name: String,
    pub(crate) options: KeyspaceOptions,
    /// Every record of the keyspace up to this one is in tables.
    pub(crate) flushed: Lsn,
    /// By number.
    pub(crate) tables: BTreeMap<u64, TableEntry>,
}

/// The store, as the manifest knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) store_id: u64,
    /// No keyspace ever had this id or a higher one.
    pub(crate) next_keyspace: u32,
    /// No table that the manifest named had this number or a higher one.
    pub(crate) next_table: u64,
    /// Every record of the log up to this one is in tables, or of a keyspace that is gone.
    pub(crate) floor: Lsn,
    /// By id.
    pub(crate) keyspaces: BTreeMap<u32, KeyspaceEntry>,
}

impl Root {
    /// Applies one change; `None` if it cannot be one of this root.
    pub(crate) fn apply(&mut self, change: &Change) -> Option<()> {
        let valid = |is_valid: bool| is_valid.then_some(());
        match change {
            Change::Store(id) => self.store_id = *id,
            Change::Numbers {
                next_keyspace,
                next_table,
            } => {
                valid(*next_keyspace >= self.next_keyspace && *next_table >= self.next_table)?;
                (self.next_keyspace, self.next_table) = (*next_keyspace, *next_table);
            }
            Change::Floor(lsn) => {
                valid(*lsn >= self.floor)?;
                self.floor = *lsn;
            }
            Change::Create { id, name, options } => {
                valid(*id < self.next_keyspace && !self.keyspaces.contains_key(id))?;
                valid(self.keyspaces.values().all(|other| other.name != *name))?;
                let entry = KeyspaceEntry {
                    name: name.clone(),
                    options: options.clone(),
                    flushed: Lsn(0),
                    tables: BTreeMap::new(),
                };
                self.keyspaces.insert(*id, entry);
            }
            Change::Options { id, options } => {
                self.keyspaces.get_mut(id)?.options = options.clone();
            }
            Change::Drop { id } => {
                self.keyspaces.remove(id)?;
            }
            Change::Flushed { id, lsn } => {
                let keyspace = self.keyspaces.get_mut(id)?;
                valid(*lsn >= keyspace.flushed)?;
                keyspace.flushed = *lsn;
            }
            Change::Add { id, table } => {
                valid(table.number < self.next_table)?;
                let mut others = self.keyspaces.values();
                valid(others.all(|other| !other.tables.contains_key(&table.number)))?;
                let keyspace = self.keyspaces.get_mut(id)?;
                keyspace.tables.insert(table.number, table.clone());
            }
            Change::Remove { id, number } => {
                self.keyspaces.get_mut(id)?.tables.remove(number)?;
            }
        }
        Some(())
    }

    /// The changes that make it, from nothing on.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            Change::Store(self.store_id),
            Change::Numbers {
                next_keyspace: self.next_keyspace,
                next_table: self.next_table,
            },
            Change::Floor(self.floor),
        ];
        for (&id, keyspace) in &self.keyspaces {
            changes.push(Change::Create {
                id,
                name: keyspace.name.clone(),
                options: keyspace.options.clone(),
            });
            let lsn = keyspace.flushed;
            changes.push(Change::Flushed { id, lsn });
            let tables = keyspace.tables.values().cloned();
            changes.extend(tables.map(|table| Change::Add { id, table }));
        }
        changes
    }

    /// The last record of the log that it knows of.
    pub(crate) fn seen(&self) -> Lsn {
        let flushed = self.keyspaces.values().map(|keyspace| keyspace.flushed);
        flushed.fold(self.floor, Lsn::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(changes: &[Change]) -> Option<Root> {
        let mut root = Root::default();
        for change in changes {
            root.apply(change)?;
        }
        Some(root)
    }

    fn create(id: u32, name: &str) -> Change {
        let (name, options) = (name.to_owned(), KeyspaceOptions::new());
        Change::Create { id, name, options }
    }

    fn add(id: u32, number: u64) -> Change {
        let table = TableEntry {
            number,
            level: 0,
            run: number,
            file_id: 1,
            bytes: 1,
            checksum: 1,
        };
        Change::Add { id, table }
    }

    fn numbers(next_keyspace: u32, next_table: u64) -> Change {
        Change::Numbers {
            next_keyspace,
            next_table,
        }
    }

    #[test]
    fn a_root_is_made_again_by_its_own_changes() {
        let made = [
            numbers(3, 9),
            create(0, "default"),
            create(2, "b"),
            add(2, 7),
            add(0, 8),
            Change::Flushed { id: 2, lsn: Lsn(5) },
            Change::Floor(Lsn(4)),
        ];
        let made = root(&made).unwrap();
        assert_eq!(root(&made.changes()), Some(made.clone()));
        assert_eq!(made.seen(), Lsn(5));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let base = [numbers(2, 5), create(0, "a"), create(1, "b"), add(0, 3)];
        for wrong in [
            create(2, "c"),
            create(0, "c"),
            numbers(1, 5),
            numbers(2, 4),
            add(0, 5),
            add(1, 3),
            add(7, 4),
            Change::Drop { id: 7 },
            Change::Remove { id: 1, number: 3 },
            Change::Flushed { id: 7, lsn: Lsn(1) },
        ] {
            let changes = [&base[..], std::slice::from_ref(&wrong)].concat();
            assert_eq!(root(&changes), None, "{wrong:?}");
        }
        let twice = [numbers(2, 5), create(0, "a"), create(1, "a")];
        assert_eq!(root(&twice), None, "one name, two keyspaces");
    }
}
