//! A store that is being tried, and what each operation asks of it.

use std::sync::mpsc::channel;

use durable_io::Disk;
use durable_io::sim::{Outcome, Survives};
use durable_raft::{Change, Error, Group, LogStore};

use super::state::{FIRST, SECOND, entries, observe, point, vote};
use super::{Op, RaftSubject};

/// A group that is never there.
const NOBODY: u64 = 99;

pub(crate) struct Store {
    pub(super) disk: Disk,
    pub(super) subject: RaftSubject,
    pub(super) open: Option<LogStore>,
}

impl Store {
    /// The open store; a closed one is opened again.
    pub(super) fn store(&mut self) -> Outcome<&LogStore> {
        let store = match self.open.take() {
            Some(store) => store,
            None => self.subject.open_store(&self.disk)?,
        };
        Ok(self.open.insert(store))
    }

    pub(super) fn apply(&mut self, op: Op, n: u64) -> Outcome<Survives> {
        if op == Op::Close {
            // The store is opened by whatever comes next, so that a crash can come before.
            if let Some(store) = self.open.take() {
                store.close()?;
            }
            return Ok(Survives::PowerLoss);
        }
        let store = self.store()?;
        let before = observe(store)?;
        let first = before.group(FIRST);
        match op {
            Op::Background => {
                while store.run_background()? {}
                let verified = store.verify()?;
                if let Some(damage) = verified.damage.first() {
                    return Err(format!("verify says: {damage}").into());
                }
                return watermark(store);
            }
            Op::Destroy => match store.destroy(SECOND) {
                Ok(()) => {}
                Err(Error::NoGroup { .. }) => return watermark(store),
                Err(error) => return Err(error.into()),
            },
            Op::Vote => group(store, FIRST)?.save_vote(&vote(n))?,
            Op::Append => {
                let entries = entries(op, n, FIRST, first.last());
                acknowledged(store, &group(store, FIRST)?, Change::Append(&entries))?;
            }
            Op::AppendMany | Op::Large => {
                let entries = entries(op, n, FIRST, first.last());
                group(store, FIRST)?.append(&entries)?;
            }
            Op::Other => {
                let entries = entries(op, n, SECOND, before.group(SECOND).last());
                group(store, SECOND)?.append(&entries)?;
            }
            Op::Later => {
                let entries = entries(op, n, SECOND, before.group(SECOND).last());
                group(store, SECOND)?.submit(Change::Append(&entries), drop)?;
                return watermark(store);
            }
            Op::Truncate => {
                let Some(index) = first.conflict() else {
                    return watermark(store);
                };
                group(store, FIRST)?.truncate(index)?;
            }
            Op::Purge => {
                let Some(index) = first.purge() else {
                    return watermark(store);
                };
                group(store, FIRST)?.purge(&point(index))?;
            }
            Op::Commit => {
                if let Some(index) = first.commit() {
                    group(store, FIRST)?.save_committed(Some(&point(index)))?;
                }
                return watermark(store);
            }
            Op::Close => {}
        }
        Ok(Survives::PowerLoss)
    }
}

/// What all that was done is promised to survive when nobody has waited for it: the store's own watermark says so,
/// and every crash checks whether it speaks the truth. A store that refuses to continue has done nothing.
fn watermark(store: &LogStore) -> Outcome<Survives> {
    match store.destroy(NOBODY) {
        Err(Error::NoGroup { .. }) => {}
        other => other?,
    }
    let stats = store.stats();
    Ok(if stats.durable_record == stats.last_record {
        Survives::PowerLoss
    } else {
        Survives::ProcessDeath
    })
}

/// The group `id`, which is created if it is not there.
pub(super) fn group(store: &LogStore, id: u64) -> Outcome<Group> {
    match store.group(id) {
        Err(Error::NoGroup { .. }) => Ok(store.create(id)?),
        group => Ok(group?),
    }
}

/// Does `change`, and waits for its callback.
fn acknowledged(store: &LogStore, group: &Group, change: Change<'_>) -> Outcome<()> {
    let (sender, receiver) = channel();
    group.submit(change, move |result| drop(sender.send(result)))?;
    while store.run_background()? {
        if let Ok(result) = receiver.try_recv() {
            return Ok(result?);
        }
    }
    Err("the background has ended, and the callback was not called".into())
}
