//! [`GroupState`]: what of a group counts, and which records say so.

use std::collections::BTreeMap;

use wal::{Location, Lsn};

use crate::error::{Corruption, Error, Result};
use crate::types::{LogPoint, LogState, Vote};

/// Bytes of a record before its payload, in the log.
const RECORD_HEADER: u64 = 8;

/// How much the record at `location` is, of what the log holds and of what counts.
pub(crate) fn weight(location: Location) -> u64 {
    RECORD_HEADER + u64::from(location.payload_len())
}

/// Something of which the last one counts, and the record with it.
#[derive(Clone, Debug)]
pub(crate) struct Held<T> {
    pub(crate) value: T,
    pub(crate) at: Location,
}

/// An entry: its term, and the record with it, or the records, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) term: u64,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    One(Location),
    Parts(Box<[Location]>),
}

impl Place {
    pub(crate) fn locations(&self) -> &[Location] {
        match self {
            Self::One(location) => std::slice::from_ref(location),
            Self::Parts(locations) => locations,
        }
    }

    /// Of the first record.
    pub(crate) fn lsn(&self) -> Lsn {
        let first = self.locations().first();
        first.expect("an entry has a record").lsn()
    }

    fn weight(&self) -> u64 {
        self.locations().iter().copied().map(weight).sum()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct GroupState {
    pub(crate) incarnation: u64,
    /// `None` only while the log is read: the record may have been moved after others.
    pub(crate) created: Option<Location>,
    pub(crate) vote: Option<Held<Vote>>,
    pub(crate) purged: Option<Held<LogPoint>>,
    pub(crate) committed: Option<Held<Option<LogPoint>>>,
    /// By index; without a hole, but while the log is read.
    pub(crate) entries: BTreeMap<u64, Slot>,
    /// Of all that counts.
    pub(crate) live: u64,
}

impl GroupState {
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            created: None,
            vote: None,
            purged: None,
            committed: None,
            entries: BTreeMap::new(),
            live: 0,
        }
    }

    pub(crate) fn set_created(&mut self, at: Location) {
        self.live += weight(at);
        self.live -= self.created.replace(at).map_or(0, weight);
    }

    pub(crate) fn set_vote(&mut self, value: Vote, at: Location) {
        replace(&mut self.live, &mut self.vote, value, at);
    }

    pub(crate) fn set_committed(&mut self, value: Option<LogPoint>, at: Location) {
        replace(&mut self.live, &mut self.committed, value, at);
    }

    /// The entries up to `point` are gone.
    pub(crate) fn purge(&mut self, point: LogPoint, at: Location) {
        let kept = match point.index.checked_add(1) {
            Some(next) => self.entries.split_off(&next),
            None => BTreeMap::new(),
        };
        let gone = std::mem::replace(&mut self.entries, kept);
        self.forget(&gone);
        replace(&mut self.live, &mut self.purged, point, at);
    }

    /// The entries from `index` on are gone.
    pub(crate) fn truncate(&mut self, index: u64) {
        let gone = self.entries.split_off(&index);
        self.forget(&gone);
    }

    pub(crate) fn set_entry(&mut self, index: u64, slot: Slot) {
        self.live += slot.place.weight();
        let old = self.entries.insert(index, slot);
        self.live -= old.map_or(0, |old| old.place.weight());
    }

    fn forget(&mut self, gone: &BTreeMap<u64, Slot>) {
        self.live -= gone.values().map(|slot| slot.place.weight()).sum::<u64>();
    }

    fn purged_index(&self) -> Option<u64> {
        self.purged.as_ref().map(|purged| purged.value.index)
    }

    pub(crate) fn last_index(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(index, _)| *index)
    }

    fn committed_index(&self) -> Option<u64> {
        Some(self.committed.as_ref()?.value.as_ref()?.index)
    }

    /// Where the log begins and ends.
    pub(crate) fn log_state(&self) -> LogState {
        let last = self.entries.last_key_value();
        LogState {
            purged: self.purged.as_ref().map(|purged| purged.value.clone()),
            first: self.entries.first_key_value().map(|(index, _)| *index),
            last: last.map(|(index, slot)| (*index, slot.term)),
            committed: self.committed.as_ref().and_then(|held| held.value.clone()),
        }
    }

    /// Whether the entries with these `indexes` follow the last one of `group`.
    pub(crate) fn check_append(
        &self,
        group: u64,
        indexes: impl Iterator<Item = u64>,
    ) -> Result<()> {
        let mut before = self.last_index().or(self.purged_index());
        for found in indexes {
            let follows = before.is_none_or(|before| before.checked_add(1) == Some(found));
            // The last one has no range that ends after it.
            if !follows || found == u64::MAX {
                let expected = before.map_or(0, |before| before.saturating_add(1));
                return Err(Error::Gap {
                    group,
                    expected,
                    found,
                });
            }
            before = Some(found);
        }
        Ok(())
    }

    /// Whether there is an entry to go from `index` on, and it may.
    pub(crate) fn check_truncate(&self, group: u64, index: u64) -> Result<bool> {
        let kept = self.committed_index().max(self.purged_index());
        if let Some(kept) = kept.filter(|kept| index <= *kept) {
            return Err(Error::Committed { group, index, kept });
        }
        Ok(self.last_index().is_some_and(|last| index <= last))
    }

    /// Whether `index` is not purged yet.
    pub(crate) fn check_purge(&self, index: u64) -> bool {
        self.purged_index().is_none_or(|purged| purged < index)
    }

    /// Whether `point` is committed news.
    pub(crate) fn check_commit(&self, group: u64, point: Option<&LogPoint>) -> Result<bool> {
        if let Some(LogPoint { index, .. }) = point {
            let last = self.last_index().max(self.purged_index());
            if last.is_none_or(|last| *index > last) {
                return Err(Error::Beyond {
                    group,
                    index: *index,
                });
            }
        }
        let held = self.committed.as_ref();
        Ok(held.and_then(|held| held.value.as_ref()) != point)
    }

    /// Whether nothing is missing of `group`, all of whose records were read.
    pub(crate) fn check_whole(&self, group: u64) -> Result<(), Corruption> {
        if self.created.is_none() {
            let lsn = Lsn(self.incarnation);
            return Err(Corruption::Group { lsn });
        }
        let first = self.entries.first_key_value();
        let Some((&first, _)) = first else {
            return Ok(());
        };
        let missing = (first..).zip(self.entries.keys());
        let mut missing = missing.filter(|(expected, found)| expected != *found);
        match missing.next() {
            Some((index, _)) => Err(Corruption::Hole { group, index }),
            None => Ok(()),
        }
    }
}

fn replace<T>(live: &mut u64, held: &mut Option<Held<T>>, value: T, at: Location) {
    *live += weight(at);
    let old = held.replace(Held { value, at });
    *live -= old.map_or(0, |old| weight(old.at));
}
