//! Backups: a moment of the store, in a directory of its own, while it goes on.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic"
)]
#![allow(clippy::disallowed_methods, reason = "files of a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bitcask::{Background, BackupOptions, Batch, Bitcask, Corruption, Error, Options};
use durable_io::testing::snapshot;

fn small() -> Options {
    let options = Options::new().background(Background::Inline).reserve(0);
    options.data_file_size(4096)
}

/// A store of several data files.
fn filled(path: &Path) -> Bitcask {
    let store = small().open(path).unwrap();
    for n in 0..100_u32 {
        store.put(&n.to_le_bytes(), &[1; 200]).unwrap();
    }
    while store.run_background().unwrap() {}
    store
}

fn contents(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let snapshot = small().open_read_only(path).unwrap();
    let entries = snapshot.entries().map(|entry| {
        let (key, value) = entry.unwrap();
        (key, value.to_vec())
    });
    entries.collect()
}

#[test]
fn a_backup_is_a_store_and_neither_side_changes_the_other() {
    let temp = tempfile::tempdir().unwrap();
    let (path, backup) = (temp.path().join("store"), temp.path().join("a/backup"));
    let store = filled(&path);
    let report = store.backup(&backup, &BackupOptions::new()).unwrap();
    assert!(report.files >= 8, "{report:?}");
    assert_eq!(report.linked, report.files);
    assert_eq!(contents(&backup), contents(&path));

    let bytes = snapshot(&backup);
    for n in 0..90_u32 {
        store.delete(&n.to_le_bytes()).unwrap();
    }
    store.rotate().unwrap();
    store.merge().unwrap();
    store.close().unwrap();
    assert_eq!(snapshot(&backup), bytes, "the store has changed its backup");

    let bytes = snapshot(&path);
    let copy = small().open(&backup).unwrap();
    assert!(copy.verify().unwrap().is_whole());
    for n in 0..50_u32 {
        copy.put(&n.to_le_bytes(), b"newer").unwrap();
    }
    copy.merge().unwrap();
    copy.close().unwrap();
    assert_eq!(snapshot(&path), bytes, "a backup has changed its store");
    let copy = contents(&backup);
    assert_eq!(copy.len(), 100);
    assert_eq!(copy.get(&7_u32.to_le_bytes()[..]).unwrap(), b"newer");
    assert_eq!(contents(&path).len(), 10);
}

#[test]
fn a_copied_backup_shares_no_file_and_the_next_one_copies_only_what_is_new() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name| temp.path().join(name);
    let store = filled(&path("store"));
    let whole = BackupOptions::new().copied();
    let first = store.backup(path("first"), &whole).unwrap();
    assert_eq!((first.linked, first.shared), (0, 0));
    store.put(b"later", b"1").unwrap();
    let next = whole.clone().since(path("first"));
    let second = store.backup(path("second"), &next).unwrap();
    assert!(second.shared >= 8, "{second:?}");
    assert!(second.copied_bytes < first.copied_bytes / 4, "{second:?}");
    // Damage to the store's own files is in neither.
    for (name, _) in snapshot(&path("store")) {
        std::fs::write(path("store").join(name), b"gone").unwrap();
    }
    assert_eq!(contents(&path("first")).len(), 100);
    assert_eq!(contents(&path("second")).len(), 101);
}

#[test]
fn a_damaged_file_is_not_copied() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let store = filled(&path);
    let name = "0000000000000002.data";
    let mut bytes = std::fs::read(path.join(name)).unwrap();
    *bytes.get_mut(500).unwrap() ^= 1;
    std::fs::write(path.join(name), bytes).unwrap();
    let backup = temp.path().join("backup");
    let error = store.backup(&backup, &BackupOptions::new().copied());
    let error = error.unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { path, .. } if path.ends_with(name)),
        "{error}"
    );
    // What is there of it is no store.
    let error = small().open(&backup).unwrap_err();
    let lost = Corruption::ManifestLost;
    assert!(
        matches!(&error, Error::Corrupt { reason, .. } if *reason == lost),
        "{error}"
    );
}

#[test]
fn a_backup_of_a_busy_store_is_one_moment() {
    let temp = tempfile::tempdir().unwrap();
    let options = small().background(Background::Threads);
    let store = options.open(temp.path().join("store")).unwrap();
    let (acknowledged, is_over) = (&AtomicU64::new(0), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1_u64.. {
                let batch = Batch::new().put(b"first", &n.to_le_bytes());
                let batch = batch.put(&n.to_le_bytes(), &[0; 100]);
                store.write(batch.put(b"second", &n.to_le_bytes())).unwrap();
                acknowledged.store(n, Ordering::SeqCst);
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for nth in 0..12 {
            let before = acknowledged.load(Ordering::SeqCst);
            let backup = temp.path().join(format!("backup {nth}"));
            store.backup(&backup, &BackupOptions::new()).unwrap();
            let after = acknowledged.load(Ordering::SeqCst) + 1;
            let mut rows = contents(&backup);
            let counts = [&b"first"[..], b"second"].map(|key| {
                let count = rows.remove(key);
                count.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
            });
            let count = counts[0];
            assert!(
                (before..=after).contains(&count),
                "{count} in {before}..={after}"
            );
            assert_eq!(counts, [count, count]);
            assert_eq!(rows.len() as u64, count);
        }
        is_over.store(true, Ordering::SeqCst);
    });
}
