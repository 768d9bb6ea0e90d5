//! Verbs on the files of a simulated disk (feature `sim`, too). Each leaves the disk that it is given as it is.

use std::ops::Range;

use crate::file::File;
use crate::sim::SimDisk;

const THERE: &str = "the file is there";

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').expect("a path from the root")
}

fn open(disk: &SimDisk, path: &str) -> File {
    let (dir, name) = split(path);
    let dir = disk.disk().open_dir(dir);
    dir.and_then(|dir| dir.open(name)).expect(THERE)
}

/// Every file but the locks, by path.
pub fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let names = disk.files().into_iter().map(|(name, _)| name);
    let names = names.filter(|name| !name.ends_with("lock"));
    let bytes = |name: String| {
        let bytes = disk.world().file_bytes(&name)?;
        Some((name, bytes))
    };
    names.filter_map(bytes).collect()
}

/// The disk with the bytes from `at` on of the file `path` replaced.
///
/// # Panics
/// If there is no such file.
pub fn overwritten(disk: &SimDisk, path: &str, at: usize, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::boot(disk.world());
    let written = open(&disk, path).write_all_at(bytes, at as u64);
    written.expect("a disk without faults takes it");
    disk
}

/// The disk with every byte of `range` of the file `path` changed.
///
/// # Panics
/// If there is no such file, or it ends before.
pub fn spoilt(disk: &SimDisk, path: &str, range: Range<usize>) -> SimDisk {
    let bytes = disk.world().file_bytes(path).expect(THERE);
    let bytes = bytes.get(range.clone()).expect("the file is that long");
    let bytes: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x5a).collect();
    overwritten(disk, path, range.start, &bytes)
}

/// The disk without the file `path`.
///
/// # Panics
/// If there is no such file.
pub fn without(disk: &SimDisk, path: &str) -> SimDisk {
    let disk = SimDisk::boot(disk.world());
    let (dir, name) = split(path);
    let dir = disk.disk().open_dir(dir);
    dir.and_then(|dir| dir.remove(name)).expect(THERE);
    disk
}

/// How many bytes there are up to the last one that is not zero.
pub fn used(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|&byte| byte != 0);
    last.map_or(0, |last| last + 1)
}
