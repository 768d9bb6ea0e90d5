//! Backups of the store under test.

use std::collections::BTreeMap;

use bitcask::{Corruption, Error, Options};
use durable_io::Disk;
use durable_io::sim::Outcome;

use super::{Entries, Op, entries};
use crate::engines::backups;

/// What is tried of a store that is backed up.
pub(super) const OPERATIONS: &[Op] = &[
    Op::Put("a"),
    Op::Batch,
    Op::Merge,
    Op::Backup,
    Op::BackupCopied,
];

/// What is in each of them.
pub(super) fn all(disk: &Disk) -> Outcome<BTreeMap<u64, Entries>> {
    backups::all(disk, |path| {
        match Options::new().disk(disk.clone()).open_read_only(path) {
            Ok(snapshot) => Ok(Some(entries(&snapshot)?)),
            Err(Error::Corrupt {
                reason: Corruption::ManifestLost,
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}
