//! Backups: a moment of the whole store, in a directory of its own, while it goes on.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic"
)]
#![allow(clippy::disallowed_methods, reason = "files of a test")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use durable_io::testing::snapshot;
use lsm::{Background, BackupOptions, Batch, Corruption, Error, KeyspaceOptions, Lsm, Options};
use support::{Map, small};

/// A store with several tables in two keyspaces, and something in memory.
fn filled(path: &Path) -> Lsm {
    let db = small().open(path).unwrap();
    let other = db
        .create_keyspace("other", &KeyspaceOptions::new())
        .unwrap();
    for n in 0..300_u32 {
        let key = n.to_le_bytes();
        db.write(
            Batch::new()
                .put(&key, &[1; 40])
                .put_in(&other, &key, &[2; 40]),
        )
        .unwrap();
        if n % 100 == 50 {
            db.flush_all().unwrap();
        }
    }
    db
}

fn contents(path: &Path, keyspace: &str) -> Map {
    let snapshot = small().open_read_only(path).unwrap();
    let view = snapshot.keyspace(keyspace).unwrap();
    view.scan(..).collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_backup_is_a_store_and_neither_side_changes_the_other() {
    let temp = tempfile::tempdir().unwrap();
    let (path, backup) = (temp.path().join("store"), temp.path().join("a/backup"));
    let db = filled(&path);
    let report = db.backup(&backup, &BackupOptions::new()).unwrap();
    assert_eq!(report.linked, report.files);
    assert!(report.files >= 4, "{report:?}");
    assert_eq!((report.shared, report.copied_bytes), (0, 0));
    let before = [contents(&backup, "default"), contents(&backup, "other")];
    assert_eq!(before.each_ref().map(Map::len), [300, 300]);

    let bytes = snapshot(&backup);
    db.delete_range(b"", &[0xff]).unwrap();
    db.clear().unwrap();
    db.drop_keyspace("other").unwrap();
    db.put(b"new", b"1").unwrap();
    db.compact(..).unwrap();
    db.close().unwrap();
    drop(db);
    assert_eq!(snapshot(&backup), bytes, "the store has changed its backup");

    let bytes = snapshot(&path);
    let copy = small().open(&backup).unwrap();
    assert_eq!(copy.recovery().replayed_records, 0);
    assert!(copy.verify().unwrap().is_whole());
    // What is written there comes behind everything in its tables.
    copy.put(&7_u32.to_le_bytes(), b"newer").unwrap();
    copy.delete(&8_u32.to_le_bytes()).unwrap();
    copy.compact(..).unwrap();
    copy.put(b"z", b"").unwrap();
    copy.close().unwrap();
    drop(copy);
    let copy = contents(&backup, "default");
    assert_eq!(copy.len(), 300);
    assert_eq!(copy.get(&7_u32.to_le_bytes()[..]).unwrap(), b"newer");
    assert_eq!(snapshot(&path), bytes, "a backup has changed its store");
    assert_eq!(contents(&path, "default").len(), 1);
}

#[test]
fn a_copied_backup_shares_no_file_and_the_next_one_copies_only_what_is_new() {
    let temp = tempfile::tempdir().unwrap();
    let path = |name| temp.path().join(name);
    let db = filled(&path("store"));
    let whole = BackupOptions::new().copied();
    let first = db.backup(path("first"), &whole).unwrap();
    assert_eq!((first.linked, first.shared), (0, 0));
    assert!(first.copied_bytes > 10_000, "{first:?}");

    db.put(b"later", b"1").unwrap();
    let next = whole.clone().since(path("first"));
    let second = db.backup(path("second"), &next).unwrap();
    assert_eq!(
        (second.files, second.shared),
        (first.files + 1, first.files)
    );
    assert!(second.copied_bytes < first.copied_bytes / 4, "{second:?}");

    // Damage to the store's own files is in neither.
    for (name, _) in snapshot(&path("store/tables")) {
        std::fs::write(path("store/tables").join(name), b"gone").unwrap();
    }
    assert_eq!(contents(&path("first"), "default").len(), 300);
    assert_eq!(contents(&path("second"), "default").len(), 301);
}

#[test]
fn a_table_that_is_not_what_was_written_is_not_copied() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let db = filled(&path);
    db.flush_all().unwrap();
    let tables = path.join("tables");
    let name = snapshot(&tables).swap_remove(0).0;
    let mut bytes = std::fs::read(tables.join(&name)).unwrap();
    *bytes.get_mut(400).unwrap() ^= 1;
    std::fs::write(tables.join(&name), bytes).unwrap();
    let backup = temp.path().join("backup");
    let error = db
        .backup(&backup, &BackupOptions::new().copied())
        .unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { path, .. } if path.ends_with(&name)),
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
fn a_backup_has_a_directory_of_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let db = filled(&path);
    let options = BackupOptions::new();
    let own = db.backup(&path, &options).unwrap_err();
    assert!(
        matches!(own, Error::Disk(durable_io::Error::Locked { .. })),
        "{own}"
    );
    let backup = temp.path().join("backup");
    db.backup(&backup, &options).unwrap();
    let bytes = snapshot(&backup);
    let again = db.backup(&backup, &options).unwrap_err();
    assert!(
        matches!(&again, Error::Disk(durable_io::Error::Io { source, .. })
            if source.kind() == std::io::ErrorKind::DirectoryNotEmpty),
        "{again}"
    );
    assert_eq!(snapshot(&backup), bytes);
    let none = options.since(temp.path().join("none"));
    let error = db.backup(temp.path().join("third"), &none).unwrap_err();
    assert!(matches!(error, Error::Disk(_)), "{error}");
    db.put(b"goes on", b"").unwrap();
}

#[test]
fn a_backup_of_a_busy_store_is_one_moment_of_all_keyspaces() {
    let temp = tempfile::tempdir().unwrap();
    let options: Options = small().background(Background::Threads);
    let db = options.open(temp.path().join("store")).unwrap();
    let other = db
        .create_keyspace("other", &KeyspaceOptions::new())
        .unwrap();
    let (acknowledged, is_over) = (&AtomicU64::new(0), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1_u64.. {
                let value = n.to_string();
                let batch = Batch::new().put(b"count", value.as_bytes());
                let batch = batch.put_in(&other, b"count", value.as_bytes());
                let batch = batch.put(&n.to_le_bytes(), &[0; 100]);
                db.write(batch).unwrap();
                acknowledged.store(n, Ordering::SeqCst);
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for nth in 0..12 {
            let before = acknowledged.load(Ordering::SeqCst);
            let backup = temp.path().join(format!("backup {nth}"));
            db.backup(&backup, &BackupOptions::new()).unwrap();
            let after = acknowledged.load(Ordering::SeqCst) + 1;
            let counts = ["default", "other"].map(|keyspace| {
                let count = contents(&backup, keyspace).remove(&b"count"[..]);
                let text = count.map(|bytes| String::from_utf8(bytes).unwrap());
                text.map_or(0, |text| text.parse::<u64>().unwrap())
            });
            let rows = contents(&backup, "default").len() as u64;
            let count = counts[0];
            assert!(
                (before..=after).contains(&count),
                "{count} in {before}..={after}"
            );
            assert_eq!(counts, [count, count]);
            assert_eq!(rows, count + u64::from(count > 0));
        }
        is_over.store(true, Ordering::SeqCst);
    });
}
