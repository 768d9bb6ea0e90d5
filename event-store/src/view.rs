//! [`View`]: the index as a whole, parts and memory; by what events are found.

use std::sync::Arc;

use wal::{Location, Lsn, Wal};

use crate::error::{Corruption, Error, Result};
use crate::event::Event;
use crate::ids::{EventId, Position, Version};
use crate::list::Entry;
use crate::part::{Part, Postings};
use crate::tail::Tail;
use crate::term::{About, Key, Term};

/// The place of a part.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Ready(Arc<Part>),
    /// It is missing or damaged, and must be made again before its events can be found.
    Lost(Entry),
}

impl Slot {
    pub(crate) fn entry(&self) -> Entry {
        match self {
            Self::Ready(part) => part.header().entry,
            Self::Lost(entry) => *entry,
        }
    }
}

/// Why something was not found out.
#[derive(Debug)]
pub(crate) enum Miss {
    Failed(Error),
    /// The part with this number is needed first.
    Lost(u64),
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The last event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamHead {
    pub(crate) version: Version,
    pub(crate) last: Position,
    pub(crate) is_ended: bool,
}

/// Where an event is.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Here(Event),
    At(Location),
}

/// All that is indexed, at one moment.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) log: &'a Wal,
    pub(crate) key: Key,
    pub(crate) slots: &'a [Slot],
    /// What is in it is not looked for in the parts, which may have it already.
    pub(crate) tail: &'a Tail,
    /// A lost part is read from the log instead.
    pub(crate) scans: bool,
}

/// The events of a term in one part, or in memory; those before the end that was asked for.
pub(crate) enum List<'a> {
    Part {
        number: u64,
        postings: Postings<'a>,
        len: u64,
    },
    Memory {
        tail: &'a Tail,
        term: Term,
        len: u64,
    },
    /// Read from the log.
    Scanned(Vec<Event>),
}

impl List<'_> {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Part { len, .. } | Self::Memory { len, .. } => *len,
            Self::Scanned(events) => events.len() as u64,
        }
    }

    pub(crate) fn get(&self, nth: u64) -> Result<Position, Miss> {
        match self {
            Self::Part {
                number, postings, ..
            } => postings.get(nth).map_err(|_damage| Miss::Lost(*number)),
            Self::Memory { tail, term, .. } => Ok(tail
                .posting(*term, in_memory(nth))
                .expect("a term has as many events as it counts")),
            Self::Scanned(events) => Ok(events
                .get(in_memory(nth))
                .expect("a term has as many events as it counts")
                .position()),
        }
    }

    /// How many are before `position`.
    pub(crate) fn rank(&self, position: Position) -> Result<u64, Miss> {
        match self {
            Self::Part {
                number,
                postings,
                len,
            } => {
                let rank = postings.rank(position);
                Ok(rank.map_err(|_damage| Miss::Lost(*number))?.min(*len))
            }
            Self::Memory { tail, term, len } => Ok((tail.rank(*term, position) as u64).min(*len)),
            Self::Scanned(events) => {
                Ok(events.partition_point(|event| event.position() < position) as u64)
            }
        }
    }

    pub(crate) fn contains(&self, position: Position) -> Result<bool, Miss> {
        let rank = self.rank(position)?;
        Ok(rank < self.len() && self.get(rank)? == position)
    }

    /// The version of the first event, of a stream.
    pub(crate) fn first_version(&self) -> Result<u64, Miss> {
        match self {
            Self::Part {
                number, postings, ..
            } => postings
                .first_version()
                .map_err(|_damage| Miss::Lost(*number)),
            Self::Memory { tail, .. } => {
                let first = tail.event(self.get(0)?);
                let first = first.expect("the events of a term in memory are in memory");
                Ok(first.version().0)
            }
            Self::Scanned(events) => {
                let first = events.first().expect("a list has an event");
                Ok(first.version().0)
            }
        }
    }
}

impl<'a> View<'a> {
    /// How many places there are to look at: the parts, and the memory after them.
    pub(crate) fn places(&self) -> usize {
        self.slots.len() + 1
    }

    /// The events that place `nth` covers, first and last.
    pub(crate) fn covered(&self, nth: usize) -> (Position, Position) {
        match self.slots.get(nth) {
            Some(slot) => (slot.entry().first, slot.entry().last),
            None => (self.tail.first(), self.tail.next().previous()),
        }
    }

    /// The events with `term` in place `nth`, those before `end`.
    pub(crate) fn list(
        &self,
        nth: usize,
        term: Term,
        end: Position,
    ) -> Result<Option<List<'a>>, Miss> {
        let list = match self.slots.get(nth) {
            None => {
                let tail = self.tail;
                let len = tail.rank(term, end) as u64;
                List::Memory { tail, term, len }
            }
            Some(Slot::Lost(entry)) => {
                let has = |event: &Event| {
                    self.key.stream(event) == term || self.key.others(event).contains(&term)
                };
                let end = end.min(self.tail.first());
                List::Scanned(self.scan(entry, (entry.first, end), has)?)
            }
            Some(Slot::Ready(part)) => {
                let Entry { number, last, .. } = part.header().entry;
                let found = part.find(term).map_err(|_damage| Miss::Lost(number))?;
                let Some(postings) = found else {
                    return Ok(None);
                };
                let end = end.min(self.tail.first());
                let len = if end > last {
                    postings.len()
                } else {
                    let rank = postings.rank(end);
                    rank.map_err(|_damage| Miss::Lost(number))?
                };
                List::Part {
                    number,
                    postings,
                    len,
                }
            }
        };
        Ok((list.len() > 0).then_some(list))
    }

    /// The events of the lost part `entry` within `range` that `has` says, from the log.
    fn scan(
        &self,
        entry: &Entry,
        (first, end): (Position, Position),
        has: impl Fn(&Event) -> bool,
    ) -> Result<Vec<Event>, Miss> {
        if !self.scans {
            return Err(Miss::Lost(entry.number));
        }
        let end = end.min(entry.last.next());
        let mut found = Vec::new();
        let mut records = self.log.records(Lsn(first.0));
        while let Some((location, payload)) = records.read().map_err(Error::from)? {
            let position = Position(location.lsn().0);
            if position >= end {
                break;
            }
            let event = decode(position, payload.into())?;
            if has(&event) {
                found.push(event);
            }
        }
        Ok(found)
    }

    /// Where the event at `position` is; it must be in the log.
    pub(crate) fn locate(&self, position: Position) -> Result<Found, Miss> {
        if position >= self.tail.first() {
            let event = self.tail.event(position).cloned();
            return event
                .map(Found::Here)
                .ok_or_else(|| missing(position).into());
        }
        let after = self
            .slots
            .partition_point(|slot| slot.entry().first <= position);
        match after.checked_sub(1).and_then(|nth| self.slots.get(nth)) {
            None => Err(missing(position).into()),
            Some(Slot::Lost(entry)) => {
                let found = self.scan(entry, (position, position.next()), |_| true)?;
                let event = found.into_iter().next().map(Found::Here);
                event.ok_or_else(|| missing(position).into())
            }
            Some(Slot::Ready(part)) => {
                let location = part.location(position);
                let lost = |_damage| Miss::Lost(part.header().entry.number);
                Ok(Found::At(location.map_err(lost)?))
            }
        }
    }

    /// The event at `position`, which must be in the log.
    pub(crate) fn event(&self, position: Position) -> Result<Event, Miss> {
        Ok(read(self.log, self.locate(position)?)?)
    }

    /// The last event before `end` of the stream with `term`.
    pub(crate) fn stream_head(
        &self,
        term: Term,
        end: Position,
    ) -> Result<Option<StreamHead>, Miss> {
        for nth in (0..self.places()).rev() {
            let Some(list) = self.list(nth, term, end)? else {
                continue;
            };
            let last = list.get(list.len() - 1)?;
            let version = Version(list.first_version()? + list.len() - 1);
            let is_ended = match &list {
                List::Part { postings, len, .. } => *len == postings.len() && postings.is_ended(),
                List::Memory { tail, .. } => tail.event(last).is_some_and(Event::is_tombstone),
                List::Scanned(events) => events.last().is_some_and(Event::is_tombstone),
            };
            return Ok(Some(StreamHead {
                version,
                last,
                is_ended,
            }));
        }
        Ok(None)
    }

    /// The last event before `end` with `term`.
    pub(crate) fn last_with(&self, term: Term, end: Position) -> Result<Option<Position>, Miss> {
        for nth in (0..self.places()).rev() {
            if let Some(list) = self.list(nth, term, end)? {
                return list.get(list.len() - 1).map(Some);
            }
        }
        Ok(None)
    }

    /// The event with `id`.
    pub(crate) fn with_id(&self, id: EventId) -> Result<Option<Position>, Miss> {
        self.last_with(self.key.term(About::Id(&id.0)), Position(u64::MAX))
    }

    /// Up to `max` positions of the stream with `term`, from version `from` on, of events before `end`.
    pub(crate) fn stream_forward(
        &self,
        term: Term,
        from: Version,
        end: Position,
        max: usize,
    ) -> Result<Vec<Position>, Miss> {
        let mut found = Vec::new();
        for nth in 0..self.places() {
            let Some(list) = self.list(nth, term, end)? else {
                continue;
            };
            let skip = from.0.saturating_sub(list.first_version()?);
            for nth in skip..list.len() {
                if found.len() == max {
                    return Ok(found);
                }
                found.push(list.get(nth)?);
            }
        }
        Ok(found)
    }

    /// Up to `max` positions of the stream with `term`, from version `from` down, of events before `end`.
    pub(crate) fn stream_backward(
        &self,
        term: Term,
        from: Version,
        end: Position,
        max: usize,
    ) -> Result<Vec<Position>, Miss> {
        let mut found = Vec::new();
        for nth in (0..self.places()).rev() {
            let Some(list) = self.list(nth, term, end)? else {
                continue;
            };
            let below = from.next().0.saturating_sub(list.first_version()?);
            for nth in (0..list.len().min(below)).rev() {
                if found.len() == max {
                    return Ok(found);
                }
                found.push(list.get(nth)?);
            }
        }
        Ok(found)
    }

    /// The first events of streams from `from` on and before `end`, of some of them; and where to continue.
    pub(crate) fn stream_beginnings(
        &self,
        from: Position,
        end: Position,
    ) -> Result<(Vec<Position>, Position), Miss> {
        let mut found = Vec::new();
        for nth in 0..self.places() {
            let (_, last) = self.covered(nth);
            if last < from {
                continue;
            }
            match self.slots.get(nth) {
                Some(Slot::Lost(entry)) => {
                    let is_first = |event: &Event| event.previous().is_none();
                    let events = self.scan(entry, (entry.first, last.next()), is_first)?;
                    found.extend(events.iter().map(Event::position));
                }
                Some(Slot::Ready(part)) => {
                    let number = part.header().entry.number;
                    let all = part.beginnings().map_err(|_damage| Miss::Lost(number))?;
                    found.extend(all);
                    found.sort_unstable();
                }
                None => found.extend(self.tail.beginnings()),
            }
            found.retain(|position| *position >= from && *position < end);
            return Ok((found, last.next()));
        }
        Ok((found, end))
    }
}

/// `nth` as an index of what is in memory.
fn in_memory(nth: u64) -> usize {
    usize::try_from(nth).expect("it is below a count of what is in memory")
}

/// The event that was found.
pub(crate) fn read(log: &Wal, found: Found) -> Result<Event> {
    match found {
        Found::Here(event) => Ok(event),
        Found::At(location) => {
            let record = log.read(location)?;
            decode(Position(record.lsn.0), record.payload.into())
        }
    }
}

/// The event in `bytes`, the record at `position`.
pub(crate) fn decode(position: Position, bytes: Arc<[u8]>) -> Result<Event> {
    Event::decode(position, bytes).map_err(|_malformed| not_an_event(position))
}

fn not_an_event(position: Position) -> Error {
    let reason = Corruption::Record { position };
    Error::corrupt(std::path::Path::new(crate::names::EVENTS), 0, reason)
}

fn missing(position: Position) -> Error {
    Error::Diverged { position }
}
