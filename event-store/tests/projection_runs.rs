//! Who brings a projection up to date: whoever appends, its own thread, whoever asks; and what keeps its state itself.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use event_store::{
    Background, Error, Event, EventId, EventStore, Expected, Failure, Handler, NewEvent, Options,
    Position, Project, Query, SyncMode,
};
use support::seen::{Seen, fill, seen, up_to};
use support::{fast_dir, one, options, put, settle};

const LONG: Duration = Duration::from_secs(60);

fn always() -> Options {
    options().sync(SyncMode::Always)
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
fn a_handler_says_its_position_and_is_given_what_follows() {
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
