//! FORMAT.md is executed: a log made of its `hex` blocks is read, and a log that does what it
//! describes holds the very bytes of its `hex` blocks.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::time::Duration;

use durable_io::Disk;
use durable_io::sim::SimDisk;
use wal::{Lsn, Options, Tail};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{payloads, segment, settle};

const FORMAT: &str = include_str!("../FORMAT.md");
const SEGMENT: usize = 1024;
const SLOT: usize = 4096;
/// When the log of the examples was made, and when it is written to.
const MADE: Duration = Duration::from_secs(1);
const WRITTEN: Duration = Duration::from_millis(500);

fn options(disk: &Disk) -> Options {
    files::options()
        .segment_size(SEGMENT as u64)
        .disk(disk.clone())
}

/// A disk with `files`, at the time when the log of the examples is written to.
fn disk_with(files: &[(&str, Vec<u8>)]) -> Disk {
    let sim = SimDisk::new();
    sim.advance(MADE + WRITTEN);
    let disk = sim.disk();
    disk.create_dir("/log").unwrap();
    for (name, bytes) in files {
        let file = disk.open_dir("/log").unwrap().create_new(name).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    }
    disk
}

fn read(disk: &Disk, name: &str) -> Vec<u8> {
    let file = disk.open_dir("/log").unwrap().open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
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

fn new_superblock() -> Vec<u8> {
    file(SLOT + 512, &[(0, block("mark-2")), (SLOT, block("mark-1"))])
}

/// The whole of segment 1, with the group.
fn first_segment() -> Vec<u8> {
    file(SEGMENT, &[(0, block("segment-1")), (64, block("group"))])
}

#[test]
fn the_documented_bytes_are_read() {
    let disk = disk_with(&[(&segment(1), first_segment()), ("mark", new_superblock())]);
    let log = options(&disk).open("/log").unwrap();
    assert_eq!(log.bounds(), Lsn(1)..Lsn(3));
    assert_eq!(payloads(&log).unwrap(), [b"hello".to_vec(), Vec::new()]);
    assert_eq!(log.recovery().tail, Tail::Clean);
    assert!(!log.recovery().created);
    assert_eq!(log.segments().unwrap()[0].newest, Some(MADE + WRITTEN));
}

#[test]
fn the_documented_bytes_are_written() {
    let empty = file(SEGMENT, &[(0, block("segment-1"))]);
    let disk = disk_with(&[(&segment(1), empty), ("mark", new_superblock())]);
    let log = options(&disk).open("/log").unwrap();
    log.append_batch(&[b"hello", b""]).unwrap();
    settle(&log);
    log.close().unwrap();
    assert_eq!(read(&disk, &segment(1)), first_segment());
    let second = file(SEGMENT, &[(0, block("segment-2"))]);
    assert_eq!(read(&disk, &segment(2)), second);
    let superblock = file(SLOT + 512, &[(0, block("mark-4")), (SLOT, block("mark-3"))]);
    assert_eq!(read(&disk, "mark"), superblock);
}

fn with_check(mut bytes: Vec<u8>, at: usize, place: [u64; 3]) -> Vec<u8> {
    bytes[at..at + 4].fill(0);
    let covered = if at == 0 { &bytes[4..] } else { &bytes[..] };
    let place = place.map(u64::to_le_bytes).concat();
    let check = durable_io::checksum::checksum(&[&place, covered].concat());
    bytes[at..at + 4].copy_from_slice(&check.to_le_bytes());
    bytes
}

const LOG_ID: u64 = 0x0102_0304_0506_0708;

/// A slot of an older version: it has no time and no note, and of version 1 it does not name the newest segment.
fn slot_of_version(version: u32, slot: &str, at: usize) -> Vec<u8> {
    let mut slot = block(slot);
    slot.truncate(128);
    slot[4..8].copy_from_slice(&version.to_le_bytes());
    slot[52..56].fill(0);
    if version == 1 {
        slot[120..128].fill(0);
    }
    with_check(slot, 0, [LOG_ID, 0, at as u64])
}

/// A superblock of an older version, of a new log.
fn superblock_of_version(version: u32) -> Vec<u8> {
    let slot = |name, at| (at, slot_of_version(version, name, at));
    file(SLOT + 512, &[slot("mark-2", 0), slot("mark-1", SLOT)])
}

/// Segment `number` of version 1, with the group if it is the first one: in that the durable LSN is as it
/// is, and no time.
fn segment_of_version_1(number: u64) -> Vec<u8> {
    let mut header = block(&format!("segment-{number}"));
    header[8..12].copy_from_slice(&1_u32.to_le_bytes());
    header[40..56].fill(0);
    let header = with_check(header, 12, [LOG_ID, number, 0]);
    let mut group = block("group");
    let records = group.split_off(32);
    group[24..32].fill(0);
    let group = with_check(group, 0, [LOG_ID, 1, 64]);
    let group = if number == 1 {
        [group, records].concat()
    } else {
        Vec::new()
    };
    file(SEGMENT, &[(0, header), (64, group)])
}

#[test]
fn a_log_with_slots_of_version_1_opens_goes_on_and_gets_slots_of_version_3() {
    // Without a name, a newest segment that is not complete is one that was being made.
    let incomplete = vec![0; 100];
    let disk = disk_with(&[
        (&segment(1), first_segment()),
        (&segment(2), incomplete),
        ("mark", superblock_of_version(1)),
    ]);
    let log = options(&disk).open("/log").unwrap();
    assert_eq!(payloads(&log).unwrap(), [b"hello".to_vec(), Vec::new()]);
    log.append(b"more").unwrap();
    log.close().unwrap();
    let superblock = read(&disk, "mark");
    for at in [0, SLOT] {
        let found = (superblock[at + 4], superblock[at + 120]);
        assert_eq!(found, (3, 1), "version and newest segment");
    }
    let log = options(&disk).open("/log").unwrap();
    assert_eq!(log.bounds(), Lsn(1)..Lsn(4));
}

#[test]
fn slots_of_version_2_have_no_note_whatever_follows_them() {
    let mut superblock = superblock_of_version(2);
    superblock[128..150].fill(1);
    let disk = disk_with(&[(&segment(1), first_segment()), ("mark", superblock)]);
    let log = options(&disk).open("/log").unwrap();
    assert_eq!(&*log.note(), b"");
    assert_eq!(log.bounds(), Lsn(1)..Lsn(3));
}

#[test]
fn a_log_with_segments_of_version_1_opens_and_goes_on_in_them() {
    let disk = disk_with(&[
        (&segment(1), segment_of_version_1(1)),
        (&segment(2), segment_of_version_1(2)),
        ("mark", superblock_of_version(2)),
    ]);
    let log = options(&disk).open("/log").unwrap();
    assert_eq!(payloads(&log).unwrap(), [b"hello".to_vec(), Vec::new()]);
    // To the end of both, into one that is made now, and into one for a large batch.
    for lsn in 3..9_u8 {
        log.append(&[lsn; 300]).unwrap();
    }
    log.append(&[9; 3000]).unwrap();
    log.truncate_after(Lsn(9)).unwrap();
    settle(&log);
    log.verify().unwrap();
    let versions: Vec<u8> = (1..5).map(|n| read(&disk, &segment(n))[8]).collect();
    assert_eq!(versions, [1, 1, 2, 2]);
    log.close().unwrap();
    let log = options(&disk).open("/log").unwrap();
    let times: Vec<_> = log.segments().unwrap().iter().map(|s| s.newest).collect();
    assert_eq!(
        times,
        [None, None, Some(MADE + WRITTEN), Some(MADE + WRITTEN)]
    );
    assert_eq!(log.bounds(), Lsn(1)..Lsn(10));
    assert_eq!(log.first_since(Duration::ZERO).unwrap(), Lsn(7));
    // Inside of a segment of version 1, and of one of its groups.
    log.truncate_after(Lsn(4)).unwrap();
    log.truncate_after(Lsn(1)).unwrap();
    log.append(b"new").unwrap();
    log.close().unwrap();
    let log = options(&disk).open("/log").unwrap();
    assert_eq!(
        payloads(&log).unwrap(),
        [b"hello".to_vec(), b"new".to_vec()]
    );
}

#[test]
fn a_note_is_written_as_documented() {
    let disk = disk_with(&[
        (&segment(1), first_segment()),
        (&segment(2), file(SEGMENT, &[(0, block("segment-2"))])),
        (
            "mark",
            file(SLOT + 512, &[(0, block("mark-4")), (SLOT, block("mark-3"))]),
        ),
    ]);
    let log = options(&disk).open("/log").unwrap();
    log.checkpoint_with(Lsn(2), b"term 7").unwrap();
    let documented = block("mark-5");
    let made = read(&disk, "mark");
    assert_eq!(made[SLOT..SLOT + documented.len()], documented);
    drop(log);
    let log = options(&disk).open("/log").unwrap();
    assert_eq!(log.recovery().note, b"term 7");
}

#[test]
fn a_new_log_is_as_documented_but_for_its_id() {
    let sim = SimDisk::new();
    sim.advance(MADE);
    let disk = sim.disk();
    drop(options(&disk).open("/log").unwrap());
    let made = read(&disk, &segment(1));
    let documented = file(SEGMENT, &[(0, block("segment-1"))]);
    // Check and log id are its own.
    for range in [0..12, 24..SEGMENT] {
        assert_eq!(made[range.clone()], documented[range]);
    }
    let made = read(&disk, "mark");
    assert_eq!(made.len(), new_superblock().len());
    for at in [0, SLOT] {
        for range in [at + 4..at + 8, at + 16..at + 52, at + 56..at + 512] {
            assert_eq!(made[range.clone()], new_superblock()[range]);
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
    assert_eq!((steps.len(), syncs.len()), (31, 21));
    for step in syncs
        .iter()
        .filter(|step| !step.contains("slots of the superblock are written"))
    {
        let is_argued = step.contains("Protects: ") || step.contains("No header states");
        assert!(is_argued, "{step}");
    }
}
