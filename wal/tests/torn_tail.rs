//! A log whose last writes are lost: what is left is a prefix of what was acknowledged, in whole
//! groups, and it can be appended to.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use wal::{Corruption, Error, Lsn, Tail};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, options, payloads, restore, segment, snapshot, write};

type Files = Vec<(String, Vec<u8>)>;

/// Appends `groups`, one batch each, without a sync, and dies.
fn unsynced(groups: &[Vec<&[u8]>]) -> (TempDir, Files) {
    unsynced_with(options(), groups)
}

fn unsynced_with(options: wal::Options, groups: &[Vec<&[u8]>]) -> (TempDir, Files) {
    let dir = fast_dir();
    let log = options.open(dir.path()).unwrap();
    for group in groups {
        log.append_batch(group).unwrap();
    }
    drop(log);
    let files = snapshot(dir.path());
    (dir, files)
}

/// The active segment of `files`, and where each of `groups` ends in it.
fn ends(groups: &[Vec<&[u8]>]) -> Vec<usize> {
    let mut at: usize = 64;
    let size =
        |group: &Vec<&[u8]>| 32 + group.iter().map(|payload| 8 + payload.len()).sum::<usize>();
    groups
        .iter()
        .map(|group| {
            let end = at + size(group);
            at = end.next_multiple_of(8);
            end
        })
        .collect()
}

fn segment_bytes(files: &Files, number: u64) -> Vec<u8> {
    files
        .iter()
        .find(|(name, _)| *name == segment(number))
        .unwrap()
        .1
        .clone()
}

/// Opens the log, which must hold the first `whole` of `groups`, appends, and opens it again.
fn check_prefix(path: &Path, groups: &[Vec<&[u8]>], whole: usize, what: &str) {
    let mut expected: Vec<Vec<u8>> = groups[..whole]
        .concat()
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    let log = options()
        .open(path)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(payloads(&log).unwrap(), expected, "{what}");
    let next = Lsn(expected.len() as u64 + 1);
    assert_eq!(
        log.append(b"appended after recovery").unwrap().lsn(),
        next,
        "{what}"
    );
    expected.push(b"appended after recovery".to_vec());
    drop(log);
    let log = options().open(path).unwrap();
    assert_eq!(payloads(&log).unwrap(), expected, "{what}");
    assert_eq!(log.recovery().tail, Tail::Clean, "{what}");
}

fn sample() -> Vec<Vec<&'static [u8]>> {
    vec![
        vec![b"first"],
        vec![b"a batch", b"", b"of three"],
        vec![&[7; 600]],
        vec![b"appended after recovery"],
    ]
}

#[test]
fn a_tail_lost_from_any_byte_on_leaves_whole_groups() {
    let groups = sample();
    let (dir, files) = unsynced(&groups);
    let ends = ends(&groups);
    let bytes = segment_bytes(&files, 1);
    for from in 64..ends[ends.len() - 1] {
        let mut torn = bytes.clone();
        torn[from..].fill(0);
        restore(dir.path(), &files);
        write(dir.path(), &segment(1), &torn);
        // The bytes that were truncated may have been zeros.
        let whole = ends
            .iter()
            .filter(|&&end| bytes[from.min(end)..end].iter().all(|&b| b == 0))
            .count();
        check_prefix(
            dir.path(),
            &groups,
            whole,
            &format!("zeros from byte {from}"),
        );
    }
}

#[test]
fn garbage_after_any_byte_leaves_whole_groups() {
    let groups = sample();
    let (dir, files) = unsynced(&groups);
    let ends = ends(&groups);
    let bytes = segment_bytes(&files, 1);
    let mut rng = StdRng::seed_from_u64(1);
    for from in 64..ends[ends.len() - 1] {
        let mut torn = bytes.clone();
        let mut garbage = torn[from..].iter_mut();
        // The first byte is wrong for certain.
        *garbage.next().unwrap() ^= 0x55;
        garbage.for_each(|byte| *byte = rng.random());
        restore(dir.path(), &files);
        write(dir.path(), &segment(1), &torn);
        let whole = ends.iter().filter(|&&end| end <= from).count();
        check_prefix(
            dir.path(),
            &groups,
            whole,
            &format!("garbage from byte {from}"),
        );
    }
}

#[test]
fn a_hole_in_any_sector_leaves_the_groups_before_it() {
    let groups = sample();
    let (dir, files) = unsynced(&groups);
    let ends = ends(&groups);
    let bytes = segment_bytes(&files, 1);
    for sector in 0..2 {
        let range = (sector * 512).max(64)..(sector + 1) * 512;
        let mut torn = bytes.clone();
        torn[range.clone()].fill(0);
        restore(dir.path(), &files);
        write(dir.path(), &segment(1), &torn);
        let whole = ends.iter().filter(|&&end| end <= range.start).count();
        check_prefix(
            dir.path(),
            &groups,
            whole,
            &format!("sector {sector} is a hole"),
        );
    }
}

#[test]
fn a_shortened_active_segment_is_damage() {
    let (dir, files) = unsynced(&sample());
    let bytes = segment_bytes(&files, 1);
    for len in 0..bytes.len() {
        restore(dir.path(), &files);
        write(dir.path(), &segment(1), &bytes[..len]);
        let opened = options().open(dir.path());
        assert!(
            matches!(opened, Err(Error::Corrupt { .. })),
            "truncated to {len}: {opened:?}"
        );
    }
}

#[test]
fn the_torn_bytes_are_counted() {
    let groups = sample();
    let (dir, files) = unsynced(&groups);
    let ends = ends(&groups);
    let mut torn = segment_bytes(&files, 1);
    torn[ends[3] - 1] ^= 1;
    write(dir.path(), &segment(1), &torn);
    let log = options().open(dir.path()).unwrap();
    let from = ends[2].next_multiple_of(8);
    assert_eq!(
        log.recovery().tail,
        Tail::Torn {
            bytes: (ends[3] - from) as u64
        }
    );
    assert_eq!(log.recovery().records, 5);
}

/// A torn tail was left where it was, and new records went after it: the next recovery stopped at
/// the old damage and never reached them.
#[test]
fn d18_records_after_a_recovery_are_not_stranded() {
    let groups: Vec<Vec<&[u8]>> = vec![vec![b"kept"], vec![b"lost in flight"], vec![b"lost, too"]];
    let (dir, files) = unsynced(&groups);
    let ends = ends(&groups);
    for torn_group in 1..3 {
        let mut torn = segment_bytes(&files, 1);
        torn[ends[torn_group] - 1] ^= 1;
        restore(dir.path(), &files);
        write(dir.path(), &segment(1), &torn);
        let log = options().open(dir.path()).unwrap();
        // As long as the lost one: what followed that would parse as its successor.
        let lsn = log.append(b"new, not lost!").unwrap().lsn();
        assert_eq!(lsn, Lsn(torn_group as u64 + 1));
        drop(log);
        let log = options().open(dir.path()).unwrap();
        let last = log.records(Lsn(0)).last().unwrap().unwrap();
        assert_eq!(
            (last.lsn, last.payload.as_slice()),
            (lsn, b"new, not lost!".as_slice())
        );
        assert_eq!(log.recovery().tail, Tail::Clean);
    }
}

/// Replay ignored where a transaction ended: half a batch was applied.
#[test]
fn d19_a_batch_is_there_whole_or_not_at_all() {
    // The second batch does not fit after the first: it begins the second segment.
    let groups: Vec<Vec<&[u8]>> = vec![vec![&[1; 700], &[2; 700]], vec![&[3; 500], b"", &[4; 500]]];
    let (dir, files) = unsynced(&groups);
    let bytes = segment_bytes(&files, 2);
    let end = 64 + 32 + 3 * 8 + 1000;
    for from in 64..=end {
        let mut torn = bytes.clone();
        torn[from..].fill(0);
        restore(dir.path(), &files);
        write(dir.path(), &segment(2), &torn);
        let log = options().open(dir.path()).unwrap();
        assert_eq!(
            log.recovery().records,
            if from == end { 5 } else { 2 },
            "torn at {from}"
        );
        assert_eq!(payloads(&log).unwrap().len() as u64, log.recovery().records);
    }
}

#[test]
fn a_torn_first_group_leaves_the_segment_before_it() {
    let groups: Vec<Vec<&[u8]>> = vec![vec![&[1; 1500]], vec![&[2; 1500]]];
    let (dir, files) = unsynced(&groups);
    let bytes = segment_bytes(&files, 2);
    // Torn inside the group header, inside the record header, inside the payload.
    for from in [70, 100, 110, 1000] {
        let mut torn = bytes.clone();
        torn[from..].fill(0);
        restore(dir.path(), &files);
        write(dir.path(), &segment(2), &torn);
        check_prefix(dir.path(), &groups, 1, &format!("torn at {from}"));
    }
}

#[test]
fn a_durable_group_that_is_gone_is_no_torn_tail() {
    let (dir, _) = unsynced(&sample());
    let log = options().open(dir.path()).unwrap();
    // Opening made the first six durable, and the header of this group says so.
    log.append(b"witness").unwrap();
    drop(log);
    let files = snapshot(dir.path());
    let mut torn = segment_bytes(&files, 1);
    let at = ends(&sample())[3] - 1;
    torn[at] ^= 1;
    write(dir.path(), &segment(1), &torn);
    let Err(Error::Corrupt { reason, .. }) = options().open(dir.path()) else {
        panic!()
    };
    assert_eq!(
        reason,
        Corruption::LostRecords {
            first: Lsn(6),
            last: Lsn(6)
        }
    );
}

/// The stricter rule refuses what no crash leaves on a disk with whole sectors, and nothing else: each
/// choice of the sectors that reached the disk.
#[test]
fn with_atomic_sectors_a_last_group_without_a_hole_is_refused() {
    let big = [7; 1500];
    let groups: Vec<Vec<&[u8]>> = vec![vec![b"first"], vec![&big], vec![b"last", &big[..600]]];
    let one_segment = || options().segment_size(8 << 10);
    let (dir, files) = unsynced_with(one_segment(), &groups);
    let path = dir.path();
    let strict = || one_segment().atomic_sectors(true);
    let bytes = segment_bytes(&files, 1);
    let ends = ends(&groups);
    let sectors = ends[2].div_ceil(512);
    for lost in 0..1_u32 << (sectors - 1) {
        // The first sector holds the segment's header and is durable; its groups may be lost.
        for first_group in [true, false] {
            let mut torn = bytes.clone();
            if !first_group {
                torn[64..512].fill(0);
            }
            for sector in (1..sectors).filter(|sector| lost >> (sector - 1) & 1 == 1) {
                torn[sector * 512..][..512].fill(0);
            }
            restore(path, &files);
            write(path, &segment(1), &torn);
            let log = strict().open(path);
            let log = log.unwrap_or_else(|error| panic!("lost {lost:b} {first_group}: {error}"));
            log.append(b"next").unwrap();
        }
    }
    let last = ends[1].next_multiple_of(8);
    for damaged in [last + 1, last + 33, last + 100, ends[2] - 1] {
        let mut flipped = bytes.clone();
        flipped[damaged] ^= 1;
        let damage = || {
            restore(path, &files);
            write(path, &segment(1), &flipped);
        };
        damage();
        assert!(matches!(
            strict().open(path),
            Err(Error::Corrupt { offset, reason: Corruption::Suspected, .. }) if offset == last as u64
        ));
        let log = strict().repair(path).unwrap();
        assert_eq!(payloads(&log).unwrap().len(), 2);
        drop(log);
        drop(strict().open(path).unwrap());
        // Without the declaration it is a torn tail.
        damage();
        let log = one_segment().open(path).unwrap();
        assert!(matches!(log.recovery().tail, Tail::Torn { .. }));
    }
}
