//! Reading and checking everything, and the numbers of a store.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use wal::Lsn;

use crate::error::{Corruption, Error, Result};
use crate::event::Event;
use crate::ids::Position;
use crate::names;
use crate::stats::{Stats, Verified};
use crate::store::Store;
use crate::term::Term;
use crate::view::{self, List, Miss, Slot, View};

impl Store {
    pub(crate) fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        let end = self.acknowledged_end();
        match self.log.verify() {
            Ok(log) => verified.log_bytes = log.bytes,
            Err(error @ wal::Error::Disk(_)) => return Err(error.into()),
            Err(error) => verified.damage.push(error.into()),
        }
        self.verify_parts(&mut verified);
        let mut records = self.log.records(Lsn(1));
        loop {
            match records.read() {
                Ok(Some((location, payload))) if location.lsn().0 < end.0 => {
                    let position = Position(location.lsn().0);
                    let event = view::decode(position, payload.into());
                    let checked = event.and_then(|event| self.verify_event(&event));
                    verified.damage.extend(checked.err());
                    verified.events += 1;
                }
                Ok(_) => break,
                Err(error @ wal::Error::Disk(_)) => return Err(error.into()),
                Err(error) => {
                    verified.damage.push(error.into());
                    break;
                }
            }
        }
        Ok(verified)
    }

    /// Every block of every part; that what they say is true is asked for each event.
    fn verify_parts(&self, verified: &mut Verified) {
        let slots = self.health.lock(&self.head).slots.clone();
        for slot in slots {
            verified.parts += 1;
            let damage = match &slot {
                Slot::Ready(part) => part.check_all().err(),
                Slot::Lost(entry) => {
                    let path = self.dir.dir().path().join(names::part(entry.number));
                    Some(Error::corrupt(&path, 0, Corruption::ForeignPart))
                }
            };
            verified.damage.extend(damage);
        }
    }

    /// The event against the one before it, and against the index.
    fn verify_event(&self, event: &Event) -> Result<()> {
        let position = event.position();
        let wrong = |reason| Error::corrupt(Path::new(names::EVENTS), 0, reason);
        if let Some(previous) = event.previous() {
            let before = self.event(previous)?;
            let follows = before.stream() == event.stream()
                && before.version().next() == event.version()
                && !before.is_tombstone();
            if !follows {
                return Err(wrong(Corruption::Order { position }));
            }
        }
        let key = self.settings.key;
        let is_listed = self.with_view(|view| {
            let nth = place_of(view, position);
            let rank = rank_of(view, nth, key.stream(event), position)?;
            let Some((rank, list)) = rank else {
                return Ok(false);
            };
            if list.first_version()? + rank != event.version().0 {
                return Ok(false);
            }
            for term in key.others(event) {
                if rank_of(view, nth, term, position)?.is_none() {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        if !is_listed {
            return Err(wrong(Corruption::Index { position }));
        }
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let log = self.log.stats();
        let (subscriptions, snapshots, marks_bytes) = {
            let marks = self.health.lock(&self.marks);
            let bytes = marks.log().map_or(0, |log| log.stats().disk_bytes);
            let snapshots = marks.snapshots.of_streams() as u64;
            (marks.all().count() as u64, snapshots, bytes)
        };
        let mut stats = Stats {
            last: self.acknowledged_end().previous(),
            durable: self.durable_end().previous(),
            appends: load(&counters.appends),
            events: load(&counters.events),
            refused: load(&counters.refused),
            repeated: load(&counters.repeated),
            syncs: log.sync_count,
            parts_built: load(&counters.parts_built),
            parts_merged: load(&counters.parts_merged),
            parts_restored: load(&counters.parts_restored),
            log_bytes: log.disk_bytes + marks_bytes,
            reserve_bytes: self.health.lock(&self.reserve).held(),
            subscriptions,
            snapshots,
            projections: self.projection_stats(),
            index_trouble: self.index_work.trouble(),
            ..Stats::default()
        };
        let head = self.health.lock(&self.head);
        stats.indexed = head.tail.first().previous();
        stats.unindexed_events = head.tail.next().0 - head.tail.first().0;
        stats.unindexed_bytes = head.tail.log_bytes();
        stats.memory_bytes = head.tail.memory_bytes();
        for slot in &head.slots {
            stats.parts += 1;
            match slot {
                Slot::Ready(part) => {
                    stats.memory_bytes += part.memory_bytes();
                    stats.index_bytes += part.disk_bytes();
                }
                Slot::Lost(_) => stats.lost_parts += 1,
            }
        }
        stats
    }

    /// Makes everything durable, and says so in the marks of the logs; then nothing is written any more.
    pub(crate) fn seal(&self) -> Result<()> {
        self.check()?;
        self.conclude_submitted();
        // Held across I/O: nobody acknowledges meanwhile.
        let marks = self.health.lock(&self.marks);
        let closed = marks.log().map_or(Ok(()), wal::Wal::close);
        closed
            .and(self.log.close())
            .map_err(|error| self.note(error.into()))
    }
}

/// The place that covers `position`.
fn place_of(view: &View<'_>, position: Position) -> usize {
    if position >= view.tail.first() {
        return view.slots.len();
    }
    let after = view
        .slots
        .partition_point(|slot| slot.entry().first <= position);
    after.saturating_sub(1)
}

/// Where in the list of `term` in place `nth` the event at `position` is; `None` if it is not there.
fn rank_of<'a>(
    view: &View<'a>,
    nth: usize,
    term: Term,
    position: Position,
) -> Result<Option<(u64, List<'a>)>, Miss> {
    let Some(list) = view.list(nth, term, position.next())? else {
        return Ok(None);
    };
    let rank = list.len() - 1;
    Ok((list.get(rank)? == position).then_some((rank, list)))
}
