//! What is left of the log: the transactions since the last checkpoint.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::path::Path;

use durable_io::Disk;
use durable_io::engine::LostKeys;
use wal::Lsn;

use crate::error::{Corruption, Error, Result};
use crate::meta::{FIRST_GENERATION, Slot};
use crate::record::{Change, Record};
use crate::remove_range::Bounds;
use crate::salvage::Known;

/// What transactions of the log have changed in a table.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// The last record that changed a key, and its value; none if it is deleted.
    keys: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    /// What was deleted whole, of what is in the tree.
    deleted: Vec<LostKeys>,
}

/// A key, the record that changed it, and its value.
type ChangedKey = (Vec<u8>, u64, Option<Vec<u8>>);

impl Changed {
    /// True if the entry of `key` in the tree counts no more.
    pub(super) fn hides(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key) || self.deleted.iter().any(|range| range.contains(key))
    }

    /// Takes the first key, if it is before `key`, or there is no such.
    pub(super) fn next_before(&mut self, key: Option<&[u8]>) -> Option<ChangedKey> {
        let first = self.keys.first_entry()?;
        if key.is_some_and(|key| key < &**first.key()) {
            return None;
        }
        let (key, (lsn, value)) = first.remove_entry();
        Some((key, lsn, value))
    }

    fn delete_range(&mut self, bounds: Bounds<'_>) {
        let owned = |bound: Bound<&[u8]>| bound.map(<[u8]>::to_vec);
        let range = LostKeys {
            first: owned(bounds.0),
            last: owned(bounds.1),
        };
        self.keys.retain(|key, _| !range.contains(key));
        self.deleted.push(range);
    }
}

/// What slot and log say together.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) tables: BTreeMap<u64, Known>,
    /// The last record that is lost; `u64::MAX` if nobody knows; 0 if none is.
    pub(super) lost: u64,
}

impl Log {
    /// Applies the log in `path` to the `tables` that `slot` has.
    ///
    /// # Errors
    /// It is locked.
    pub(super) fn read(
        disk: &Disk,
        path: &Path,
        slot: Option<Slot>,
        tables: BTreeMap<u64, Known>,
        told: &mut VecDeque<Error>,
    ) -> Result<Self> {
        let lost = if slot.is_some() { 0 } else { u64::MAX };
        let mut log = Self { tables, lost };
        let Some(mut records) = open(disk, path, slot.as_ref(), &mut log, told)? else {
            return Ok(log);
        };
        let mark = slot.map_or(Lsn(0), |slot| slot.lsn);
        let (first, mut last) = (records.next_lsn(), records.next_lsn().previous());
        for record in records.by_ref() {
            match record {
                Ok(record) => {
                    last = record.lsn;
                    if last > mark {
                        log.apply(last, &record.payload, slot.as_ref(), path, told);
                    }
                }
                Err(error) => {
                    match &error {
                        wal::Error::Disk(error) if error.is_unreadable() => {}
                        wal::Error::Corrupt {
                            reason: wal::Corruption::LostRecords { last: lost, .. },
                            ..
                        } => {
                            last = *lost;
                            log.lose(last, mark);
                        }
                        _ => log.lost = u64::MAX,
                    }
                    told.push_back(error.into());
                }
            }
        }
        if records.is_end_hidden() {
            log.lost = u64::MAX;
        }
        if slot.is_some() && !(first.previous()..=last).contains(&mark) {
            let reason = Corruption::LogRange {
                first: first.0,
                last: last.0,
                mark: mark.0,
            };
            told.push_back(Error::corrupt(path, 0, reason));
            // What was behind the mark is not there, or what is there does not follow it.
            log.lost = if last < mark {
                u64::MAX
            } else {
                log.lost.max(first.previous().0)
            };
        }
        Ok(log)
    }

    /// Record `last` is lost, and perhaps some before it.
    fn lose(&mut self, last: Lsn, mark: Lsn) {
        if last > mark {
            self.lost = self.lost.max(last.0);
        }
    }

    fn apply(
        &mut self,
        lsn: Lsn,
        payload: &[u8],
        slot: Option<&Slot>,
        path: &Path,
        told: &mut VecDeque<Error>,
    ) {
        let mut wrong = |reason| told.push_back(Error::corrupt(path, 0, reason));
        let Some(mut record) = Record::decode(payload) else {
            wrong(Corruption::Record);
            self.lost = self.lost.max(lsn.0);
            return;
        };
        if slot.is_some_and(|slot| record.store_id != slot.store_id) {
            wrong(Corruption::ForeignLog);
            self.lost = u64::MAX;
            return;
        }
        if let Some(slot) = slot.filter(|slot| record.generation > slot.generation) {
            // The slot is an older one: what came between it and the record is not there.
            wrong(Corruption::Generation {
                found: record.generation,
                slot: slot.generation,
            });
            self.lost = u64::MAX;
        }
        loop {
            match record.next() {
                Ok(Some(change)) => self.change(lsn, change),
                Ok(None) => return,
                Err(()) => {
                    wrong(Corruption::Record);
                    self.lost = self.lost.max(lsn.0);
                    return;
                }
            }
        }
    }

    fn of(&mut self, table: u64) -> &mut Known {
        self.tables.entry(table).or_default()
    }

    fn change(&mut self, lsn: Lsn, change: Change<'_>) {
        match change {
            Change::Put { table, key, value } => {
                let value = Some(value.to_vec());
                self.of(table)
                    .changed
                    .keys
                    .insert(key.to_vec(), (lsn.0, value));
            }
            Change::Delete { table, key } => {
                self.of(table)
                    .changed
                    .keys
                    .insert(key.to_vec(), (lsn.0, None));
            }
            Change::DeleteRange { table, bounds } => self.of(table).changed.delete_range(bounds),
            Change::Create { table, name } | Change::Rename { table, name } => {
                self.of(table).name = Some(String::from_utf8_lossy(name).into());
            }
            Change::Drop { table } => drop(self.tables.remove(&table)),
        }
    }
}

/// The records of the log in `path`; `None` if there are none, or none can be read.
fn open(
    disk: &Disk,
    path: &Path,
    slot: Option<&Slot>,
    log: &mut Log,
    told: &mut VecDeque<Error>,
) -> Result<Option<wal::Salvage>> {
    // A crash may have come before the log's mark, and so before any record.
    let is_unmarked = || {
        let listed = disk.open_dir(path).and_then(|dir| dir.list());
        match listed {
            Ok(listed) => !listed.iter().any(|entry| entry.name == "mark"),
            Err(error) => error.is_not_found(),
        }
    };
    let is_first = slot.is_some_and(|slot| slot.generation == FIRST_GENERATION);
    let records = wal::Options::new().disk(disk.clone()).salvage(path);
    match records {
        Ok(records) if records.has_superblock() => return Ok(Some(records)),
        Err(wal::Error::Disk(error)) if error.is_locked() => return Err(error.into()),
        Err(_) if is_first && is_unmarked() => return Ok(None),
        _ => log.lost = u64::MAX,
    }
    match records {
        // The last ones may be missing without a word.
        Ok(records) => {
            told.push_back(Error::Log(wal::Error::Corrupt {
                path: path.join("mark"),
                offset: 0,
                reason: wal::Corruption::SuperblockLost,
            }));
            Ok(Some(records))
        }
        Err(error) => {
            told.push_back(error.into());
            Ok(None)
        }
    }
}
