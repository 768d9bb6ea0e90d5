//! Reading a log while its end is truncated.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use durable_io::sim::SimDisk;
use wal::{Background, Error, Lsn, Options, SyncMode};

/// Bytes of a segment: small, so that a truncation removes some.
const SEGMENT: u64 = 2048;

/// Ends the other threads' work when dropped, also by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A reader that began while a truncation was done saw the log of before, and called it damaged.
#[test]
fn readers_beside_a_truncation_see_records_or_that_it_was_truncated() {
    let sim = SimDisk::new();
    let log = &Options::new()
        .segment_size(SEGMENT)
        .background(Background::Threads)
        .sync(SyncMode::Manual)
        .disk(sim.disk())
        .open("/wal")
        .unwrap();
    let is_over = &AtomicBool::new(false);
    let check = |record: Result<wal::Record, Error>| match record {
        Ok(record) => assert!(record.payload.iter().all(|&n| u64::from(n) == record.lsn.0)),
        Err(error) => assert!(matches!(error, Error::Truncated), "{error}"),
    };
    thread::scope(|scope| {
        scope.spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                log.records(Lsn(0)).for_each(check);
            }
        });
        scope.spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                log.verify().unwrap();
            }
        });
        scope.spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                let mut follow = log.follow(Lsn(0));
                while let Some(record) = follow.next(Duration::ZERO).transpose() {
                    let is_truncated = record.is_err();
                    check(record);
                    if is_truncated {
                        break;
                    }
                }
            }
        });
        let _ends = Ends(is_over);
        for round in 0..3000_u64 {
            while log.bounds().end < Lsn(40) {
                let next = u8::try_from(log.bounds().end.0).unwrap();
                let payloads: Vec<Vec<u8>> = (0..3).map(|n| vec![next + n; 60]).collect();
                let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
                log.append_batch(&slices).unwrap();
            }
            log.truncate_after(Lsn(round * 7 % 41)).unwrap();
        }
    });
}
