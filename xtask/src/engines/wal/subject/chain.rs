//! Appends of which one is built on the other.

use crashtest::content::identify;
use durable_io::sim::Outcome;
use wal::{Lsn, Wal};

use super::Store;
use super::alphabet::CHAIN_FIRST;

/// Submits `first`, and returns what is built on it, whatever becomes of it.
pub(super) fn begin_chain(store: &mut Store, first: &[u8]) -> Outcome<()> {
    let wal = store.wal()?;
    let base = wal.expectation();
    let ticket = wal.submit_at(base, &[first])?;
    let done = ticket.wait();
    store.chain = Some(base.after(1));
    done?;
    Ok(())
}

/// Appends `second` after the first one of the chain; nothing if that is not the last record.
pub(super) fn go_on_with_chain(store: &mut Store, second: &[u8]) -> Outcome<()> {
    let chain = store.chain;
    let wal = store.wal()?;
    let expected = match chain {
        Some(expected) => expected,
        // A chain from before the log was opened, of which there is what there is.
        None if ends_with_first(wal)? => wal.expectation(),
        None => return Ok(()),
    };
    match wal.submit_at(expected, &[second])?.wait() {
        Err(wal::Error::Refused { .. }) => {}
        other => return Ok(other.map(drop)?),
    }
    if ends_with_first(wal)? {
        // Something else was refused or truncated meanwhile.
        wal.submit_at(wal.expectation(), &[second])?.wait()?;
    }
    Ok(())
}

fn ends_with_first(wal: &Wal) -> Outcome<bool> {
    let bounds = wal.bounds();
    if bounds.is_empty() {
        return Ok(false);
    }
    let last = wal.records(Lsn(bounds.end.0 - 1)).next();
    let last = last.ok_or("the last record cannot be read")??;
    Ok(identify(&last.payload).is_some_and(|(_, index)| index == CHAIN_FIRST))
}
