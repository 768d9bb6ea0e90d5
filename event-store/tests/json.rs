//! Payloads as JSON: the feature `serde`.

#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "test")]

use std::collections::BTreeMap;

use event_store::{
    Append, Error, Event, EventId, EventStore, Expected, NewEvent, Options, Position, SyncMode,
    Version,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Placed {
    customer: u64,
    apples: Vec<String>,
    after: Option<Position>,
}

fn open(dir: &TempDir) -> EventStore {
    let options = Options::new().sync(SyncMode::Manual).reserve(0);
    options.open(dir.path()).unwrap()
}

#[test]
fn a_value_comes_back_as_it_went_in_and_another_type_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let placed = Placed {
        customer: u64::MAX,
        apples: vec!["Boskoop \"red\"".to_owned(), String::new()],
        after: Some(Position(7)),
    };
    let store = open(&dir);
    let event = NewEvent::json("Placed", &placed).unwrap().tag("t");
    store.append("s", Expected::Any, [event]).unwrap();
    store.close().unwrap();
    let store = open(&dir);
    let events: Vec<Event> = store
        .read_stream("s", Version(1))
        .collect::<event_store::Result<_>>()
        .unwrap();
    let [event] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(event.json::<Placed>().unwrap(), placed);
    assert!(event.json::<Vec<Placed>>().is_err());
}

#[test]
fn a_map_without_names_is_no_json() {
    let pairs = BTreeMap::from([((1, 2), 3)]);
    assert!(NewEvent::json("Pairs", &pairs).is_err());
}

#[test]
fn places_and_ids_are_what_they_hold() {
    let places = (Position(1), Version(2), EventId::from(3_u128));
    let text = serde_json::to_string(&places).unwrap();
    assert_eq!(text, "[1,2,[3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]]");
    let read: (Position, Version, EventId) = serde_json::from_str(&text).unwrap();
    assert_eq!(read, places);
}

fn fill(store: &EventStore) {
    let documented = NewEvent::new("Added", b"{}")
        .id(EventId([
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        ]))
        .tag("t:9")
        .metadata(b"m");
    let append = Append::new().stream("cart-1", Expected::Any, [documented]);
    store.write(&append.source("q", 7)).unwrap();
    let payloads: [&[u8]; 8] = [
        b"",
        b"null",
        b" { \"a\": 1.50 }",
        b"{ \"a\": 1.50,  \"a\": [] }",
        b"{\n}",
        b"{",
        "\"\u{e9}\u{2028}\"".as_bytes(),
        &[0xff, 0, b'\n'],
    ];
    let events = || payloads.map(|payload| NewEvent::new("Any", payload).metadata(payload));
    let several = Append::new()
        .stream("a \"quoted\" name", Expected::Any, events())
        .stream("b", Expected::Any, events());
    store.write(&several).unwrap();
    store.tombstone("b", Expected::Any).unwrap();
    store.append("c", Expected::Any, events()).unwrap();
    store.sync().unwrap();
}

/// A store in a directory of its own, whose clock is at `micros`.
fn at(micros: u64) -> (TempDir, EventStore) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().sync(SyncMode::Manual).clock(move || micros);
    let store = options.open(dir.path()).unwrap();
    (dir, store)
}

fn all(store: &EventStore) -> Vec<Event> {
    store.sync().unwrap();
    store.read_all(Position(1)).map(Result::unwrap).collect()
}

fn exported(store: &EventStore) -> String {
    let mut text = Vec::new();
    let last = store.export(Position(1), &mut text).unwrap();
    assert_eq!(last, store.last_position());
    String::from_utf8(text).unwrap()
}

#[test]
fn a_store_comes_out_and_in_again_to_the_letter() {
    let (_dir, store) = at(1_000_000);
    fill(&store);
    let text = exported(&store);
    let format = include_str!("../FORMAT.md");
    let documented = format.split("```json line\n").nth(1).unwrap();
    assert_eq!(text.lines().next(), documented.lines().next());
    let (_dir, other) = at(7);
    // Cut short within an append, which is then not there at all.
    let shortened: String = text.split_inclusive('\n').take(4).collect();
    let Err(Error::Line { number: 5, .. }) = other.import(shortened.as_bytes()) else {
        panic!("half an append was taken");
    };
    assert_eq!(all(&other).len(), 1);
    let events = all(&store).len() as u64;
    let imported = other.import(text.as_bytes()).unwrap();
    assert_eq!((imported.appended, imported.were_there), (events - 1, 1));
    let again = other.import(text.as_bytes()).unwrap();
    assert_eq!((again.appended, again.were_there), (0, events));
    // But for the id of the tombstone, which is drawn.
    let pairs = all(&store).into_iter().zip(all(&other));
    for (event, copy) in pairs {
        assert!(event == copy || event.is_tombstone(), "{event:?} {copy:?}");
        assert_eq!(event.timestamp_micros(), 1_000_000);
    }
    assert_eq!(all(&other).len() as u64, events);
    assert_eq!(other.source_position("q").unwrap(), Some(7));
    assert_eq!(other.verify().unwrap().damage.len(), 0);
}

#[test]
fn lines_of_other_programs_are_taken_and_what_is_no_event_is_refused() {
    let (_dir, store) = at(7);
    let text = "\n{\"stream\":\"s\",\"type\":\"A\",\"payload\":{\"a\": 1}}\n  \n{\"type\":\"B\",\"stream\":\"s\"}";
    assert_eq!(store.import(text.as_bytes()).unwrap().appended, 2);
    let events = all(&store);
    let payloads: Vec<&[u8]> = events.iter().map(Event::payload).collect();
    assert_eq!(payloads, [&b"{\"a\": 1}"[..], b""]);
    assert!(events.iter().all(|event| event.timestamp_micros() == 7));
    for line in [
        "{",
        "7",
        "{\"type\":\"A\"}",
        "{\"stream\":\"s\",\"type\":\"A\",\"other\":1}",
        "{\"stream\":\"s\",\"type\":\"A\",\"id\":\"+102030405060708090a0b0c0d0e0f10\"}",
        "{\"stream\":\"s\",\"type\":\"A\",\"payload_base64\":\"?\"}",
        "{\"stream\":\"s\",\"type\":\"A\",\"payload\":1,\"payload_base64\":\"\"}",
        "{\"stream\":\"s\",\"type\":\"A\",\"and_next\":1}\n{\"stream\":\"s\",\"type\":\"A\"",
        "{\"stream\":\"s\",\"type\":\"A\",\"and_next\":2}\n{\"stream\":\"s\",\"type\":\"A\"}",
    ] {
        let refused = store.import(line.as_bytes()).unwrap_err();
        assert!(matches!(refused, Error::Line { .. }), "{line}: {refused}");
    }
    let nameless = store.import(&b"{\"stream\":\"s\"}"[..]).unwrap_err();
    assert!(matches!(nameless, Error::Invalid { .. }), "{nameless}");
    assert_eq!(all(&store).len(), 2);
}
