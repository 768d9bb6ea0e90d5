//! Backups: a moment of the whole store, in a directory of its own, while it goes on.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use btree::{Background, Btree, Corruption, Detail, Error, Options, ReadTxn};
use durable_io::sim::SimDisk;
use durable_io::testing::snapshot;
use support::fast_dir;

/// What a store holds: for each table its entries.
type Contents = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

fn options() -> Options {
    Options::new()
        .page_size(512)
        .log_segment_size(4096)
        .large_transaction(2000)
        .growth(4 << 9)
        .reserve(16 << 9)
        .background(Background::Inline)
}

fn key(n: u32) -> Vec<u8> {
    format!("key {n:05}").into_bytes()
}

/// Some values have pages of their own, and some of these more than one.
fn value(n: u32) -> Vec<u8> {
    let len = if n % 10 == 3 { 1200 } else { 40 };
    vec![u8::try_from(n % 251).unwrap(); len]
}

fn put(store: &Btree, table: &str, numbers: impl Iterator<Item = u32>) {
    let mut write = store.begin_write().unwrap();
    let mut table = write.create_table(table).unwrap();
    for n in numbers {
        table.put(&key(n), &value(n)).unwrap();
    }
    write.commit().unwrap();
}

/// As long as a name may be: what the catalog says of it has a page of its own.
fn long_name() -> String {
    "n".repeat(btree::max_key_size(512))
}

/// Three levels of pages, an empty table, free pages, and the last transaction in the log alone.
fn filled(path: &Path) -> Btree {
    let store = options().open(path).unwrap();
    for first in [0, 200, 400] {
        put(&store, "many", first..first + 200);
    }
    put(&store, &long_name(), 0..20);
    put(&store, "empty", 0..0);
    let mut write = store.begin_write().unwrap();
    let mut many = write.table("many").unwrap();
    many.delete_range(&key(100)[..]..&key(300)[..]).unwrap();
    write.commit().unwrap();
    store.checkpoint().unwrap();
    put(&store, "many", 1000..1004);
    store
}

fn contents(read: &ReadTxn) -> Contents {
    let entries = |name: &String| {
        let table = read.table(name).unwrap();
        let own = |entry: btree::Result<(Vec<u8>, btree::Value)>| {
            let (key, value) = entry.unwrap();
            (key, value.into_vec())
        };
        table.range(..).map(own).collect()
    };
    let names = read.tables().unwrap().into_iter();
    names.map(|name| (name.clone(), entries(&name))).collect()
}

fn contents_of(path: &Path) -> Contents {
    contents(&options().open_read_only(path).unwrap())
}

fn reason_of(error: &Error) -> Option<Corruption> {
    match error {
        Error::Corrupt { reason, .. } => Some(*reason),
        _ => None,
    }
}

#[test]
fn a_backup_is_a_store_and_neither_side_changes_the_other() {
    let temp = fast_dir();
    let (path, backup) = (temp.path().join("store"), temp.path().join("a/backup"));
    let store = filled(&path);
    let before = contents(&store.begin_read());
    let report = store.backup(&backup).unwrap();
    assert_eq!((report.tables, report.entries), (3, 424));
    assert_eq!(contents_of(&backup), before);

    // Pages move and the file is cut; the log is given up; what is left has other values.
    let bytes = snapshot(&backup);
    let mut write = store.begin_write().unwrap();
    write.drop_table("many").unwrap();
    write.commit().unwrap();
    assert!(store.compact().unwrap().returned_bytes > 0);
    put(&store, "new", 0..50);
    store.checkpoint().unwrap();
    store.close().unwrap();
    assert_eq!(snapshot(&backup), bytes, "the store has changed its backup");

    let bytes = snapshot(&path);
    let copy = options().open(&backup).unwrap();
    assert_eq!(copy.recovery().replayed_records, 0);
    assert!(!copy.recovery().repaired_slot);
    let verified = copy.verify().unwrap();
    assert_eq!((verified.tables, verified.entries), (3, 424));
    assert_eq!(verified.unused_pages + verified.free_list_pages, 0);
    copy.compact().unwrap();
    // Left in the log, where tables are named by their ids.
    put(&copy, "many", 104..110);
    put(&copy, "later", 0..3);
    copy.verify().unwrap();
    drop(copy);
    assert_eq!(snapshot(&path), bytes, "a backup has changed its store");
    let copy = contents_of(&backup);
    assert_eq!((copy["many"].len(), copy["later"].len()), (410, 3));
}

#[test]
fn a_backup_has_no_free_pages_and_a_backup_of_it_the_same_ones() {
    let temp = fast_dir();
    let path = |name| temp.path().join(name);
    let store = filled(&path("store"));
    let first = store.backup(path("first")).unwrap();
    assert!(first.bytes * 10 < store.stats().file_bytes * 9, "{first:?}");
    let copy = options().open(path("first")).unwrap();
    let second = copy.backup(path("second")).unwrap();
    assert_eq!(second, first);
    assert_eq!(contents_of(&path("second")), contents(&store.begin_read()));
    let empty = options().open(path("none")).unwrap();
    assert_eq!(empty.backup(path("third")).unwrap().entries, 0);
    let third = options().open(path("third")).unwrap();
    put(&third, "many", 0..10);
    third.verify().unwrap();
}

#[test]
fn a_damaged_page_is_not_copied() {
    let temp = fast_dir();
    let path = temp.path().join("store");
    filled(&path).close().unwrap();
    let bytes = std::fs::read(path.join("pages")).unwrap();
    let (mut refused, mut made) = (0, 0);
    for page in 8192 / 512..bytes.len() / 512 {
        let mut damaged = bytes.clone();
        damaged[page * 512 + 300] ^= 1;
        std::fs::write(path.join("pages"), damaged).unwrap();
        // The list of free pages is read when the store is opened.
        let Ok(store) = options().open(&path) else {
            continue;
        };
        let backup = temp.path().join(format!("backup {page}"));
        let Err(error) = store.backup(&backup) else {
            // Nobody has that page.
            assert_eq!(contents_of(&backup), contents(&store.begin_read()));
            made += 1;
            continue;
        };
        assert!(
            matches!(&error, Error::Corrupt { path, offset, reason: Corruption::Checksum }
                if path.ends_with("store/pages") && *offset == page as u64 * 512),
            "{error}"
        );
        // What is there of it is no store.
        let error = options().open(&backup).unwrap_err();
        assert_eq!(reason_of(&error), Some(Corruption::PagesLost), "{error}");
        assert!(snapshot(&backup).iter().all(|(name, _)| name != "pages"));
        refused += 1;
    }
    assert!(refused > 100 && made > 20, "{refused} and {made}");
}

#[test]
fn a_backup_has_a_directory_of_its_own() {
    let temp = fast_dir();
    let path = temp.path().join("store");
    let store = filled(&path);
    let is_locked = |error: &Error| matches!(error, Error::Disk(durable_io::Error::Locked { .. }));
    let own = store.backup(&path).unwrap_err();
    assert!(is_locked(&own), "{own}");
    let other = temp.path().join("other");
    let other_store = options().open(&other).unwrap();
    let error = store.backup(&other).unwrap_err();
    assert!(is_locked(&error), "{error}");
    drop(other_store);
    let backup = temp.path().join("backup");
    store.backup(&backup).unwrap();
    for taken in [&other, &backup] {
        let bytes = snapshot(taken);
        let error = store.backup(taken).unwrap_err();
        assert!(
            matches!(&error, Error::Disk(durable_io::Error::Io { source, .. })
                if source.kind() == std::io::ErrorKind::DirectoryNotEmpty),
            "{error}"
        );
        assert_eq!(&snapshot(taken), &bytes);
    }
    put(&store, "goes on", 0..1);
}

#[test]
fn files_of_a_store_and_of_its_backup_are_told_apart() {
    let temp = fast_dir();
    let path = |name| temp.path().join(name);
    let store = filled(&path("store"));
    store.backup(path("backup")).unwrap();
    put(&store, "many", 0..3);
    store.sync().unwrap();
    drop(store);
    // The log of the store behind the pages of the backup, and no log at all.
    std::fs::rename(path("backup/log"), path("log")).unwrap();
    std::fs::rename(path("store/log"), path("backup/log")).unwrap();
    let error = options().open(path("backup")).unwrap_err();
    assert_eq!(reason_of(&error), Some(Corruption::ForeignLog), "{error}");
    std::fs::remove_dir_all(path("backup/log")).unwrap();
    let error = options().open_read_only(path("backup")).unwrap_err();
    let is_range = matches!(reason_of(&error), Some(Corruption::LogRange { .. }));
    assert!(is_range, "{error}");
    std::fs::rename(path("log"), path("backup/log")).unwrap();
    options().open(path("backup")).unwrap().verify().unwrap();
}

#[test]
fn a_backup_for_which_there_is_no_room_is_no_store_and_costs_the_store_nothing() {
    let disk = SimDisk::new();
    let store = options().disk(disk.disk()).open("/store").unwrap();
    put(&store, "many", 0..200);
    store.checkpoint().unwrap();
    let before = contents(&store.begin_read());
    let mut failed = 0;
    for n in 0_u64.. {
        disk.set_budget(Some(disk.used_bytes() + n * 1024));
        let backup = format!("/backup {n}");
        let made = store.backup(&backup);
        disk.set_budget(None);
        if made.is_ok() {
            break;
        }
        let error = made.unwrap_err();
        assert!(error.is_no_space(), "{error}");
        let opened = options().disk(disk.disk()).open_read_only(&backup);
        let error = opened.unwrap_err();
        assert!(
            reason_of(&error) == Some(Corruption::PagesLost) || matches!(error, Error::Disk(_)),
            "{error}"
        );
        failed += 1;
    }
    assert!(failed > 20, "{failed} sizes were too small");
    assert_eq!(contents(&store.begin_read()), before);
    put(&store, "many", 200..210);
    store.verify().unwrap();
}

#[test]
fn a_backup_of_a_busy_store_is_one_moment_of_all_tables() {
    let temp = fast_dir();
    let threads = || {
        options()
            .large_transaction(1 << 20)
            .background(Background::Threads)
    };
    let store = threads().open(temp.path().join("store")).unwrap();
    let (acknowledged, is_over) = (&AtomicU64::new(0), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            for n in 1_u64.. {
                let mut write = store.begin_write().unwrap();
                for table in ["one", "two"] {
                    let mut table = write.create_table(table).unwrap();
                    table.put(b"count", &n.to_le_bytes()).unwrap();
                    table.put(&n.to_le_bytes(), &[0; 100]).unwrap();
                }
                write.commit().unwrap();
                acknowledged.store(n, Ordering::SeqCst);
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for nth in 0..12 {
            let before = acknowledged.load(Ordering::SeqCst);
            let backup = temp.path().join(format!("backup {nth}"));
            store.backup(&backup).unwrap();
            let after = acknowledged.load(Ordering::SeqCst) + 1;
            for table in contents_of(&backup).values() {
                let count = table[&b"count"[..]].as_slice().try_into();
                let count = u64::from_le_bytes(count.unwrap());
                let is_within = (before..=after).contains(&count);
                assert!(is_within, "{count} in {before}..={after}");
                assert_eq!(table.len() as u64, count + 1);
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    store.verify().unwrap();
}

/// What the catalog says of a table with such a name has a page of its own.
#[test]
fn the_pages_of_a_table_with_the_longest_name_have_an_owner() {
    let temp = fast_dir();
    let path = temp.path().join("store");
    let store = filled(&path);
    store.verify().unwrap();
    store.close().unwrap();
    let mut text = Vec::new();
    btree::dump(&durable_io::Disk::os(), &path, Detail::Pages, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let wrong: Vec<_> = text.lines().filter(|line| line.starts_with('!')).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
