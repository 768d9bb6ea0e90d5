//! What an append promises: expectations, conditions, ids, tombstones, sources.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use event_store::{
    Append, Condition, Error, Expected, NewEvent, Options, Position, Query, SyncMode, Version,
};
use support::{fast_dir, one, options, put, settle};

fn event(id: u128) -> NewEvent<'static> {
    NewEvent::new("Kind", b"payload").id(id)
}

#[test]
fn an_expectation_that_is_not_met_writes_nothing() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    put(&store, "s", "A", 1);
    let exactly = |version| Expected::Exactly(Version(version));
    for (stream, expected, actual) in [
        ("s", Expected::NoStream, 1),
        ("s", exactly(0), 1),
        ("s", exactly(2), 1),
        ("t", Expected::StreamExists, 0),
        ("t", exactly(1), 0),
    ] {
        let refused = store.append(stream, expected, [event(9)]).unwrap_err();
        let Error::WrongVersion { actual: found, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!(found, Version(actual));
    }
    assert_eq!(store.stats().last, Position(1));
    assert_eq!(store.stats().refused, 5);
    for (stream, expected) in [
        ("s", exactly(1)),
        ("s", Expected::StreamExists),
        ("t", exactly(0)),
    ] {
        store
            .append(stream, expected, [NewEvent::new("B", b"")])
            .unwrap();
    }
}

#[test]
fn a_stream_that_gets_no_event_can_be_a_condition() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let append = |expected| {
        one("order", Expected::Any, NewEvent::new("Placed", b"")).stream("customer", expected, [])
    };
    let refused = store.write(&append(Expected::StreamExists)).unwrap_err();
    assert!(matches!(refused, Error::WrongVersion { .. }), "{refused}");
    put(&store, "customer", "Registered", 1);
    let appended = store.write(&append(Expected::StreamExists)).unwrap();
    assert_eq!(appended.versions, [Version(1)]);
}

#[test]
fn several_streams_are_all_or_nothing() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let both = |expected| {
        Append::new()
            .stream("a", Expected::Any, [NewEvent::new("Out", b"")])
            .stream("b", expected, [NewEvent::new("In", b"")])
    };
    store.write(&both(Expected::StreamExists)).unwrap_err();
    assert_eq!(store.stream_info("a").unwrap(), None);
    let appended = store.write(&both(Expected::NoStream)).unwrap();
    assert_eq!(appended.positions, Position(1)..Position(3));
}

#[test]
fn a_condition_sees_only_what_is_after_its_position() {
    let dir = fast_dir();
    let store = options().index_interval(1).open(dir.path()).unwrap();
    let tagged = |id| event(id).tag("course:1");
    store
        .append("s", Expected::Any, [tagged(1), event(2), tagged(3)])
        .unwrap();
    for is_indexed in [false, true] {
        let condition = |after| {
            let query = Query::new().tags(["course:1"]).kinds(["Kind"]);
            let append = one("s", Expected::Exactly(Version(0)), NewEvent::new("No", b""));
            store.write(&append.condition(Condition::new(query, Position(after))))
        };
        // The expectation is looked at first: both say no, and nothing is written.
        for after in 0..5 {
            assert!(matches!(condition(after), Err(Error::WrongVersion { .. })));
        }
        let condition_on = |after| {
            let query = Query::new().tags(["course:1"]);
            let append = one("t", Expected::Any, NewEvent::new("Yes", b""));
            store.write(&append.condition(Condition::new(query, Position(after))))
        };
        for (after, first) in [(0, 1), (1, 3), (2, 3)] {
            match condition_on(after) {
                Err(Error::ConditionFailed { position }) => assert_eq!(position, Position(first)),
                other => panic!("{other:?}"),
            }
        }
        condition_on(3).unwrap();
        assert_eq!(store.stats().parts > 0, is_indexed);
        settle(&store);
    }
}

#[test]
fn every_condition_counts_and_every_tag_of_a_query() {
    let dir = fast_dir();
    let store = options().index_interval(1).open(dir.path()).unwrap();
    let append = one(
        "s",
        Expected::Any,
        event(1).tag("course:1").tag("student:1"),
    );
    store.write(&append).unwrap();
    let append = one("s", Expected::Any, event(2).tag("course:1"));
    store.write(&append).unwrap();
    let after_it = |after, tags: &[&str]| {
        let tags = tags.iter().copied();
        Condition::new(Query::new().tags(tags), Position(after))
    };
    for is_indexed in [false, true] {
        assert_eq!(store.stats().parts > 0, is_indexed);
        // The second event has one of the tags.
        let both = after_it(1, &["course:1", "student:1"]);
        let append = one("t", Expected::Any, NewEvent::new("Yes", b""));
        store
            .write(&append.clone().condition(both.clone()))
            .unwrap();
        let append = append.condition(both).condition(after_it(1, &["course:1"]));
        match store.write(&append) {
            Err(Error::ConditionFailed { position }) => assert_eq!(position, Position(2)),
            other => panic!("{other:?}"),
        }
        settle(&store);
    }
}

#[test]
fn a_retry_is_known_by_the_ids_that_it_has_and_drawn_ids_never_come_again() {
    let dir = fast_dir();
    let mut ids = Vec::new();
    for opening in 1..=3 {
        let store = options().open(dir.path()).unwrap();
        let drawn = NewEvent::new("Kind", b"payload");
        let append = Append::new().stream("s", Expected::Any, [drawn, event(opening)]);
        let first = store.write(&append).unwrap();
        let again = store.write(&append).unwrap();
        assert!(!first.was_there && again.was_there);
        assert_eq!(
            (again.positions, again.versions),
            (first.positions, first.versions)
        );
        store.sync().unwrap();
        ids = store
            .read_all(Position(1))
            .map(|event| event.unwrap().id())
            .collect();
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[test]
fn a_retry_is_answered_as_the_first_time_and_half_of_it_is_a_conflict() {
    let dir = fast_dir();
    let mut store = options().open(dir.path()).unwrap();
    let twice = |one: u128, other: u128| {
        Append::new()
            .stream("a", Expected::NoStream, [event(one)])
            .stream("b", Expected::NoStream, [event(other)])
    };
    let first = store.write(&twice(1, 2)).unwrap();
    for round in 0..4 {
        let again = store.write(&twice(1, 2)).unwrap();
        assert!(again.was_there);
        assert_eq!(
            (&again.positions, &again.versions),
            (&first.positions, &first.versions)
        );
        let other_payload = NewEvent::new("Kind", b"other").id(1);
        let other_kind = NewEvent::new("Other", b"payload").id(1);
        let with_tag = event(1).tag("t");
        for conflict in [
            one("a", Expected::Any, event(1)),
            one("b", Expected::Any, event(2)),
            twice(2, 1),
            twice(1, 3),
            twice(3, 2),
            one("c", Expected::Any, event(1)),
            one("a", Expected::Any, other_payload),
            one("a", Expected::Any, other_kind),
            one("a", Expected::Any, with_tag),
        ] {
            let refused = store.write(&conflict).unwrap_err();
            assert!(
                matches!(refused, Error::IdConflict { .. }),
                "{conflict:?}: {refused}"
            );
        }
        assert_eq!(store.stats().last, Position(2));
        // Also after a restart, and from a part of the index.
        if round % 2 == 0 {
            store.close().unwrap();
            store = options().index_interval(1).open(dir.path()).unwrap();
        } else {
            settle(&store);
        }
    }
}

#[test]
fn a_stream_that_was_ended_takes_no_event() {
    let dir = fast_dir();
    let store = options().index_interval(1).open(dir.path()).unwrap();
    put(&store, "s", "A", 1);
    let refused = store.tombstone("s", Expected::Exactly(Version(2)));
    assert!(matches!(refused, Err(Error::WrongVersion { .. })));
    let ended = store.tombstone("s", Expected::Exactly(Version(1))).unwrap();
    assert_eq!(ended.positions.start, Position(2));
    for parts in [0, 2] {
        assert_eq!(store.stats().parts, parts);
        let again = store.tombstone("s", Expected::Any).unwrap();
        assert!(again.was_there);
        assert_eq!(again.positions, ended.positions);
        match store.append("s", Expected::Any, [event(2)]) {
            Err(Error::StreamEnded { position, .. }) => assert_eq!(position, Position(2)),
            other => panic!("{other:?}"),
        }
        // What was there before is still answered.
        let first = NewEvent::new("A", b"payload").id(1);
        assert!(store.append("s", Expected::Any, [first]).unwrap().was_there);
        let info = store.stream_info("s").unwrap().unwrap();
        assert!(info.is_ended && info.version == Version(2));
        let last = store.last_event("s").unwrap().unwrap();
        assert!(last.is_tombstone() && last.payload().is_empty());
        settle(&store);
    }
    assert_eq!(store.read_all(Position(1)).count(), 2);
}

#[test]
fn a_source_is_recorded_with_what_follows_from_it() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    assert_eq!(store.source_position("queue").unwrap(), None);
    let from = |position, id| one("s", Expected::Any, event(id)).source("queue", position);
    store.write(&from(7, 1)).unwrap();
    let first = store.last_event("s").unwrap().unwrap();
    assert_eq!(first.source(), Some(("queue", 7)));
    for position in [6, 7] {
        match store.write(&from(position, 2)) {
            Err(Error::SourceNotNewer { recorded, .. }) => assert_eq!(recorded, 7),
            other => panic!("{other:?}"),
        }
    }
    assert!(store.write(&from(7, 1)).unwrap().was_there);
    store.write(&from(8, 3)).unwrap();
    assert_eq!(store.source_position("queue").unwrap(), Some(8));
    assert_eq!(store.source_position("other").unwrap(), None);
}

#[test]
fn what_is_built_on_an_append_in_flight_goes_with_it() {
    let dir = fast_dir();
    let store = options().sync(SyncMode::Always).open(dir.path()).unwrap();
    let first = store
        .submit(&one("s", Expected::NoStream, event(1)))
        .unwrap();
    assert!(first.poll().is_none());
    let second = one("s", Expected::Exactly(Version(1)), event(2));
    let second = store.submit(&second).unwrap();
    // A reader of the stream sees neither of them yet, and nothing that is not durable.
    assert_eq!(store.read_stream("s", Version(1)).count(), 0);
    // The refusal rests on the second append, so it waits for it.
    let refused = store.append("s", Expected::Exactly(Version(1)), [event(3)]);
    assert!(matches!(
        refused,
        Err(Error::WrongVersion {
            actual: Version(2),
            ..
        })
    ));
    assert_eq!(store.last_position(), Position(2));
    assert!(first.poll().unwrap().is_ok());
    assert_eq!(second.wait().unwrap().versions, [Version(2)]);
}

#[test]
fn an_append_that_no_segment_holds_is_refused() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let large = vec![0; 9000];
    let refused = store.append("s", Expected::Any, [NewEvent::new("Kind", &large)]);
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    put(&store, "s", "A", 1);
    for interval in [0, (8 << 20) + 1] {
        let options = Options::new().index_interval(interval);
        assert!(matches!(
            options.open(dir.path()),
            Err(Error::InvalidOption { .. })
        ));
    }
}
