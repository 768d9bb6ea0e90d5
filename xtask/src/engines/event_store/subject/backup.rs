//! A backup beside the store: what it holds is the beginning of what the store holds.

use durable_io::Disk;
use durable_io::sim::Outcome;
use event_store::{Error, Event, EventStore, Options, Position};

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
    let copy = match Options::new().disk(disk.clone()).open_read_only(BACKUP) {
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
        return Err(format!("the backup holds {copied:?}, the store {here:?}").into());
    }
    let last = copy.last_position();
    for (name, position) in copy.subscriptions() {
        if position > last {
            return Err(format!("{name} is at {position}, and the backup ends at {last}").into());
        }
    }
    Ok(Some(last.0))
}
