//! What a projection promises: its state is what its events add up to, up to the position that is with it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use durable_io::sim::SimDisk;
use event_store::{
    Background, Error, Event, EventId, EventStore, Expected, Failure, Handler, NewEvent, Options,
    Position, Project, Projected, Projection, Query, Run, SyncMode,
};
use support::{fast_dir, one, options, put, settle};

const LONG: Duration = Duration::from_secs(60);

thread_local! {
    /// Called once, with the next event that this thread adds to a [`Seen`].
    static HOOK: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// The positions of all events that it was given. `V` is the version of its encoding.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen<const V: u32 = 1>(Vec<u64>);

impl<const V: u32> Projection for Seen<V> {
    const NAME: &'static str = "seen";
    const VERSION: u32 = V;

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        if let Some(hook) = HOOK.take() {
            hook();
        }
        match event.kind() {
            "Error" => return Err("planted".into()),
            "Panic" => panic!("planted"),
            _ => self.0.push(event.position().0),
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        // Version 3 cannot read what any other one has written, and says so in its own way.
        assert!(V != 3, "planted");
        let numbers = state
            .chunks(8)
            .map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        numbers.collect::<Option<_>>().map(Self)
    }
}

fn seen<const V: u32>(projected: &Projected<Seen<V>>) -> Vec<u64> {
    projected.read(|seen| seen.0.clone()).unwrap()
}

fn always() -> Options {
    options().sync(SyncMode::Always)
}

fn fill(store: &EventStore, ids: std::ops::RangeInclusive<u128>) {
    for id in ids {
        put(store, "s", if id % 2 == 0 { "Even" } else { "Odd" }, id);
    }
    store.sync().unwrap();
}

fn up_to(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[test]
fn a_restart_goes_on_behind_what_was_saved() {
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
fn a_log_that_does_not_hold_what_the_state_is_of_is_told_and_nothing_is_skipped() {
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

#[test]
fn an_inline_one_has_an_event_before_its_append_returns() {
    let dir = fast_dir();
    let store = always().open(dir.path()).unwrap();
    fill(&store, 1..=2);
    let all = store.project::<Seen>(Project::new().inline()).unwrap();
    assert_eq!(seen(&all), [1, 2]);
    put(&store, "s", "A", 3);
    assert_eq!(seen(&all), [1, 2, 3]);
    let submitted = store.submit(&one("s", Expected::Any, NewEvent::new("A", b"").id(4)));
    submitted.unwrap().wait().unwrap();
    assert_eq!(seen(&all), up_to(4));
    // An answer that rests on an append counts, too.
    assert_eq!(put(&store, "s", "Odd", 1), 1);
    drop(all);
    put(&store, "s", "A", 5);
    drop(store);
    for mode in [
        SyncMode::Manual,
        SyncMode::Batch {
            writes: 2,
            interval: LONG,
        },
    ] {
        let store = options().sync(mode).open(dir.path()).unwrap();
        let refused = store.project::<Seen>(Project::new().inline()).unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    }
}

#[test]
fn an_inline_one_that_fails_or_panics_stops_and_the_append_has_succeeded() {
    for kind in ["Error", "Panic"] {
        let dir = fast_dir();
        let store = always().open(dir.path()).unwrap();
        let all = store
            .project::<Seen>(Project::new().inline().save_every(1))
            .unwrap();
        put(&store, "s", "A", 1);
        assert_eq!(put(&store, "s", kind, 2), 2);
        assert_eq!(put(&store, "s", "A", 3), 3);
        for error in [
            all.read(|_| ()).unwrap_err(),
            all.save().unwrap_err(),
            all.catch_up().unwrap_err(),
            store.stats().projections[0].stopped.clone().unwrap(),
        ] {
            let Error::Stopped {
                name,
                position,
                reason,
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!((name.as_str(), position), ("seen", Position(2)));
            assert!(reason.to_string().contains("planted"), "{reason}");
        }
        assert_eq!(all.position(), Position(1));
        assert!(all.rebuild().is_err());
        drop(all);
        // What is wrong is still there.
        let begun = store.project::<Seen>(Project::new().inline());
        assert!(matches!(begun, Err(Error::Stopped { .. })));
        let others = Query::new().kinds(["A"]);
        let begun = store.project::<Seen>(Project::new().inline().query(others));
        assert_eq!(seen(&begun.unwrap()), [1, 3]);
    }
}

/// Appends one event for each that it is given, up to ten.
struct Echo(Arc<EventStore>);

impl Handler for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn position(&mut self) -> Result<Option<(Position, EventId)>, Failure> {
        Ok(None)
    }

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        if event.position().0 < 10 {
            self.0
                .append("echo", Expected::Any, [NewEvent::new("A", b"")])?;
        }
        Ok(())
    }
}

#[test]
fn what_an_inline_one_appends_itself_waits_for_nobody() {
    let dir = fast_dir();
    let store = Arc::new(always().open(dir.path()).unwrap());
    let echo = store.handle(Project::new().inline(), Echo(Arc::clone(&store)));
    let all = store.project::<Seen>(Project::new().inline()).unwrap();
    put(&store, "s", "A", 1);
    assert_eq!(echo.unwrap().position(), Position(10));
    assert_eq!(seen(&all), up_to(10));
}

#[test]
fn a_live_one_follows_and_ends_with_the_store() {
    let dir = fast_dir();
    let threads = || always().background(Background::Threads);
    let store = threads().open(dir.path()).unwrap();
    let live = || Project::new().live().save_every(50);
    let all = store.project::<Seen>(live()).unwrap();
    assert!(matches!(
        store.project::<Seen>(live()),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        store.forget_projection("seen"),
        Err(Error::Invalid { .. })
    ));
    thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..100 {
                    let stream = format!("s-{writer}");
                    store
                        .append(&stream, Expected::Any, [NewEvent::new("A", b"")])
                        .unwrap();
                }
            });
        }
    });
    assert!(all.wait_for(Position(400), LONG).unwrap());
    assert_eq!(seen(&all), up_to(400));
    assert!(!all.wait_for(Position(401), Duration::ZERO).unwrap());
    store.close().unwrap();
    // Its thread is gone: it takes nothing any more, and says so.
    assert!(matches!(
        all.wait_for(Position(401), LONG),
        Err(Error::Closed)
    ));
    assert_eq!(seen(&all), up_to(400));
    drop(all);
    let store = threads().open(dir.path()).unwrap();
    let all = store.project::<Seen>(live()).unwrap();
    assert!(all.wait_for(Position(400), LONG).unwrap());
    assert_eq!(seen(&all), up_to(400));
    put(&store, "s", "Panic", 1);
    assert!(matches!(
        all.wait_for(Position(401), LONG),
        Err(Error::Stopped { .. })
    ));
    // Nobody else is held up.
    put(&store, "s", "A", 2);
}

#[test]
fn without_threads_a_live_one_is_background_work() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let all = store.project::<Seen>(Project::new().live()).unwrap();
    fill(&store, 1..=600);
    assert!(seen(&all).is_empty());
    settle(&store);
    assert_eq!(seen(&all), up_to(600));
    assert!(!store.run_background().unwrap());
}

#[test]
fn it_is_saved_when_the_time_has_come_by_the_clock_of_the_store() {
    let dir = fast_dir();
    let clock = Arc::new(AtomicU64::new(7));
    let now = Arc::clone(&clock);
    let options = options().clock(move || now.load(Ordering::SeqCst));
    let store = options.open(dir.path()).unwrap();
    let what = Project::new().live().save_after(Duration::from_secs(1));
    let _all = store.project::<Seen>(what).unwrap();
    let saved = || {
        settle(&store);
        store.stats().projections[0].saved
    };
    fill(&store, 1..=3);
    assert_eq!(saved(), Position(0));
    clock.fetch_add(999_999, Ordering::SeqCst);
    assert_eq!(saved(), Position(0));
    clock.fetch_add(1, Ordering::SeqCst);
    assert_eq!(saved(), Position(3));
    clock.fetch_add(5_000_000, Ordering::SeqCst);
    assert_eq!(saved(), Position(3));
    fill(&store, 4..=4);
    assert_eq!(saved(), Position(4));
}

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
#[derive(Clone, Default)]
struct Table {
    rows: Vec<u64>,
    at: Option<(Position, EventId)>,
}

impl Handler for Table {
    fn name(&self) -> &'static str {
        "table"
    }

    fn position(&mut self) -> Result<Option<(Position, EventId)>, Failure> {
        Ok(self.at)
    }

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        self.rows.push(event.position().0);
        self.at = Some((event.position(), event.id()));
        Ok(())
    }
}

#[test]
fn a_handler_says_where_it_stands_and_is_given_what_comes_behind() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let mut table = Table::default();
    for round in 0..3 {
        fill(&store, round * 2 + 1..=round * 2 + 2);
        let handled = store.handle(Project::new(), table).unwrap();
        handled.catch_up().unwrap();
        table = handled.read(Table::clone).unwrap();
    }
    assert_eq!(table.rows, up_to(6));
    for at in [(Position(6), 99.into()), (Position(7), 7.into())] {
        let at = Some(at);
        let elsewhere = Table {
            at,
            ..Table::default()
        };
        let diverged = store.handle(Project::new(), elsewhere);
        assert!(matches!(diverged, Err(Error::Diverged { .. })));
    }
}

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
