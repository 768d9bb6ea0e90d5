//! Directories on the real disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use durable_io::{Dir, Disk, Entry};
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

fn entry(name: &str, is_dir: bool) -> Entry {
    let name = name.to_owned();
    Entry { name, is_dir }
}

#[test]
fn names_are_created_renamed_linked_and_removed() {
    let (_temp, dir) = store();
    dir.create_new("a").unwrap().write_all_at(b"a", 0).unwrap();
    dir.create_new("b").unwrap();
    dir.link("a", "c").unwrap();
    dir.rename("a", "b").unwrap();
    dir.sync().unwrap();
    assert_eq!(names(&dir), ["b", "c"]);
    assert_eq!(dir.open("b").unwrap().len().unwrap(), 1);
    dir.remove("c").unwrap();
    assert_eq!(names(&dir), ["b"]);
}

#[test]
fn a_file_gets_a_name_in_another_directory() {
    let (_temp, dir) = store();
    dir.create_new("a").unwrap().write_all_at(b"a", 0).unwrap();
    dir.create_dir("d").unwrap();
    let below = dir.open_dir("d").unwrap();
    dir.link_into("a", &below, "b").unwrap();
    let again = dir.link_into("a", &below, "b").unwrap_err();
    assert!(again.is_already_exists(), "{again}");
    dir.remove("a").unwrap();
    below.sync().unwrap();
    let file = below.open("b").unwrap();
    assert_eq!(file.len().unwrap(), 1);
    assert!(dir.link_into("a", &below, "c").unwrap_err().is_not_found());
    let error = below.link_into("b", &dir, "d").unwrap_err();
    assert!(error.is_already_exists());
    assert_eq!(
        error.to_string(),
        format!("cannot link {}", dir.path().join("d").display())
    );
}

#[test]
fn an_empty_directory_is_removed_and_takes_no_names_any_more() {
    let (_temp, dir) = store();
    dir.create_dir("d").unwrap();
    let below = dir.open_dir("d").unwrap();
    below.create_new("a").unwrap();
    dir.remove_dir("d").unwrap_err();
    dir.remove("d").unwrap_err();
    below.remove("a").unwrap();
    dir.remove_dir("d").unwrap();
    dir.sync().unwrap();
    assert!(dir.remove_dir("d").unwrap_err().is_not_found());
    assert!(below.create_new("a").unwrap_err().is_not_found());
    dir.create_new("file").unwrap();
    dir.remove_dir("file").unwrap_err();
    assert_eq!(names(&dir), ["file"]);
}

#[test]
fn names_that_exist_or_are_missing_are_distinguished() {
    let (_temp, dir) = store();
    dir.create_new("a").unwrap();
    assert!(dir.create_new("a").unwrap_err().is_already_exists());
    assert!(dir.create_dir("a").unwrap_err().is_already_exists());
    assert!(dir.link("a", "a").unwrap_err().is_already_exists());
    assert!(dir.open("b").unwrap_err().is_not_found());
    assert!(dir.open_dir("b").unwrap_err().is_not_found());
    assert!(dir.remove("b").unwrap_err().is_not_found());
    assert!(dir.rename("b", "a").unwrap_err().is_not_found());
    assert!(
        !dir.open_dir("a").unwrap_err().is_not_found(),
        "a file is no directory"
    );
}

#[test]
fn a_list_shows_directories_and_names_that_are_not_utf8() {
    let (temp, dir) = store();
    dir.create_dir("below").unwrap();
    dir.create_new("file").unwrap();
    symlink("below", temp.path().join("link")).unwrap();
    let odd = temp.path().join(OsStr::from_bytes(b"odd\xff"));
    fs::write(odd, b"").unwrap();
    let mut list = dir.list().unwrap();
    list.sort();
    let expected = [
        entry("below", true),
        entry("file", false),
        entry("link", false),
        entry("odd\u{fffd}", false),
    ];
    assert_eq!(list, expected);
    assert!(dir.open("odd\u{fffd}").unwrap_err().is_not_found());
    assert_eq!(
        dir.list().unwrap().len(),
        4,
        "a second list starts from the beginning"
    );
}

#[test]
fn a_held_directory_stays_itself_when_it_is_renamed() {
    let (temp, dir) = store();
    dir.create_dir("old").unwrap();
    let held = dir.open_dir("old").unwrap();
    dir.rename("old", "new").unwrap();
    held.create_new("a").unwrap();
    held.sync().unwrap();
    assert!(temp.path().join("new/a").exists());
}

#[test]
fn create_dir_makes_every_missing_parent_and_opens_what_stands() {
    let (temp, _dir) = store();
    let disk = Disk::os();
    let path = temp.path().join("a/b/c");
    let made = disk.create_dir(&path).unwrap();
    made.create_new("file").unwrap();
    assert_eq!(made.path(), path);
    assert_eq!(names(&disk.create_dir(&path).unwrap()), ["file"]);
    assert_eq!(names(&disk.create_dir(path.join("d/")).unwrap()), [""; 0]);
    assert_eq!(names(&made), ["d", "file"]);
}

#[test]
fn create_dir_takes_paths_without_a_name_of_their_own() {
    let (temp, _dir) = store();
    let disk = Disk::os();
    disk.create_dir("/").unwrap();
    disk.create_dir(".").unwrap();
    disk.create_dir(temp.path().join("..")).unwrap();
    assert!(disk.create_dir("").unwrap_err().is_not_found());
}

#[test]
fn create_dir_refuses_a_file_in_the_way_and_names_that_are_not_utf8() {
    let (temp, dir) = store();
    dir.create_new("file").unwrap();
    let disk = Disk::os();
    let error = disk.create_dir(temp.path().join("file")).unwrap_err();
    let path = temp.path().join("file");
    assert_eq!(
        error.to_string(),
        format!("cannot open directory {}", path.display())
    );
    disk.create_dir(temp.path().join("file/below")).unwrap_err();
    let odd = temp.path().join(OsStr::from_bytes(b"odd\xff"));
    let error = disk.create_dir(&odd).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot create directory "),
        "{error}"
    );
    fs::create_dir(&odd).unwrap();
    disk.create_dir(&odd).unwrap();
    disk.create_dir(odd.join("below")).unwrap();
}

#[test]
fn the_free_space_is_known() {
    let (_temp, dir) = store();
    assert!(dir.free_space().unwrap() > 0);
}
