//! Verbs on stores and on the files of their directories, shared by the tests.

use std::collections::BTreeMap;
use std::path::Path;

use bitcask::{Background, Bitcask, Options, SyncMode};
use durable_io::{Dir, Disk};
use tempfile::TempDir;

/// Small enough that a few records fill a data file.
pub(crate) const FILE: u64 = 2048;

pub(crate) fn options() -> Options {
    Options::new()
        .data_file_size(FILE)
        .background(Background::Inline)
        .auto_merge(false)
        .reserve(0)
        .sync(SyncMode::Manual)
}

/// A directory in memory where the system has one: these tests open thousands of stores, and none of
/// them asks what a sync does.
pub(crate) fn fast_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(crate) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Everything in the store, as its iterator gives it.
pub(crate) fn contents(store: &Bitcask) -> Model {
    let insert = |mut model: Model, key: &[u8], value: &[u8]| {
        let before = model.insert(key.to_vec(), value.to_vec());
        assert_eq!(before, None, "a key came twice");
        model
    };
    store.fold(Model::new(), insert).unwrap()
}

/// The store holds exactly `model`, by every way of reading.
pub(crate) fn assert_holds(store: &Bitcask, model: &Model) {
    assert_eq!(contents(store), *model);
    assert_eq!(store.stats().keys, model.len() as u64);
    for (key, value) in model {
        assert_eq!(store.get(key).unwrap().unwrap(), *value);
    }
    let keys: Vec<_> = model.keys().collect();
    let values = store.get_many(&keys).unwrap();
    let values = values.into_iter().map(|value| value.unwrap().to_vec());
    assert!(values.eq(model.values().cloned()));
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

/// The names in the directory, in their order.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let entries = dir(path).list().unwrap().into_iter();
    let mut names: Vec<_> = entries.map(|entry| entry.name).collect();
    names.sort();
    names
}

pub(crate) fn data(number: u64) -> String {
    format!("{number:016x}.data")
}

pub(crate) fn hint(number: u64) -> String {
    format!("{number:016x}.hint")
}

/// Runs the background until it has nothing to do.
pub(crate) fn settle(store: &Bitcask) {
    while store.run_background().unwrap() {}
}

/// The seed of a random test: from the environment, or `default`. Printed, so that a failure can be
/// repeated.
pub(crate) fn seed(default: u64) -> u64 {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(default);
    eprintln!("SEED={seed}");
    seed
}
