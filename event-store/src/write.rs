//! The write path: decide, give positions, hand over to the log, wait.

use std::sync::Arc;

use crate::append::{Append, Appended};
use crate::decide::{Prepared, Verdict, decide};
use crate::error::{Error, Result};
use crate::ids::{Position, Version};
use crate::limits::tail_bound;
use crate::pending::Pending;
use crate::record::Place;
use crate::store::{Head, Store, add};
use crate::ticket::Answer;
use crate::view::{self, Miss};
use durable_io::SyncMode;

/// What deciding an append gives.
enum Step {
    InFlight(Arc<Pending>),
    /// Nothing is written; the answer rests on the event at this position.
    Rests(Result<Appended>, Position),
    /// The part with this number is needed first.
    Lost(u64),
}

impl Store {
    /// Appends, and waits until that is acknowledged.
    pub(crate) fn append(&self, append: &Append<'_>) -> Result<Appended> {
        loop {
            let appended = match self.start(append) {
                Ok(Answer::Known(appended)) => {
                    // Whoever appended it may still be about to.
                    self.project_inline();
                    Ok(appended)
                }
                Ok(Answer::InFlight(pending)) => self.wait(&pending),
                Err(error) => Err(error),
            };
            match appended {
                // What it was built on was refused, so it was, too: it is decided anew.
                Err(Error::Refused) => {}
                // Ending a stream works on a full disk, as far as the reserve reaches.
                Err(error)
                    if error.is_no_space()
                        && append.is_tombstone()
                        && self.release_reserve()? => {}
                other => return other,
            }
        }
    }

    /// Gives back some of what is held for a full disk; false if nothing is left.
    pub(crate) fn release_reserve(&self) -> Result<bool> {
        // Held across I/O: its size is known to one at a time.
        self.health
            .lock(&self.reserve)
            .release(0)
            .map_err(|error| self.note(error.into()))
    }

    /// Decides, and hands what is to be written to the log.
    pub(crate) fn start(&self, append: &Append<'_>) -> Result<Answer> {
        append.check()?;
        let mut prepared = Prepared::new(append, self.settings.key, &self.ids);
        let limit = wal::max_batch_size(self.settings.segment_size);
        if prepared.size() > limit {
            return Err(Error::too_large("append", prepared.size(), limit));
        }
        let now = || self.settings.clock.now();
        let timestamp = append.timestamp.unwrap_or_else(now);
        loop {
            self.check()?;
            self.bound_memory()?;
            match self.step(&mut prepared, timestamp)? {
                Step::InFlight(pending) => {
                    add(&self.counters.appends, 1);
                    add(
                        &self.counters.events,
                        pending.positions.end.0 - pending.positions.start.0,
                    );
                    return Ok(Answer::InFlight(pending));
                }
                Step::Lost(number) => self.restore(number)?,
                // What it rests on was refused itself: the answer may be another one now.
                Step::Rests(_, position) if !self.stands(position)? => {}
                Step::Rests(answer, _) => {
                    let repeated = u64::from(answer.is_ok());
                    add(&self.counters.repeated, repeated);
                    add(&self.counters.refused, 1 - repeated);
                    return answer.map(Answer::Known);
                }
            }
        }
    }

    fn step(&self, prepared: &mut Prepared<'_>, timestamp: u64) -> Result<Step> {
        // The serial section: what is decided here holds until the events are in their place.
        let mut head = self.health.lock(&self.head);
        let verdict = decide(&head.view(&self.log, self.settings.key), prepared);
        let places = match verdict {
            Ok(Verdict::Write(places)) => places,
            Ok(Verdict::Answer(answer, rests_on)) => return Ok(Step::Rests(answer, rests_on)),
            Err(Miss::Lost(number)) => return Ok(Step::Lost(number)),
            Err(Miss::Failed(error)) => return Err(error),
        };
        let first = head.tail.next();
        let mut versions = Vec::new();
        let submitted = self.put(&mut head, prepared, &places, timestamp, &mut versions);
        let ticket = match submitted {
            Ok(ticket) => ticket,
            Err(error) => {
                head.tail.truncate(first);
                return Err(self.note(error));
            }
        };
        let pending = Arc::new(Pending {
            ticket,
            positions: first..head.tail.next(),
            versions,
            expectation: head.expectation,
        });
        head.expectation = head.expectation.after(prepared.count());
        head.settle();
        head.in_flight.push_back(Arc::clone(&pending));
        Ok(Step::InFlight(pending))
    }

    /// Gives the records their places, and hands them to the log.
    fn put(
        &self,
        head: &mut Head,
        prepared: &mut Prepared<'_>,
        places: &[Option<(Version, Position)>],
        timestamp: u64,
        versions: &mut Vec<Version>,
    ) -> Result<wal::Ticket> {
        let count = prepared.count();
        let first = head.tail.next();
        let mut index = 0;
        for (to, place) in prepared.streams.iter_mut().zip(places) {
            let (mut version, mut previous) = place.unwrap_or((Version(0), Position(0)));
            if to.records.is_empty() {
                continue;
            }
            for record in &mut to.records {
                version = version.next();
                let position = head.tail.next();
                let place = Place {
                    version: version.0,
                    previous: previous.0,
                    timestamp,
                    index,
                    count,
                };
                place.put(record);
                head.tail
                    .push(view::decode(position, record.as_slice().into())?);
                previous = position;
                index += 1;
            }
            versions.push(version);
        }
        let records = prepared.streams.iter().flat_map(|to| &to.records);
        let payloads: Vec<&[u8]> = records.map(Vec::as_slice).collect();
        debug_assert_eq!(head.tail.next().0, first.0 + count);
        Ok(self.log.submit_at(head.expectation, &payloads)?)
    }

    /// Waits until `pending` is acknowledged.
    pub(crate) fn wait(&self, pending: &Arc<Pending>) -> Result<Appended> {
        let result = pending.ticket.wait();
        self.conclude(pending, result.map_err(Error::from))
    }

    /// What the log's `result` means for `pending`.
    pub(crate) fn conclude(
        &self,
        pending: &Arc<Pending>,
        result: Result<wal::Appended>,
    ) -> Result<Appended> {
        match result {
            Ok(_) => {
                self.acknowledge();
                self.project_inline();
                Ok(pending.appended())
            }
            Err(error) => {
                self.give_up(pending);
                Err(self.note(error))
            }
        }
    }

    /// Tells those who wait for events, and, in [`SyncMode::Batch`], whoever keeps the interval.
    fn acknowledge(&self) {
        let mut begins_to_wait = false;
        {
            let mut head = self.health.lock(&self.head);
            head.settle();
            if matches!(self.settings.sync_mode, SyncMode::Batch { .. }) {
                let is_durable = self.durable_end() >= self.acknowledged_end();
                begins_to_wait = !is_durable && head.waiting_since.is_none();
                if is_durable {
                    head.waiting_since = None;
                } else if begins_to_wait {
                    head.waiting_since = Some(self.disk.now());
                }
            }
            if head.tail.log_bytes() >= self.settings.index_interval {
                self.index_work.notify();
            }
        }
        if begins_to_wait {
            self.log_work.notify();
        }
        self.wake();
    }

    /// Returns to the last accepted state: the log has refused `pending`, and with it whatever was
    /// decided after it.
    fn give_up(&self, pending: &Pending) {
        let mut head = self.health.lock(&self.head);
        // Unless somebody has done so already, and others have been decided since.
        if head.expectation.refusals() == pending.expectation.refusals() {
            head.expectation = self.log.expectation();
            let end = Position(head.expectation.lsn().0);
            head.tail.truncate(end);
        }
        head.settle();
    }

    /// Waits until the event at `position`, on which an answer rests, is as safe as an acknowledged append;
    /// false if it was refused.
    fn stands(&self, position: Position) -> Result<bool> {
        let pending = {
            let head = self.health.lock(&self.head);
            let holds = |pending: &&Arc<Pending>| pending.positions.contains(&position);
            head.in_flight.iter().find(holds).map(Arc::clone)
        };
        if let Some(pending) = pending {
            match self.wait(&pending) {
                Ok(_) => {}
                Err(Error::Refused) => return Ok(false),
                Err(error) if error.is_no_space() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if position >= self.acknowledged_end() {
            // A failed sync came in between, or the refusal of what it was built on.
            self.check()?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Waits until what is not indexed is within its bound.
    fn bound_memory(&self) -> Result<()> {
        let bound = tail_bound(self.settings.index_interval);
        while self.health.lock(&self.head).tail.log_bytes() > bound {
            if !self.index_once()? {
                break;
            }
        }
        Ok(())
    }
}
