//! Defects of other event stores, each with the test that it must not come here.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::time::Duration;

use durable_io::sim::{Fault, FaultKind, SimDisk, SyncFailure};
use event_store::{
    Append, Error, EventStore, Expected, NewEvent, Options, Position, Subscribe, SyncMode, Version,
};
use support::{one, options, put, settle};

fn on(sim: &SimDisk) -> Options {
    options()
        .sync(SyncMode::Always)
        .segment_size(2048)
        .disk(sim.disk())
}

/// The power fails: only what was synced is there.
fn lose_power(store: EventStore, sim: &SimDisk) -> SimDisk {
    let world = sim.world().lose_unsynced();
    drop(store);
    SimDisk::boot(world)
}

#[test]
fn d33_an_append_is_durable_and_whole_when_it_returns() {
    let mut sim = SimDisk::new();
    for n in 0..6 {
        let store = on(&sim).open("/store").unwrap();
        assert_eq!(store.last_position(), Position(3 * n));
        let event = || NewEvent::new("Kind", &[7; 300]);
        let append = Append::new()
            .stream("a", Expected::Exactly(Version(2 * n)), [event(), event()])
            .stream("b", Expected::Exactly(Version(n)), [event()]);
        store.write(&append).unwrap();
        sim = lose_power(store, &sim);
    }
}

#[test]
fn d34_what_a_reader_has_acknowledged_survives_and_is_never_ahead_of_the_log() {
    let mut sim = SimDisk::new();
    for n in 1..=6 {
        let store = on(&sim).open("/store").unwrap();
        put(&store, "s", "Kind", u128::from(n));
        let named = Subscribe::new().named("reader");
        let mut reader = store.subscribe(named).unwrap();
        // Nothing again, and nothing left out.
        let event = reader.try_next().unwrap().unwrap();
        assert_eq!(event.position(), Position(n));
        assert!(reader.try_next().unwrap().is_none());
        reader.acknowledge().unwrap();
        drop(reader);
        sim = lose_power(store, &sim);
    }
}

#[test]
fn d36_a_stream_is_read_by_its_own_versions() {
    let sim = SimDisk::new();
    let store = on(&sim).open("/store").unwrap();
    for n in 0..10 {
        put(&store, if n % 3 == 0 { "few" } else { "many" }, "Kind", n);
    }
    let versions = |from| -> Vec<u64> {
        let events = store.read_stream("few", Version(from));
        events.map(|event| event.unwrap().version().0).collect()
    };
    assert_eq!(versions(1), [1, 2, 3, 4]);
    assert_eq!(versions(3), [3, 4]);
    assert!(versions(5).is_empty());
}

#[test]
fn what_was_built_on_an_append_that_a_full_disk_refused_is_refused_with_it() {
    let sim = SimDisk::new();
    let store = on(&sim).open("/store").unwrap();
    put(&store, "s", "Kind", 1);
    sim.set_budget(Some(sim.used_bytes()));
    let large = || NewEvent::new("Kind", &[7; 900]);
    let mut version = 1;
    let full = loop {
        match store.append("s", Expected::Exactly(Version(version)), [large()]) {
            Ok(_) => version += 1,
            Err(error) => break error,
        }
    };
    assert!(full.is_no_space(), "{full}");
    let at = |version| Expected::Exactly(Version(version));
    let first = store.submit(&one("s", at(version), large())).unwrap();
    let small = NewEvent::new("Kind", b"");
    let second = store
        .submit(&one("s", at(version + 1), small.clone()))
        .unwrap();
    assert!(first.wait().unwrap_err().is_no_space());
    let refused = second.wait().unwrap_err();
    assert!(
        refused.is_no_space() || matches!(refused, Error::Refused),
        "{refused}"
    );
    // The store is as it was before both, and not poisoned.
    let info = store.stream_info("s").unwrap().unwrap();
    assert_eq!(info.version, Version(version));
    sim.set_budget(None);
    let appended = store.append("s", at(version), [small]).unwrap();
    assert_eq!(appended.positions.start, Position(version + 1));
    assert!(store.verify().unwrap().damage.is_empty());
}

#[test]
fn a_failed_sync_takes_back_what_was_not_durable_and_nothing_of_the_index() {
    let sim = SimDisk::new();
    let store = on(&sim)
        .sync(SyncMode::Manual)
        .index_interval(1)
        .open("/store")
        .unwrap();
    put(&store, "s", "Kind", 1);
    put(&store, "s", "Kind", 2);
    settle(&store);
    assert_eq!(store.stats().indexed, Position(2));
    put(&store, "s", "Kind", 3);
    put(&store, "s", "Kind", 4);
    assert_eq!(store.stats().last, Position(4));
    let kind = FaultKind::Sync(SyncFailure::StillDirty);
    let (call, sticky) = (sim.calls(), false);
    sim.inject(Fault { call, kind, sticky });
    store.sync().unwrap_err();
    // The two in memory are shown to nobody any more, and are no reason to count the indexed ones out.
    let stats = store.stats();
    assert_eq!((stats.last, stats.durable), (Position(2), Position(2)));
    assert_eq!((stats.indexed, stats.unindexed_events), (Position(2), 2));
    assert_eq!(store.read_stream("s", Version(1)).count(), 2);
    assert!(matches!(
        store.append("s", Expected::Any, [NewEvent::new("Kind", b"")]),
        Err(Error::Poisoned(_))
    ));
}

#[test]
fn a_reader_gets_every_durable_event_before_it_gets_a_failure() {
    let sim = SimDisk::new();
    let store = on(&sim).open("/store").unwrap();
    let mut reader = store.subscribe(Subscribe::new()).unwrap();
    put(&store, "s", "Kind", 1);
    put(&store, "s", "Kind", 2);
    let kind = FaultKind::Sync(SyncFailure::StillDirty);
    let (call, sticky) = (sim.calls(), true);
    sim.inject(Fault { call, kind, sticky });
    let failed = store.append("s", Expected::Any, [NewEvent::new("Kind", b"")]);
    failed.unwrap_err();
    for position in [1, 2] {
        let event = reader.next(Duration::ZERO).unwrap().unwrap();
        assert_eq!(event.position(), Position(position));
    }
    let errors = reader.next(Duration::ZERO);
    assert!(matches!(errors, Err(Error::Poisoned(_))), "{errors:?}");
}
