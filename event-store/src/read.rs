//! Reading: what the handle gives out, as iterators.

use std::collections::VecDeque;
use std::sync::Arc;

use wal::{Lsn, Records};

use crate::error::Result;
use crate::event::Event;
use crate::ids::{Position, Version};
use crate::query::Query;
use crate::store::Store;
use crate::term::{About, Term};
use crate::view::{self, Found, Miss, View};

/// How many events are looked up at a time.
const CHUNK: usize = 64;

/// Durable events in the order of their positions, those that a query means.
#[derive(Debug)]
pub(crate) struct Feed {
    query: Query,
    /// The event to look at next.
    next: Position,
    buffer: VecDeque<Event>,
    /// The log, as it is read from `next` on.
    records: Option<Records>,
}

impl Feed {
    pub(crate) fn new(query: Query, from: Position) -> Self {
        Self {
            query,
            next: from.max(Position(1)),
            buffer: VecDeque::new(),
            records: None,
        }
    }

    /// The next event that is meant, before `end`; all before that are durable.
    pub(crate) fn next(&mut self, store: &Store, end: Position) -> Result<Option<Event>> {
        if let Some(event) = self.buffer.pop_front() {
            return Ok(Some(event));
        }
        if self.query.is_everything() {
            return self.next_of_all(store, end);
        }
        while self.next < end {
            let found = store.with_view(|view| {
                let found = view.matches(&self.query, self.next, end, CHUNK)?;
                locate(view, &found)
            })?;
            let is_all = found.len() < CHUNK;
            for found in found {
                self.buffer.push_back(view::read(&store.log, found)?);
            }
            self.next = match self.buffer.back() {
                Some(last) if !is_all => last.position().next(),
                _ => end,
            };
            if let Some(event) = self.buffer.pop_front() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn next_of_all(&mut self, store: &Store, end: Position) -> Result<Option<Event>> {
        while self.next < end {
            if let Some(records) = &mut self.records
                && let Some((location, payload)) = records.read()?
            {
                let event = view::decode(Position(location.lsn().0), payload.into())?;
                self.next = event.position().next();
                return Ok(Some(event));
            }
            self.records = None;
            if self.fill_from_memory(store, end) {
                return Ok(self.buffer.pop_front());
            }
            self.records = Some(store.log.records(Lsn(self.next.0)));
        }
        Ok(None)
    }

    /// Takes events that are in memory; false if the next one is not.
    fn fill_from_memory(&mut self, store: &Store, end: Position) -> bool {
        let head = store.health.lock(&store.head);
        while self.buffer.len() < CHUNK && self.next < end {
            let Some(event) = head.tail.event(self.next) else {
                break;
            };
            self.buffer.push_back(event.clone());
            self.next = self.next.next();
        }
        !self.buffer.is_empty()
    }
}

fn locate(view: &View<'_>, positions: &[Position]) -> Result<Vec<Found>, Miss> {
    positions
        .iter()
        .map(|&position| view.locate(position))
        .collect()
}

/// Events in the order of their positions. Made by
/// [`EventStore::read_all`](crate::EventStore::read_all) and [`EventStore::query`](crate::EventStore::query).
///
/// Holds no lock. After an error nothing follows.
#[derive(Debug)]
pub struct Events {
    store: Arc<Store>,
    feed: Feed,
    end: Position,
    has_failed: bool,
}

impl Events {
    pub(crate) fn new(store: &Arc<Store>, query: Query, from: Position) -> Self {
        Self {
            end: store.durable_end(),
            feed: Feed::new(query, from),
            store: Arc::clone(store),
            has_failed: false,
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let next = self.feed.next(&self.store, self.end).transpose();
        self.has_failed = matches!(next, Some(Err(_)));
        next
    }
}

/// Events, the last one first. Made by
/// [`EventStore::read_all_backward`](crate::EventStore::read_all_backward).
#[derive(Debug)]
pub struct Backward {
    store: Arc<Store>,
    /// The event after the next one.
    end: Position,
}

impl Backward {
    pub(crate) fn new(store: &Arc<Store>, from: Position) -> Self {
        Self {
            end: store.durable_end().min(from.next()),
            store: Arc::clone(store),
        }
    }
}

impl Iterator for Backward {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.end <= Position(1) {
            return None;
        }
        let position = self.end.previous();
        let event = self.store.event(position);
        self.end = if event.is_ok() { position } else { Position(0) };
        Some(event)
    }
}

/// Events of one stream. Made by [`EventStore::read_stream`](crate::EventStore::read_stream) and
/// [`EventStore::read_stream_backward`](crate::EventStore::read_stream_backward).
///
/// Holds no lock. After an error nothing follows.
#[derive(Debug)]
pub struct StreamEvents {
    store: Arc<Store>,
    term: Term,
    /// The version to give out next; `None` at the end.
    next: Option<Version>,
    is_backward: bool,
    end: Position,
    buffer: VecDeque<Found>,
    /// How many are looked up next.
    chunk: usize,
}

impl StreamEvents {
    pub(crate) fn new(store: &Arc<Store>, stream: &str, from: Version, is_backward: bool) -> Self {
        Self {
            term: store.settings.key.term(About::Stream(stream)),
            next: Some(from),
            is_backward,
            end: store.acknowledged_end(),
            buffer: VecDeque::new(),
            store: Arc::clone(store),
            chunk: CHUNK / 4,
        }
    }

    fn fill(&mut self) -> Result<()> {
        let Some(next) = self.next.take() else {
            return Ok(());
        };
        let (term, end, chunk) = (self.term, self.end, self.chunk);
        let found = self.store.with_view(|view| {
            let positions = if self.is_backward {
                view.stream_backward(term, next, end, chunk)?
            } else {
                view.stream_forward(term, next.max(Version(1)), end, chunk)?
            };
            locate(view, &positions)
        })?;
        if found.len() == chunk {
            let n = chunk as u64;
            self.next = if self.is_backward {
                // There may be fewer than `next` of them.
                None
            } else {
                Some(Version(next.max(Version(1)).0 + n))
            };
            self.chunk = CHUNK;
        }
        self.buffer.extend(found);
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Event>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        let Some(found) = self.buffer.pop_front() else {
            return Ok(None);
        };
        let event = view::read(&self.store.log, found)?;
        if self.is_backward && self.buffer.is_empty() && event.version() > Version(1) {
            self.next = Some(Version(event.version().0 - 1));
        }
        Ok(Some(event))
    }
}

impl Iterator for StreamEvents {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read();
        if next.is_err() {
            self.next = None;
            self.buffer.clear();
        }
        next.transpose()
    }
}

/// A stream, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// Its last version: how many events it has, with the tombstone.
    pub version: Version,
    /// The place of its last event.
    pub last: Position,
    /// True if it was ended.
    pub is_ended: bool,
}

/// Names of streams in the order in which they began. Made by
/// [`EventStore::streams`](crate::EventStore::streams).
#[derive(Debug)]
pub struct Streams {
    store: Arc<Store>,
    /// After the last first event that was given out.
    next: Position,
    end: Position,
    buffer: VecDeque<Found>,
}

impl Streams {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self {
            end: store.acknowledged_end(),
            store: Arc::clone(store),
            next: Position(1),
            buffer: VecDeque::new(),
        }
    }

    fn read(&mut self) -> Result<Option<String>> {
        if self.buffer.is_empty() && self.next < self.end {
            let (from, end) = (self.next, self.end);
            let (found, next) = self.store.with_view(|view| {
                let (found, next) = view.stream_beginnings(from, end)?;
                Ok((locate(view, &found)?, next))
            })?;
            self.buffer.extend(found);
            self.next = next;
            return self.read();
        }
        match self.buffer.pop_front() {
            Some(found) => {
                let event = view::read(&self.store.log, found)?;
                Ok(Some(event.stream().to_owned()))
            }
            None => Ok(None),
        }
    }
}

impl Iterator for Streams {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read();
        if next.is_err() {
            self.next = self.end;
            self.buffer.clear();
        }
        next.transpose()
    }
}

impl Store {
    /// The event at `position`, which is in the log.
    pub(crate) fn event(&self, position: Position) -> Result<Event> {
        let found = self.with_view(|view| view.locate(position))?;
        view::read(&self.log, found)
    }
}
