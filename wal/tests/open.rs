//! Opening with the records shown meanwhile, and closing a log that others still hold.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use durable_io::sim::SimDisk;
use wal::{Background, Corruption, Error, Location, Lsn, Options, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, read, segment, settle, snapshot, write};

/// The positions of the records that opening shows.
fn shown(options: &Options, path: &std::path::Path, from: u64) -> wal::Result<(Vec<u64>, Wal)> {
    let mut seen = Vec::new();
    let visit = |location: Location, payload: &[u8]| {
        assert_eq!(payload[0], u8::try_from(location.lsn().0).unwrap());
        seen.push(location.lsn().0);
        Ok::<_, Error>(())
    };
    let log = options.clone().open_and_replay(path, Lsn(from), visit)?;
    Ok((seen, log))
}

/// Three segments of records, each of which begins with its position.
fn fill(log: &Wal) {
    for lsn in 1..=30_u8 {
        log.append(&[lsn; 150]).unwrap();
    }
    assert_eq!(log.stats().rotation_count, 2);
    settle(log);
}

#[test]
fn records_are_shown_from_any_position_on() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    fill(&log);
    drop(log);
    for from in 0..33 {
        let (seen, log) = shown(&options(), dir.path(), from).unwrap();
        assert!(seen.into_iter().eq(from.max(1)..31), "{from}");
        let recovery = log.recovery();
        assert_eq!((recovery.first_lsn, recovery.last_lsn), (Lsn(1), Lsn(30)));
        assert_eq!(log.durable_lsn(), Lsn(30));
    }
    let log = options().open(dir.path()).unwrap();
    log.truncate_before(Lsn(17)).unwrap();
    drop(log);
    let (seen, log) = shown(&options(), dir.path(), 5).unwrap();
    assert!(seen.into_iter().eq(17..31));
    assert_eq!(log.recovery().first_lsn, Lsn(17));
}

#[test]
fn no_byte_is_read_twice() {
    let sim = SimDisk::new();
    let options = options().segment_size(1 << 20).disk(sim.disk());
    let log = options.clone().open("/wal").unwrap();
    for _ in 0..150 {
        log.append(&vec![7; 20_000]).unwrap();
    }
    assert_eq!(log.stats().rotation_count, 2);
    let files = 4 << 20;
    settle(&log);
    log.close().unwrap();
    drop(log);
    sim.start_trace();
    let mut count = 0;
    let visit = |_: Location, _: &[u8]| {
        count += 1;
        Ok::<_, Error>(())
    };
    let log = options.open_and_replay("/wal", Lsn(0), visit).unwrap();
    let calls = sim.trace();
    let reads = calls.iter().filter(|call| call.op == "read");
    let reads = reads.filter(|call| !call.path.ends_with("mark"));
    let bytes: u64 = reads.map(|call| call.len).sum();
    assert_eq!(count, 150);
    // Of each segment the first block before it is known which one it is, and of groups at the end of
    // what was read at once a part.
    assert!((files..files + files / 8).contains(&bytes), "{bytes}");
    drop(log);
}

#[test]
fn of_a_group_that_is_not_whole_nothing_is_shown() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(&[1; 9]).unwrap();
    log.append_batch(&[&[2; 9], &[3; 9], &[4; 9]]).unwrap();
    drop(log);
    let mut bytes = read(dir.path(), &segment(1));
    let last = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[last] ^= 1;
    write(dir.path(), &segment(1), &bytes);
    let (seen, log) = shown(&options(), dir.path(), 0).unwrap();
    assert_eq!(seen, [1]);
    assert_eq!(log.bounds().end, Lsn(2));
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Failed {
    #[error("enough")]
    Enough,
    #[error("the log failed")]
    Log,
}

impl From<Error> for Failed {
    fn from(_: Error) -> Self {
        Self::Log
    }
}

#[test]
fn whoever_is_shown_records_can_stop_and_nothing_is_changed() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    fill(&log);
    drop(log);
    let files = snapshot(dir.path());
    for stop_at in [1, 14, 15, 30] {
        let mut seen = 0;
        let visit = |location: Location, _: &[u8]| {
            seen += 1;
            (location.lsn() < Lsn(stop_at))
                .then_some(())
                .ok_or(Failed::Enough)
        };
        let opened = options().open_and_replay(dir.path(), Lsn(0), visit);
        assert_eq!(opened.err(), Some(Failed::Enough));
        assert_eq!(seen, stop_at);
        assert_eq!(snapshot(dir.path()), files);
    }
    assert_eq!(shown(&options(), dir.path(), 0).unwrap().0.len(), 30);
}

#[test]
fn damage_of_what_is_to_be_shown_is_reported() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    fill(&log);
    drop(log);
    let whole = read(dir.path(), &segment(1));
    let mut damaged = whole.clone();
    damaged[500] ^= 1;
    write(dir.path(), &segment(1), &damaged);
    let error = shown(&options(), dir.path(), 0).unwrap_err();
    let reason = Corruption::Checksum;
    assert!(matches!(error, Error::Corrupt { reason: found, .. } if found == reason));
    // What is not asked for is not read.
    assert!(shown(&options(), dir.path(), 25).is_ok());
}

#[test]
fn after_a_close_every_call_says_so_and_another_handle_may_open() {
    let dir = fast_dir();
    for background in [Background::Inline, Background::Threads] {
        let options = options().background(background);
        let log = Arc::new(options.clone().open(dir.path()).unwrap());
        let other = Arc::clone(&log);
        let location = log.append(b"a record").unwrap();
        let mut records = log.records(Lsn(0));
        records.read().unwrap().unwrap();
        other.close().unwrap();
        let is_closed = |result: wal::Result<()>| matches!(result, Err(Error::Closed));
        assert!(is_closed(log.append(b"late").map(drop)));
        assert!(is_closed(log.append_batch(&[]).map(drop)));
        assert!(is_closed(log.submit(&[b"late"]).map(drop)));
        assert!(is_closed(
            log.submit_then(&[b"late"], |_| panic!("refused")).map(drop)
        ));
        assert!(is_closed(log.sync().map(drop)));
        assert!(is_closed(log.rotate()));
        assert!(is_closed(log.truncate_before(Lsn(9))));
        assert!(is_closed(log.truncate_after(Lsn(0))));
        assert!(is_closed(log.checkpoint(Lsn(9))));
        assert!(is_closed(log.read(location).map(drop)));
        assert!(is_closed(log.records_at(location).map(drop)));
        assert!(is_closed(log.records(Lsn(0)).next().unwrap().map(drop)));
        assert!(is_closed(log.verify().map(drop)));
        assert!(is_closed(log.close()));
        if background == Background::Inline {
            assert!(is_closed(log.run_background().map(drop)));
        }
        assert!(is_closed(records.read().map(drop)) || records.read().unwrap().is_none());
        let again = options.open(dir.path()).unwrap();
        assert_eq!(
            again.recovery().durable_in_superblock,
            again.recovery().last_lsn
        );
        assert!(is_closed(log.append(b"late").map(drop)));
    }
}

#[test]
fn who_waits_for_a_record_learns_that_the_log_is_closed() {
    let dir = fast_dir();
    let log = &options().open(dir.path()).unwrap();
    log.append(b"a record").unwrap();
    thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut follow = log.follow(Lsn(2));
            follow.next(Duration::from_secs(60))
        });
        log.close().unwrap();
        assert!(matches!(follower.join().unwrap(), Err(Error::Closed)));
    });
}

/// An append that was about to be written when the log was closed was written to a log that somebody else
/// had open.
#[test]
fn what_runs_while_the_log_is_closed_is_durable_or_refused() {
    let dir = fast_dir();
    let mut records = 0;
    for background in [Background::Inline, Background::Threads].repeat(30) {
        let options = options().segment_size(1 << 16).background(background);
        let log = &options.clone().open(dir.path()).unwrap();
        let appended: usize = thread::scope(|scope| {
            let append = || {
                let mut count = 0;
                loop {
                    let last = if count % 2 == 0 {
                        log.append(b"a record").map(drop)
                    } else {
                        log.submit(&[b"a record"]).and_then(|t| t.wait().map(drop))
                    };
                    match last {
                        Ok(()) => count += 1,
                        Err(error) => {
                            assert!(matches!(error, Error::Closed), "{error}");
                            return count;
                        }
                    }
                }
            };
            let threads = [scope.spawn(append), scope.spawn(append)];
            while log.bounds().end < Lsn(records + 20) {
                thread::yield_now();
            }
            log.close().unwrap();
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        records += appended as u64;
        let again = options.open(dir.path()).unwrap();
        assert_eq!(again.bounds().end, Lsn(records + 1));
        assert_eq!(again.recovery().durable_in_superblock, Lsn(records));
        again.truncate_before(Lsn(records)).unwrap();
    }
}
