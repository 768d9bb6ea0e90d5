//! The examples of FORMAT.md, both ways: what a store writes, and what it reads.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic"
)]

use durable_io::sim::SimDisk;
use lsm::{Background, Batch, Detail, KeyspaceOptions, Options, dump};

/// The bytes of the example called `name`.
fn example(name: &str) -> Vec<u8> {
    let text = include_str!("../FORMAT.md");
    let begin = format!("```hex {name}\n");
    let (_, rest) = text.split_once(&begin).expect("there is such an example");
    let (block, _) = rest.split_once("```").expect("it ends");
    let words = block.lines().flat_map(|line| {
        let code = line.split('#').next().unwrap_or_default();
        code.split_whitespace()
    });
    words
        .map(|word| u8::from_str_radix(word, 16).unwrap())
        .collect()
}

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .background(Background::Inline)
        .disk(disk.disk())
        .reserve(0)
}

/// The records of the log in `dir`.
fn records(disk: &SimDisk, dir: &str) -> Vec<Vec<u8>> {
    let log = wal::Options::new().disk(disk.disk()).salvage(dir).unwrap();
    log.map(|record| record.unwrap().payload).collect()
}

#[test]
fn operations_are_written_as_in_the_examples() {
    let disk = SimDisk::new();
    let db = options(&disk).open("/store").unwrap();
    for n in 1..=7 {
        db.create_keyspace(&format!("{n}"), &KeyspaceOptions::new())
            .unwrap();
    }
    let seven = db.keyspace("7").unwrap();
    let batch = Batch::new()
        .put_in(&seven, b"apple", b"3")
        .delete_in(&seven, b"fig");
    db.write(batch.delete_range(b"a", b"c")).unwrap();
    drop((db, seven));
    let expected = ["put", "delete", "delete-range"].map(example);
    assert_eq!(records(&disk, "/store/log"), expected);
}

#[test]
fn edits_are_read_as_in_the_examples() {
    let disk = SimDisk::new();
    let db = options(&disk).open("/store").unwrap();
    drop(db);
    let log = wal::Options::new()
        .background(Background::Inline)
        .disk(disk.disk());
    let log = log.open("/store/manifest").unwrap();
    log.append(&example("flush")).unwrap();
    drop(log);
    let mut text = Vec::new();
    dump(&disk.disk(), "/store", Detail::Edits, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for line in [
        "next keyspace 1, next table 6",
        "keyspace 0: add table 0000000000000005, level 0, run 5, 4096 bytes",
        "keyspace 0: flushed up to 9",
        "floor 9",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

#[test]
fn clearing_is_written_as_in_the_example() {
    let disk = SimDisk::new();
    let db = options(&disk).open("/store").unwrap();
    let x = db.create_keyspace("x", &KeyspaceOptions::new()).unwrap();
    for _ in 0..5 {
        db.put(b"", b"").unwrap();
        db.flush().unwrap();
    }
    for _ in 0..7 {
        x.put(b"", b"").unwrap();
    }
    x.clear().unwrap();
    drop((db, x));
    let records = records(&disk, "/store/manifest");
    let last = records.last().unwrap();
    // The id of what was cleared, and of what it is now.
    assert_eq!(last[..12], example("clear")[..12]);
    assert_eq!(last.len(), example("clear").len());
}
