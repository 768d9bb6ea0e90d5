//! The procedures on the real disk. What a crash in the middle leaves is the simulator's to show.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use durable_io::{Dir, Disk, Error, create_durably, publish, remove_durably, replace_file};
use tempfile::TempDir;

fn store() -> (TempDir, Dir) {
    let temp = TempDir::new().unwrap();
    let dir = Disk::os().open_dir(temp.path()).unwrap();
    (temp, dir)
}

fn names(dir: &Dir) -> Vec<String> {
    let entries = dir.list().unwrap().into_iter();
    let mut names: Vec<String> = entries.map(|entry| entry.name).collect();
    names.sort();
    names
}

fn contents(dir: &Dir, name: &str) -> Vec<u8> {
    let file = dir.open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn replace_file_creates_and_replaces_and_leaves_nothing_else() {
    let (_temp, dir) = store();
    for bytes in [&b"first"[..], b"a longer second", b"", b"3"] {
        replace_file(&dir, "a", bytes).unwrap();
        assert_eq!(contents(&dir, "a"), bytes);
        assert_eq!(names(&dir), ["a"]);
    }
}

#[test]
fn replace_file_takes_a_leftover_of_an_earlier_crash_in_its_stride() {
    let (_temp, dir) = store();
    let leftover = dir.create_new("a.tmp").unwrap();
    leftover
        .write_all_at(b"longer than the new content", 0)
        .unwrap();
    replace_file(&dir, "a", b"new").unwrap();
    assert_eq!(contents(&dir, "a"), b"new");
    assert_eq!(names(&dir), ["a"]);
}

#[test]
fn publish_replaces_what_stood_there() {
    let (_temp, dir) = store();
    dir.create_new("a").unwrap();
    let file = dir.create_new("b").unwrap();
    file.write_all_at(b"new", 0).unwrap();
    publish(&dir, &file, "b", "a").unwrap();
    assert_eq!(contents(&dir, "a"), b"new");
    assert_eq!(names(&dir), ["a"]);
}

#[test]
fn create_durably_hands_back_the_filled_file_and_refuses_one_that_stands() {
    let (_temp, dir) = store();
    let file = create_durably::<Error>(&dir, "a", |file| file.write_all_at(b"abc", 0)).unwrap();
    assert_eq!(file.len().unwrap(), 3);
    let again = create_durably::<Error>(&dir, "a", |_| panic!("not called")).unwrap_err();
    assert!(again.is_already_exists());
    assert_eq!(
        contents(&dir, "a"),
        b"abc",
        "what stood there is not removed"
    );
}

#[test]
fn d38_create_durably_removes_what_it_could_not_fill() {
    let (_temp, dir) = store();
    let result = create_durably::<Error>(&dir, "a", |file| {
        file.write_all_at(b"half", 0)?;
        file.read_exact_at(&mut [0; 100], 0)
    });
    result.unwrap_err();
    assert_eq!(names(&dir), [""; 0]);
    create_durably::<Error>(&dir, "a", |_| Ok(())).unwrap();
}

#[test]
fn remove_durably_removes_once() {
    let (_temp, dir) = store();
    dir.create_new("a").unwrap();
    remove_durably(&dir, "a").unwrap();
    assert_eq!(names(&dir), [""; 0]);
    assert!(remove_durably(&dir, "a").unwrap_err().is_not_found());
}
