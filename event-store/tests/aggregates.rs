//! The state of a stream: what was saved and the events after it, or those up to any time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use durable_io::sim::SimDisk;
use event_store::{
    Error, Event, EventStore, Expected, Failure, NewEvent, Position, Projection, Until, Version,
};
use support::{fast_dir, options};

/// The balance of an account.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account(u64);

impl Projection for Account {
    const NAME: &'static str = "account";
    const VERSION: u32 = 1;

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        let amount = event
            .payload()
            .first()
            .ok_or("an event without an amount")?;
        self.0 += u64::from(*amount);
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        self.0.to_le_bytes().into()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        Some(Self(u64::from_le_bytes(state.try_into().ok()?)))
    }
}

fn deposit(store: &EventStore, account: &str, amount: u8) {
    let event = NewEvent::new("Deposited", std::slice::from_ref(&amount));
    store.append(account, Expected::Any, [event]).unwrap();
}

/// State, version and events that were read.
fn loaded(store: &EventStore, account: &str) -> (u64, u64, u64) {
    let loaded = store.load::<Account>(account).unwrap();
    assert_eq!(loaded.stream(), account);
    (loaded.state.0, loaded.version().0, loaded.replayed())
}

#[test]
fn what_was_saved_and_the_events_after_it_are_the_state() {
    let dir = fast_dir();
    let mut store = options().open(dir.path()).unwrap();
    assert_eq!(loaded(&store, "a"), (0, 0, 0));
    for amount in 1..=5 {
        deposit(&store, "a", amount);
        deposit(&store, "b", 100);
    }
    let old = store
        .reconstruct::<Account>("a", Until::Version(Version(2)))
        .unwrap();
    let now = store.load::<Account>("a").unwrap();
    assert_eq!(
        (now.state.0, now.version(), now.replayed()),
        (15, Version(5), 5)
    );
    store.save(&now).unwrap();
    assert_eq!(store.stats().snapshots, 1);
    // It was not durable before.
    assert!(store.last_position() >= Position(9));
    for _ in 0..2 {
        assert_eq!(loaded(&store, "a"), (15, 5, 0));
        assert_eq!(loaded(&store, "b"), (500, 5, 5));
        // What is older changes nothing.
        store.save(&old).unwrap();
        drop(store);
        store = options().open(dir.path()).unwrap();
    }
    deposit(&store, "a", 7);
    assert_eq!(loaded(&store, "a"), (22, 6, 1));
    store.forget_projection("account").unwrap();
    assert_eq!(loaded(&store, "a"), (22, 6, 6));
}

#[test]
fn any_time_can_be_looked_at() {
    let dir = fast_dir();
    let clock = Arc::new(AtomicU64::new(0));
    let now = Arc::clone(&clock);
    let options = options().clock(move || now.load(Ordering::SeqCst));
    let store = options.open(dir.path()).unwrap();
    for n in 1..=6_u8 {
        clock.store(u64::from(n) * 10, Ordering::SeqCst);
        deposit(&store, "a", n);
        deposit(&store, "b", 50);
    }
    let middle = store
        .reconstruct::<Account>("a", Until::Version(Version(4)))
        .unwrap();
    for is_saved in [false, true] {
        if is_saved {
            store.save(&middle).unwrap();
        }
        for n in 0..=7_u64 {
            let events = n.min(6);
            let sum = events * (events + 1) / 2;
            for until in [
                Until::Version(Version(n)),
                Until::Position(Position((2 * n).saturating_sub(1))),
                Until::Micros(n * 10),
                Until::Micros(n * 10 + 9),
            ] {
                let then = store.reconstruct::<Account>("a", until).unwrap();
                assert_eq!((then.state.0, then.version().0), (sum, events), "{until:?}");
                let saved = if is_saved && events >= 4 { 4 } else { 0 };
                assert_eq!(then.replayed(), events - saved, "{until:?}");
            }
        }
    }
}

#[test]
fn what_the_log_does_not_hold_is_reported() {
    let dir = fast_dir();
    let disk = SimDisk::new().disk();
    let store = options().disk(disk.clone()).open("/store").unwrap();
    deposit(&store, "a", 1);
    deposit(&store, "a", 2);
    store.save(&store.load::<Account>("a").unwrap()).unwrap();
    // The states of that store beside other events.
    let other = options().disk(disk).open("/other").unwrap();
    let foreign = store.load::<Account>("a").unwrap();
    assert!(other.load::<Account>("a").unwrap().version() == Version(0));
    deposit(&other, "b", 1);
    deposit(&other, "b", 1);
    other.sync().unwrap();
    other.save(&foreign).unwrap();
    let diverged = other.load::<Account>("a").unwrap_err();
    assert!(
        matches!(
            diverged,
            Error::Diverged {
                position: Position(2)
            }
        ),
        "{diverged}"
    );
    drop(dir);
}

#[test]
fn an_event_that_cannot_be_added_is_reported() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    deposit(&store, "a", 1);
    store
        .append("a", Expected::Any, [NewEvent::new("Empty", b"")])
        .unwrap();
    let stopped = store.load::<Account>("a").unwrap_err();
    let Error::Stopped { name, position, .. } = stopped else {
        panic!("{stopped}");
    };
    assert_eq!((name.as_str(), position), ("account", Position(2)));
    let before = store
        .reconstruct::<Account>("a", Until::Version(Version(1)))
        .unwrap();
    assert_eq!(before.state, Account(1));
}

#[test]
fn the_states_of_many_streams_survive_being_written_anew() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let name = |n: u8| format!("account-{n}");
    for round in 1..=12_u64 {
        for n in 0..40 {
            deposit(&store, &name(n), n);
            let now = store.load::<Account>(&name(n)).unwrap();
            assert_eq!(now.state.0, round * u64::from(n));
            assert_eq!(now.replayed(), 1);
            store.save(&now).unwrap();
        }
    }
    drop(store);
    let store = options().open(dir.path()).unwrap();
    assert_eq!(store.stats().snapshots, 40);
    for n in 0..40 {
        assert_eq!(loaded(&store, &name(n)), (12 * u64::from(n), 12, 0));
    }
}
