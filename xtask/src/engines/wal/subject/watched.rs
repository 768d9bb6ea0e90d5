//! A reader in another process: it was there before, and reads on after each operation.

use durable_io::sim::Outcome;
use wal::{Error, Lsn, Wal, Watch};

use super::{DIR, Store, repair};

/// The watcher of `store` must see what the open log holds, and nothing else; or, if that took back what it has
/// read or not read yet, say so.
pub(super) fn watch_on(store: &mut Store) -> Outcome<()> {
    let Some(wal) = &store.wal else { return Ok(()) };
    let mut watch = match store.watch.take() {
        Some(watch) => watch,
        None => repair::options(&store.disk).watch(DIR, Lsn(0))?,
    };
    let (from, bounds) = (watch.position(), wal.bounds());
    // What was given up at the front may be given out all the same, what was truncated may not.
    let is_truncated = from > bounds.end;
    let is_lost = is_truncated || from < bounds.start;
    match read_on(&mut watch, wal) {
        Ok(()) if is_truncated => {
            Err(format!("{bounds:?}, but the watcher continues at {from}").into())
        }
        Ok(()) => {
            store.watch = Some(watch);
            Ok(())
        }
        // It begins again.
        Err(error) => match error.downcast_ref() {
            Some(Error::Truncated) if is_lost => Ok(()),
            // Of a fault; nothing that the log has done.
            Some(Error::Disk(_)) => Ok(()),
            _ => Err(format!("a watcher of {bounds:?} at {from}: {error}").into()),
        },
    }
}

/// Reads on to the end.
fn read_on(watch: &mut Watch, wal: &Wal) -> Outcome<()> {
    let bounds = wal.bounds();
    let mut due = watch.position();
    // Most operations add none.
    let mut records = None;
    while let Some(seen) = watch.next_record()? {
        let is_right = if seen.lsn < bounds.start {
            seen.lsn == due
        } else {
            let records = records.get_or_insert_with(|| wal.records(seen.lsn));
            records.next().transpose()?.as_ref() == Some(&seen)
        };
        if !is_right {
            return Err(format!("at {due} it sees another record {}", seen.lsn).into());
        }
        due = watch.position();
    }
    if due != bounds.end {
        return Err(format!("it sees nothing at {due}").into());
    }
    Ok(())
}
