//! The write path: check, write, apply; then whoever waits is called when it is durable.

use wal::Lsn;

use crate::error::{Error, Result};
use crate::group_state::GroupState;
use crate::limits::HEADER_SIZE;
use crate::limits::{MAX_ENTRY_SIZE, MAX_LEADER_SIZE};
use crate::record::{Event, Record};
use crate::state::State;
use crate::store::{Prepared, RECORD_HEADER, Store};
use crate::types::{Change, Entry};
use crate::waiting::Done;

/// Which group is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    pub(crate) group: u64,
    pub(crate) incarnation: u64,
}

impl Store {
    /// Creates the group `id`, and waits until it is durable.
    pub(crate) fn create(&self, id: u64) -> Result<Name> {
        self.bound_disk()?;
        let (name, lsn) = {
            let mut state = self.state()?;
            if state.groups.contains_key(&id) {
                return Err(Error::GroupExists { group: id });
            }
            let lsn = self.log.bounds().end;
            let name = Name {
                group: id,
                incarnation: lsn.0,
            };
            self.put(&mut state, Prepared::one(name.record(Event::Created)))?;
            (name, lsn)
        };
        self.wait_until_durable(lsn)?;
        Ok(name)
    }

    /// Destroys the group `id`, and waits until that is durable.
    pub(crate) fn destroy(&self, id: u64) -> Result<()> {
        let lsn = {
            let mut state = self.state()?;
            let group = state.groups.get(&id);
            let group = group.ok_or(Error::NoGroup { group: id })?;
            let name = Name {
                group: id,
                incarnation: group.incarnation,
            };
            self.put_for_sure(&mut state, &[name.record(Event::Destroyed)])?;
            self.written()
        };
        self.wait_until_durable(lsn)?;
        self.mover_work.notify();
        Ok(())
    }

    /// Does `change`; when this returns it can be read. Calls `done` when it is durable, and returns the record
    /// that is to be durable then.
    pub(crate) fn change(&self, name: Name, change: Change<'_>, done: Option<Done>) -> Result<Lsn> {
        check_sizes(change)?;
        self.bound_disk()?;
        let prepared = match change {
            Change::Append(entries) => self.prepare(name, entries),
            _ => Vec::new(),
        };
        let lsn = {
            let mut state = self.state()?;
            let group = state.group(name.group, name.incarnation)?;
            if must_write(name.group, group, change)? {
                match event(change) {
                    Some(event) => self.put_for_sure(&mut state, &[name.record(event)])?,
                    None => self.append(&mut state, name, prepared)?,
                }
            }
            // Also where nothing was written: what it rests on must be durable.
            let lsn = self.written();
            if let Some(done) = done {
                self.call_when_durable(lsn, done);
            }
            lsn
        };
        if self.check_open().is_err() {
            // Whoever closed the store may not have seen that somebody waits.
            self.answer_waiting();
        }
        if matches!(change, Change::Truncate(_) | Change::Purge(_)) {
            self.mover_work.notify();
        }
        Ok(lsn)
    }

    /// `entries` as records, in batches.
    fn prepare<'a>(&self, name: Name, entries: &'a [Entry]) -> Vec<Prepared<'a>> {
        let limit = wal::max_batch_size(self.log.segment_size());
        let room = limit - RECORD_HEADER - HEADER_SIZE as u64;
        let room = usize::try_from(room).expect("a segment is smaller than 4 GiB");
        let events = entries.iter().flat_map(|entry| events(entry, room));
        Prepared::all(events.map(|event| name.record(event)), limit)
    }

    fn append(&self, state: &mut State, name: Name, prepared: Vec<Prepared<'_>>) -> Result<()> {
        let last_index = |state: &State| {
            let group = state.group(name.group, name.incarnation);
            group.map(GroupState::last_index)
        };
        let before = last_index(state)?;
        for prepared in prepared {
            let Err(error) = self.put(state, prepared) else {
                continue;
            };
            let after = last_index(state)?;
            if error.is_no_space() && before != after {
                // All or nothing: what is there of them goes again.
                let first = before.map_or(0, |before| before + 1);
                let revert = [name.record(Event::Truncated(first))];
                let reverted = self.put_for_sure(state, &revert);
                if let Err(Error::Disk(error)) = &reverted {
                    self.health().poison(error.clone());
                }
                reverted?;
            }
            return Err(error);
        }
        Ok(())
    }
}

impl Name {
    pub(crate) fn record(self, event: Event<'_>) -> Record<'_> {
        Record {
            group: self.group,
            incarnation: self.incarnation,
            event,
        }
    }
}

/// The one record that `change` is; `None` if it is one for each entry.
fn event(change: Change<'_>) -> Option<Event<'_>> {
    Some(match change {
        Change::Append(_) => return None,
        Change::Vote(vote) => Event::Vote {
            term: vote.term,
            leader: &vote.leader,
        },
        Change::Truncate(index) => Event::Truncated(index),
        Change::Purge(point) => Event::Purged {
            index: point.index,
            term: point.term,
            leader: &point.leader,
        },
        Change::Commit(Some(point)) => Event::Committed {
            index: point.index,
            term: point.term,
            leader: &point.leader,
        },
        Change::Commit(None) => Event::Uncommitted,
    })
}

/// Refuses what is over its limit.
fn check_sizes(change: Change<'_>) -> Result<()> {
    let leader = match change {
        Change::Append(entries) => {
            let mut sizes = entries.iter().map(|entry| entry.data.len());
            return sizes.try_for_each(|size| Error::unless_within("entry", size, MAX_ENTRY_SIZE));
        }
        Change::Vote(vote) => &vote.leader,
        Change::Purge(point) | Change::Commit(Some(point)) => &point.leader,
        Change::Truncate(_) | Change::Commit(None) => return Ok(()),
    };
    Error::unless_within("leader", leader.len(), MAX_LEADER_SIZE)
}

/// Whether `change` may be made, and changes anything.
fn must_write(id: u64, group: &GroupState, change: Change<'_>) -> Result<bool> {
    match change {
        Change::Vote(_) => Ok(true),
        Change::Append(entries) => {
            group.check_append(id, entries.iter().map(|entry| entry.index))?;
            Ok(!entries.is_empty())
        }
        Change::Truncate(index) => group.check_truncate(id, index),
        Change::Purge(point) => Ok(group.check_purge(point.index)),
        Change::Commit(point) => group.check_commit(id, point),
    }
}

/// `entry` as one record, or as several of up to `room` bytes of data.
fn events(entry: &Entry, room: usize) -> impl Iterator<Item = Event<'_>> {
    let Entry { index, term, data } = entry;
    let (index, term) = (*index, *term);
    let whole = (data.len() <= room).then_some(Event::Entry { index, term, data });
    let count = if whole.is_some() {
        0
    } else {
        data.len().div_ceil(room)
    };
    let parts = data.chunks(room).take(count).enumerate();
    let parts = parts.map(move |(nth, data)| {
        let is_last = nth + 1 == count;
        let nth = u32::try_from(nth).expect("an entry has few parts");
        if is_last {
            Event::Last {
                index,
                term,
                nth,
                data,
            }
        } else {
            Event::Part {
                index,
                term,
                nth,
                data,
            }
        }
    });
    whole.into_iter().chain(parts)
}
