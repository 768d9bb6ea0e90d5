//! No descriptor and no temporary file is left after an error. One test, in a process of its own,
//! since it counts what the process has open.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test")]

use std::path::Path;
use std::process::Command;

use durable_io::{Dir, Disk, Error, create_durably, publish, remove_durably, replace_file};
use tempfile::TempDir;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn names(dir: &Dir) -> Vec<String> {
    let entries = dir.list().unwrap().into_iter();
    let mut names: Vec<String> = entries.map(|entry| entry.name).collect();
    names.sort();
    names
}

/// Every call that can fail without help of the disk, failing.
fn provoke_errors(dir: &Dir) {
    let disk = Disk::os();
    let long = "x".repeat(300);
    disk.open_dir(dir.path().join("missing")).unwrap_err();
    disk.create_dir(dir.path().join("file/below")).unwrap_err();
    disk.create_dir(dir.path().join("file")).unwrap_err();
    dir.open("missing").unwrap_err();
    dir.open("below").unwrap_err();
    dir.create_new("file").unwrap_err();
    dir.create_new(&long).unwrap_err();
    dir.open_dir("file").unwrap_err();
    dir.rename("missing", "file").unwrap_err();
    dir.remove("below").unwrap_err();
    dir.try_lock("below").unwrap_err();
    let file = dir.open("file").unwrap();
    file.map(0..10).unwrap_err();
    file.read_exact_at(&mut [0; 10], 0).unwrap_err();
    file.set_len(u64::MAX).unwrap_err();
    drop(file);
    // The name is that of a directory: everything up to the rename has happened by then.
    replace_file(dir, "below", b"contents").unwrap_err();
    // Too long only with its ending, and too long by itself.
    replace_file(dir, &long[..253], b"contents").unwrap_err();
    replace_file(dir, &long, b"contents").unwrap_err();
    create_durably::<Error>(dir, "file", |_| Ok(())).unwrap_err();
    create_durably::<Error>(dir, "new", |file| file.set_len(u64::MAX)).unwrap_err();
    remove_durably(dir, "missing").unwrap_err();
    let file = dir.create_new("temp").unwrap();
    publish(dir, &file, "temp", "below").unwrap_err();
    dir.remove("temp").unwrap();
}

/// Fills the file system of `dir`, and makes every call that writes meet it.
fn provoke_a_full_disk(dir: &Dir) {
    let filler = dir.create_new("filler").unwrap();
    let mut size = 1 << 20;
    while size > 0 {
        let at = filler.len().unwrap();
        match filler.allocate(at, size) {
            Ok(()) => {}
            Err(Error::NoSpace { .. }) => size /= 2,
            Err(other) => panic!("{other}"),
        }
    }
    let big = vec![7; 100_000];
    let is_full = |result: Result<(), Error>| matches!(result, Err(Error::NoSpace { .. }));
    assert!(is_full(replace_file(dir, "file", &big)));
    assert!(is_full(
        create_durably::<Error>(dir, "new", |file| file.write_zeros(0, 100_000)).map(drop)
    ));
    let mut byte = [0];
    dir.open("file")
        .unwrap()
        .read_exact_at(&mut byte, 0)
        .unwrap();
    assert_eq!(&byte, b"o", "the old content stands");
    drop(dir.try_lock("LOCK").unwrap());
    drop(filler);
    dir.remove("filler").unwrap();
    // Nothing was poisoned: with space again, the same handles continue.
    replace_file(dir, "file", b"old again").unwrap();
}

/// A small file system of its own, for as long as this lives.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let temp = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(temp.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(temp))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

/// Runs `provoke` three times in a prepared directory: nothing may be left after any.
fn nothing_is_left(path: &Path, provoke: fn(&Dir)) {
    let dir = Disk::os().open_dir(path).unwrap();
    dir.create_dir("below").unwrap();
    replace_file(&dir, "file", b"old").unwrap();
    drop(dir.try_lock("LOCK").unwrap());
    let before = (open_descriptors(), names(&dir));
    for _ in 0..3 {
        provoke(&dir);
        assert_eq!((open_descriptors(), names(&dir)), before);
    }
}

#[test]
fn d38_no_descriptor_and_no_temporary_file_is_left_after_an_error() {
    let temp = TempDir::new().unwrap();
    nothing_is_left(temp.path(), provoke_errors);
    match SmallDisk::mount() {
        Some(disk) => nothing_is_left(disk.path(), provoke_a_full_disk),
        None => eprintln!("SKIPPED: the full disk, since only root may mount a small one"),
    }
}
