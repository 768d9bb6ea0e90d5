//! FORMAT.md is executed: a table made of its `hex` blocks is read, and a writer given what it describes
//! writes the very bytes of its `hex` blocks. And the tables that version 1 wrote are read for ever.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::path::Path;

use durable_io::checksum::{Place, checksum_at};
use durable_io::sim::SimDisk;
use sstable::{Compression, Detail, Options};
use support::{Model, fast_dir, holds, open, write};

const FORMAT: &str = include_str!("../FORMAT.md");
const PLAIN: &[u8] = include_bytes!("data/v1-plain.sst");
const LZ4: &[u8] = include_bytes!("data/v1-lz4.sst");
#[cfg(feature = "zstd")]
const ZSTD: &[u8] = include_bytes!("data/v1-zstd.sst");

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

/// The table of the document: where each block is, in its words, and zeros between.
fn documented() -> Vec<u8> {
    let mut bytes = block("header");
    let id = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
    bytes.extend(block("data-block"));
    bytes.extend(block("index-block"));
    // The payload of the filter begins at a multiple of 64.
    bytes.resize((bytes.len() + 24).next_multiple_of(64) - 24, 0);
    for name in [
        "filter-block",
        "top-block",
        "range-block",
        "properties-block",
    ] {
        bytes.extend(block(name));
    }
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    for name in [
        "index-block",
        "top-block",
        "range-block",
        "properties-block",
    ] {
        let mut copy = block(name);
        let place = Place {
            id,
            number: 0,
            offset: bytes.len() as u64,
        };
        let check = checksum_at(place, &copy[4..]);
        copy[..4].copy_from_slice(&check.to_le_bytes());
        bytes.extend(copy);
    }
    bytes.extend(block("footer"));
    bytes
}

fn documented_model() -> Model {
    let mut model = Model::default();
    model.put(b"apple", 7, b"red");
    model.put(b"apple", 5, b"green");
    model.delete(b"apricot", 7);
    model.delete_range(b"b", b"d", 6);
    model
}

/// What `model` becomes on a disk that draws the same ids each time.
fn written(model: &Model, options: &Options) -> Vec<u8> {
    let sim = SimDisk::new();
    let disk = sim.disk();
    let dir = disk.create_dir("/t").unwrap();
    model.build(options, &dir, "table").unwrap();
    sim.world().file_bytes("/t/table").unwrap()
}

fn assert_reads(bytes: &[u8], model: &Model) {
    let dir = fast_dir();
    write(dir.path(), "table", bytes);
    let table = open(dir.path()).unwrap();
    holds(&table, model).unwrap();
    let verified = table.verify().unwrap();
    assert!(verified.is_whole(), "{:?}", verified.damage);
    assert_eq!(verified.bytes, bytes.len() as u64);
}

#[test]
fn the_documented_bytes_are_read() {
    assert_reads(&documented(), &documented_model());
}

#[test]
fn the_documented_bytes_are_written() {
    let options = Options::new().property("by", "hand");
    assert_eq!(written(&documented_model(), &options), documented());
}

/// What is in the tables that version 1 wrote.
fn golden_model() -> Model {
    let mut model = Model::default();
    for n in 0..100_usize {
        let key = format!("key {n:03}");
        for version in 0..=(n as u64 % 3) {
            let value = format!("value {version} of {key}").repeat(1 + n % 5);
            if n % 7 == 0 && version == 2 {
                model.delete(key.as_bytes(), version);
            } else {
                model.put(key.as_bytes(), version, value.as_bytes());
            }
        }
    }
    model.delete_range(b"key 010", b"key 020", 2);
    model.delete_range(b"key 010", b"key 020", 1);
    model.delete_range(b"z", b"zz", 9);
    model
}

fn golden_options(compression: Compression) -> Options {
    Options::new()
        .block_size(512)
        .partition_keys(60)
        .filter_prefix(4)
        .compression(compression)
        .property("made by", "version 1")
}

#[test]
fn what_version_1_wrote_is_read() {
    assert_reads(PLAIN, &golden_model());
    assert_reads(LZ4, &golden_model());
    #[cfg(feature = "zstd")]
    assert_reads(ZSTD, &golden_model());
}

/// A compressor may find other bytes one day; nothing else may change without a new version.
#[test]
fn what_version_1_wrote_is_written() {
    let options = golden_options(Compression::None);
    assert!(written(&golden_model(), &options) == PLAIN);
    let compressed = written(&golden_model(), &golden_options(Compression::Lz4));
    assert_reads(&compressed, &golden_model());
}

#[test]
#[cfg(not(feature = "zstd"))]
fn a_compression_that_was_left_out_is_named() {
    let dir = fast_dir();
    write(dir.path(), "table", include_bytes!("data/v1-zstd.sst"));
    let table = open(dir.path()).unwrap();
    for error in [
        table.get(b"key 000").unwrap_err(),
        table.verify().unwrap_err(),
    ] {
        let expected = sstable::Error::UnsupportedCompression {
            path: dir.path().join("table"),
            name: "zstd",
        };
        assert_eq!(error.to_string(), expected.to_string());
    }
}

#[test]
fn every_sync_of_the_write_order_says_what_it_protects() {
    let mut sections = FORMAT.split("\n## ");
    let section = sections
        .find(|section| section.starts_with("10. Write order"))
        .unwrap();
    let steps = section
        .split('\n')
        .filter(|line| line.as_bytes().get(1) == Some(&b'.'));
    let syncs: Vec<_> = steps
        .clone()
        .filter(|step| step.contains("made durable"))
        .collect();
    assert_eq!((steps.count(), syncs.len()), (6, 2));
    assert!(syncs.iter().all(|step| step.contains("Protects: ")));
}

fn dumped(path: &Path, detail: Detail) -> String {
    let mut text = Vec::new();
    let disk = durable_io::Disk::os();
    sstable::dump(&disk, path.join("table"), detail, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_dump_shows_what_stands_in_the_table_and_what_is_wrong() {
    let dir = fast_dir();
    let mut bytes = documented();
    write(dir.path(), "table", &bytes);
    let whole = dumped(dir.path(), Detail::Entries);
    for line in [
        "header   file ",
        "keys     \"apple\" .. \"d\", excluding that",
        "says     \"by\" = \"hand\"",
        "range    \"b\" .. \"d\" at version 6",
        "block           192  86 bytes, 62 before compression (none), 3 entries",
        "  put     \"apple\" at version 5, 5 bytes",
        "  delete  \"apricot\" at version 7, 0 bytes",
        "1560 bytes, checksum ",
    ] {
        assert!(whole.contains(line), "{whole}");
    }
    assert!(!whole.contains('!'), "{whole}");
    assert!(!dumped(dir.path(), Detail::Blocks).contains("delete"));
    bytes[200] ^= 1;
    write(dir.path(), "table", &bytes);
    let text = dumped(dir.path(), Detail::Entries);
    assert!(
        text.contains("!        192  a checksum does not match"),
        "{text}"
    );
    assert!(text.contains("86 bytes, damaged"), "{text}");
    let len = bytes.len();
    bytes[len - 1] ^= 1;
    bytes[0] ^= 1;
    write(dir.path(), "table", &bytes);
    let text = dumped(dir.path(), Detail::Entries);
    assert!(text.lines().all(|line| line.starts_with('!')), "{text}");
}

/// What cannot be a file's name is refused; no other file is shown in its place.
#[test]
fn a_dump_of_what_is_no_name_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;

    let dir = fast_dir();
    // What the name below is shown as.
    write(dir.path(), "table\u{fffd}", &documented());
    let garbled = std::ffi::OsStr::from_bytes(b"table\xff");
    for path in [dir.path().join(garbled), dir.path().join("..")] {
        let mut text = Vec::new();
        let disk = durable_io::Disk::os();
        let dumped = sstable::dump(&disk, &path, Detail::Blocks, &mut text);
        let refused = matches!(
            &dumped,
            Err(sstable::Error::Disk(durable_io::Error::Io { path: told, .. })) if *told == path
        );
        assert!(refused && text.is_empty(), "{dumped:?}");
    }
}
