//! However many segments a log has, few of its files are open. Alone in its process: it counts descriptors.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use durable_io::testing::{descriptors, fast_dir};
use durable_io::{Background, SyncMode};
use wal::{DEFAULT_OPEN_SEGMENTS, Error, Location, Lsn, Options, Wal};

const RECORDS: u64 = 200;
/// The lock, twice, the superblock, the active segment, the next one, the directory.
const OTHERS: usize = 7;

fn options(open: Option<usize>) -> Options {
    let options = Options::new().segment_size(1024).sync(SyncMode::Manual);
    let options = options.background(Background::Inline);
    open.into_iter().fold(options, Options::open_segments)
}

fn lsns(log: &Wal) -> Vec<u64> {
    let lsn = |record: wal::Result<wal::Record>| record.unwrap().lsn.0;
    log.records(Lsn(0)).map(lsn).collect()
}

#[test]
fn a_log_of_many_segments_has_few_files_open() {
    for open in [Some(0), Some(1), Some(3), None] {
        let dir = fast_dir();
        let before = descriptors();
        let most = before + open.unwrap_or(DEFAULT_OPEN_SEGMENTS) + OTHERS;
        let is_within = |what: &str| assert!(descriptors() <= most, "{open:?}: {what}");
        let log = options(open).open(dir.path()).unwrap();
        // A segment for each.
        let append = |log: &Wal| log.append(&[7; 700]).unwrap();
        let places: Vec<Location> = (0..RECORDS).map(|_| append(&log)).collect();
        is_within("appends");
        assert_eq!(lsns(&log), (1..=RECORDS).collect::<Vec<_>>());
        for step in 0..RECORDS {
            let place = places[usize::try_from(step * 37 % RECORDS).unwrap()];
            assert_eq!(log.read(place).unwrap().lsn, place.lsn());
        }
        is_within("reads");
        let readers: Vec<_> = (0..4).map(|n| log.records(Lsn(n * 40))).collect();
        is_within("readers that have not begun");
        drop(readers);
        log.truncate_after(Lsn(150)).unwrap();
        for lsn in 151..=RECORDS {
            assert_eq!(append(&log).lsn(), Lsn(lsn));
        }
        is_within("a truncation, and appends after it");
        log.verify().unwrap();
        log.close().unwrap();
        assert!(descriptors() <= before + OTHERS, "closed, and not dropped");
        drop(log);

        let log = options(open).open(dir.path()).unwrap();
        is_within("open");
        let mut reader = log.records(Lsn(1));
        assert_eq!(reader.next().unwrap().unwrap().lsn, Lsn(1));
        log.truncate_before(Lsn(80)).unwrap();
        assert_eq!(log.stats().dead_segments, 0);
        let truncated = reader.find_map(Result::err);
        assert!(matches!(truncated, Some(Error::Truncated)), "{truncated:?}");
        drop(reader);
        assert_eq!(lsns(&log), (80..=RECORDS).collect::<Vec<_>>());
        is_within("truncation");
        drop(log);
        let log = options(open).repair(dir.path()).unwrap();
        is_within("repair");
        assert_eq!(lsns(&log), (80..=RECORDS).collect::<Vec<_>>());
        drop(log);
        assert_eq!(descriptors(), before, "{open:?}: nothing is left open");
    }
}
