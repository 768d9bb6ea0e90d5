//! Appends that ride on what comes next.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::mpsc;

use durable_io::sim::SimDisk;
use wal::{Background, Lsn, Options, SyncMode};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, payloads};

/// With a thread that would commit at once what it is asked to.
fn threaded() -> Options {
    options()
        .sync(SyncMode::Always)
        .background(Background::Threads)
}

#[test]
fn a_lazy_append_is_written_before_the_next_one_in_its_group() {
    let dir = fast_dir();
    let log = threaded().open(dir.path()).unwrap();
    // As many as a segment holds: its end would part a group.
    for round in 0..20_u64 {
        let lazy = [(); 3].map(|()| log.submit_lazy(&[b"lazy"]).unwrap());
        let end = log.append(b"eager").unwrap().lsn();
        assert_eq!(end, Lsn(4 * round + 4));
        assert_eq!(
            log.stats().group_count,
            round + 1,
            "one group for all of them"
        );
        for (ticket, n) in lazy.into_iter().zip(1..) {
            assert_eq!(ticket.wait().unwrap().lsns().start, Lsn(4 * round + n));
        }
    }
}

#[test]
fn a_lazy_append_rides_on_a_sync() {
    for sync in [SyncMode::Always, SyncMode::Manual] {
        let sim = SimDisk::new();
        let log = options().sync(sync).disk(sim.disk()).open("/log").unwrap();
        let ticket = log.submit_lazy(&[b"lazy"]).unwrap();
        assert_eq!(log.bounds(), Lsn(1)..Lsn(1), "it is not written yet");
        assert_eq!(log.sync().unwrap(), Lsn(1));
        assert_eq!(ticket.wait().unwrap().lsns(), Lsn(1)..Lsn(2));
        let booted = SimDisk::boot(sim.world().lose_unsynced());
        let log = options().disk(booted.disk()).open("/log").unwrap();
        assert_eq!(payloads(&log).unwrap(), [b"lazy"]);
    }
}

#[test]
fn whoever_waits_for_a_lazy_append_commits_it() {
    let dir = fast_dir();
    let log = threaded().open(dir.path()).unwrap();
    let ticket = log.submit_lazy(&[b"lazy"]).unwrap();
    assert_eq!(ticket.wait().unwrap().lsns(), Lsn(1)..Lsn(2));
}

#[test]
fn closing_commits_what_is_lazy_and_calls_back() {
    for background in [Background::Threads, Background::Inline] {
        for closes in [true, false] {
            let dir = fast_dir();
            let log = threaded().background(background).open(dir.path()).unwrap();
            let (send, received) = mpsc::channel();
            let done = move |appended: wal::Result<wal::Appended>| {
                send.send(appended.unwrap().lsns()).unwrap();
            };
            log.submit_lazy_then(&[b"lazy"], done).unwrap();
            if closes {
                log.close().unwrap();
            }
            drop(log);
            assert_eq!(received.recv().unwrap(), Lsn(1)..Lsn(2));
            let log = options().open(dir.path()).unwrap();
            assert_eq!(payloads(&log).unwrap(), [b"lazy"]);
        }
    }
}
