//! What a projection promises: its state is what its events add up to, up to the position that is with it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::cell::RefCell;
use std::rc::Rc;

use durable_io::sim::SimDisk;
use event_store::{Error, EventStore, Options, Position, Project, Query, Run, SyncMode};
use support::seen::{HOOK, Seen, fill, seen, up_to};
use support::{fast_dir, options, put};

fn always() -> Options {
    options().sync(SyncMode::Always)
}

#[test]
fn a_restart_continues_after_what_was_saved() {
    let dir = fast_dir();
    for round in 0..4 {
        let store = options().open(dir.path()).unwrap();
        let all = store.project::<Seen>(Project::new().save_every(4)).unwrap();
        // Six each time, of which the last ones were not saved.
        let saved = round * 6 / 4 * 4;
        assert_eq!(all.position(), Position(saved));
        assert_eq!(seen(&all), up_to(saved));
        let first = u128::from(round) * 6 + 1;
        fill(&store, first..=first + 5);
        assert_eq!(all.catch_up().unwrap(), Position(round * 6 + 6));
        assert_eq!(seen(&all), up_to(round * 6 + 6));
        let stats = store.stats().projections.remove(0);
        assert_eq!(
            (stats.name.as_str(), stats.run, stats.lag),
            ("seen", Run::Pull, 0)
        );
        assert_eq!(stats.saved, Position((round * 6 + 6) / 4 * 4));
        assert!(stats.saved_bytes >= stats.saved.0 * 8);
        assert!(stats.stopped.is_none() && stats.save_error.is_none());
    }
}

/// Where a projection of version `V` begins; it is brought up to date, and saved.
fn begin<const V: u32>(store: &EventStore) -> u64 {
    let all = store.project::<Seen<V>>(Project::new()).unwrap();
    let begun = all.position();
    all.catch_up().unwrap();
    assert_eq!(seen(&all), up_to(5));
    assert_eq!(all.save().unwrap(), Position(5));
    begun.0
}

#[test]
fn what_cannot_be_read_or_is_of_another_version_is_made_of_the_events_again() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    fill(&store, 1..=5);
    assert_eq!(begin::<1>(&store), 0);
    assert_eq!(begin::<1>(&store), 5);
    assert_eq!(begin::<2>(&store), 0, "another version");
    assert_eq!(begin::<2>(&store), 5);
    assert_eq!(begin::<1>(&store), 0);
    assert_eq!(begin::<3>(&store), 0);
    assert_eq!(begin::<3>(&store), 0, "it cannot be read");
}

#[test]
fn only_durable_events_are_added() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let all = store.project::<Seen>(Project::new()).unwrap();
    put(&store, "s", "A", 1);
    assert_eq!(all.catch_up().unwrap(), Position(0));
    assert_eq!(all.save().unwrap(), Position(0));
    store.sync().unwrap();
    assert_eq!(all.catch_up().unwrap(), Position(1));
}

#[test]
fn what_a_query_does_not_mean_is_passed_over_and_counts_as_dealt_with() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let even = || Project::new().query(Query::new().kinds(["Even"]));
    let some = store.project::<Seen>(even()).unwrap();
    fill(&store, 1..=7);
    assert_eq!(some.catch_up().unwrap(), Position(7));
    assert_eq!(seen(&some), [2, 4, 6]);
    assert_eq!(store.stats().projections[0].lag, 0);
    assert_eq!(some.save().unwrap(), Position(7));
    drop(some);
    let some = store.project::<Seen>(even()).unwrap();
    assert_eq!(some.position(), Position(7));
    fill(&store, 8..=9);
    some.catch_up().unwrap();
    assert_eq!(seen(&some), [2, 4, 6, 8]);
}

#[test]
fn a_log_that_does_not_hold_what_the_state_is_of_is_reported_and_nothing_is_skipped() {
    let sim = SimDisk::new();
    let here = always().disk(sim.disk());
    let store = here.clone().open("/store").unwrap();
    fill(&store, 1..=3);
    let all = store.project::<Seen>(Project::new()).unwrap();
    all.catch_up().unwrap();
    all.save().unwrap();
    drop((all, store));
    // As a restored copy: other events, with the states of this store.
    for (events, id) in [(2, 1), (3, 101), (5, 101)] {
        let path = format!("/restored-{events}-{id}");
        let store = here.clone().open(&path).unwrap();
        fill(&store, id..=id + events - 1);
        store.close().unwrap();
        copy_dir(&sim, "/store/marks", &format!("{path}/marks"));
        let store = here.clone().open(&path).unwrap();
        let diverged = store.project::<Seen>(Project::new()).unwrap_err();
        assert!(
            matches!(
                diverged,
                Error::Diverged {
                    position: Position(3)
                }
            ),
            "{diverged}"
        );
        store.forget_projection("seen").unwrap();
        drop(store);
        let store = here.clone().open(&path).unwrap();
        let all = store.project::<Seen>(Project::new()).unwrap();
        all.catch_up().unwrap();
        assert_eq!(seen(&all).len() as u128, events);
    }
}

fn copy_dir(sim: &SimDisk, from: &str, to: &str) {
    let disk = sim.disk();
    let (from, to) = (disk.open_dir(from).unwrap(), disk.create_dir(to).unwrap());
    for entry in from.list().unwrap() {
        let file = from.open(&entry.name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let copy = to.create_new(&entry.name).unwrap();
        copy.write_all_at(&bytes, 0).unwrap();
    }
}

/// Appends one event for each that it is given, up to ten.
#[test]
fn while_it_is_rebuilt_the_old_state_answers() {
    let dir = fast_dir();
    let store = Rc::new(options().open(dir.path()).unwrap());
    fill(&store, 1..=3);
    let what = Project::new().query(Query::new().kinds(["Even", "Odd"]));
    let all = Rc::new(store.project::<Seen>(what).unwrap());
    all.catch_up().unwrap();
    all.save().unwrap();
    let (shown, writes, inside) = (
        Rc::new(RefCell::new(None)),
        Rc::clone(&store),
        Rc::clone(&all),
    );
    let show = Rc::clone(&shown);
    HOOK.set(Some(Box::new(move || {
        fill(&writes, 4..=4);
        inside.catch_up().unwrap();
        show.replace(Some(seen(&inside)));
    })));
    assert_eq!(all.rebuild().unwrap(), Position(4));
    assert_eq!(shown.take(), Some(up_to(4)));
    assert_eq!(seen(&all), up_to(4));
    assert_eq!(store.stats().projections[0].saved, Position(4));
    // One that fails leaves the old state.
    HOOK.set(Some(Box::new(|| panic!("planted"))));
    assert!(matches!(
        all.rebuild(),
        Err(Error::Stopped {
            position: Position(1),
            ..
        })
    ));
    assert_eq!(seen(&all), up_to(4));
}

#[test]
fn one_that_has_stopped_goes_on_when_it_is_rebuilt() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    fill(&store, 1..=3);
    let all = store.project::<Seen>(Project::new()).unwrap();
    HOOK.set(Some(Box::new(|| panic!("planted"))));
    assert!(matches!(
        all.catch_up(),
        Err(Error::Stopped {
            position: Position(1),
            ..
        })
    ));
    assert!(matches!(all.catch_up(), Err(Error::Stopped { .. })));
    assert_eq!(all.rebuild().unwrap(), Position(3));
    assert_eq!(seen(&all), up_to(3));
    fill(&store, 4..=4);
    assert_eq!(all.catch_up().unwrap(), Position(4));
}

/// A table in another database, which is in memory here.
#[test]
fn states_are_written_anew_before_their_log_grows_without_bound() {
    let dir = fast_dir();
    let mut store = options().open(dir.path()).unwrap();
    let bounds = |store: EventStore| {
        store.close().unwrap();
        let log = wal::Options::new().open(dir.path().join("marks")).unwrap();
        let bounds = log.bounds();
        log.close().unwrap();
        bounds.end.0 - bounds.start.0
    };
    let mut reader = store
        .subscribe(event_store::Subscribe::new().named("reader"))
        .unwrap();
    fill(&store, 1..=1);
    reader.try_next().unwrap();
    reader.acknowledge().unwrap();
    let all = store.project::<Seen>(Project::new().save_every(1)).unwrap();
    fill(&store, 2..=100);
    all.catch_up().unwrap();
    drop((all, reader));
    let records = bounds(store);
    assert!(records <= 24, "{records}");
    store = options().open(dir.path()).unwrap();
    let all = store.project::<Seen>(Project::new()).unwrap();
    assert_eq!(all.position(), Position(100));
    assert_eq!(seen(&all), up_to(100));
    assert_eq!(store.subscriptions(), [("reader".to_owned(), Position(1))]);
}

#[test]
fn a_state_that_is_too_large_cannot_be_saved_and_goes_on() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    fill(&store, 1..=1100);
    let all = store.project::<Seen>(Project::new().save_every(1)).unwrap();
    all.catch_up().unwrap();
    assert!(matches!(all.save(), Err(Error::TooLarge { .. })));
    let stats = store.stats().projections.remove(0);
    assert!(matches!(stats.save_error, Some(Error::TooLarge { .. })));
    // The last one that fitted.
    assert!(
        stats.saved > Position(900) && stats.saved < Position(1024),
        "{stats:?}"
    );
    assert_eq!(seen(&all), up_to(1100));
}

#[test]
fn on_a_full_disk_it_goes_on_and_is_saved_when_there_is_space() {
    let sim = SimDisk::new();
    let store = always().disk(sim.disk()).open("/store").unwrap();
    fill(&store, 1..=4);
    let all = store.project::<Seen>(Project::new().save_every(1)).unwrap();
    sim.set_budget(Some(sim.used_bytes()));
    assert_eq!(all.catch_up().unwrap(), Position(4));
    let stats = store.stats().projections.remove(0);
    assert_eq!(stats.saved, Position(0));
    assert!(stats.save_error.unwrap().is_no_space());
    assert!(all.save().unwrap_err().is_no_space());
    sim.set_budget(None);
    assert_eq!(all.save().unwrap(), Position(4));
    assert!(store.stats().projections[0].save_error.is_none());
}
