//! Looking at a log before it is opened: the same verdict, and nothing is changed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::path::Path;

use wal::{Disk, Error, Lsn, Opening, Options, Record, Tail};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, payloads, read, segment, settle, snapshot, write};

fn look(path: &Path) -> wal::Result<Opening> {
    options().look(path)
}

/// What looking says of the records.
fn seen(opening: &Opening) -> wal::Result<Vec<Vec<u8>>> {
    let records = opening.records(Lsn(0));
    let payload = |record: wal::Result<Record>| record.map(|record| record.payload);
    records.map(payload).collect()
}

/// Torn at every byte, the log is as it was until it is opened, and then it is what the look said.
#[test]
fn a_torn_log_is_seen_as_it_will_be_and_stays_as_it_is() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for n in 1..=30_u8 {
        log.append(&[n; 150]).unwrap();
    }
    settle(&log);
    let active = segment(log.stats().rotation_count + 1);
    drop(log);
    let whole = snapshot(dir.path());
    let bytes = read(dir.path(), &active);
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    let mut torn = 0;
    for from in (64..end).step_by(13) {
        let mut damaged = bytes.clone();
        damaged[from..].fill(0);
        write(dir.path(), &active, &damaged);
        let files = snapshot(dir.path());
        let looked = look(dir.path()).and_then(|opening| {
            assert_eq!(
                seen(&opening).unwrap().len() as u64 + 1,
                opening.bounds().end.0
            );
            assert_eq!(snapshot(dir.path()), files, "torn at {from}");
            let said = (seen(&opening)?, opening.bounds(), opening.tail());
            Ok((said, opening.open()?))
        });
        if let Ok((said, log)) = looked {
            torn += u64::from(matches!(said.2, Tail::Torn { .. }));
            let is = (payloads(&log).unwrap(), log.bounds(), log.recovery().tail);
            assert_eq!(said, is, "torn at {from}");
        }
        for (name, bytes) in &whole {
            write(dir.path(), name, bytes);
        }
    }
    assert!(torn > 10, "{torn}");
}

#[test]
fn records_are_seen_from_any_position_on() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for n in 1..=30_u8 {
        log.append(&[n; 150]).unwrap();
    }
    log.truncate_before(Lsn(5)).unwrap();
    drop(log);
    let opening = look(dir.path()).unwrap();
    assert_eq!(opening.bounds(), Lsn(5)..Lsn(31));
    for from in 0..33 {
        let lsns = opening
            .records(Lsn(from))
            .map(|record| record.unwrap().lsn.0);
        assert!(lsns.eq(from.max(5)..31), "{from}");
    }
}

#[test]
fn where_there_is_no_log_none_is_made_before_it_is_opened() {
    let dir = fast_dir();
    let path = dir.path().join("a").join("log");
    let options = || Options::new().new_segment_size(4096).first_lsn(Lsn(7));
    let opening = options().look(&path).unwrap();
    let late = options().look(&path).unwrap();
    assert_eq!(opening.bounds(), Lsn(7)..Lsn(7));
    assert_eq!(opening.records(Lsn(1)).count(), 0);
    assert!(opening.is_new() && Disk::os().open_dir(&path).is_err());
    let log = opening.open().unwrap();
    assert!(log.recovery().created);
    assert_eq!(log.append(b"first").unwrap().lsn(), Lsn(7));
    assert_eq!(log.segment_size(), 4096);
    log.close().unwrap();
    // What it has seen is not true any more.
    assert!(late.open().is_err_and(|error| error.is_locked()));
    assert_eq!(
        options()
            .new_segment_size(8192)
            .open(&path)
            .unwrap()
            .segment_size(),
        4096
    );
}

#[test]
fn a_log_that_is_looked_at_is_locked_until_that_is_dropped() {
    let dir = fast_dir();
    options().open(dir.path()).unwrap().close().unwrap();
    let opening = look(dir.path()).unwrap();
    let is_locked = |error: Error| error.is_locked();
    assert!(look(dir.path()).is_err_and(is_locked));
    drop(opening);
    assert!(look(dir.path()).unwrap().open().is_ok());
}
