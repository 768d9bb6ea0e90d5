//! Histories of conditional appends under threads are serializable: the log itself is the order, and each
//! answer is what it says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use event_store::{
    Append, Appended, Background, Condition, Error, Event, EventStore, Expected, NewEvent,
    Position, Query, SyncMode, Version,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{fast_dir, options, seed};

/// What one call asked for, and what it was told.
struct Call {
    stream: String,
    expected: Expected,
    condition: Option<(String, u64)>,
    id: u128,
    answer: Result<Appended, Error>,
}

fn one_call(store: &EventStore, rng: &mut StdRng, id: u128) -> Call {
    let stream = format!("s-{}", rng.random_range(0..3));
    let version = store
        .stream_info(&stream)
        .unwrap()
        .map_or(0, |info| info.version.0);
    let expected = match rng.random_range(0..4) {
        0 => Expected::Any,
        1 => Expected::StreamExists,
        _ => Expected::Exactly(Version(version)),
    };
    let tag = format!("t-{}", rng.random_range(0..3));
    let condition = (rng.random_range(0..2) == 0).then(|| {
        let after = store.stats().last.0.saturating_sub(rng.random_range(0..3));
        (tag.clone(), after)
    });
    let event = NewEvent::new("A", b"payload").id(id).tag(&tag);
    let mut append = Append::new().stream(&stream, expected, [event]);
    if let Some((tag, after)) = &condition {
        let query = Query::new().tags([tag.as_str()]);
        append = append.condition(Condition::new(query, Position(*after)));
    }
    let answer = store.write(&append);
    Call {
        stream,
        expected,
        condition,
        id,
        answer,
    }
}

/// What the log says of the versions of streams, and of tags, before a position.
struct Log(Vec<Event>);

impl Log {
    fn version_before(&self, stream: &str, position: u64) -> u64 {
        let before = self
            .0
            .iter()
            .take_while(|event| event.position().0 < position);
        before.filter(|event| event.stream() == stream).count() as u64
    }

    fn has_tag_within(&self, tag: &str, after: u64, before: u64) -> bool {
        self.0.iter().any(|event| {
            let position = event.position().0;
            position > after && position < before && event.tags().any(|other| other == tag)
        })
    }

    fn check(&self, call: &Call) {
        let is_met = |version| match call.expected {
            Expected::Any => true,
            Expected::NoStream => version == 0,
            Expected::StreamExists => version > 0,
            Expected::Exactly(expected) => version == expected.0,
        };
        let end = self.0.len() as u64 + 1;
        match &call.answer {
            Ok(appended) => {
                let position = appended.positions.start.0;
                let event = &self.0[usize::try_from(position).unwrap() - 1];
                assert_eq!(
                    (event.id(), event.stream()),
                    (call.id.into(), &*call.stream)
                );
                let version = self.version_before(&call.stream, position);
                assert!(is_met(version), "an expectation was passed over");
                assert_eq!(event.version(), Version(version + 1));
                if let Some((tag, after)) = &call.condition {
                    assert!(
                        !self.has_tag_within(tag, *after, position),
                        "a condition was passed over"
                    );
                }
            }
            Err(Error::WrongVersion { actual, .. }) => {
                assert!(!is_met(actual.0));
                assert!(actual.0 <= self.version_before(&call.stream, end));
            }
            Err(Error::ConditionFailed { position }) => {
                let (tag, after) = call.condition.as_ref().unwrap();
                assert!(self.has_tag_within(tag, *after, position.0 + 1));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn history(mode: SyncMode) {
    let dir = fast_dir();
    let options = options()
        .sync(mode)
        .segment_size(64 << 10)
        .background(Background::Threads);
    let store = options.clone().open(dir.path()).unwrap();
    let calls = Mutex::new(Vec::new());
    let seed = seed();
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let (store, calls) = (&store, &calls);
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(seed.wrapping_add(worker));
                for n in 0..150 {
                    let id = u128::from(worker) << 64 | n;
                    let call = one_call(store, &mut rng, id);
                    calls.lock().unwrap().push(call);
                }
            });
        }
    });
    store.close().unwrap();
    let store = options.open(dir.path()).unwrap();
    let log = Log(store.read_all(Position(1)).map(Result::unwrap).collect());
    let calls = calls.into_inner().unwrap();
    let accepted = calls.iter().filter(|call| call.answer.is_ok()).count();
    assert_eq!(accepted, log.0.len());
    assert!(
        accepted > 50 && accepted < calls.len(),
        "{accepted} of {}",
        calls.len()
    );
    for call in &calls {
        log.check(call);
    }
    assert!(store.verify().unwrap().damage.is_empty());
}

#[test]
fn histories_of_conditional_appends_are_serializable() {
    history(SyncMode::Always);
    history(SyncMode::Manual);
}

#[test]
fn one_of_those_who_want_the_same_version_gets_it() {
    let dir = fast_dir();
    let store = options()
        .sync(SyncMode::Always)
        .background(Background::Threads)
        .open(dir.path())
        .unwrap();
    let won = Mutex::new(BTreeMap::<u64, u32>::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for version in 0..50 {
                    let expected = Expected::Exactly(Version(version));
                    loop {
                        match store.append("s", expected, [NewEvent::new("A", b"")]) {
                            Ok(_) => *won.lock().unwrap().entry(version).or_default() += 1,
                            Err(Error::WrongVersion { actual, .. }) if actual.0 < version => {
                                continue;
                            }
                            Err(Error::WrongVersion { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                        break;
                    }
                }
            });
        }
    });
    let won = won.into_inner().unwrap();
    assert_eq!(won.len(), 50);
    assert!(won.values().all(|winners| *winners == 1));
}
