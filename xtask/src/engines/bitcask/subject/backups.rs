//! Backups of the store under test, and its repair.

use std::collections::BTreeMap;

use bitcask::{BackupOptions, Corruption, Error, Options, RepairOptions};
use durable_io::Disk;
use durable_io::sim::Outcome;

use super::{DIR, Entries, Op, Store, entries};
use crate::engines::backups;

/// What is tried of a store that is backed up.
pub(super) const OPERATIONS: &[Op] = &[
    Op::Put("a"),
    Op::Batch,
    Op::Merge,
    Op::Backup,
    Op::BackupCopied,
    Op::Repair,
];

/// Makes the one of operation `n`.
pub(super) fn make(store: &mut Store, op: Op, n: u64) -> Outcome<()> {
    let path = backups::path(n);
    if op == Op::Repair {
        if let Some(store) = store.open.take() {
            store.close()?;
        }
        let options = store.subject.options(&store.disk);
        options.repair(DIR, path, &RepairOptions::new())?;
        return Ok(());
    }
    let options = match op {
        Op::BackupCopied => BackupOptions::new().copied(),
        _ => BackupOptions::new(),
    };
    store.store()?.backup(path, &options)?;
    Ok(())
}

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
