//! Appends that are built on others: refused with them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use durable_io::sim::SimDisk;
use wal::{Background, Error, Expectation, Lsn, Ticket, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, payloads, settle};

/// Larger than what is left in a segment after another one.
const LARGE: &[u8] = &[7; 1200];

fn commit(log: &Wal) {
    assert!(log.run_background().unwrap());
}

fn is_refused(ticket: &Ticket) -> bool {
    matches!(ticket.wait(), Err(Error::Refused { .. }))
}

/// A log with a large record, on a disk that has no space for the next segment.
fn full() -> (SimDisk, Wal) {
    let sim = SimDisk::new();
    let log = options().disk(sim.disk()).open("/wal").unwrap();
    log.append(LARGE).unwrap();
    sim.set_budget(Some(sim.used_bytes()));
    (sim, log)
}

fn submit(log: &Wal, expected: Expectation, payload: &[u8]) -> Ticket {
    log.submit_at(expected, &[payload]).unwrap()
}

#[test]
fn a_chain_is_written_in_one_group_and_in_several() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let mut expected = log.expectation();
    let mut tickets = Vec::new();
    for n in 0..30_u8 {
        tickets.push(submit(&log, expected, &[n; 200]));
        expected = expected.after(1);
        if n % 7 == 0 {
            commit(&log);
        }
    }
    for (ticket, lsn) in tickets.into_iter().zip(1..) {
        assert_eq!(ticket.wait().unwrap().lsns().start, Lsn(lsn));
    }
    assert_eq!(log.expectation(), expected);
    let two = log.submit_at(expected, &[b"a", b"b"]).unwrap();
    let second = submit(&log, expected.after(2), b"c");
    assert_eq!(two.wait().unwrap().lsns(), Lsn(31)..Lsn(33));
    assert_eq!(second.wait().unwrap().lsns().start, Lsn(33));
}

/// A full disk refused the first of a chain, and a smaller one after it fitted: the log held what was built
/// on something without it.
#[test]
fn what_is_built_on_a_refused_append_is_refused_whenever_it_comes() {
    for between in 0..4_u8 {
        let (sim, log) = full();
        let base = log.expectation();
        let first = submit(&log, base, LARGE);
        if between & 1 > 0 {
            commit(&log);
        }
        let second = submit(&log, base.after(1), b"small");
        if between & 2 > 0 {
            commit(&log);
        }
        let third = submit(&log, base.after(2), b"small");
        assert!(first.wait().unwrap_err().is_no_space());
        for ticket in [second, third] {
            let error = ticket.wait().unwrap_err();
            assert!(
                error.is_no_space() || matches!(error, Error::Refused { .. }),
                "{error}"
            );
        }
        assert_eq!(payloads(&log).unwrap().len(), 1, "{between}");
        // What is built on the current state is written, at the same place.
        let again = log.expectation();
        assert_eq!(
            (again.lsn(), again.refusals()),
            (base.lsn(), base.refusals() + 1)
        );
        assert_eq!(
            submit(&log, again, b"small").wait().unwrap().lsns().start,
            base.lsn()
        );
        sim.set_budget(None);
        settle(&log);
        assert!(submit(&log, again.after(1), LARGE).wait().is_ok());
    }
}

#[test]
fn an_unrelated_append_that_gets_the_position_of_a_refused_one_does_not_pass_for_it() {
    let (_sim, log) = full();
    let base = log.expectation();
    let refused = submit(&log, base, LARGE);
    commit(&log);
    assert!(refused.wait().unwrap_err().is_no_space());
    assert_eq!(log.append(b"unrelated").unwrap().lsn(), base.lsn());
    let built = submit(&log, base.after(1), b"built on the refused one");
    let Err(Error::Refused { expected, found }) = built.wait() else {
        panic!("it was written");
    };
    assert_eq!((expected.lsn(), found.lsn()), (Lsn(3), Lsn(3)));
    assert_eq!(found.refusals(), expected.refusals() + 1);
    assert_eq!(log.bounds().end, Lsn(3));
}

#[test]
fn what_would_get_another_position_is_refused_and_what_is_built_on_it_too() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let base = log.expectation();
    let other = log.submit(&[b"another"]).unwrap();
    let late = submit(&log, base, b"late");
    // As if it had come after the one before.
    let built = submit(&log, base.after(1), b"built on it");
    let unrelated = log.submit(&[b"no expectation"]).unwrap();
    assert!(other.wait().is_ok() && unrelated.wait().is_ok());
    assert!(is_refused(&late) && is_refused(&built));
    assert_eq!(
        payloads(&log).unwrap(),
        [b"another".as_slice(), b"no expectation"]
    );
    // One group before the refused ones, and one after them.
    assert_eq!(log.stats().group_count, 2);
    assert_eq!(log.stats().appended_records, 2);
}

#[test]
fn what_expects_the_middle_of_a_batch_in_its_own_group_is_refused() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let base = log.expectation();
    let two = log.submit(&[b"a", b"b"]).unwrap();
    let wrong = submit(&log, base.after(1), b"built on another one");
    assert!(two.wait().is_ok());
    assert!(is_refused(&wrong));
}

#[test]
fn a_refusal_of_what_was_built_on_a_refusal_refuses_nothing_new() {
    let (_sim, log) = full();
    let base = log.expectation();
    let first = submit(&log, base, LARGE);
    let second = submit(&log, base.after(1), b"built on it");
    commit(&log);
    // Learned after the refusal, while some of the old chain is still to come.
    let again = log.expectation();
    let third = submit(&log, base.after(2), b"built on it");
    let new = submit(&log, again, b"a new chain");
    assert!(new.wait().is_ok());
    assert!(first.wait().is_err() && second.wait().is_err() && is_refused(&third));
}

#[test]
fn what_was_built_on_a_record_that_is_truncated_is_refused() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(b"one").unwrap();
    log.append(b"two").unwrap();
    let base = log.expectation();
    log.truncate_after(Lsn(1)).unwrap();
    log.append(b"another two").unwrap();
    assert!(is_refused(&submit(&log, base, b"built on two")));
    assert!(submit(&log, log.expectation(), b"three").wait().is_ok());
}

#[test]
fn an_empty_batch_expects_nothing_and_a_closed_log_takes_none() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let stale = log.expectation();
    log.append(b"one").unwrap();
    assert_eq!(
        log.submit_at(stale, &[]).unwrap().wait().unwrap().lsns(),
        Lsn(2)..Lsn(2)
    );
    log.close().unwrap();
    assert!(matches!(
        log.submit_at(stale, &[b"two"]),
        Err(Error::Closed)
    ));
}

/// The thread that committed a later group called back before the one that committed an earlier one.
#[test]
fn callbacks_come_in_the_order_of_the_log_whichever_threads_commit() {
    let dir = fast_dir();
    for _ in 0..20 {
        let log = options()
            .background(Background::Threads)
            .open(dir.path())
            .unwrap();
        let starts = Arc::new(Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..50_u32 {
                        let starts = Arc::clone(&starts);
                        let done = move |appended: Result<wal::Appended, Error>| {
                            starts.lock().unwrap().push(appended.unwrap().lsns().start);
                        };
                        log.submit_then(&[b"a record"], done).unwrap();
                        // So that this thread commits, too.
                        if n % 3 == 0 {
                            log.append(b"waited for").unwrap();
                        }
                    }
                });
            }
        });
        log.close().unwrap();
        let starts = starts.lock().unwrap();
        assert_eq!(starts.len(), 200);
        assert!(starts.is_sorted());
    }
}

/// A ticket answered before one that is before it in the log.
#[test]
fn tickets_answer_in_the_order_of_the_log() {
    let dir = fast_dir();
    let log = &options()
        .background(Background::Threads)
        .open(dir.path())
        .unwrap();
    let acknowledged = &AtomicU64::new(0);
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let mut tickets = Vec::new();
        let (give, take) = std::sync::mpsc::channel::<Ticket>();
        scope.spawn(move || {
            for ticket in take {
                let lsn = ticket.wait().unwrap().lsns().start.0;
                acknowledged.fetch_max(lsn, Ordering::SeqCst);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        for _ in 0..2000 {
            tickets.push(log.submit(&[b"polled"]).unwrap());
            give.send(log.submit(&[b"waited for"]).unwrap()).unwrap();
        }
        drop(give);
        let mut next = 0;
        while !is_over.load(Ordering::SeqCst) || next < tickets.len() {
            let before = acknowledged.load(Ordering::SeqCst);
            while let Some(ticket) = tickets.get(next) {
                match ticket.poll() {
                    Some(appended) => {
                        assert_eq!(appended.unwrap().lsns().start, Lsn(2 * next as u64 + 1));
                        next += 1;
                    }
                    None => break,
                }
            }
            assert!(
                2 * next as u64 + 1 > before,
                "{next}: {before} was acknowledged"
            );
        }
    });
}
