//! The probe that other logs fail: 200 acknowledged records, one damage at every position, and the
//! question whether what is then missing is missed ([format], section 8).
//!
//! `PROBE=full cargo test -p wal --test probe -- --nocapture` tries every bit and every position and
//! prints the table; otherwise a part of them is tried.
//!
//! [format]: wal::format

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
#![allow(clippy::print_stdout, reason = "the table is what the probe is for")]

use std::env;
use std::ops::Range;
use std::path::Path;

use tempfile::TempDir;
use wal::{Corruption, Error, SyncMode, Wal};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, payloads, segment, settle, write};

const RECORDS: usize = 200;
/// Bytes of a group of one record: header, record header, payload; a multiple of 8.
const GROUP: usize = 32 + 8 + 16;
const FIRST_GROUP: usize = 64;
const USED: usize = FIRST_GROUP + RECORDS * GROUP;

fn options() -> wal::Options {
    files::options()
        .segment_size(64 << 10)
        .sync(SyncMode::Always)
}

fn payload(lsn: u64) -> Vec<u8> {
    [lsn.to_le_bytes(), (!lsn).to_le_bytes()].concat()
}

/// A log of 200 records in 200 groups, all acknowledged.
fn fixture(is_closed: bool) -> (TempDir, Vec<u8>) {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    // Before the records: the superblock says what is durable when the next segment is made.
    settle(&log);
    for lsn in 1..=RECORDS as u64 {
        log.append(&payload(lsn)).unwrap();
    }
    if is_closed {
        log.close().unwrap();
    } else {
        drop(log);
    }
    let bytes = files::read(dir.path(), &segment(1));
    assert_ne!(bytes[USED - 1], 0);
    assert!(bytes[USED..].iter().all(|&byte| byte == 0));
    (dir, bytes)
}

/// What became of one kind of damage.
#[derive(Debug, Default)]
struct Row {
    cases: u64,
    /// Every record is there, and nothing is said.
    harmless: u64,
    /// The damage is told, by open or by reading.
    reported: u64,
    /// Records are missing, and nothing is said.
    silent: u64,
    most_lost: usize,
}

impl Row {
    /// Opens the log whose bytes `damaged` (some of them) were changed.
    fn judge(&mut self, path: &Path, damaged: &Range<usize>, what: &str) {
        self.cases += 1;
        let read = options().open(path).and_then(|log: Wal| payloads(&log));
        match read {
            Ok(records) => {
                let expected: Vec<_> = (1..=records.len() as u64).map(payload).collect();
                assert_eq!(records, expected, "{what}: wrong bytes");
                let lost = RECORDS - records.len();
                if lost == 0 {
                    self.harmless += 1;
                    return;
                }
                self.silent += 1;
                self.most_lost = self.most_lost.max(lost);
                assert!(
                    is_in_window(records.len(), damaged),
                    "{what}: {lost} records are lost, and a witness of them is left"
                );
            }
            Err(Error::Corrupt { .. }) => {
                self.reported += 1;
                check_salvage(path, damaged, what);
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// The documented window: the damage reaches from the first lost group to the last header of the log.
fn is_in_window(kept: usize, damaged: &Range<usize>) -> bool {
    let hits = |range: Range<usize>| range.start < damaged.end && damaged.start < range.end;
    let group = |n: usize| FIRST_GROUP + n * GROUP;
    hits(group(kept)..group(kept + 1)) && (kept + 1..RECORDS).all(|n| hits(group(n)..group(n) + 32))
}

/// Every record whose group was not touched is given out, and every other one is named.
fn check_salvage(path: &Path, damaged: &Range<usize>, what: &str) {
    let mut next = 1;
    for record in options().salvage(path).unwrap() {
        match record {
            Ok(record) => {
                assert_eq!(
                    (record.lsn.0, record.payload),
                    (next, payload(next)),
                    "{what}"
                );
                next += 1;
            }
            Err(Error::Corrupt {
                reason: Corruption::LostRecords { first, last },
                ..
            }) => {
                assert_eq!(first.0, next, "{what}");
                for lsn in first.0..=last.0 {
                    let start = FIRST_GROUP + usize::try_from(lsn - 1).unwrap() * GROUP;
                    let is_touched = start < damaged.end && damaged.start < start + GROUP;
                    assert!(is_touched, "{what}: record {lsn} could be read");
                }
                next = last.0 + 1;
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// Puts `with` at `range` of the segment, asks, and puts the old bytes back.
fn damage(row: &mut Row, dir: &Path, whole: &[u8], range: Range<usize>, with: &[u8], what: &str) {
    if whole[range.clone()] == *with {
        return;
    }
    let superblock = files::read(dir, "mark");
    let mut bytes = whole.to_vec();
    bytes[range.clone()].copy_from_slice(with);
    write(dir, &segment(1), &bytes);
    row.judge(dir, &range, what);
    write(dir, &segment(1), whole);
    write(dir, "mark", &superblock);
}

fn probe(is_closed: bool) -> Vec<(&'static str, Row)> {
    let is_full = env::var("PROBE").is_ok_and(|probe| probe == "full");
    let (dir, whole) = fixture(is_closed);
    let dir = dir.path();
    let mut rows = Vec::new();
    let mut row = Row::default();
    // Odd, so that every bit has its turn.
    let step = if is_full { 1 } else { 7 };
    for at in (0..USED).step_by(step) {
        let bits = if is_full { 0..8 } else { at % 8..at % 8 + 1 };
        for bit in bits {
            let with = [whole[at] ^ 1 << bit];
            let what = format!("bit {bit} of byte {at}");
            damage(&mut row, dir, &whole, at..at + 1, &with, &what);
        }
    }
    rows.push(("one bit flipped", row));
    for (name, len, step) in [
        ("20 bytes zeroed", 20, step),
        ("512 bytes zeroed", 512, 512),
        ("4 KiB zeroed", 4096, 4096),
    ] {
        let mut row = Row::default();
        for at in (0..USED).step_by(step) {
            let what = format!("{len} bytes zeroed at {at}");
            damage(&mut row, dir, &whole, at..at + len, &vec![0; len], &what);
        }
        rows.push((name, row));
    }
    rows
}

fn print(title: &str, rows: &[(&str, Row)]) {
    println!("{title}");
    for (name, row) in rows {
        let Row {
            cases,
            harmless,
            reported,
            silent,
            most_lost,
        } = row;
        println!(
            "  {name:18} {cases:6} cases: {reported:6} reported, {harmless:5} harmless, {silent:4} silent \
             in the window (at most {most_lost} records), 0 wrong"
        );
    }
}

#[test]
fn after_a_clean_close_no_damage_of_records_goes_unnoticed() {
    let rows = probe(true);
    print("after a clean close", &rows);
    for (name, row) in &rows {
        assert_eq!(row.silent, 0, "{name}");
        assert!(row.reported > 0, "{name}");
    }
}

#[test]
fn without_the_superblock_only_the_last_groups_can_be_lost_unnoticed() {
    let rows = probe(false);
    print("after a kill, the superblock as it was at creation", &rows);
    for (name, row) in &rows {
        // That it is in the window was checked case by case.
        assert!(row.silent > 0 && row.reported > 0, "{name}: {row:?}");
    }
}
