//! One test for each defect of the reference tables that could exist here.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use durable_io::sim::SimDisk;
use sstable::{BlockCache, Corruption, Cursor, Entry, Error, Kind, Options, RangeTombstone, Table};
use support::{Model, assert_whole, dir, fast_dir, holds, names, open, owned, read, write};

fn some() -> Model {
    let mut model = Model::default();
    for n in 0..300_u32 {
        model.put(format!("key {n:04}").as_bytes(), 0, &n.to_le_bytes());
    }
    model
}

fn put<'a>(key: &'a [u8], version: u64, value: &'a [u8]) -> Entry<'a> {
    Entry {
        key,
        version,
        kind: Kind::Put,
        value,
    }
}

/// Tables were written at their final path: a crash left half a file under a valid name.
#[test]
fn d03_a_name_is_never_that_of_half_a_table() {
    let sim = SimDisk::new();
    let (disk, model) = (sim.disk(), some());
    let dir = disk.create_dir("/tables").unwrap();
    let options = Options::new().block_size(256);
    let mut writer = options.create(&dir, "table").unwrap();
    let mut worlds = Vec::new();
    for (key, version, _, value) in &model.owned() {
        writer.add(put(key, *version, value)).unwrap();
        worlds.push(sim.world());
    }
    writer.finish().unwrap();
    let after = sim.world();
    for world in worlds {
        for world in [world.lose_unsynced(), world.keep_unsynced()] {
            let disk = SimDisk::boot(world).disk();
            let dir = disk.open_dir("/tables").unwrap();
            let opened = Table::open(&dir, "table", &BlockCache::new(0));
            assert!(matches!(opened, Err(Error::Disk(error)) if error.is_not_found()));
            // What is left of it is in nobody's way.
            model.build(&options, &dir, "table").unwrap();
            let table = Table::open(&dir, "table", &BlockCache::new(0)).unwrap();
            holds(&table, &model).unwrap();
        }
    }
    let dir = SimDisk::boot(after.lose_unsynced()).disk();
    let dir = dir.open_dir("/tables").unwrap();
    let table = Table::open(&dir, "table", &BlockCache::new(0)).unwrap();
    holds(&table, &model).unwrap();
}

/// A tombstone was a first byte 0xFF of a length: long keys and some values were deletions.
#[test]
fn d14_any_bytes_are_a_key_or_a_value_and_a_deletion_is_a_kind() {
    let dir = fast_dir();
    let mut model = Model::default();
    for key in [
        &b""[..],
        b"\0",
        b"\xff",
        &[0xff; 255],
        &vec![0xff; 65_535],
        b"TOMBSTONE",
    ] {
        let values = [
            &b""[..],
            b"\xff",
            b"\xff\xff\xff\xff",
            b"\0",
            &vec![0xff; 70_000],
        ];
        for (version, value) in (0..).zip(values) {
            model.put(key, version, value);
        }
    }
    model.delete(b"gone", 0);
    let info = model.build_in(dir.path(), &Options::new());
    let table = open(dir.path()).unwrap();
    holds(&table, &model).unwrap();
    assert_whole(&table, &info);
    assert_eq!((info.entries, info.tombstones), (31, 1));
    let found = table.find(b"gone", 0).unwrap().unwrap();
    assert_eq!((found.kind, found.value.len()), (Kind::Delete, 0));
    assert_eq!(table.get(b"gone").unwrap(), None);
    assert_eq!(table.get(b"\xff").unwrap().unwrap().len(), 70_000);
}

/// There was no checksum at all. (Every other byte and change: `corruption.rs`.)
#[test]
fn d16_no_changed_bit_of_a_value_is_believed() {
    let dir = fast_dir();
    let mut model = Model::default();
    model.put(b"account", 0, b"balance: 100");
    model.build_in(dir.path(), &Options::new());
    let bytes = read(dir.path(), "table");
    let at = bytes.windows(8).position(|w| w == b"balance:").unwrap();
    for bit in 0..12 * 8 {
        let mut changed = bytes.clone();
        changed[at + bit / 8] ^= 1 << (bit % 8);
        write(dir.path(), "table", &changed);
        let table = open(dir.path()).unwrap();
        let error = table.get(b"account").unwrap_err();
        let Error::Corrupt {
            path,
            offset,
            reason,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(path, dir.path().join("table"));
        assert_eq!((offset, reason), (192, Corruption::Checksum));
        assert!(table.cursor().seek_to_first().is_err());
    }
}

/// Unsorted `add` was accepted, and a range scan read from the start.
#[test]
fn d24_out_of_order_is_an_error_and_nothing_is_written() {
    let dir = fast_dir();
    let path = support::dir(dir.path());
    let mut writer = Options::new().create(&path, "table").unwrap();
    let mut model = Model::default();
    for (entry, is_right) in [
        (put(b"b", 5, b"1"), true),
        (put(b"b", 5, b"2"), false),
        (put(b"b", 6, b"3"), false),
        (put(b"a", 5, b"4"), false),
        (put(b"", u64::MAX, b"5"), false),
        (put(b"b", 4, b"6"), true),
        (put(b"b\0", 9, b"7"), true),
        (put(b"b", 1, b"8"), false),
    ] {
        let added = writer.add(entry);
        assert_eq!(added.is_ok(), is_right, "{entry:?}");
        if is_right {
            model.put(entry.key, entry.version, entry.value);
        } else {
            assert!(matches!(added, Err(Error::OutOfOrder { .. })));
        }
    }
    refuse_wrong_range_tombstones(&mut writer, &mut model);
    writer.finish().unwrap();
    holds(&open(dir.path()).unwrap(), &model).unwrap();
}

fn refuse_wrong_range_tombstones(writer: &mut sstable::Writer, model: &mut Model) {
    for (start, end, version, is_right) in [
        ("d", "f", 5, true),
        ("d", "f", 5, false),
        ("d", "f", 6, false),
        ("d", "e", 1, false),
        ("e", "g", 1, false),
        ("a", "b", 1, false),
        ("g", "g", 1, false),
        ("h", "g", 1, false),
        ("d", "f", 4, true),
        ("f", "g", 9, true),
    ] {
        let tombstone = RangeTombstone {
            start: start.into(),
            end: end.into(),
            version,
        };
        let added = writer.add_range_tombstone(&tombstone);
        assert_eq!(added.is_ok(), is_right, "{tombstone:?}");
        if is_right {
            model.range_tombstones.push(tombstone);
        }
    }
}

#[test]
fn d24_a_seek_reads_a_logarithm_of_the_blocks() {
    let dir = fast_dir();
    let mut model = Model::default();
    for n in 0..20_000_u32 {
        model.put(format!("{n:08}").as_bytes(), 0, &[b'v'; 40]);
    }
    let options = Options::new().block_size(1000).partition_keys(2000);
    model.build_in(dir.path(), &options);
    let table = open(dir.path()).unwrap();
    assert!(table.properties().data_blocks > 900);
    // Opening reads the properties and the top index, and nothing else.
    assert_eq!(table.reads().blocks, 2);
    let mut cursor = table.cursor();
    for n in [0, 1, 777, 9_999, 13_001, 19_998] {
        let blocks = |table: &Table| table.reads().blocks;
        let before = blocks(&table);
        cursor.seek(format!("{n:08}x").as_bytes(), 0).unwrap();
        let expected = format!("{:08}", n + 1).into_bytes();
        assert_eq!(owned(cursor.entry()).unwrap().0, expected);
        // Index and filter of the partition, if it is new; a block; the next one, if it is there.
        assert!(blocks(&table) - before <= 4, "{n}: {:?}", table.reads());
        let before = blocks(&table);
        let row = table.scan(&expected[..]..).next().unwrap().unwrap();
        assert_eq!(row.0, expected);
        assert!(blocks(&table) - before <= 4);
        let before = blocks(&table);
        assert!(table.get(&expected).unwrap().is_some());
        assert_eq!(blocks(&table) - before, 1);
        let before = blocks(&table);
        table.scan(..&expected[..]).next_back();
        assert!(blocks(&table) - before <= 5);
    }
    assert!(table.reads().bytes < table.file_bytes() / 2);
}

#[test]
fn d24_what_the_filter_denies_reads_no_data() {
    let dir = fast_dir();
    let options = Options::new().block_size(256).filter_prefix(5);
    some().build_in(dir.path(), &options);
    let table = open(dir.path()).unwrap();
    assert!(table.get(b"key 0007").unwrap().is_some());
    let before = table.reads().blocks;
    let misses = (0..1000_u32).filter(|n| table.get(format!("key {n:04}x").as_bytes()).is_ok());
    assert_eq!(misses.count(), 1000);
    let looked = table.reads().blocks - before;
    assert!(looked < 60, "{looked} of 1000");
    let before = table.reads().blocks;
    let denied = (b'5'..=b'9').filter(|&n| {
        let mut scan = table.scan_prefix(&[b"key ", &[n][..]].concat(), 0).unwrap();
        scan.next().is_none() && table.reads().blocks == before
    });
    assert!(denied.count() >= 4);
    assert_eq!(table.scan_prefix(b"key 0", 0).unwrap().count(), 300);
}

/// The magic was asserted, and short reads were no answer at all.
#[test]
fn d26_what_is_no_table_is_a_typed_error() {
    let dir = fast_dir();
    for bytes in [&b""[..], b"x", &[0; 383], &[0; 384], &[0xff; 5000], b"SSTB"] {
        write(dir.path(), "table", bytes);
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        let mut text = Vec::new();
        let path = dir.path().join("table");
        let disk = durable_io::Disk::os();
        sstable::dump(&disk, &path, sstable::Detail::Blocks, &mut text).unwrap();
        assert!(text.starts_with(b"!"));
    }
    let refused = Table::open(&support::dir(dir.path()), "missing", &BlockCache::new(0));
    assert!(matches!(refused, Err(Error::Disk(error)) if error.is_not_found()));
}

#[test]
fn d26_a_newer_version_is_named() {
    let dir = fast_dir();
    some().build_in(dir.path(), &Options::new());
    let mut bytes = read(dir.path(), "table");
    let id: [u8; 8] = bytes[16..24].try_into().unwrap();
    for at in [0, bytes.len() - 192] {
        bytes[at + 8] = 2;
        bytes[at + 12..at + 16].fill(0);
        let place = durable_io::checksum::Place {
            id: u64::from_le_bytes(id),
            number: 0,
            offset: at as u64,
        };
        let check = durable_io::checksum::checksum_at(place, &bytes[at..at + 192]);
        bytes[at + 12..at + 16].copy_from_slice(&check.to_le_bytes());
    }
    write(dir.path(), "table", &bytes);
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(
        error,
        Error::UnsupportedVersion(sstable::UnsupportedVersion {
            version: 2,
            supported: 1,
            ..
        })
    ));
}

#[test]
fn what_cannot_be_added_leaves_the_table_as_it_was() {
    let dir = fast_dir();
    let path = support::dir(dir.path());
    let mut writer = Options::new().create(&path, "table").unwrap();
    let long = vec![0; sstable::MAX_KEY_SIZE + 1];
    let refused = writer.add(put(&long, 0, b""));
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    let refused = writer.add(Entry {
        kind: Kind::Delete,
        ..put(b"a", 0, b"value")
    });
    assert!(matches!(refused, Err(Error::InvalidEntry { .. })));
    let refused = writer.finish();
    assert!(matches!(refused, Err(Error::Empty)));
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_table_outlives_its_name_and_cursors_outlive_the_table() {
    let dir = fast_dir();
    let model = some();
    model.build_in(dir.path(), &Options::new());
    let table = open(dir.path()).unwrap();
    let (mut cursor, value) = (table.cursor(), table.get(b"key 0299").unwrap().unwrap());
    support::dir(dir.path()).remove("table").unwrap();
    holds(&table, &model).unwrap();
    drop(table);
    assert_eq!(support::walk(&mut cursor).unwrap().0, model.owned());
    drop(cursor);
    assert_eq!(value, 299_u32.to_le_bytes());
}

#[test]
fn threads_share_a_table() {
    let temp = fast_dir();
    let model = some();
    let compressed = Options::new()
        .block_size(256)
        .compression(sstable::Compression::Lz4);
    for options in [
        Options::new().block_size(256).partition_keys(10),
        compressed,
    ] {
        model.build_in(temp.path(), &options);
        // A cache that is too small for the table.
        let table = Table::open(&dir(temp.path()), "table", &BlockCache::new(2000)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| holds(&table.clone(), &model).unwrap());
            }
        });
    }
}
