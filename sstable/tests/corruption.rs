//! Damage of every kind, everywhere in small tables: the answers are exact, or an error says where; and
//! what is there twice is lost by no single bad sector.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::path::Path;

use sstable::{Compression, Error, Options, Table};
use support::{Model, fast_dir, holds, open, read, write};

/// A table with everything that a table can have: several partitions, versions, deletions, range
/// tombstones, compressed and other blocks.
fn model(salt: u8) -> Model {
    let mut model = Model::default();
    for n in 0..24_u8 {
        let key = [b"key", &[n / 4][..], &[n]].concat();
        for version in 0..u64::from(n % 3) {
            model.put(&key, version * 10 + 1, &[salt; 30]);
        }
        if n % 5 == 0 {
            model.delete(&key, 50);
        } else {
            model.put(&key, 51, &[n, salt, n ^ salt]);
        }
    }
    model.delete_range(b"key\x02", b"key\x03", 45);
    model.delete_range(b"key\x02", b"key\x03", 7);
    model.delete_range(b"x", b"z", 1);
    model
}

fn options(compression: Compression) -> Options {
    Options::new()
        .block_size(200)
        .partition_keys(12)
        .filter_prefix(4)
        .compression(compression)
        .property("name", "value")
}

/// Opens and reads the table; an answer must be that of `model`. False if an error came instead, which
/// then says what is wrong, and where.
fn answers(path: &Path, model: &Model) -> bool {
    let len = read(path, "table").len() as u64;
    let is_fine = |error: &Error| match error {
        Error::Corrupt {
            path: file, offset, ..
        } => *file == path.join("table") && *offset <= len,
        _ => false,
    };
    let table = match open(path) {
        Ok(table) => table,
        Err(error) => {
            assert!(is_fine(&error), "{error}");
            return false;
        }
    };
    if let Err(error) = each_key(&table, model) {
        assert!(is_fine(&error), "{error}");
    }
    match holds(&table, model) {
        Ok(()) => true,
        Err(error) => {
            assert!(is_fine(&error), "{error}");
            false
        }
    }
}

/// Keys one by one: an error of one says nothing of the others.
fn each_key(table: &Table, model: &Model) -> sstable::Result<()> {
    let mut result = Ok(());
    for (key, version) in model.entries.keys() {
        match table.get_at(key, version.0) {
            Ok(found) => assert_eq!(found.as_deref(), model.get(key, version.0)),
            Err(error) => result = Err(error),
        }
    }
    result
}

/// Whoever changes the file at all is found out by `verify`, unless opening refuses it.
fn assert_noticed(path: &Path) {
    if let Ok(table) = open(path) {
        match table.verify() {
            Ok(verified) => assert!(!verified.is_whole()),
            Err(error) => panic!("{error}"),
        }
    }
}

const BOTH: [Compression; 2] = [Compression::None, Compression::Lz4];

#[test]
fn no_changed_byte_is_believed() {
    for compression in BOTH {
        let dir = fast_dir();
        let model = model(1);
        model.build_in(dir.path(), &options(compression));
        let bytes = read(dir.path(), "table");
        assert!(answers(dir.path(), &model));
        for at in 0..bytes.len() {
            for change in [1, 0x80, bytes[at]] {
                if change == 0 {
                    continue;
                }
                let mut changed = bytes.clone();
                changed[at] ^= change;
                write(dir.path(), "table", &changed);
                answers(dir.path(), &model);
                assert_noticed(dir.path());
            }
        }
    }
}

#[test]
fn a_table_that_is_cut_or_longer_anywhere_is_refused() {
    let dir = fast_dir();
    let model = model(1);
    model.build_in(dir.path(), &options(Compression::None));
    let bytes = read(dir.path(), "table");
    for len in 0..bytes.len() {
        write(dir.path(), "table", &bytes[..len]);
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{len}: {error}");
    }
    for more in [1, 511, 512, 4096] {
        let longer = [&bytes[..], &vec![9; more]].concat();
        write(dir.path(), "table", &longer);
        open(dir.path()).unwrap_err();
    }
}

/// Where each block of `bytes` is: offset, length, kind.
fn blocks(bytes: &[u8]) -> Vec<(usize, usize, u8)> {
    let found = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"sst"));
    found
        .filter(|&at| at >= 4 && b"DIFTRP".contains(&bytes[at + 3]))
        .map(|at| {
            let stored = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
            (at - 4, 24 + stored as usize, bytes[at + 3])
        })
        .collect()
}

/// Puts the block at `from` of `source` to `to`, as far as it fits into the file.
fn misplace(target: &[u8], to: usize, source: &[u8], from: (usize, usize, u8)) -> Vec<u8> {
    let mut bytes = target.to_vec();
    let len = from.1.min(bytes.len() - to);
    bytes[to..to + len].copy_from_slice(&source[from.0..from.0 + len]);
    bytes
}

#[test]
fn no_block_is_good_in_another_place_another_file_or_another_life() {
    let dir = fast_dir();
    let model = model(1);
    let options = options(Compression::None);
    // The same content, in another file: and so what a name held before, too.
    model.build_in(dir.path(), &options);
    let stale = read(dir.path(), "table");
    model.build_in(dir.path(), &options);
    let bytes = read(dir.path(), "table");
    assert_eq!(stale.len(), bytes.len());
    assert_ne!(stale, bytes);
    let blocks = blocks(&bytes);
    let kinds = |kind| blocks.iter().filter(|block| block.2 == kind).count();
    assert!(kinds(b'D') >= 5 && kinds(b'I') >= 6 && kinds(b'F') >= 3);
    assert_eq!([kinds(b'T'), kinds(b'R'), kinds(b'P')], [2, 2, 2]);
    for &from in &blocks {
        let misplaced = misplace(&bytes, from.0, &stale, from);
        write(dir.path(), "table", &misplaced);
        answers(dir.path(), &model);
        assert_noticed(dir.path());
        for to in &blocks {
            if from.0 != to.0 {
                write(dir.path(), "table", &misplace(&bytes, to.0, &bytes, from));
                answers(dir.path(), &model);
                assert_noticed(dir.path());
            }
        }
    }
}

#[test]
fn every_sector_of_the_stale_file_is_noticed() {
    let dir = fast_dir();
    let model = model(1);
    let options = options(Compression::None);
    model.build_in(dir.path(), &options);
    let stale = read(dir.path(), "table");
    model.build_in(dir.path(), &options);
    let bytes = read(dir.path(), "table");
    for at in (0..bytes.len()).step_by(512) {
        let end = bytes.len().min(at + 512);
        let mut mixed = bytes.clone();
        mixed[at..end].copy_from_slice(&stale[at..end]);
        if mixed == bytes {
            continue; // A sector of zeros.
        }
        write(dir.path(), "table", &mixed);
        answers(dir.path(), &model);
        assert_noticed(dir.path());
    }
}

/// The places of data blocks and filters: all else is there twice.
fn is_there_twice(blocks: &[(usize, usize, u8)], at: usize, end: usize) -> bool {
    let is_hit = |&&(offset, len, kind): &&(usize, usize, u8)| {
        kind == b'D' && offset < end && at < offset + len
    };
    !blocks.iter().any(|block| is_hit(&block))
}

#[test]
fn one_bad_sector_in_what_is_there_twice_loses_nothing() {
    for (sector, block_size, keys) in [(512, 200, 40), (4096, 4096, 1500_u32)] {
        let dir = fast_dir();
        let mut model = Model::default();
        for n in 0..keys {
            let n = n.swap_bytes().to_le_bytes();
            model.put(&n, 0, &[7; 60]);
        }
        model.delete_range(b"a", b"b", 3);
        let options = Options::new()
            .block_size(block_size)
            .partition_keys(keys / 3);
        model.build_in(dir.path(), &options);
        let bytes = read(dir.path(), "table");
        let blocks = blocks(&bytes);
        let (mut spared, mut lost, mut reported) = (0, 0, 0);
        for at in (0..bytes.len()).step_by(sector) {
            let end = bytes.len().min(at + sector);
            let mut changed = bytes.clone();
            changed[at..end].fill(0);
            if changed == bytes {
                continue;
            }
            // The header shares its sector with data: those are lost, it is not.
            let from = if at == 0 { 192 } else { end };
            changed[from.min(end)..end].copy_from_slice(&bytes[from.min(end)..end]);
            write(dir.path(), "table", &changed);
            if at > 0 && !is_there_twice(&blocks, at, end) {
                lost += 1;
                continue;
            }
            spared += 1;
            let table = open(dir.path()).unwrap();
            holds(&table, &model).unwrap();
            reported += usize::from(!table.damage().is_empty());
            assert!(!table.verify().unwrap().is_whole(), "sector at {at}");
        }
        // Readers do not look at second copies as long as the first are good; `verify` does.
        assert!(reported >= 2 && spared >= reported && lost >= 1);
    }
}

#[test]
fn header_and_both_copies_share_no_sector() {
    let dir = fast_dir();
    for keys in [1, 10, 100, 1000, 10_000_u32] {
        let mut model = Model::default();
        for n in 0..keys {
            let n = n.swap_bytes().to_le_bytes();
            model.put(&n, 0, &n);
        }
        model.build_in(dir.path(), &Options::new());
        let bytes = read(dir.path(), "table");
        let sector = if bytes.len() < 60_000 { 512 } else { 4096 };
        let mut metas: Vec<_> = blocks(&bytes).into_iter().filter(|b| b.2 != b'D').collect();
        metas.retain(|block| block.2 != b'F');
        let (first, second) = metas.split_at(metas.len() / 2);
        let end = first.iter().map(|block| block.0 + block.1).max().unwrap();
        let start = second.iter().map(|block| block.0).min().unwrap();
        assert!((end - 1) / sector < start / sector, "{keys} keys");
    }
}
