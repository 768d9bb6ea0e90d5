//! What a subscription promises: every event, in order, once, whoever else is slow or fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use durable_io::Disk;
use event_store::{
    Background, Error, EventStore, Expected, NewEvent, Options, Position, Query, Subscribe,
    SyncMode, Version,
};
use support::{fast_dir, options, put, settle};

const LONG: Duration = Duration::from_secs(60);

fn threads() -> Options {
    options()
        .sync(SyncMode::Always)
        .background(Background::Threads)
}

fn positions(store: &EventStore, what: Subscribe) -> Vec<u64> {
    let mut subscription = store.subscribe(what).unwrap();
    let mut found = Vec::new();
    while let Some(event) = subscription.try_next().unwrap() {
        found.push(event.position().0);
    }
    found
}

#[test]
fn it_begins_at_its_position_and_gives_what_it_selects() {
    let dir = fast_dir();
    let store = options().index_interval(1).open(dir.path()).unwrap();
    for n in 1..=6 {
        put(&store, "s", if n % 2 == 0 { "Even" } else { "Odd" }, n);
    }
    store.sync().unwrap();
    for is_indexed in [false, true] {
        assert_eq!(store.stats().parts > 0, is_indexed);
        assert_eq!(positions(&store, Subscribe::new()), [1, 2, 3, 4, 5, 6]);
        let after = Subscribe::new().after(Position(4));
        assert_eq!(positions(&store, after), [5, 6]);
        let even = || Subscribe::new().query(Query::new().kinds(["Even"]));
        assert_eq!(positions(&store, even()), [2, 4, 6]);
        assert_eq!(positions(&store, even().after(Position(3))), [4, 6]);
        settle(&store);
    }
}

#[test]
fn a_filtered_one_gives_each_of_many_events_once() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let mut expected = Vec::new();
    for n in 0..300 {
        let kind = if n % 3 == 0 { "Other" } else { "Wanted" };
        let position = put(&store, "s", kind, n);
        expected.extend((kind == "Wanted").then_some(position));
    }
    store.sync().unwrap();
    for is_indexed in [false, true] {
        assert_eq!(store.stats().parts > 0, is_indexed);
        let wanted = Subscribe::new().query(Query::new().kinds(["Wanted"]));
        assert_eq!(positions(&store, wanted), expected);
        settle(&store);
    }
}

#[test]
fn only_durable_events_are_given_out() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    put(&store, "s", "A", 1);
    assert_eq!(store.read_stream("s", Version(1)).count(), 1);
    assert_eq!(store.read_all(Position(1)).count(), 0);
    assert!(positions(&store, Subscribe::new()).is_empty());
    store.sync().unwrap();
    assert_eq!(positions(&store, Subscribe::new()), [1]);
}

#[test]
fn a_named_one_goes_on_where_it_has_acknowledged() {
    let dir = fast_dir();
    let mut store = options().open(dir.path()).unwrap();
    for n in 1..=4 {
        put(&store, "s", "A", n);
    }
    store.sync().unwrap();
    let named = || Subscribe::new().named("billing");
    let mut billing = store.subscribe(named()).unwrap();
    assert!(matches!(
        store.subscribe(named()),
        Err(Error::Invalid { .. })
    ));
    let first = billing.try_next().unwrap().unwrap();
    let second = billing.try_next().unwrap().unwrap();
    assert!(billing.try_next().unwrap().is_some());
    billing.acknowledge_up_to(&second).unwrap();
    // After it: nothing goes back.
    billing.acknowledge_up_to(&first).unwrap();
    assert_eq!(store.subscriptions(), [("billing".to_owned(), Position(2))]);
    drop(billing);
    for _ in 0..2 {
        store = {
            drop(store);
            options().open(dir.path()).unwrap()
        };
        assert_eq!(positions(&store, named()), [3, 4]);
    }
    store.forget_subscription("billing").unwrap();
    drop(store);
    let store = options().open(dir.path()).unwrap();
    assert_eq!(positions(&store, named()), [1, 2, 3, 4]);
    let mut nameless = store.subscribe(Subscribe::new()).unwrap();
    assert!(matches!(nameless.acknowledge(), Err(Error::Invalid { .. })));
}

#[test]
fn marks_are_written_anew_before_their_log_grows_without_bound() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    for n in 1..=100 {
        put(&store, "s", "A", n);
    }
    store.sync().unwrap();
    let named = |name: &str| store.subscribe(Subscribe::new().named(name)).unwrap();
    let mut still = named("still");
    still.try_next().unwrap();
    still.acknowledge().unwrap();
    let mut busy = named("busy");
    while busy.try_next().unwrap().is_some() {
        busy.acknowledge().unwrap();
    }
    drop((busy, still, store));
    let log = wal::Options::new().open(dir.path().join("marks")).unwrap();
    let bounds = log.bounds();
    assert!(bounds.end.0 - bounds.start.0 <= 24, "{bounds:?}");
    log.close().unwrap();
    let store = options().open(dir.path()).unwrap();
    let marks = [
        ("busy".to_owned(), Position(100)),
        ("still".to_owned(), Position(1)),
    ];
    assert_eq!(store.subscriptions(), marks);
}

#[test]
fn a_log_that_does_not_hold_what_was_read_is_reported_and_nothing_is_skipped() {
    let dir = fast_dir();
    let store = options().open(dir.path().join("new")).unwrap();
    for n in 1..=3 {
        put(&store, "s", "A", n);
    }
    store.sync().unwrap();
    let mut reader = store.subscribe(Subscribe::new().named("reader")).unwrap();
    while reader.try_next().unwrap().is_some() {}
    reader.acknowledge().unwrap();
    drop((reader, store));
    // As a restored copy: another store's events, with the marks of this one.
    for (events, position) in [(2, 3), (3, 3), (5, 3)] {
        let path = dir.path().join(format!("restored-{events}"));
        let store = options().open(&path).unwrap();
        for n in 1..=events {
            put(&store, "s", "A", 100 + n);
        }
        store.close().unwrap();
        copy_marks(&dir.path().join("new"), &path);
        let store = options().open(&path).unwrap();
        match store.subscribe(Subscribe::new().named("reader")) {
            Err(Error::Diverged { position: received }) => assert_eq!(received, Position(position)),
            other => panic!("{other:?}"),
        }
        let kept = Subscribe::new().after_event(Position(1), 1.into());
        assert!(matches!(store.subscribe(kept), Err(Error::Diverged { .. })));
        let kept = Subscribe::new().after_event(Position(1), 101.into());
        assert_eq!(positions(&store, kept).len() as u128, events - 1);
        let beyond = Subscribe::new().after(Position(9));
        assert!(matches!(
            store.subscribe(beyond),
            Err(Error::Diverged { .. })
        ));
    }
}

fn copy_marks(from: &std::path::Path, to: &std::path::Path) {
    let disk = Disk::os();
    let (from, to) = (
        disk.open_dir(from.join("marks")).unwrap(),
        disk.create_dir(to.join("marks")).unwrap(),
    );
    for entry in from.list().unwrap() {
        let file = from.open(&entry.name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        to.create_new(&entry.name)
            .unwrap()
            .write_all_at(&bytes, 0)
            .unwrap();
    }
}

const EVENTS: u64 = 400;

#[test]
fn d35_catching_up_and_living_on_have_no_seam() {
    let dir = fast_dir();
    let store = threads().open(dir.path()).unwrap();
    thread::scope(|scope| {
        for reader in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                // Each begins at another moment of the writing.
                let mut subscription = store.subscribe(Subscribe::new()).unwrap();
                let mut expected = 0;
                if reader > 0 {
                    let mut waits = store.subscribe(Subscribe::new()).unwrap();
                    for _ in 0..reader * 70 {
                        waits.next(LONG).unwrap().unwrap();
                    }
                }
                while expected < EVENTS {
                    let event = subscription.next(LONG).unwrap().unwrap();
                    expected += 1;
                    assert_eq!(event.position(), Position(expected));
                }
                assert!(subscription.try_next().unwrap().is_none());
            });
        }
        for writer in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                let stream = format!("s-{writer}");
                for _ in 0..EVENTS / 4 {
                    let event = NewEvent::new("A", b"payload");
                    store.append(&stream, Expected::Any, [event]).unwrap();
                }
            });
        }
    });
    store.close().unwrap();
}

#[test]
fn d36_a_subscriber_that_panics_or_does_not_read_holds_up_nobody() {
    let dir = fast_dir();
    let store = threads().open(dir.path()).unwrap();
    let _asleep = store.subscribe(Subscribe::new()).unwrap();
    let panicked = thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let mut subscription = store.subscribe(Subscribe::new().named("panics")).unwrap();
            subscription.next(LONG).unwrap().unwrap();
            panic!("planted");
        });
        let reads = scope.spawn(|| {
            let mut subscription = store.subscribe(Subscribe::new()).unwrap();
            for n in 1..=200 {
                let event = subscription.next(LONG).unwrap().unwrap();
                assert_eq!(event.position(), Position(n));
            }
        });
        for _ in 0..200 {
            store
                .append("s", Expected::Any, [NewEvent::new("A", b"")])
                .unwrap();
        }
        reads.join().unwrap();
        panics.join()
    });
    assert!(panicked.is_err());
    // Its name is free again.
    assert_eq!(
        positions(&store, Subscribe::new().named("panics")).len(),
        200
    );
    store
        .append("s", Expected::Any, [NewEvent::new("A", b"")])
        .unwrap();
}

#[test]
fn an_event_that_comes_while_the_one_before_it_is_looked_for_wakes_the_reader() {
    let dir = fast_dir();
    let store = threads().open(dir.path()).unwrap();
    thread::scope(|scope| {
        let (select, selected) = std::sync::mpsc::channel();
        let store = &store;
        scope.spawn(move || {
            for n in selected {
                put(store, "s", "A", n);
            }
        });
        let mut reader = store.subscribe(Subscribe::new()).unwrap();
        // One at a time: no later one wakes whoever has missed one. The moments at which the reader looks are spread
        // over those at which the event comes.
        for n in 0..4000 {
            select.send(n).unwrap();
            for _ in 0..n % 200 * 20 {
                std::hint::spin_loop();
            }
            let event = reader.next(Duration::from_secs(5)).unwrap();
            assert!(event.is_some(), "event {n} is not told");
        }
    });
}

#[test]
fn what_a_reader_does_not_select_does_not_end_its_wait() {
    let dir = fast_dir();
    let store = threads().open(dir.path()).unwrap();
    thread::scope(|scope| {
        let (select, selected) = std::sync::mpsc::channel();
        let store = &store;
        scope.spawn(move || {
            for first in selected {
                for id in first..first + 20 {
                    put(store, "s", "Other", id);
                }
                put(store, "s", "Wanted", first + 20);
            }
        });
        let what = Subscribe::new().query(Query::new().kinds(["Wanted"]));
        let mut reader = store.subscribe(what).unwrap();
        for round in 0..20 {
            select.send(round * 21).unwrap();
            assert!(reader.next(LONG).unwrap().is_some());
        }
    });
}

#[test]
fn those_who_wait_get_the_end_of_the_store() {
    let dir = fast_dir();
    let store = Arc::new(threads().open(dir.path()).unwrap());
    let mut subscription = store.subscribe(Subscribe::new()).unwrap();
    let waits = thread::spawn(move || subscription.next(LONG));
    Arc::into_inner(store).unwrap().close().unwrap();
    assert!(matches!(waits.join().unwrap(), Err(Error::Closed)));
}

#[test]
fn an_append_that_nobody_waits_for_is_delivered() {
    let dir = fast_dir();
    let store = threads().open(dir.path()).unwrap();
    let mut subscription = store.subscribe(Subscribe::new()).unwrap();
    let append = support::one("s", Expected::Any, NewEvent::new("A", b""));
    drop(store.submit(&append).unwrap());
    assert!(subscription.next(LONG).unwrap().is_some());
}

#[test]
fn the_interval_of_a_batch_makes_events_durable_and_delivers_them() {
    let dir = fast_dir();
    let mode = SyncMode::Batch {
        writes: 1000,
        interval: Duration::from_millis(1),
    };
    let store = threads().sync(mode).open(dir.path()).unwrap();
    let mut subscription = store.subscribe(Subscribe::new()).unwrap();
    store
        .append("s", Expected::Any, [NewEvent::new("A", b"")])
        .unwrap();
    assert!(subscription.next(LONG).unwrap().is_some());
}

#[cfg(feature = "stream")]
#[test]
fn a_task_is_woken_for_what_comes() {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use futures_core::Stream;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dir = fast_dir();
    let store = options().sync(SyncMode::Always).open(dir.path()).unwrap();
    let stream = store.subscribe(Subscribe::new()).unwrap().into_stream();
    let mut stream = pin!(stream);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    assert!(stream.as_mut().poll_next(&mut context).is_pending());
    put(&store, "s", "A", 1);
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    let Poll::Ready(Some(Ok(event))) = stream.as_mut().poll_next(&mut context) else {
        panic!("nothing came");
    };
    assert_eq!(event.position(), Position(1));
    assert!(stream.as_mut().poll_next(&mut context).is_pending());
    drop(store);
    assert!(matches!(
        stream.as_mut().poll_next(&mut context),
        Poll::Ready(Some(Err(Error::Closed)))
    ));
    assert!(matches!(stream.poll_next(&mut context), Poll::Ready(None)));
}
