//! Payloads as JSON: the feature `serde`.

#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "test")]

use std::collections::BTreeMap;

use event_store::{
    Event, EventId, EventStore, Expected, NewEvent, Options, Position, SyncMode, Version,
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
