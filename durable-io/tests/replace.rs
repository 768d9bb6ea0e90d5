//! The procedures on the real disk. What a crash in the middle leaves is the simulator's to show.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use durable_io::{
    Dir, Disk, Error, Temp, create_durably, publish, publish_temp, remove_durably, replace_file,
};
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
fn replace_file_touches_no_file_of_another_name() {
    let (_temp, dir) = store();
    for name in ["a.tmp", "~a", "a~"] {
        let file = dir.create_new(name).unwrap();
        file.write_all_at(name.as_bytes(), 0).unwrap();
    }
    replace_file(&dir, "a", b"new").unwrap();
    assert_eq!(contents(&dir, "a"), b"new");
    for name in ["a.tmp", "~a", "a~"] {
        assert_eq!(contents(&dir, name), name.as_bytes());
    }
    assert_eq!(names(&dir).len(), 4);
}

fn mode(temp: &TempDir, name: &str) -> u32 {
    let metadata = std::fs::metadata(temp.path().join(name)).unwrap();
    metadata.permissions().mode() & 0o777
}

fn set_mode(temp: &TempDir, name: &str, mode: u32) {
    let mode = Permissions::from_mode(mode);
    std::fs::set_permissions(temp.path().join(name), mode).unwrap();
}

#[test]
fn a_replaced_file_keeps_its_mode() {
    let (temp, dir) = store();
    replace_file(&dir, "a", b"old").unwrap();
    for kept in [0o600, 0o640, 0o666, 0o777] {
        set_mode(&temp, "a", kept);
        replace_file(&dir, "a", b"new").unwrap();
        assert_eq!(mode(&temp, "a"), kept);
        let new = Temp::create(&dir, "a").unwrap();
        let mode = std::fs::metadata(new.file().path()).unwrap().permissions();
        assert_eq!(
            mode.mode() & 0o777,
            kept,
            "before there is anything to read"
        );
        drop(publish_temp(new).unwrap());
        assert_eq!(self::mode(&temp, "a"), kept);
    }
}

#[test]
fn a_link_is_replaced_and_what_it_leads_to_is_not() {
    let (temp, dir) = store();
    std::fs::write(temp.path().join("target"), b"target").unwrap();
    set_mode(&temp, "target", 0o600);
    for (link, target) in [("a", "target"), ("b", "nowhere")] {
        std::os::unix::fs::symlink(target, temp.path().join(link)).unwrap();
        replace_file(&dir, link, b"new").unwrap();
        let metadata = std::fs::symlink_metadata(temp.path().join(link)).unwrap();
        assert!(metadata.is_file());
        assert_eq!(contents(&dir, link), b"new");
    }
    assert_eq!(contents(&dir, "target"), b"target");
    assert_eq!(mode(&temp, "a"), 0o600);
    assert_eq!(names(&dir), ["a", "b", "target"]);
}

#[test]
fn the_disk_says_what_mode_new_files_have() {
    let temp = TempDir::new().unwrap();
    let disk = Disk::os().file_mode(0o600).dir_mode(0o700);
    let dir = disk.create_dir(temp.path().join("d/e")).unwrap();
    dir.create_new("new").unwrap();
    replace_file(&dir, "replaced", b"").unwrap();
    drop(dir.try_lock("lock").unwrap());
    dir.create_dir("f").unwrap();
    dir.open_dir("f").unwrap().create_new("below").unwrap();
    for name in ["d/e/new", "d/e/replaced", "d/e/lock", "d/e/f/below"] {
        assert_eq!(mode(&temp, name), 0o600, "{name}");
    }
    for name in ["d", "d/e", "d/e/f"] {
        assert_eq!(mode(&temp, name), 0o700, "{name}");
    }
}

#[test]
fn writers_of_one_name_do_not_meet() {
    let (_temp, dir) = store();
    let [a, b, c] = [b"a", b"b", b"c"].map(|content| {
        let new = Temp::create(&dir, "name").unwrap();
        new.file().write_all_at(content, 0).unwrap();
        new
    });
    assert_eq!(names(&dir).len(), 3);
    for name in names(&dir) {
        assert_eq!(Temp::target_of(&name), Some("name"));
    }
    drop(publish_temp(a).unwrap());
    assert_eq!(contents(&dir, "name"), b"a");
    drop(c);
    drop(publish_temp(b).unwrap());
    assert_eq!(contents(&dir, "name"), b"b");
    assert_eq!(names(&dir), ["name"]);
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
