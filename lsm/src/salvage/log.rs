//! What is left of the log: the operations that are in no table.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use durable_io::Disk;
use sstable::RangeTombstone;
use wal::Lsn;

use crate::error::{Corruption, Error, Result};
use crate::names::mark;
use crate::record::{Action, Record};
use crate::salvage::manifest::{Edits, lost};

/// The newest operation of a key.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) version: u64,
    /// No value if it is a deletion.
    pub(super) value: Option<Vec<u8>>,
}

/// The operations of one keyspace.
#[derive(Debug, Default)]
pub(super) struct Operations {
    pub(super) newest: BTreeMap<Vec<u8>, Operation>,
    pub(super) range_tombstones: Vec<RangeTombstone>,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) operations: BTreeMap<u32, Operations>,
    /// No operation with a larger version is lost; 0 if none is.
    pub(super) lost: u64,
}

/// Reads the log in the directory `path`, as far as `manifest` does not say that it is in tables.
///
/// # Errors
/// It is locked.
pub(super) fn read(
    disk: &Disk,
    path: &Path,
    manifest: &Edits,
    told: &mut VecDeque<Error>,
) -> Result<Log> {
    let mut log = Log::default();
    let mut records = match wal::Options::new().disk(disk.clone()).salvage(path) {
        Ok(records) => records,
        Err(error) => {
            told.push_back(lost(error, path, Corruption::LogLost)?);
            log.lost = u64::MAX;
            return Ok(log);
        }
    };
    if !records.has_superblock() {
        // The last records may be missing without a word.
        told.push_back(Error::corrupt(&mark(path), Corruption::LogLost));
        log.lost = u64::MAX;
    }
    let (first, mut last) = (records.next_lsn(), records.next_lsn().previous());
    for record in records.by_ref() {
        match record {
            Ok(record) => {
                last = record.lsn;
                log.add(record.lsn, &record.payload, path, manifest, told);
            }
            Err(error) => {
                match &error {
                    wal::Error::Disk(error) if error.is_unreadable() => {}
                    wal::Error::Corrupt {
                        reason: wal::Corruption::LostRecords { last: lost, .. },
                        ..
                    } => {
                        last = *lost;
                        log.lost = log.lost.max(lost.0);
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
    if let Some(root) = manifest.whole() {
        let (floor, seen) = (root.floor, root.seen());
        if first.previous() > floor || seen > last {
            let reason = Corruption::LogRange {
                first,
                last,
                floor,
                seen,
            };
            told.push_back(Error::corrupt(&mark(path), reason));
            log.lost = log.lost.max(first.previous().0).max(seen.0);
        }
    }
    Ok(log)
}

impl Log {
    fn add(
        &mut self,
        lsn: Lsn,
        payload: &[u8],
        path: &Path,
        manifest: &Edits,
        told: &mut VecDeque<Error>,
    ) {
        let root = manifest.whole();
        if root.is_some_and(|root| lsn <= root.floor) {
            return;
        }
        let Some(record) = Record::decode(payload) else {
            told.push_back(Error::corrupt(&mark(path), Corruption::Record { lsn }));
            self.lost = self.lost.max(lsn.0);
            return;
        };
        let id = record.keyspace;
        match root.map(|root| (root.keyspaces.get(&id), root.next_keyspace)) {
            Some((Some(keyspace), _)) if lsn <= keyspace.flushed => return,
            Some((None, next)) if id < next => return,
            Some((None, _)) => {
                let reason = Corruption::UnknownKeyspace { lsn, id };
                told.push_back(Error::corrupt(&mark(path), reason));
            }
            _ => {}
        }
        self.operations.entry(id).or_default().add(lsn.0, &record);
    }
}

impl Operations {
    /// Adds an operation that is newer than all before it.
    fn add(&mut self, version: u64, record: &Record<'_>) {
        let value = match record.action {
            Action::Put => Some(record.value.to_vec()),
            Action::Delete => None,
            Action::DeleteRange => {
                self.range_tombstones.push(RangeTombstone {
                    start: record.key.to_vec(),
                    end: record.value.to_vec(),
                    version,
                });
                return;
            }
        };
        let operation = Operation { version, value };
        self.newest.insert(record.key.to_vec(), operation);
    }
}
