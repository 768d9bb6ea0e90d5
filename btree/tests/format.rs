//! FORMAT.md is executed: a store made of its `hex` blocks is read, and a store that does what it
//! describes holds the very bytes of its `hex` blocks, apart from random ids, which are put in.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use btree::{Background, Btree, Options};
use durable_io::checksum::{Place, checksum_at};
use durable_io::sim::SimDisk;
use wal::Lsn;

const FORMAT: &str = include_str!("../FORMAT.md");
const STORE: u64 = 0x0102_0304_0506_0708;
const STAMP: u64 = 0x1112_1314_1516_1702;
const PAGE: usize = 512;
const CATALOG: usize = 16;
const LEAF: usize = 17;

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

/// `len` bytes that begin and end as two blocks say, with zeros between.
fn between(begin: &str, end: &str, len: usize) -> Vec<u8> {
    let (mut bytes, end) = (block(begin), block(end));
    bytes.resize(len - end.len(), 0);
    bytes.extend(end);
    bytes
}

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .page_size(512)
        .log_segment_size(2048)
        .background(Background::Inline)
        .disk(disk.disk())
}

fn read(disk: &SimDisk) -> Vec<u8> {
    let file = disk
        .disk()
        .open_dir("/btree")
        .unwrap()
        .open("pages")
        .unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What the documented transaction does.
fn write(store: &Btree) {
    let mut write = store.begin_write().unwrap();
    let mut table = write.create_table("t").unwrap();
    table.put(b"apple", b"3").unwrap();
    write.commit().unwrap();
}

/// Puts the documented ids into a page, or a slot, at `offset`, and makes its check right.
fn with_documented_ids(bytes: &mut [u8], offset: u64) {
    if let (true, number) = (bytes.len() == PAGE, 1) {
        bytes[8..16].copy_from_slice(&STAMP.to_le_bytes());
        if offset == (CATALOG * PAGE) as u64 {
            // The reference to the table's root ends before its count.
            bytes[PAGE - 16..PAGE - 8].copy_from_slice(&STAMP.to_le_bytes());
        }
        let place = Place {
            id: STORE,
            number,
            offset,
        };
        let check = checksum_at(place, &bytes[4..]);
        bytes[..4].copy_from_slice(&check.to_le_bytes());
    } else {
        bytes[16..24].copy_from_slice(&STORE.to_le_bytes());
        bytes[44..52].copy_from_slice(&STAMP.to_le_bytes());
        let place = Place {
            id: STORE,
            number: 0,
            offset,
        };
        let check = checksum_at(place, &bytes[..1020]);
        bytes[1020..].copy_from_slice(&check.to_le_bytes());
    }
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

#[test]
fn the_documented_bytes_are_written() {
    let disk = SimDisk::new();
    let store = options(&disk).open("/btree").unwrap();
    write(&store);
    drop(store);
    let log = wal::Options::new()
        .background(Background::Inline)
        .disk(disk.disk())
        .open("/btree/log")
        .unwrap();
    let mut record = log.records(Lsn(1)).next().unwrap().unwrap().payload;
    record[4..12].copy_from_slice(&STORE.to_le_bytes());
    assert_eq!(hex(&record), hex(&block("record")));
    drop(log);
    let store = options(&disk).open("/btree").unwrap();
    store.checkpoint().unwrap();
    let mut bytes = read(&disk);
    for (offset, end) in [(0, "slot-check"), (4096, "second-slot-check")] {
        let slot = &mut bytes[offset..offset + 1024];
        with_documented_ids(slot, offset as u64);
        assert_eq!(hex(slot), hex(&between("slot", end, 1024)));
    }
    for (page, begin, end) in [
        (CATALOG, "catalog-begin", "catalog-end"),
        (LEAF, "leaf-begin", "leaf-end"),
    ] {
        let offset = page * PAGE;
        let bytes = &mut bytes[offset..offset + PAGE];
        with_documented_ids(bytes, offset as u64);
        assert_eq!(hex(bytes), hex(&between(begin, end, PAGE)));
    }
}

#[test]
fn the_documented_bytes_are_read() {
    let disk = SimDisk::new();
    // A log that has come as far.
    let store = options(&disk).open("/btree").unwrap();
    write(&store);
    store.checkpoint().unwrap();
    drop(store);
    let mut bytes = vec![0; 18 * PAGE];
    bytes[..1024].copy_from_slice(&between("slot", "slot-check", 1024));
    bytes[4096..5120].copy_from_slice(&between("slot", "second-slot-check", 1024));
    let pages = [
        between("catalog-begin", "catalog-end", PAGE),
        between("leaf-begin", "leaf-end", PAGE),
    ];
    bytes[CATALOG * PAGE..].copy_from_slice(&pages.concat());
    let file = disk
        .disk()
        .open_dir("/btree")
        .unwrap()
        .open("pages")
        .unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let store = options(&disk).open("/btree").unwrap();
    assert!(!store.recovery().repaired_slot);
    let table = store.begin_read();
    let table = table.table("t").unwrap();
    assert_eq!(table.get(b"apple").unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(store.verify().unwrap().entries, 1);
}
