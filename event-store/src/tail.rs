//! [`Tail`]: the events that no part of the index covers yet, in memory.

use std::collections::VecDeque;

use crate::event::Event;
use crate::ids::Position;
use crate::term::{Key, Term, TermMap};

/// What an event costs beside its bytes: an entry of the list, and of the map for each of its terms.
const EVENT_OVERHEAD: u64 = 400;

/// The events after the indexed ones, in flight or not, with everything by which they are found.
#[derive(Debug)]
pub(crate) struct Tail {
    key: Key,
    first: Position,
    events: VecDeque<Event>,
    terms: TermMap<Postings>,
    /// What they take in the log.
    log_bytes: u64,
}

/// Ascending positions. Most terms have one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Postings {
    One(Position),
    Many(VecDeque<Position>),
}

impl Postings {
    fn push(&mut self, position: Position) {
        match self {
            Self::One(first) => *self = Self::Many([*first, position].into()),
            Self::Many(all) => all.push_back(position),
        }
    }

    /// Removes one end; true if nothing is left.
    fn pop(&mut self, last: bool) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many(all) => {
                if last {
                    all.pop_back();
                } else {
                    all.pop_front();
                }
                all.is_empty()
            }
        }
    }
}

impl Tail {
    /// No event; the next one is at `first`.
    pub(crate) fn new(key: Key, first: Position) -> Self {
        Self {
            key,
            first,
            events: VecDeque::new(),
            terms: TermMap::default(),
            log_bytes: 0,
        }
    }

    pub(crate) fn first(&self) -> Position {
        self.first
    }

    /// The position of the next event.
    pub(crate) fn next(&self) -> Position {
        Position(self.first.0 + self.events.len() as u64)
    }

    /// What its events take in the log.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// About what it takes in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.log_bytes + self.events.len() as u64 * EVENT_OVERHEAD
    }

    pub(crate) fn event(&self, position: Position) -> Option<&Event> {
        let at = usize::try_from(position.0.checked_sub(self.first.0)?);
        self.events.get(at.ok()?)
    }

    /// The event at the end of the log, which gets the next position.
    pub(crate) fn push(&mut self, event: Event) {
        debug_assert_eq!(event.position(), self.next());
        for term in all_terms(self.key, &event) {
            self.terms
                .entry(term)
                .and_modify(|postings| postings.push(event.position()))
                .or_insert(Postings::One(event.position()));
        }
        self.log_bytes += size(&event);
        self.events.push_back(event);
    }

    /// Gives up the events from `end` on: they were refused.
    pub(crate) fn truncate(&mut self, end: Position) {
        while self.next() > end {
            let Some(event) = self.events.pop_back() else {
                return;
            };
            self.forget(&event, true);
        }
    }

    /// Gives up the events before `first`: a part of the index covers them.
    pub(crate) fn begin_at(&mut self, first: Position) {
        while self.first < first {
            let Some(event) = self.events.pop_front() else {
                self.first = first;
                break;
            };
            self.first = self.first.next();
            self.forget(&event, false);
        }
        if self.events.is_empty() {
            self.terms.shrink_to_fit();
        }
        self.events.shrink_to(self.events.len() * 2);
    }

    fn forget(&mut self, event: &Event, last: bool) {
        self.log_bytes -= size(event);
        for term in all_terms(self.key, event) {
            if let Some(postings) = self.terms.get_mut(&term)
                && postings.pop(last)
            {
                self.terms.remove(&term);
            }
        }
    }

    /// The first events of streams that begin in memory.
    pub(crate) fn beginnings(&self) -> impl Iterator<Item = Position> {
        let is_first = |event: &&Event| event.previous().is_none();
        self.events.iter().filter(is_first).map(Event::position)
    }

    /// The `nth` event with `term`, from 0.
    pub(crate) fn posting(&self, term: Term, nth: usize) -> Option<Position> {
        match self.terms.get(&term)? {
            Postings::One(position) => (nth == 0).then_some(*position),
            Postings::Many(all) => all.get(nth).copied(),
        }
    }

    /// How many of the events with `term` are before `position`.
    pub(crate) fn rank(&self, term: Term, position: Position) -> usize {
        match self.terms.get(&term) {
            None => 0,
            Some(Postings::One(only)) => usize::from(*only < position),
            Some(Postings::Many(all)) => all.partition_point(|&other| other < position),
        }
    }
}

fn all_terms(key: Key, event: &Event) -> impl Iterator<Item = Term> {
    [key.stream(event)].into_iter().chain(key.others(event))
}

/// What an event takes in the log.
pub(crate) fn size(event: &Event) -> u64 {
    /// The header of a record of the log.
    const RECORD_HEADER: u64 = 8;
    event.bytes().len() as u64 + RECORD_HEADER
}
