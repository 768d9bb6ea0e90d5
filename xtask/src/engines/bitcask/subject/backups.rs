//! Backups of the store under test, each in a directory of its own.

use std::collections::BTreeMap;

use bitcask::{BackupOptions, Bitcask, Corruption, Error, Options};
use durable_io::Disk;
use durable_io::sim::Outcome;

use super::{Entries, Op, entries};

/// Where they are.
const DIR: &str = "/backups";

/// What is tried of a store that is backed up.
pub(super) const OPERATIONS: &[Op] = &[
    Op::Put("a"),
    Op::Batch,
    Op::Merge,
    Op::Backup,
    Op::BackupCopied,
];

/// Operation `n`, which is `op`: makes one.
pub(super) fn make(store: &Bitcask, op: Op, n: u64) -> Outcome<()> {
    let options = match op {
        Op::BackupCopied => BackupOptions::new().copied(),
        _ => BackupOptions::new(),
    };
    store.backup(format!("{DIR}/{n}"), &options)?;
    Ok(())
}

/// What is in each of them; one that a crash cut short is none.
pub(super) fn all(disk: &Disk) -> Outcome<BTreeMap<u64, Entries>> {
    let names = match disk.open_dir(DIR) {
        Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
        dir => dir?.list()?,
    };
    let mut backups = BTreeMap::new();
    for entry in names {
        let options = Options::new().disk(disk.clone());
        match options.open_read_only(format!("{DIR}/{}", entry.name)) {
            Ok(snapshot) => drop(backups.insert(entry.name.parse()?, entries(&snapshot)?)),
            Err(Error::Corrupt {
                reason: Corruption::ManifestLost,
                ..
            }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(backups)
}
