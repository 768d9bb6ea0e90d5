//! What the tests share: options for small stores, and a model of what a store holds.

pub(crate) mod seen;

use std::collections::BTreeMap;

use event_store::{
    Append, Background, Event, EventStore, Expected, NewEvent, Options, Position, Query, SyncMode,
    Version,
};
use tempfile::TempDir;

/// Small: a few events fill a segment, and an index part.
pub(crate) fn options() -> Options {
    Options::new()
        .segment_size(8192)
        .index_interval(1500)
        .reserve(0)
        .background(Background::Inline)
        .sync(SyncMode::Manual)
        .clock(|| 7)
}

/// A directory in memory where the system has one.
pub(crate) fn fast_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The seed of a random test: `SEED` from the environment, or a fixed one.
pub(crate) fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => 1,
    }
}

/// Runs background work until there is none.
pub(crate) fn settle(store: &EventStore) {
    while store.run_background().unwrap() {}
}

/// An event of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expectation {
    pub(crate) id: u128,
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) kind: String,
    pub(crate) tags: Vec<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) is_tombstone: bool,
}

impl Expectation {
    fn is(&self, event: &Event) -> bool {
        event.stream() == self.stream
            && event.version() == Version(self.version)
            && event.kind() == self.kind
            && event.tags().eq(self.tags.iter().map(String::as_str))
            && event.payload() == self.payload
            && event.is_tombstone() == self.is_tombstone
            && (self.is_tombstone || event.id() == self.id.into())
    }
}

/// All events in the order of their positions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) events: Vec<Expectation>,
}

impl Model {
    pub(crate) fn stream(&self, name: &str) -> Vec<&Expectation> {
        self.events
            .iter()
            .filter(|event| event.stream == name)
            .collect()
    }

    pub(crate) fn version(&self, name: &str) -> u64 {
        self.stream(name).len() as u64
    }

    pub(crate) fn is_ended(&self, name: &str) -> bool {
        self.stream(name)
            .last()
            .is_some_and(|last| last.is_tombstone)
    }

    pub(crate) fn push(&mut self, mut event: Expectation) {
        event.version = self.version(&event.stream) + 1;
        self.events.push(event);
    }

    fn matching(&self, matches: impl Fn(&Expectation) -> bool) -> Vec<u64> {
        let all = self.events.iter().zip(1..);
        all.filter(|(event, _)| matches(event))
            .map(|(_, position)| position)
            .collect()
    }
}

/// The store holds exactly `model`, by every way of reading.
pub(crate) fn assert_holds(store: &EventStore, model: &Model) {
    let all: Vec<Event> = store.read_all(Position(1)).map(Result::unwrap).collect();
    assert_eq!(all.len(), model.events.len());
    for ((event, expected), position) in all.iter().zip(&model.events).zip(1..) {
        assert!(expected.is(event), "{expected:?} is {event:?}");
        assert_eq!(event.position(), Position(position));
    }
    let last = Position(u64::MAX - 1);
    let backward = store.read_all_backward(last).map(Result::unwrap);
    assert!(backward.eq(all.iter().rev().cloned()));
    let mut streams: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    let mut names = Vec::new();
    for event in &all {
        let of = streams.entry(event.stream()).or_insert_with(|| {
            names.push(event.stream());
            Vec::new()
        });
        of.push(event);
    }
    let listed: Vec<String> = store.streams().map(Result::unwrap).collect();
    assert_eq!(listed, names);
    for (name, events) in streams {
        assert_stream(store, name, &events);
    }
    assert_eq!(store.stream_info("never").unwrap(), None);
    assert_queries(store, model);
    let verified = store.verify().unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    assert_eq!(verified.events, all.len() as u64);
}

fn assert_stream(store: &EventStore, name: &str, events: &[&Event]) {
    let last = events.len() as u64;
    for from in [0, 1, 2, last / 2, last, last + 1] {
        let forward = store.read_stream(name, Version(from)).map(Result::unwrap);
        let skip = usize::try_from(from.saturating_sub(1)).unwrap();
        assert!(
            forward.eq(events.iter().skip(skip).copied().cloned()),
            "{name} from {from}"
        );
        let backward = store
            .read_stream_backward(name, Version(from))
            .map(Result::unwrap);
        let take = usize::try_from(from).unwrap();
        let expected = events.iter().take(take).rev().copied().cloned();
        assert!(backward.eq(expected), "{name} down from {from}");
    }
    let info = store.stream_info(name).unwrap().unwrap();
    assert_eq!(info.version, Version(last));
    let event = events.last().unwrap();
    assert_eq!(info.last, event.position());
    assert_eq!(info.is_ended, event.is_tombstone());
    assert_eq!(store.last_event(name).unwrap().as_ref(), Some(*event));
}

fn assert_queries(store: &EventStore, model: &Model) {
    let found = |query: &Query, from| -> Vec<u64> {
        let events = store.query(query.clone(), Position(from));
        events.map(|event| event.unwrap().position().0).collect()
    };
    let half = model.events.len() as u64 / 2;
    let has = |event: &Expectation, tag: &str| event.tags.iter().any(|other| other == tag);
    for from in [1, half, half * 2 + 1] {
        let check = |query: Query, matches: &dyn Fn(&Expectation) -> bool| {
            let mut expected = model.matching(matches);
            expected.retain(|position| *position >= from);
            assert_eq!(found(&query, from), expected, "{query:?} from {from}");
        };
        check(Query::new().kinds(["A"]), &|event| event.kind == "A");
        check(Query::new().kinds(["A", "B"]), &|event| {
            event.kind == "A" || event.kind == "B"
        });
        check(Query::new().tags(["x"]), &|event| has(event, "x"));
        check(Query::new().tags(["x", "y"]), &|event| {
            has(event, "x") && has(event, "y")
        });
        check(Query::new().category("s"), &|event| {
            event.stream.starts_with("s-")
        });
        check(
            Query::new().category("s").kinds(["B"]).or().tags(["y"]),
            &|event| (event.stream.starts_with("s-") && event.kind == "B") || has(event, "y"),
        );
        check(Query::new().kinds(["never"]), &|_| false);
        check(Query::new().kinds(["never"]).or(), &|_| true);
    }
}

/// Appends one event of type `kind` to `stream`.
pub(crate) fn put(store: &EventStore, stream: &str, kind: &str, id: u128) -> u64 {
    let event = NewEvent::new(kind, b"payload").id(id);
    let appended = store.append(stream, Expected::Any, [event]).unwrap();
    appended.positions.start.0
}

/// An append of one event.
pub(crate) fn one<'a>(stream: &'a str, expected: Expected, event: NewEvent<'a>) -> Append<'a> {
    Append::new().stream(stream, expected, [event])
}
