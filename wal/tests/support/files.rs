//! Verbs on the files of a log's directory, shared by the tests.

use std::path::Path;

use durable_io::{Dir, Disk};
use tempfile::TempDir;
use wal::{Background, Lsn, Options, Result, SyncMode, Wal};

/// The smallest segments that hold a few records.
pub(crate) const SEGMENT: u64 = 2048;

pub(crate) fn options() -> Options {
    Options::new()
        .segment_size(SEGMENT)
        .background(Background::Inline)
        .sync(SyncMode::Manual)
}

pub(crate) fn dir(path: &Path) -> Dir {
    Disk::os().open_dir(path).unwrap()
}

pub(crate) fn read(path: &Path, name: &str) -> Vec<u8> {
    let file = dir(path).open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Makes the file `name` hold exactly `bytes`.
pub(crate) fn write(path: &Path, name: &str, bytes: &[u8]) {
    let dir = dir(path);
    let file = match dir.create_new(name) {
        Err(error) if error.is_already_exists() => dir.open(name).unwrap(),
        other => other.unwrap(),
    };
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

/// Every file of the log, by name, the lock left out.
pub(crate) fn snapshot(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names: Vec<_> = dir(path)
        .list()
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
        .into_iter()
        .map(|name| (name.clone(), read(path, &name)))
        .collect()
}

/// Makes the directory hold exactly `files`, and a lock.
pub(crate) fn restore(path: &Path, files: &[(String, Vec<u8>)]) {
    for entry in dir(path).list().unwrap() {
        let is_kept = entry.name == "lock" || files.iter().any(|(name, _)| *name == entry.name);
        if !is_kept {
            dir(path).remove(&entry.name).unwrap();
        }
    }
    for (name, bytes) in files {
        write(path, name, bytes);
    }
}

/// All payloads, or the first error.
pub(crate) fn payloads(log: &Wal) -> Result<Vec<Vec<u8>>> {
    log.records(Lsn(0))
        .map(|record| Ok(record?.payload))
        .collect()
}

/// A directory in memory where the system has one: these tests open thousands of logs, and none of
/// them asks what a sync does.
pub(crate) fn fast_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The name of the segment `number`.
pub(crate) fn segment(number: u64) -> String {
    format!("{number:016x}.wal")
}

/// Runs the background until it has nothing to do.
pub(crate) fn settle(log: &Wal) {
    while log.run_background().unwrap() {}
}

/// Four records of 400 bytes to a segment, 18 in all, `checkpoint` of them applied elsewhere.
pub(crate) fn checkpointed(checkpoint: u64) -> TempDir {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for lsn in 1..=18_u8 {
        log.append(&[lsn; 400]).unwrap();
    }
    log.checkpoint(Lsn(checkpoint)).unwrap();
    settle(&log);
    log.close().unwrap();
    dir
}

/// Changes a byte of record `lsn` of a [`checkpointed`] log.
pub(crate) fn damage(path: &Path, lsn: u64) {
    let name = segment((lsn - 1) / 4 + 1);
    let mut bytes = read(path, &name);
    let at = 64 + usize::try_from((lsn - 1) % 4).unwrap() * 440 + 40;
    *bytes.get_mut(at).unwrap() ^= 1;
    write(path, &name, &bytes);
}
