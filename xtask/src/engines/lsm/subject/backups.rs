//! Backups of the store under test, each in a directory of its own.

use std::collections::BTreeMap;

use durable_io::Disk;
use durable_io::sim::Outcome;
use lsm::{BackupOptions, Corruption, Error, Lsm, Options};

use super::state::{State, contents};

/// Where they are.
const DIR: &str = "/backups";

/// Operation `n`: makes one.
pub(super) fn make(store: &Lsm, options: &BackupOptions, n: u64) -> Outcome<()> {
    store.backup(format!("{DIR}/{n}"), options)?;
    Ok(())
}

/// What is in each of them; one that a crash cut short is none.
pub(super) fn all(disk: &Disk) -> Outcome<BTreeMap<u64, State>> {
    let names = match disk.open_dir(DIR) {
        Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
        dir => dir?.list()?,
    };
    let mut backups = BTreeMap::new();
    for entry in names {
        let options = Options::new().disk(disk.clone());
        match options.open_read_only(format!("{DIR}/{}", entry.name)) {
            Ok(snapshot) => drop(backups.insert(entry.name.parse()?, contents(&snapshot)?)),
            Err(Error::Corrupt {
                reason: Corruption::ManifestLost,
                ..
            }) => {}
            Err(Error::Disk(error)) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(backups)
}
