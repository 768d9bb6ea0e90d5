//! The events that operations append, and all of a store's events, read in every way.

use std::collections::BTreeMap;

use crashtest::content::{identify, payload};
use durable_io::sim::Outcome;
use event_store::{Append, Event, EventStore, Expected, NewEvent, Position, Query, Version};

use super::{Op, Record};

/// An event that an operation appends.
#[derive(Clone)]
pub(super) struct Draft {
    stream: String,
    kind: &'static str,
    tag: &'static str,
    payload: Vec<u8>,
    id: u128,
}

impl Draft {
    fn new(n: u64, index: usize, stream: &str, kind: &'static str, tag: &'static str) -> Self {
        Self {
            stream: stream.to_owned(),
            kind,
            tag,
            payload: Vec::new(),
            id: u128::from(n) << 8 | index as u128,
        }
    }

    /// The same event, which says something else.
    pub(super) fn changed(&self) -> Self {
        let mut changed = self.clone();
        changed.payload.push(0);
        changed
    }
}

/// What comes too late while the events of operation `n` are in flight.
pub(super) fn late(n: u64) -> Draft {
    Draft {
        payload: payload(n, LATE, 20),
        ..Draft::new(n, LATE, "s-2", "Late", "t")
    }
}

/// Its number among the events of that operation.
pub(super) const LATE: usize = 2;

/// The events of operation `n`, whose type says what it was.
pub(super) fn drafts(op: Op, n: u64) -> Vec<Draft> {
    let draft = |index: usize, stream: &str, kind, tag, len| Draft {
        payload: payload(n, index, len),
        ..Draft::new(n, index, stream, kind, tag)
    };
    match op {
        Op::Append | Op::Project => vec![draft(0, "s-1", "Append", "t", 20)],
        Op::AppendNew => vec![draft(0, &format!("new-{n}"), "AppendNew", "n", 1100)],
        Op::AppendTwo => vec![
            draft(0, "s-1", "AppendTwo", "t", 200),
            draft(1, "s-1", "AppendTwo", "u", 150),
            draft(2, "s-2", "AppendTwo", "t", 180),
        ],
        Op::Tombstone => vec![draft(0, "ended", "Ended", "e", 24)],
        Op::Conditional => vec![draft(0, "c", "Conditional", "c", 24)],
        Op::InFlight => vec![
            draft(0, "s-2", "First", "t", 1100),
            draft(1, "s-2", "Second", "t", 40),
        ],
        _ => Vec::new(),
    }
}

/// How many of them are in `stream`.
pub(super) fn count_in(stream: &str, op: Op, n: u64) -> u64 {
    let drafts = drafts(op, n);
    let there = drafts.iter().filter(|draft| draft.stream == stream);
    there.count() as u64
}

pub(super) fn append(drafts: &[Draft], expected: Expected) -> Append<'_> {
    let mut append = Append::new();
    for together in drafts.chunk_by(|one, other| one.stream == other.stream) {
        let events = together.iter().map(|draft| {
            NewEvent::new(draft.kind, &draft.payload)
                .id(draft.id)
                .tag(draft.tag)
        });
        let stream = together.first().map_or("", |draft| &draft.stream);
        append = append.stream(stream, expected, events);
    }
    append
}

/// Every record, each checked against all other ways to read it.
pub(super) fn records(store: &EventStore) -> Outcome<Vec<Record>> {
    let mut streams: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for name in store.streams() {
        let name = name?;
        let forward = store.read_stream(&name, Version(1));
        let events = forward.collect::<event_store::Result<Vec<_>>>()?;
        let backward = store.read_stream_backward(&name, Version(u64::MAX));
        let mut backward = backward.collect::<event_store::Result<Vec<_>>>()?;
        backward.reverse();
        if backward != events {
            return Err(format!("stream {name} is {events:?}, backward {backward:?}").into());
        }
        let info = store.stream_info(&name)?;
        let found = info.map(|info| (info.version.0, info.is_ended));
        let is_ended = events.last().is_some_and(Event::is_tombstone);
        if found != Some((events.len() as u64, is_ended)) {
            return Err(format!("stream {name} is {events:?}, and {found:?} is said of it").into());
        }
        for (event, version) in events.iter().zip(1..) {
            if event.version() != Version(version) || event.stream() != name {
                return Err(format!("{event:?} is version {version} of {name}").into());
            }
        }
        streams.insert(name, events);
    }
    let mut all: Vec<Event> = streams.into_values().flatten().collect();
    all.sort_by_key(Event::position);
    let mut found = Vec::with_capacity(all.len());
    for (event, position) in all.iter().zip(1..) {
        if event.position() != Position(position) {
            return Err(format!("{event:?} is at position {position}").into());
        }
        found.push(match identify(event.payload()) {
            Some((n, index)) => Record::Event(n, index),
            None if event.is_tombstone() => Record::Tombstone,
            None => return Err(format!("{event:?} was written by nobody").into()),
        });
    }
    let durable = store.read_all(Position(1));
    let durable = durable.collect::<event_store::Result<Vec<_>>>()?;
    if all.get(..durable.len()) != Some(&durable) {
        return Err(format!("{all:?} is in the streams, but {durable:?} in all").into());
    }
    let tagged = store.query(Query::new().tags(["t"]), Position(1));
    let tagged = tagged.collect::<event_store::Result<Vec<_>>>()?;
    if !durable
        .iter()
        .filter(|event| event.tags().any(|tag| tag == "t"))
        .eq(&tagged)
    {
        return Err(format!("{durable:?} has tag t in {tagged:?}").into());
    }
    Ok(found)
}
