//! Appends that are not waited for.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use durable_io::sim::{Fault, FaultKind, SimDisk, SyncFailure};
use wal::{Appended, Background, Error, Lsn, MAX_IN_FLIGHT, Options, SyncMode, Ticket, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, payloads};

fn threads() -> Options {
    options().background(Background::Threads)
}

fn range(start: u64, end: u64) -> Range<Lsn> {
    Lsn(start)..Lsn(end)
}

fn is_in_flight(ticket: &Ticket) -> bool {
    ticket.poll().is_none()
}

#[test]
fn tickets_get_their_positions_in_the_order_of_submission() {
    for options in [options(), threads()] {
        let dir = fast_dir();
        let log = options.open(dir.path()).unwrap();
        let mut tickets = Vec::new();
        let mut next = 1;
        for n in 0..500_u64 {
            let batch = vec![b"record".as_slice(); usize::try_from(n % 4).unwrap()];
            tickets.push((next, n % 4, log.submit(&batch).unwrap()));
            next += n % 4;
        }
        // From the last one on, so that one wait commits many.
        for (first, count, ticket) in tickets.into_iter().rev().filter(|(_, n, _)| *n > 0) {
            assert_eq!(ticket.wait().unwrap().lsns(), range(first, first + count));
        }
        assert_eq!(log.bounds(), range(1, next));
        assert_eq!(payloads(&log).unwrap().len() as u64, next - 1);
    }
}

#[test]
fn a_ticket_that_is_polled_says_nothing_until_its_group_is_committed() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let (one, two) = (
        log.submit(&[b"one"]).unwrap(),
        log.submit(&[b"two", b"three"]).unwrap(),
    );
    assert!(is_in_flight(&one) && is_in_flight(&two));
    assert_eq!(log.bounds(), range(1, 1));
    let empty = log.submit(&[]).unwrap();
    assert_eq!(empty.poll().unwrap().unwrap().lsns(), range(1, 1));
    assert_eq!(empty.wait().unwrap().lsns(), range(1, 1));
    assert!(log.run_background().unwrap());
    assert_eq!(one.poll().unwrap().unwrap().lsns(), range(1, 2));
    assert_eq!(two.poll().unwrap().unwrap().lsns(), range(2, 4));
    assert_eq!(two.wait().unwrap().lsns(), range(2, 4));
    assert_eq!(log.stats().group_count, 1);
}

#[test]
fn an_append_that_waits_commits_what_was_submitted_before_it() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let ticket = log.submit(&[b"one"]).unwrap();
    assert_eq!(log.append(b"two").unwrap().lsn(), Lsn(2));
    assert_eq!(ticket.poll().unwrap().unwrap().lsns(), range(1, 2));
}

#[test]
fn a_ticket_that_is_dropped_changes_nothing() {
    let dir = fast_dir();
    let log = threads().open(dir.path()).unwrap();
    for _ in 0..100 {
        drop(log.submit(&[b"a record"]).unwrap());
    }
    assert_eq!(
        log.submit(&[b"last"]).unwrap().wait().unwrap().lsns(),
        range(101, 102)
    );
}

#[test]
fn what_is_in_flight_is_committed_when_the_log_is_dropped_or_closed() {
    for (closes, options) in [
        (true, options()),
        (false, options()),
        (true, threads()),
        (false, threads()),
    ] {
        let dir = fast_dir();
        let log = options.clone().open(dir.path()).unwrap();
        let (polled, waited) = (
            log.submit(&[b"one"]).unwrap(),
            log.submit(&[b"two"]).unwrap(),
        );
        let (send, received) = mpsc::channel();
        log.submit_then(&[b"three"], move |result| {
            send.send(result.unwrap()).unwrap();
        })
        .unwrap();
        if closes {
            log.close().unwrap();
        } else {
            drop(log);
        }
        assert_eq!(polled.poll().unwrap().unwrap().lsns(), range(1, 2));
        assert_eq!(waited.wait().unwrap().lsns(), range(2, 3));
        assert_eq!(received.try_recv().unwrap().lsns(), range(3, 4));
        let log = options.open(dir.path()).unwrap();
        assert_eq!(log.bounds(), range(1, 4));
    }
}

/// The log was let go while a thread that waited for a ticket still wrote, or still held the lock.
#[test]
fn a_log_can_be_opened_again_while_a_thread_has_just_waited_for_a_ticket() {
    let dir = fast_dir();
    for round in 1..=2000_u64 {
        let log = options().open(dir.path()).unwrap();
        let ticket = log.submit(&[b"a record"]).unwrap();
        let waiter = thread::spawn(move || ticket.wait().unwrap());
        if round.is_multiple_of(2) {
            thread::yield_now();
        }
        log.close().unwrap();
        let log = options().open(dir.path()).unwrap();
        assert_eq!(log.bounds(), range(1, round + 1));
        drop(log);
        assert_eq!(waiter.join().unwrap().lsns(), range(round, round + 1));
    }
}

#[test]
fn a_log_is_let_go_while_many_threads_wait_for_tickets() {
    let dir = fast_dir();
    for round in 1..=500_u64 {
        let log = threads().open(dir.path()).unwrap();
        log.append(b"a record").unwrap();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let ticket = log.submit(&[b"a record"]).unwrap();
                thread::spawn(move || ticket.wait().unwrap())
            })
            .collect();
        drop(log);
        let log = threads().open(dir.path()).unwrap();
        assert_eq!(log.bounds(), range(1, round * 4 + 1));
        for waiter in waiters {
            waiter.join().unwrap();
        }
    }
}

#[test]
fn a_callback_is_called_once_with_what_its_ticket_would_say() {
    for options in [options(), threads()] {
        let dir = fast_dir();
        let log = options.open(dir.path()).unwrap();
        let (send, received) = mpsc::channel();
        for n in 0..300_u64 {
            let send = send.clone();
            let batch = vec![b"record".as_slice(); usize::try_from(n % 3).unwrap()];
            log.submit_then(&batch, move |result| {
                send.send((n, result.unwrap())).unwrap();
            })
            .unwrap();
        }
        drop(send);
        drop(log);
        let mut received: Vec<_> = received.try_iter().collect();
        // Those of empty batches are told at once, the others in their order.
        assert!(
            received
                .iter()
                .filter(|(n, _)| n % 3 > 0)
                .is_sorted_by_key(|(n, _)| n)
        );
        received.sort_by_key(|(n, _)| *n);
        assert_eq!(received.len(), 300);
        let full = received.iter().filter(|(n, _)| n % 3 > 0);
        full.fold(1, |first, (n, received)| {
            assert_eq!(received.lsns(), range(first, first + n % 3));
            first + n % 3
        });
    }
}

/// A log, and how many records its callbacks may still append.
struct Chain {
    log: Wal,
    left: AtomicU64,
    depth: AtomicUsize,
    deepest: AtomicUsize,
}

impl Chain {
    fn submit(chain: &Arc<Self>, done: &Sender<()>) {
        let (next, done) = (Arc::clone(chain), done.clone());
        let again = move |result: Result<_, _>| {
            result.unwrap();
            let depth = next.depth.fetch_add(1, Ordering::SeqCst) + 1;
            next.deepest.fetch_max(depth, Ordering::SeqCst);
            let take = |left: u64| left.checked_sub(1);
            if next
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_ok()
            {
                Self::submit(&next, &done);
                // Commits what was just submitted, too.
                next.log.append(b"by a callback").unwrap();
            }
            next.depth.fetch_sub(1, Ordering::SeqCst);
        };
        chain.log.submit_then(&[b"submitted"], again).unwrap();
    }
}

/// Each callback was called inside of the one before it, until the stack was full.
#[test]
fn callbacks_may_append_and_are_not_called_inside_of_each_other() {
    for options in [options(), threads()] {
        let dir = fast_dir();
        let chain = Arc::new(Chain {
            log: options.segment_size(1 << 20).open(dir.path()).unwrap(),
            left: AtomicU64::new(20_000),
            depth: AtomicUsize::new(0),
            deepest: AtomicUsize::new(0),
        });
        let (done, all_done) = mpsc::channel();
        Chain::submit(&chain, &done);
        drop(done);
        while chain.log.run_background().unwrap() {}
        // Until every callback is gone.
        assert!(all_done.recv().is_err());
        assert_eq!(chain.log.bounds(), range(1, 40_002));
        assert_eq!(chain.deepest.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_callback_that_panics_harms_nobody() {
    let dir = fast_dir();
    for options in [options(), threads()] {
        let log = options.open(dir.path()).unwrap();
        let (send, received) = mpsc::channel();
        for n in 0..10 {
            let send = send.clone();
            let call = move |_: Result<_, _>| {
                send.send(n).unwrap();
                assert!(n % 2 == 1, "planted");
            };
            log.submit_then(&[b"a record"], call).unwrap();
        }
        log.append(b"after them").unwrap();
        log.submit(&[b"and again"]).unwrap().wait().unwrap();
        log.close().unwrap();
        assert_eq!(log.stats().callback_panics, 5);
        assert_eq!(
            received.try_iter().collect::<Vec<_>>(),
            (0..10).collect::<Vec<_>>()
        );
    }
}

/// The thread that commits waited for its own end.
#[test]
fn the_last_callback_may_drop_the_log() {
    let dir = fast_dir();
    for round in 1..=200_u64 {
        let log = Arc::new(threads().open(dir.path()).unwrap());
        let (go, may_go) = mpsc::channel::<()>();
        let (send, gone) = mpsc::channel();
        let own = Arc::clone(&log);
        let last = move |result: Result<_, _>| {
            may_go.recv().unwrap();
            drop(own);
            send.send(result.unwrap()).unwrap();
        };
        log.submit_then(&[b"a record"], last).unwrap();
        drop(log);
        go.send(()).unwrap();
        assert_eq!(gone.recv().unwrap().lsns(), range(round, round + 1));
        assert_eq!(
            threads().open(dir.path()).unwrap().bounds(),
            range(1, round + 1)
        );
    }
}

#[test]
fn a_thread_that_submits_too_much_waits() {
    for options in [options(), threads()] {
        let dir = fast_dir();
        let log = options.segment_size(8 << 20).open(dir.path()).unwrap();
        let megabyte = vec![7; 1 << 20];
        let mut tickets: Vec<Ticket> = Vec::new();
        let mut most = 0;
        for _ in 0..50 {
            tickets.push(log.submit(&[&megabyte]).unwrap());
            most = most.max(tickets.iter().filter(|ticket| is_in_flight(ticket)).count());
        }
        assert!(most as u64 <= MAX_IN_FLIGHT >> 20, "{most} MiB in flight");
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        assert_eq!(log.bounds(), range(1, 51));
    }
}

#[test]
fn a_batch_that_is_too_large_is_refused_at_once() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let called = |_: Result<_, _>| panic!("nothing was submitted");
    let chunk = vec![0; 64 << 20];
    let large = [chunk.as_slice(); 64];
    assert!(matches!(log.submit(&large), Err(Error::TooLarge { .. })));
    let refused = log.submit_then(&large, called);
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    assert!(!log.run_background().unwrap() || log.stats().group_count == 0);
}

#[test]
fn a_failed_sync_answers_every_ticket_with_an_error() {
    for failure in SyncFailure::ALL {
        for background in [Background::Inline, Background::Threads] {
            let sim = SimDisk::new();
            let always = options()
                .sync(SyncMode::Always)
                .background(background)
                .disk(sim.disk());
            let log = always.open("/wal").unwrap();
            log.append(b"one").unwrap();
            sim.inject(Fault {
                call: sim.calls(),
                kind: FaultKind::Sync(failure),
                sticky: true,
            });
            let (send, received) = mpsc::channel();
            let mut tickets = Vec::new();
            for _ in 0..20 {
                let send = send.clone();
                tickets.push(log.submit(&[b"lost"]).unwrap());
                log.submit_then(&[b"lost"], move |result| {
                    send.send(result.is_err()).unwrap();
                })
                .unwrap();
            }
            assert!(
                tickets.into_iter().all(|ticket| ticket.wait().is_err()),
                "{failure:?}"
            );
            assert!(log.submit(&[b"later"]).unwrap().wait().is_err());
            assert!(log.close().is_err());
            assert_eq!(received.try_iter().filter(|&is_error| is_error).count(), 20);
        }
    }
}

/// A full disk between two groups: those before it are there, those after it are told.
#[test]
fn a_full_disk_answers_the_tickets_that_do_not_fit_any_more() {
    let sim = SimDisk::new();
    let log = options().disk(sim.disk()).open("/wal").unwrap();
    sim.set_budget(Some(sim.used_bytes()));
    let tickets: Vec<_> = (0..6).map(|_| log.submit(&[&[7; 600]]).unwrap()).collect();
    assert!(log.run_background().unwrap());
    let received: Vec<_> = tickets
        .iter()
        .map(|ticket| ticket.poll().unwrap().is_ok())
        .collect();
    assert_eq!(received, [true, true, true, false, false, false]);
    sim.set_budget(None);
    assert_eq!(log.append(b"fits again").unwrap().lsn(), Lsn(4));
    assert_eq!(payloads(&log).unwrap().len(), 4);
}

/// The payload of record `n` of `thread`.
fn payload(thread: u64, n: u64) -> Vec<u8> {
    [thread, n].map(u64::to_le_bytes).concat()
}

/// What was acknowledged before the power failed, with its position, must be there after it.
fn check_survivors(sim: &SimDisk, acknowledged: &[(u64, Vec<u8>)]) -> Result<(), String> {
    let survivor = SimDisk::boot(sim.world().lose_unsynced());
    let log = options()
        .disk(survivor.disk())
        .open("/wal")
        .map_err(|e| e.to_string())?;
    let found = payloads(&log).map_err(|e| e.to_string())?;
    for (lsn, payload) in acknowledged {
        if found.get(usize::try_from(lsn - 1).unwrap()) != Some(payload) {
            return Err(format!("record {lsn} was acknowledged and is lost"));
        }
    }
    Ok(())
}

/// Appends in all ways from four threads at once, and calls `look` now and then with what was
/// acknowledged so far.
fn append_from_threads(sim: &SimDisk, mode: SyncMode, look: impl Fn(&[(u64, Vec<u8>)]) + Sync) {
    let log = options()
        .sync(mode)
        .background(Background::Threads)
        .disk(sim.disk());
    let log = &log.open("/wal").unwrap();
    let acknowledged = &Arc::new(Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let look = &look;
            scope.spawn(move || {
                let mut tickets = Vec::new();
                for n in 0..60 {
                    let own = payload(thread, n);
                    match n % 3 {
                        0 => {
                            let lsn = log.append(&own).unwrap().lsn();
                            acknowledged.lock().unwrap().push((lsn.0, own));
                        }
                        1 => tickets.push((log.submit(&[&own]).unwrap(), own)),
                        _ => {
                            let acknowledged = Arc::clone(acknowledged);
                            let payload = own.clone();
                            let done = move |appended: Result<Appended, Error>| {
                                let lsn = appended.unwrap().lsns().start.0;
                                acknowledged.lock().unwrap().push((lsn, payload));
                            };
                            log.submit_then(&[&own], done).unwrap();
                        }
                    }
                    if n % 10 == thread {
                        // First what was acknowledged, then the disk: it may only have more.
                        let acknowledged = acknowledged.lock().unwrap().clone();
                        look(&acknowledged);
                    }
                }
                for (ticket, own) in tickets {
                    let lsn = ticket.wait().unwrap().lsns().start.0;
                    acknowledged.lock().unwrap().push((lsn, own));
                }
            });
        }
    });
    let acknowledged = acknowledged.lock().unwrap().clone();
    look(&acknowledged);
}

#[test]
fn what_was_acknowledged_to_any_thread_survives_a_power_loss_at_any_instant() {
    for _ in 0..3 {
        let sim = SimDisk::new();
        append_from_threads(&sim, SyncMode::Always, |acknowledged| {
            check_survivors(&sim, acknowledged).unwrap();
        });
    }
}

/// The same with acknowledgements that come before the sync: the test above would see them.
#[test]
fn an_acknowledgement_before_the_sync_would_be_seen() {
    let sim = SimDisk::new();
    let caught = AtomicUsize::new(0);
    append_from_threads(&sim, SyncMode::Manual, |acknowledged| {
        let is_caught = check_survivors(&sim, acknowledged).is_err();
        caught.fetch_add(usize::from(is_caught), Ordering::Relaxed);
    });
    assert!(caught.into_inner() > 0);
}
