//! Backups of the store under test.

use std::collections::BTreeMap;

use btree::{Corruption, Error, Options};
use durable_io::Disk;
use durable_io::sim::Outcome;

use super::state::{State, state_of};
use crate::engines::backups;

/// What is in each of them.
pub(super) fn all(disk: &Disk) -> Outcome<BTreeMap<u64, State>> {
    backups::all(disk, |path| {
        match Options::new().disk(disk.clone()).open_read_only(path) {
            Ok(snapshot) => Ok(Some(state_of(&snapshot)?)),
            Err(Error::Corrupt {
                reason: Corruption::PagesLost,
                ..
            }) => Ok(None),
            Err(Error::Disk(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}
