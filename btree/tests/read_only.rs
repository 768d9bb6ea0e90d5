//! Reading a store without writing anything, and showing it as text.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::BTreeMap;

use btree::{Background, Btree, Corruption, Detail, Error, Options, ReadTxn, dump};
use durable_io::sim::SimDisk;

const DIR: &str = "/btree";

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .page_size(512)
        .log_segment_size(4096)
        .background(Background::Inline)
        .disk(disk.disk())
}

fn put(store: &Btree, key: &[u8], value: &[u8]) -> btree::Result<()> {
    let mut write = store.begin_write()?;
    write.create_table("t")?.put(key, value)?;
    write.commit()
}

fn entries(read: &ReadTxn) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = read.table("t").unwrap().range(..);
    let owned = |(key, value): (Vec<u8>, btree::Value)| (key, value.into_vec());
    entries.map(|entry| owned(entry.unwrap())).collect()
}

/// Names and bytes of all files.
fn files(disk: &SimDisk) -> BTreeMap<String, Option<Vec<u8>>> {
    let world = disk.world();
    let files = disk.files().into_iter();
    files
        .map(|(path, _)| (path.clone(), world.file_bytes(&path)))
        .collect()
}

/// A checkpoint, and behind it so much in the log that leaves are split.
fn killed() -> (SimDisk, BTreeMap<Vec<u8>, Vec<u8>>) {
    let disk = SimDisk::new();
    let store = options(&disk).open(DIR).unwrap();
    let mut model = BTreeMap::new();
    for n in 0..40_u8 {
        let (key, value) = (vec![n % 23], vec![n; 20 * usize::from(n)]);
        put(&store, &key, &value).unwrap();
        model.insert(key, value);
        if n == 10 {
            store.checkpoint().unwrap();
        }
    }
    drop(store);
    (SimDisk::boot(disk.world().keep_unsynced()), model)
}

#[test]
fn the_log_is_applied_and_no_byte_is_changed() {
    let (disk, model) = killed();
    let before = files(&disk);
    let read = options(&disk).open_read_only(DIR).unwrap();
    let other = options(&disk).open_read_only(DIR).unwrap();
    assert_eq!(entries(&read), model);
    assert_eq!(entries(&other), model);
    assert_eq!(read.tables().unwrap(), ["t"]);
    assert_eq!(files(&disk), before);
    drop((read, other));
    let store = options(&disk).open(DIR).unwrap();
    assert!(store.recovery().replayed_records > 20);
    assert_eq!(entries(&store.begin_read()), model);
}

/// The simulated disk has locks without files.
#[test]
fn no_lock_file_is_made() {
    let scratch = support::fast_dir();
    let path = scratch.path().join("store");
    let options = || Options::new().background(Background::Inline);
    let store = options().open(&path).unwrap();
    put(&store, b"key", b"value").unwrap();
    drop(store);
    let dir = btree::Disk::os().open_dir(&path).unwrap();
    let log = dir.open_dir("log").unwrap();
    dir.remove("lock").unwrap();
    log.remove("lock").unwrap();
    let listed = || {
        let mut names = [dir.list().unwrap(), log.list().unwrap()].concat();
        names.sort();
        names
    };
    let before = listed();
    let read = options().open_read_only(&path).unwrap();
    assert_eq!(
        entries(&read),
        [(b"key".to_vec(), b"value".to_vec())].into()
    );
    assert_eq!(listed(), before);
}

#[test]
fn a_writer_and_a_reader_exclude_each_other() {
    let (disk, _) = killed();
    let locked = |error: Error| {
        let is_locked = matches!(error, Error::Disk(durable_io::Error::Locked { .. }));
        assert!(is_locked, "{error}");
    };
    let store = options(&disk).open(DIR).unwrap();
    locked(options(&disk).open_read_only(DIR).unwrap_err());
    locked(dump(&disk.disk(), DIR, Detail::Pages, &mut Vec::new()).unwrap_err());
    store.close().unwrap();
    let read = options(&disk).open_read_only(DIR).unwrap();
    // As long as anybody can read.
    let range = read.table("t").unwrap().range(..);
    drop(read);
    locked(options(&disk).open(DIR).unwrap_err());
    drop(range);
    options(&disk).open(DIR).unwrap();
}

#[test]
fn a_store_of_which_a_crash_left_little_is_read_as_opening_would() {
    let mut seen = [0; 3];
    for calls in 0..120 {
        let disk = SimDisk::new();
        disk.inject(durable_io::sim::Fault {
            call: disk.calls() + calls,
            kind: durable_io::sim::FaultKind::Errno(5),
            sticky: true,
        });
        let opened = options(&disk).open(DIR);
        drop(opened.and_then(|store| put(&store, b"k", b"v")));
        let left = SimDisk::boot(disk.world().lose_unsynced());
        match options(&left).open_read_only(DIR) {
            Ok(read) => {
                let shown = read.tables().unwrap();
                drop(read);
                let store = options(&left).open(DIR).unwrap();
                assert_eq!(store.begin_read().tables().unwrap(), shown);
                seen[shown.len()] += 1;
            }
            Err(Error::Disk(error)) if error.is_not_found() => seen[2] += 1,
            Err(Error::Corrupt {
                reason: Corruption::PagesLost,
                ..
            }) => seen[2] += 1,
            Err(error) => panic!("after {calls} calls: {error}"),
        }
    }
    assert!(seen.iter().all(|&times| times > 0), "{seen:?}");
}

#[test]
fn damage_of_the_log_is_reported() {
    let (disk, model) = killed();
    let dir = disk.disk().open_dir(DIR).unwrap().open_dir("log").unwrap();
    let listed = dir.list().unwrap().into_iter();
    let mut names: Vec<_> = listed.map(|entry| entry.name).collect();
    names.retain(|name| name.strip_suffix(".wal").is_some());
    names.sort();
    let file = dir.open(&names[0]).unwrap();
    let len = usize::try_from(file.len().unwrap()).unwrap();
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let middle = len / 2;
    file.write_all_at(&[bytes[middle] ^ 1], middle as u64)
        .unwrap();
    match options(&disk).open_read_only(DIR) {
        Ok(read) => assert_eq!(entries(&read), model, "what is given up was damaged"),
        Err(error) => assert!(matches!(error, Error::Log(_)), "{error}"),
    }
    let mut text = Vec::new();
    dump(&disk.disk(), DIR, Detail::Records, &mut text).unwrap();
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("slot of generation 2")
    );
}

#[test]
fn a_log_without_its_mark_is_not_read_as_if_that_were_all() {
    let (disk, _) = killed();
    let dir = disk.disk().open_dir(DIR).unwrap().open_dir("log").unwrap();
    dir.remove("mark").unwrap();
    match options(&disk).open_read_only(DIR) {
        Err(Error::Log(wal::Error::Corrupt { reason, .. })) => {
            assert_eq!(reason, wal::Corruption::SuperblockLost);
        }
        other => panic!("{other:?}"),
    }
}

fn shown(disk: &SimDisk) -> String {
    let mut text = Vec::new();
    dump(&disk.disk(), DIR, Detail::Records, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_dump_shows_slots_pages_and_records_and_what_is_wrong_with_them() {
    let (disk, _) = killed();
    let before = files(&disk);
    let whole = shown(&disk);
    assert_eq!(files(&disk), before);
    assert!(!whole.lines().any(|line| line.starts_with('!')), "{whole}");
    for part in [
        "slot of generation 2",
        "of the catalog, ",
        "of table \"t\", ",
        ": leaf, ",
        ": branch of level 1, ",
        " bytes of a value, then ",
        " is free",
        "table 0: \"\\x16\" = ",
    ] {
        assert!(whole.contains(part), "{part:?} is not in {whole}");
    }
    // One byte of each page that something refers to.
    let pages = whole.lines().filter(|line| line.contains(" of table "));
    for line in pages {
        let (disk, _) = killed();
        let offset = line.split_whitespace().next().unwrap();
        let file = disk.disk().open_dir(DIR).unwrap().open("pages").unwrap();
        file.write_all_at(&[0xEE; 3], offset.parse::<u64>().unwrap() + 20)
            .unwrap();
        let damaged = shown(&disk);
        let told = format!("! {offset:>10}  ");
        assert!(damaged.contains(&told), "{told:?} is not in {damaged}");
    }
}
