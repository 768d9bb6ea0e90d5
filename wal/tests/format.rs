//! FORMAT.md is executed: a log made of its `hex` blocks is read, and a log that does what it
//! describes holds the very bytes of its `hex` blocks.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use wal::{Lsn, Tail};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, payloads, read, segment, settle, write};

const FORMAT: &str = include_str!("../FORMAT.md");
const SEGMENT: usize = 1024;
const SLOT: usize = 4096;

fn options() -> wal::Options {
    files::options().segment_size(SEGMENT as u64)
}

/// The bytes of the block that begins with ```` ```hex NAME ````.
fn block(name: &str) -> Vec<u8> {
    let mut lines = FORMAT
        .lines()
        .skip_while(|line| *line != format!("```hex {name}"));
    assert!(lines.next().is_some(), "FORMAT.md has no block {name}");
    let bytes = lines.take_while(|line| *line != "```").flat_map(|line| {
        line.split('#')
            .next()
            .unwrap()
            .split_whitespace()
            .map(|hex| u8::from_str_radix(hex, 16).unwrap())
    });
    bytes.collect()
}

/// `parts`, each at its offset, in `len` zeros.
fn file(len: usize, parts: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, part) in parts {
        bytes[*at..at + part.len()].copy_from_slice(part);
    }
    bytes
}

fn new_mark() -> Vec<u8> {
    file(SLOT + 512, &[(0, block("mark-2")), (SLOT, block("mark-1"))])
}

#[test]
fn the_documented_bytes_are_read() {
    let dir = fast_dir();
    let first = file(SEGMENT, &[(0, block("segment-1")), (64, block("group"))]);
    write(dir.path(), &segment(1), &first);
    write(dir.path(), "mark", &new_mark());
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.bounds(), Lsn(1)..Lsn(3));
    assert_eq!(payloads(&log).unwrap(), [b"hello".to_vec(), Vec::new()]);
    assert_eq!(log.recovery().tail, Tail::Clean);
    assert!(!log.recovery().created);
}

#[test]
fn the_documented_bytes_are_written() {
    let dir = fast_dir();
    write(
        dir.path(),
        &segment(1),
        &file(SEGMENT, &[(0, block("segment-1"))]),
    );
    write(dir.path(), "mark", &new_mark());
    let log = options().open(dir.path()).unwrap();
    log.append_batch(&[b"hello", b""]).unwrap();
    settle(&log);
    log.close().unwrap();
    let first = file(SEGMENT, &[(0, block("segment-1")), (64, block("group"))]);
    assert_eq!(read(dir.path(), &segment(1)), first);
    assert_eq!(
        read(dir.path(), &segment(2)),
        file(SEGMENT, &[(0, block("segment-2"))])
    );
    let mark = file(SLOT + 512, &[(0, block("mark-4")), (SLOT, block("mark-3"))]);
    assert_eq!(read(dir.path(), "mark"), mark);
}

/// A slot of an older version: it has no note, and of version 1 it does not name the newest segment.
fn of_version(version: u32, slot: Vec<u8>, at: usize) -> Vec<u8> {
    let mut slot = slot;
    slot.truncate(128);
    slot[4..8].copy_from_slice(&version.to_le_bytes());
    slot[52..56].fill(0);
    if version == 1 {
        slot[120..128].fill(0);
    }
    let place = [&slot[8..16], &[0; 8], &(at as u64).to_le_bytes()].concat();
    let check = durable_io::checksum::checksum(&[&place, &slot[4..128]].concat());
    slot[..4].copy_from_slice(&check.to_le_bytes());
    slot
}

#[test]
fn a_log_with_slots_of_version_1_opens_goes_on_and_gets_slots_of_version_3() {
    let dir = fast_dir();
    let first = file(SEGMENT, &[(0, block("segment-1")), (64, block("group"))]);
    write(dir.path(), &segment(1), &first);
    // Without a name, a newest segment that is not complete is one that was being made.
    write(dir.path(), &segment(2), &[0; 100]);
    let slots = [("mark-2", 0), ("mark-1", SLOT)];
    let slots = slots.map(|(name, at)| (at, of_version(1, block(name), at)));
    write(dir.path(), "mark", &file(SLOT + 512, &slots));
    let log = options().open(dir.path()).unwrap();
    assert_eq!(payloads(&log).unwrap(), [b"hello".to_vec(), Vec::new()]);
    log.append(b"more").unwrap();
    log.close().unwrap();
    let mark = read(dir.path(), "mark");
    for at in [0, SLOT] {
        assert_eq!(
            (mark[at + 4], mark[at + 120]),
            (3, 1),
            "version and newest segment"
        );
    }
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.bounds(), Lsn(1)..Lsn(4));
}

#[test]
fn slots_of_version_2_have_no_note_whatever_stands_behind_them() {
    let dir = fast_dir();
    write(
        dir.path(),
        &segment(1),
        &file(SEGMENT, &[(0, block("segment-1"))]),
    );
    let slots = [("mark-2", 0), ("mark-1", SLOT)];
    let mut mark = file(
        SLOT + 512,
        &slots.map(|(name, at)| (at, of_version(2, block(name), at))),
    );
    mark[128..140].fill(1);
    write(dir.path(), "mark", &mark);
    let log = options().open(dir.path()).unwrap();
    assert_eq!(&*log.note(), b"");
}

#[test]
fn a_note_is_written_as_documented() {
    let dir = fast_dir();
    let first = file(SEGMENT, &[(0, block("segment-1")), (64, block("group"))]);
    write(dir.path(), &segment(1), &first);
    write(
        dir.path(),
        &segment(2),
        &file(SEGMENT, &[(0, block("segment-2"))]),
    );
    let mark = file(SLOT + 512, &[(0, block("mark-4")), (SLOT, block("mark-3"))]);
    write(dir.path(), "mark", &mark);
    let log = options().open(dir.path()).unwrap();
    log.checkpoint_with(Lsn(2), b"term 7").unwrap();
    let documented = block("mark-5");
    let made = read(dir.path(), "mark");
    assert_eq!(made[SLOT..SLOT + documented.len()], documented);
    drop(log);
    assert_eq!(
        options().open(dir.path()).unwrap().recovery().note,
        b"term 7"
    );
}

#[test]
fn a_new_log_is_as_documented_but_for_its_id() {
    let dir = fast_dir();
    drop(options().open(dir.path()).unwrap());
    let made = read(dir.path(), &segment(1));
    let documented = file(SEGMENT, &[(0, block("segment-1"))]);
    // Check and log id are its own.
    for range in [0..12, 24..SEGMENT] {
        assert_eq!(made[range.clone()], documented[range]);
    }
    let made = read(dir.path(), "mark");
    assert_eq!(made.len(), new_mark().len());
    for at in [0, SLOT] {
        for range in [at + 4..at + 8, at + 16..at + 52, at + 56..at + 512] {
            assert_eq!(made[range.clone()], new_mark()[range]);
        }
    }
}

#[test]
fn every_sync_of_the_write_order_says_what_it_protects() {
    let mut sections = FORMAT.split("\n## ");
    let section = sections
        .find(|section| section.starts_with("7. Write order"))
        .unwrap();
    let is_step = |line: &str| line.as_bytes().get(1) == Some(&b'.');
    let mut steps: Vec<String> = Vec::new();
    for line in section.lines().skip(1) {
        match steps.last_mut() {
            Some(step) if line.starts_with("   ") => step.push_str(line),
            _ if is_step(line) => steps.push(line.to_owned()),
            _ => {}
        }
    }
    let syncs: Vec<_> = steps
        .iter()
        .filter(|step| step.contains("durable"))
        .collect();
    assert_eq!((steps.len(), syncs.len()), (28, 19));
    for step in syncs
        .iter()
        .filter(|step| !step.contains("slots of the mark are written"))
    {
        let is_argued = step.contains("Protects: ") || step.contains("No header states");
        assert!(is_argued, "{step}");
    }
}
