//! Reading durable records as they come.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use durable_io::sim::{Fault, FaultKind, SimDisk, SyncFailure};
use wal::{Background, Error, Follow, Lsn, Record, SyncMode, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, payloads};

/// Longer than any test: a follower that is not woken fails it by this.
const LONG: Duration = Duration::from_secs(60);

fn append(log: &Wal, lsns: std::ops::Range<u64>) {
    for lsn in lsns {
        assert_eq!(
            log.append(&lsn.to_le_bytes().repeat(20)).unwrap().lsn(),
            Lsn(lsn)
        );
    }
}

fn number(record: &Record) -> u64 {
    assert_eq!(record.payload, record.lsn.0.to_le_bytes().repeat(20));
    record.lsn.0
}

/// What can be had without waiting.
fn ready(follow: &mut Follow) -> Vec<u64> {
    let mut next = || follow.next(Duration::ZERO).unwrap();
    std::iter::from_fn(|| next().map(|record| number(&record))).collect()
}

#[test]
fn only_durable_records_are_given_out() {
    let sim = SimDisk::new();
    let log = options().disk(sim.disk()).open("/wal").unwrap();
    let mut follow = log.follow(Lsn(0));
    assert_eq!(follow.position(), Lsn(1));
    let mut followed = 0;
    for last in 1..60 {
        append(&log, last..last + 1);
        match last % 7 {
            0 => drop(log.sync().unwrap()),
            3 => log.rotate().unwrap(),
            _ => {}
        }
        followed += ready(&mut follow).len();
        assert_eq!(follow.position(), Lsn(log.stats().durable_lsn.0 + 1));
        let survivor = SimDisk::boot(sim.world().lose_unsynced());
        let survivor = options().disk(survivor.disk()).open("/wal").unwrap();
        assert!(payloads(&survivor).unwrap().len() >= followed);
    }
    assert!(followed > 50);
}

#[test]
fn a_follower_begins_anywhere_and_goes_over_segments() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 1..40);
    log.sync().unwrap();
    log.truncate_before(Lsn(5)).unwrap();
    for (from, first) in [(0, 5), (5, 5), (6, 6), (23, 23), (39, 39)] {
        let mut follow = log.follow(Lsn(from));
        assert_eq!(ready(&mut follow), (first..40).collect::<Vec<_>>());
        assert_eq!(ready(&mut follow), []);
    }
    // From a record that does not exist yet.
    let mut ahead = log.follow(Lsn(42));
    append(&log, 40..42);
    log.sync().unwrap();
    assert_eq!(ready(&mut ahead), []);
    append(&log, 42..80);
    log.rotate().unwrap();
    assert_eq!(ready(&mut ahead), (42..80).collect::<Vec<_>>());
}

#[test]
fn a_follower_wakes_when_a_sync_makes_records_durable() {
    let dir = fast_dir();
    let log = &options().open(dir.path()).unwrap();
    thread::scope(|scope| {
        let (send, followed) = mpsc::channel();
        scope.spawn(move || {
            let mut follow = log.follow(Lsn(1));
            while let Some(record) = follow.next(LONG).unwrap() {
                send.send(number(&record)).unwrap();
                if record.lsn == Lsn(200) {
                    break;
                }
            }
        });
        for lsn in 1..=200 {
            append(log, lsn..lsn + 1);
            log.sync().unwrap();
            assert_eq!(followed.recv().unwrap(), lsn);
        }
    });
}

#[test]
fn many_followers_read_the_same() {
    for mode in [
        SyncMode::Always,
        SyncMode::Manual,
        SyncMode::Batch {
            writes: 3,
            interval: Duration::from_millis(1),
        },
    ] {
        let dir = fast_dir();
        let log = options().sync(mode).background(Background::Threads);
        let log = &log.open(dir.path()).unwrap();
        thread::scope(|scope| {
            let followers: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(move || {
                        let mut follow = log.follow(Lsn(1));
                        let next = || Some(number(&follow.next(LONG).unwrap().unwrap()));
                        std::iter::from_fn(next).take(500).collect::<Vec<_>>()
                    })
                })
                .collect();
            for first in (1..=500_u64).step_by(10) {
                let batch: Vec<_> = (first..first + 10)
                    .map(|lsn| lsn.to_le_bytes().repeat(20))
                    .collect();
                // Some in one group that goes over segments, so that a part is durable before it is
                // acknowledged.
                let tickets: Vec<_> = batch
                    .iter()
                    .map(|one| log.submit(&[one]).unwrap())
                    .collect();
                for ticket in tickets {
                    ticket.wait().unwrap();
                }
                if mode == SyncMode::Manual {
                    log.sync().unwrap();
                }
            }
            log.sync().unwrap();
            for follower in followers {
                assert_eq!(follower.join().unwrap(), (1..=500).collect::<Vec<_>>());
            }
        });
    }
}

#[test]
fn records_that_were_truncated_before_they_were_seen_are_an_error() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let mut nothing_seen = log.follow(Lsn(1));
    append(&log, 1..5);
    log.sync().unwrap();
    let mut all_seen = log.follow(Lsn(1));
    append(&log, 5..30);
    log.sync().unwrap();
    log.truncate_before(Lsn(20)).unwrap();
    assert!(matches!(
        nothing_seen.next(Duration::ZERO),
        Err(Error::Truncated)
    ));
    // What was seen is held open; the next one is gone.
    for lsn in 1..5 {
        assert_eq!(
            number(&all_seen.next(Duration::ZERO).unwrap().unwrap()),
            lsn
        );
    }
    for _ in 0..2 {
        assert!(matches!(
            all_seen.next(Duration::ZERO),
            Err(Error::Truncated)
        ));
    }
    assert_eq!(ready(&mut log.follow(Lsn(1))), (20..30).collect::<Vec<_>>());
}

#[test]
fn a_truncation_of_the_end_is_an_error_for_every_follower() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 1..30);
    log.sync().unwrap();
    let mut followers = [0, 10, 25, 30].map(|from| log.follow(Lsn(from)));
    ready(&mut followers[1]);
    log.truncate_after(Lsn(15)).unwrap();
    for follow in &mut followers {
        assert!(matches!(follow.next(Duration::ZERO), Err(Error::Truncated)));
    }
    let mut follow = log.follow(Lsn(15));
    assert_eq!(ready(&mut follow), [15]);
    append(&log, 16..40);
    log.sync().unwrap();
    assert_eq!(ready(&mut follow), (16..40).collect::<Vec<_>>());
}

/// A follower that waited after the end learned of a truncation only when its time was over.
#[test]
fn a_follower_that_waits_is_woken_by_a_truncation() {
    let dir = fast_dir();
    let log = &options().open(dir.path()).unwrap();
    for _ in 0..50 {
        log.append(b"one").unwrap();
        log.append(b"two").unwrap();
        log.sync().unwrap();
        let mut follow = log.follow(log.bounds().end);
        thread::scope(|scope| {
            let (send, waits) = mpsc::channel();
            let waiting = scope.spawn(move || {
                send.send(()).unwrap();
                follow.next(LONG)
            });
            waits.recv().unwrap();
            log.truncate_after(log.bounds().start).unwrap();
            assert!(matches!(waiting.join().unwrap(), Err(Error::Truncated)));
        });
    }
}

#[test]
fn after_a_failure_every_durable_record_is_read_and_then_the_error() {
    for failure in SyncFailure::ALL {
        let sim = SimDisk::new();
        let log = &options().disk(sim.disk()).open("/wal").unwrap();
        append(log, 1..20);
        log.sync().unwrap();
        let mut follow = log.follow(Lsn(1));
        append(log, 20..25);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut waits = log.follow(Lsn(20));
                waits.next(LONG)
            });
            sim.inject(Fault {
                call: sim.calls(),
                kind: FaultKind::Sync(failure),
                sticky: true,
            });
            assert!(log.sync().is_err());
            assert!(matches!(
                waiting.join().unwrap(),
                Err(Error::Poisoned { .. })
            ));
        });
        sim.clear_fault();
        for lsn in 1..20 {
            assert_eq!(number(&follow.next(LONG).unwrap().unwrap()), lsn);
        }
        for _ in 0..2 {
            assert!(matches!(follow.next(LONG), Err(Error::Poisoned { .. })));
        }
        assert!(matches!(log.follow(Lsn(3)).next(LONG), Ok(Some(_))));
    }
}

#[test]
fn a_follower_lives_beside_the_log_and_in_a_thread_of_its_own() {
    struct Replica {
        log: Arc<Wal>,
        follow: Follow,
    }
    let dir = fast_dir();
    let log = Arc::new(options().open(dir.path()).unwrap());
    let follow = log.follow(Lsn(1));
    let mut replica = Replica { log, follow };
    append(&replica.log, 1..5);
    replica.log.sync().unwrap();
    assert_eq!(ready(&mut replica.follow), [1, 2, 3, 4]);
    let Replica { log, mut follow } = replica;
    let (send, followed) = mpsc::channel();
    let follower = thread::spawn(move || {
        send.send(follow.next(LONG)).unwrap();
        follow.next(LONG)
    });
    append(&log, 5..6);
    log.sync().unwrap();
    let first = followed.recv().unwrap();
    assert_eq!(number(&first.unwrap().unwrap()), 5);
    drop(log);
    assert!(matches!(follower.join().unwrap(), Err(Error::Closed)));
}

#[test]
fn a_follower_that_waits_is_woken_and_cancelled_by_its_handle() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for _ in 0..50 {
        let mut follow = log.follow(Lsn(1));
        let handle = follow.handle();
        let (send, waits) = mpsc::channel();
        let follower = thread::spawn(move || {
            send.send(()).unwrap();
            let woken = follow.next(LONG).unwrap();
            send.send(()).unwrap();
            (woken, follow.next(LONG), follow.next(LONG))
        });
        waits.recv().unwrap();
        handle.wake();
        waits.recv().unwrap();
        handle.cancel();
        let (woken, cancelled, again) = follower.join().unwrap();
        assert_eq!(woken, None);
        assert!(matches!(cancelled, Err(Error::Cancelled)));
        assert!(matches!(again, Err(Error::Cancelled)));
    }
}

#[test]
fn a_wake_takes_no_record_from_a_follower() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    append(&log, 1..4);
    log.sync().unwrap();
    let mut follow = log.follow(Lsn(1));
    let handle = follow.handle();
    handle.wake();
    for lsn in 1..4 {
        assert_eq!(number(&follow.next(LONG).unwrap().unwrap()), lsn);
    }
    assert_eq!(follow.next(LONG).unwrap(), None, "woken once");
    handle.cancel();
    assert!(matches!(follow.next(LONG), Err(Error::Cancelled)));
}

#[cfg(feature = "stream")]
#[test]
fn a_task_is_woken_for_what_becomes_durable() {
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
    let log = options().open(dir.path()).unwrap();
    let follow = log.follow(Lsn(1));
    let handle = follow.handle();
    let mut stream = pin!(follow.into_stream());
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    assert!(stream.as_mut().poll_next(&mut context).is_pending());
    append(&log, 1..2);
    log.sync().unwrap();
    assert!(count.0.load(Ordering::SeqCst) > 0);
    let Poll::Ready(Some(Ok(record))) = stream.as_mut().poll_next(&mut context) else {
        panic!("nothing came");
    };
    assert_eq!(number(&record), 1);
    assert!(stream.as_mut().poll_next(&mut context).is_pending());
    let woken = count.0.load(Ordering::SeqCst);
    handle.cancel();
    assert_eq!(count.0.load(Ordering::SeqCst), woken + 1);
    let cancelled = stream.as_mut().poll_next(&mut context);
    assert!(matches!(
        cancelled,
        Poll::Ready(Some(Err(Error::Cancelled)))
    ));
    assert!(matches!(stream.poll_next(&mut context), Poll::Ready(None)));
}
