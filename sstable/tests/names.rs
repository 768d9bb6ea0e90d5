//! Several writers of one name, and files of other people's beside theirs.

#![allow(clippy::unwrap_used, reason = "test")]

use durable_io::{Dir, Disk};
use sstable::{BlockCache, Entry, Kind, Options, Table, Writer};

fn writer(dir: &Dir, name: &str, key: &[u8]) -> Writer {
    let mut writer = Options::new().create(dir, name).unwrap();
    let (version, kind, value) = (0, Kind::Put, &b"v"[..]);
    let entry = Entry {
        key,
        version,
        kind,
        value,
    };
    writer.add(entry).unwrap();
    writer
}

fn holds(dir: &Dir, name: &str, key: &[u8]) -> bool {
    let table = Table::open(dir, name, &BlockCache::new(0)).unwrap();
    table.get(key).unwrap().is_some()
}

fn names(dir: &Dir) -> Vec<String> {
    let entries = dir.list().unwrap().into_iter();
    let mut names: Vec<String> = entries.map(|entry| entry.name).collect();
    names.sort();
    names
}

#[test]
fn who_finishes_a_table_has_it_whatever_other_writers_of_its_name_do() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Disk::os().open_dir(temp.path()).unwrap();
    let [a, b, c] = [b"a", b"b", b"c"].map(|key| writer(&dir, "t", key));
    a.finish().unwrap();
    assert!(holds(&dir, "t", b"a"));
    // A writer that is dropped takes nothing away that is another's.
    drop(c);
    assert!(holds(&dir, "t", b"a"));
    b.finish().unwrap();
    assert!(holds(&dir, "t", b"b"));
    assert_eq!(names(&dir), ["t"]);
}

#[test]
fn a_table_may_have_any_name_and_a_writer_of_another_touches_it_not() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Disk::os().open_dir(temp.path()).unwrap();
    writer(&dir, "t.tmp", b"a").finish().unwrap();
    writer(&dir, "t", b"b").finish().unwrap();
    drop(writer(&dir, "t", b"c"));
    assert!(holds(&dir, "t.tmp", b"a") && holds(&dir, "t", b"b"));
    assert_eq!(names(&dir), ["t", "t.tmp"]);
}
