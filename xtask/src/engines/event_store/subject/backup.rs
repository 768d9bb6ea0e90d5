//! A backup beside the store, and what repairs make of it: what they hold is the beginning of what the store holds.

use std::collections::BTreeMap;

use durable_io::Disk;
use durable_io::sim::Outcome;
use event_store::{Error, Event, EventStore, Options, Position, RepairOptions};

use super::DIR;
use super::live::Store;
use crate::engines::backups;

/// Its parent is missing, too: nothing else makes that name durable.
const BACKUP: &str = "/copies/backup";

pub(super) fn make(store: &EventStore) -> Outcome<()> {
    let backup = store.backup(BACKUP)?;
    let last = store.last_position();
    if backup.position != last {
        return Err(format!("{backup:?} was made when {last} was the last event").into());
    }
    Ok(())
}

/// The last event of the backup; `None` if there is none that is finished.
pub(super) fn last(disk: &Disk, store: &EventStore) -> Outcome<Option<u64>> {
    last_in(disk, store, BACKUP)
}

/// Closes the store, and makes a new one of it as operation `n`.
pub(super) fn repair(store: &mut Store, n: u64) -> Outcome<()> {
    if let Some(store) = store.open.take() {
        store.close()?;
    }
    let options = store.subject.options(&store.disk);
    options.repair(DIR, backups::path(n), &RepairOptions::new())?;
    Ok(())
}

/// The last event of each store that a repair made.
pub(super) fn repairs(disk: &Disk, store: &EventStore) -> Outcome<BTreeMap<u64, u64>> {
    backups::all(disk, |path| last_in(disk, store, &path))
}

/// The last event of the store in `path`; `None` if there is none that is finished.
fn last_in(disk: &Disk, store: &EventStore, path: &str) -> Outcome<Option<u64>> {
    let copy = match Options::new().disk(disk.clone()).open_read_only(path) {
        Ok(copy) => copy,
        Err(Error::Unfinished { .. }) => return Ok(None),
        Err(Error::Disk(error)) if error.is_not_found() => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let copied = copy.read_all(Position(1))?;
    let copied = copied.collect::<event_store::Result<Vec<Event>>>()?;
    let here = store.read_all(Position(1)).take(copied.len());
    let here = here.collect::<event_store::Result<Vec<Event>>>()?;
    if copied != here {
        return Err(format!("{path} holds {copied:?}, the store {here:?}").into());
    }
    let last = copy.last_position();
    for (name, position) in copy.subscriptions() {
        if position > last {
            return Err(format!("{name} is at {position}, and {path} ends at {last}").into());
        }
    }
    Ok(Some(last.0))
}
