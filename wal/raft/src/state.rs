//! [`State`]: all groups, and the one rule that says what a record does to them. What has just been written
//! goes through it, and so does what is read at opening: what is in memory is what will be read.

use std::collections::BTreeMap;
use std::path::Path;

use wal::{Location, Lsn, Records};

use crate::error::{Corruption, Error, Result};
use crate::group_state::{GroupState, Place, Slot, weight};
use crate::record::{Event, Record};
use crate::types::{LogPoint, Vote};

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) groups: BTreeMap<u64, GroupState>,
    /// What the log holds, as [`weight`] counts it.
    pub(crate) held: u64,
    /// What of it counts.
    pub(crate) live: u64,
    /// Made after a failure, of what is durable alone.
    pub(crate) only_durable: bool,
    /// The parts of an entry whose last part has not come.
    parts: Option<Parts>,
}

#[derive(Clone, Debug)]
struct Parts {
    group: u64,
    incarnation: u64,
    index: u64,
    term: u64,
    at: Vec<Location>,
}

impl State {
    /// The group `id`, if it is the one that was created as `incarnation`.
    pub(crate) fn group(&self, id: u64, incarnation: u64) -> Result<&GroupState> {
        let group = self.groups.get(&id);
        let group = group.filter(|group| group.incarnation == incarnation);
        group.ok_or(Error::NoGroup { group: id })
    }

    /// Applies `record`, which is at `at`, after all that were applied.
    pub(crate) fn apply(&mut self, record: &Record<'_>, at: Location) -> Result<(), Corruption> {
        self.held += weight(at);
        let parts = self.parts.take();
        let Record {
            group: id,
            incarnation,
            event,
        } = *record;
        if event == Event::Destroyed {
            let gone = self.groups.remove(&id);
            self.live -= gone.as_ref().map_or(0, |gone| gone.live);
            let is_other = gone.is_some_and(|gone| gone.incarnation != incarnation);
            return if is_other { misfit(at) } else { Ok(()) };
        }
        let group = self.groups.entry(id);
        let group = group.or_insert_with(|| GroupState::new(incarnation));
        if group.incarnation != incarnation {
            return misfit(at);
        }
        self.live -= group.live;
        match event {
            Event::Created => group.set_created(at),
            Event::Destroyed => {}
            Event::Vote { term, leader } => {
                let leader = leader.to_vec();
                group.set_vote(Vote { term, leader }, at);
            }
            Event::Entry { index, term, .. } => {
                let place = Place::One(at);
                group.set_entry(index, Slot { term, place });
            }
            Event::Part { nth, .. } => self.parts = continued(parts, record, nth, at),
            Event::Last {
                index, term, nth, ..
            } => {
                if let Some(parts) = continued(parts, record, nth, at) {
                    let place = Place::Parts(parts.at.into());
                    group.set_entry(index, Slot { term, place });
                }
            }
            Event::Truncated(index) => group.truncate(index),
            Event::Purged {
                index,
                term,
                leader,
            } => group.purge(point(index, term, leader), at),
            Event::Committed {
                index,
                term,
                leader,
            } => group.set_committed(Some(point(index, term, leader)), at),
            Event::Uncommitted => group.set_committed(None, at),
        }
        self.live += group.live;
        Ok(())
    }

    /// Applies `records`, which are all that the log of the store in `path` holds.
    pub(crate) fn read(&mut self, mut records: Records, path: &Path) -> Result<()> {
        while let Some((at, payload)) = records.read()? {
            self.take(payload, at, path)?;
        }
        self.finish(path)
    }

    /// Applies the record `payload`, which is at `at`.
    pub(crate) fn take(&mut self, payload: &[u8], at: Location, path: &Path) -> Result<()> {
        let lsn = at.lsn();
        if Record::is_newer(payload) {
            return Err(Error::newer(path));
        }
        let record = Record::decode(payload).ok_or(Corruption::Record { lsn });
        let applied = record.and_then(|record| self.apply(&record, at));
        applied.map_err(|reason| Error::corrupt(path, reason))
    }

    /// Says that all records were applied.
    pub(crate) fn finish(&self, path: &Path) -> Result<()> {
        let whole = self.check_whole();
        whole.map_err(|reason| Error::corrupt(path, reason))
    }

    /// Whether nothing is missing, when all records were applied.
    fn check_whole(&self) -> Result<(), Corruption> {
        let mut groups = self.groups.iter();
        groups.try_for_each(|(id, group)| group.check_whole(*id))
    }

    /// True if `record`, at `lsn`, is one of those that say what counts; of an entry in parts, the first.
    pub(crate) fn is_live(&self, record: &Record<'_>, lsn: Lsn) -> bool {
        let Ok(group) = self.group(record.group, record.incarnation) else {
            return false;
        };
        let is_at = |at: Option<Location>| at.is_some_and(|at| at.lsn() == lsn);
        match record.event {
            Event::Created => is_at(group.created),
            Event::Vote { .. } => is_at(group.vote.as_ref().map(|held| held.at)),
            Event::Purged { .. } => is_at(group.purged.as_ref().map(|held| held.at)),
            Event::Committed { .. } | Event::Uncommitted => {
                is_at(group.committed.as_ref().map(|held| held.at))
            }
            Event::Entry { index, .. } | Event::Part { index, .. } | Event::Last { index, .. } => {
                let slot = group.entries.get(&index);
                slot.is_some_and(|slot| slot.place.lsn() == lsn)
            }
            Event::Destroyed | Event::Truncated(_) => false,
        }
    }
}

fn misfit(at: Location) -> Result<(), Corruption> {
    Err(Corruption::Group { lsn: at.lsn() })
}

fn point(index: u64, term: u64, leader: &[u8]) -> LogPoint {
    let leader = leader.to_vec();
    LogPoint {
        index,
        term,
        leader,
    }
}

/// `parts` with part `nth`, which `record` at `at` is; `None` if it continues none of them. So are the parts
/// whose entry was never acknowledged, or whose first ones the log has given up with the entry.
fn continued(parts: Option<Parts>, record: &Record<'_>, nth: u32, at: Location) -> Option<Parts> {
    let (Event::Part { index, term, .. } | Event::Last { index, term, .. }) = record.event else {
        return None;
    };
    let mut parts = match parts {
        _ if nth == 0 => Parts {
            group: record.group,
            incarnation: record.incarnation,
            index,
            term,
            at: Vec::new(),
        },
        parts => parts?,
    };
    let is_same = (parts.group, parts.incarnation) == (record.group, record.incarnation)
        && (parts.index, parts.term) == (index, term);
    if !is_same || parts.at.len() != nth as usize {
        return None;
    }
    parts.at.push(at);
    Some(parts)
}
