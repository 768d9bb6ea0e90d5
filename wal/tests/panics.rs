//! A panic is planted under each lock, at each step: nobody waits for ever, nothing that was acknowledged as
//! durable is lost, the handle refuses from then on, and opening again finds the log whole.

#![allow(clippy::unwrap_used, reason = "test")]

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use durable_io::testing::{Planted, plant};
use wal::{Error, Lsn, Result, SyncMode, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, payloads};

type Work = fn(&Wal) -> Result<()>;

/// Everything that takes locks and changes something.
const WORKS: [(&str, Work); 9] = [
    ("append", |log| log.append(b"new").map(drop)),
    ("append of a batch that rotates", |log| {
        log.append_batch(&[&[7; 900], &[8; 900]]).map(drop)
    }),
    ("submit, all in one group", |log| {
        let tickets: Vec<_> = (0..3)
            .map(|_| log.submit(&[b"new"]))
            .collect::<Result<_>>()?;
        let ends: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait()).collect();
        ends.into_iter().try_for_each(|end| end.map(drop))
    }),
    ("sync", |log| log.sync().map(drop)),
    ("rotate", Wal::rotate),
    ("truncate before", |log| log.truncate_before(Lsn(3))),
    ("truncate after", |log| log.truncate_after(Lsn(2))),
    ("checkpoint", |log| log.checkpoint(Lsn(3))),
    ("background", |log| {
        while log.run_background()? {}
        Ok(())
    }),
];

/// A log in which each of them has something to do: four durable records, and two that are not.
fn filled(path: &std::path::Path) -> Wal {
    let log = files::options().sync(SyncMode::Manual).open(path).unwrap();
    for n in 1..=6_u8 {
        log.append(&[n; 100]).unwrap();
        if n == 2 || n == 4 {
            log.rotate().unwrap();
        }
    }
    log
}

#[test]
fn a_panic_under_any_lock_poisons_and_loses_nothing_durable() {
    for (name, work) in WORKS {
        let mut planted = 0;
        for nth in 0.. {
            let dir = fast_dir();
            let log = filled(dir.path());
            let outcome = plant(nth, || work(&log));
            let is_over = matches!(outcome, Planted::Ended(_));
            if let Planted::Ended(result) = outcome {
                result.unwrap();
            } else {
                planted += 1;
                // Readers continue, or say why not; nobody panics, and nobody hangs.
                let later = panic::catch_unwind(AssertUnwindSafe(|| {
                    drop(payloads(&log));
                    assert!(log.stats().segment_count > 0);
                    log.append(b"later").map(drop)
                }));
                let later = later.unwrap_or_else(|_| panic!("{name}, step {nth}: it panics again"));
                // A lock that only a sync takes is found poisoned by the next sync.
                let is_called = matches!(later, Ok(()) | Err(Error::Poisoned(_)));
                assert!(is_called, "{name}, step {nth}: {later:?}");
                assert!(
                    matches!(log.close(), Err(Error::Poisoned(_))),
                    "{name}, step {nth}"
                );
            }
            drop(log);
            let log = files::options().open(dir.path()).unwrap();
            let gives_up = name.starts_with("truncate");
            for n in (1..=4_u8).filter(|_| !gives_up) {
                let found = log.records(Lsn(u64::from(n))).next().unwrap().unwrap();
                assert_eq!(found.payload, [n; 100], "{name}, step {nth}");
            }
            log.verify().unwrap();
            log.append(b"it goes on").unwrap();
            if is_over {
                break;
            }
        }
        assert!(planted > 0, "{name} takes no lock");
    }
}

#[test]
fn a_panic_of_the_leader_is_an_error_to_every_member_of_the_group() {
    for nth in 0.. {
        let dir = fast_dir();
        let log = files::options().open(dir.path()).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let calls = Arc::clone(&calls);
            let count = move |end: Result<wal::Appended>| {
                assert!(matches!(end, Ok(_) | Err(Error::Poisoned(_))), "{end:?}");
                calls.fetch_add(1, Ordering::Relaxed);
            };
            log.submit_then(&[b"a record"], count).unwrap();
        }
        let ticket = log.submit(&[b"another one"]).unwrap();
        let outcome = plant(nth, || ticket.wait());
        match &outcome {
            Planted::Ended(end) => assert!(end.is_ok(), "{end:?}"),
            Planted::Caught(end) => assert!(matches!(end, Ok(_) | Err(Error::Poisoned(_)))),
            Planted::Escaped => {}
        }
        drop(log);
        assert_eq!(calls.load(Ordering::Relaxed), 3, "step {nth}");
        if matches!(outcome, Planted::Ended(_)) {
            assert!(nth > 0, "no panic was planted");
            break;
        }
    }
}
