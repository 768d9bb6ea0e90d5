//! Backups of the store under test.

use std::collections::BTreeMap;

use durable_io::Disk;
use durable_io::sim::Outcome;
use lsm::{Corruption, Error, Options};

use super::state::{State, contents};
use crate::engines::backups;

/// What is in each of them.
pub(super) fn all(disk: &Disk) -> Outcome<BTreeMap<u64, State>> {
    backups::all(disk, |path| {
        match Options::new().disk(disk.clone()).open_read_only(path) {
            Ok(snapshot) => Ok(Some(contents(&snapshot)?)),
            Err(Error::Corrupt {
                reason: Corruption::ManifestLost,
                ..
            }) => Ok(None),
            Err(Error::Disk(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}
