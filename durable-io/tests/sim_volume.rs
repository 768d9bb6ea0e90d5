//! A volume: the calls of a file system, and what a power loss leaves of them.
#![allow(clippy::unwrap_used, reason = "test")]

use std::collections::BTreeSet;

use durable_io::sim::{SyncFailure, Volume};

const ROOT: usize = Volume::ROOT;

fn content(volume: &Volume, name: &str) -> Option<Vec<u8>> {
    let file = volume.lookup(ROOT, name).ok()?;
    let len = volume.attributes(file).unwrap().len;
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    assert_eq!(volume.read(file, &mut bytes, 0).unwrap(), bytes.len());
    Some(bytes)
}

/// A volume with the durable file `a` of `bytes`.
fn with_file(bytes: &[u8]) -> (Volume, usize) {
    let mut volume = Volume::new(512);
    let file = volume.create_file(ROOT, "a").unwrap();
    volume.write(file, bytes, 0).unwrap();
    volume.sync(file);
    volume.sync(ROOT);
    (volume, file)
}

#[test]
fn a_file_needs_both_syncs_to_survive() {
    let mut volume = Volume::new(512);
    let file = volume.create_file(ROOT, "a").unwrap();
    volume.write(file, b"apple", 0).unwrap();
    assert_eq!(content(&volume.lose_unsynced(), "a"), None);
    volume.sync(ROOT);
    assert_eq!(content(&volume.lose_unsynced(), "a"), Some(Vec::new()));
    volume.sync(file);
    let left = volume.lose_unsynced();
    assert_eq!(content(&left, "a"), Some(b"apple".to_vec()));
}

#[test]
fn every_state_is_given_if_there_are_few_and_only_legal_ones_if_there_are_many() {
    let (mut volume, file) = with_file(&[1; 2048]);
    volume.write(file, &[2; 2048], 0).unwrap();
    volume.create_file(ROOT, "b").unwrap();
    volume.rename(ROOT, "b", "c").unwrap();
    let hashes = |most: usize, seed: u64| -> BTreeSet<u64> {
        let left = volume.power_losses(most, seed);
        assert!(left.len() <= most);
        left.iter().map(Volume::contents_hash).collect()
    };
    // Four sectors, each old or new; nothing, `b` or `c`, or both: the rename never loses both.
    let all = hashes(200, 1);
    assert_eq!(all.len(), 16 * 4);
    let mut drawn = BTreeSet::new();
    for seed in 0..200 {
        let some = hashes(10, seed);
        assert!(some.is_subset(&all));
        assert!(some.contains(&volume.lose_unsynced().contents_hash()));
        assert!(some.contains(&volume.contents_hash()));
        drawn.extend(some);
    }
    assert!(drawn.len() > 50, "{}", drawn.len());
    assert_eq!(hashes(10, 7), hashes(10, 7));
}

#[test]
fn a_sync_that_failed_leaves_pages_that_only_writing_again_saves() {
    let (mut volume, file) = with_file(b"apple");
    volume.write(file, b"grape", 0).unwrap();
    volume.fail_sync(file, SyncFailure::CacheKeeps);
    assert_eq!(content(&volume, "a"), Some(b"grape".to_vec()));
    volume.sync(file);
    let left = volume.lose_unsynced();
    assert_eq!(content(&left, "a"), Some(b"apple".to_vec()));
    volume.write(file, b"grape", 0).unwrap();
    volume.sync(file);
    let left = volume.lose_unsynced();
    assert_eq!(content(&left, "a"), Some(b"grape".to_vec()));
}

#[test]
fn names_are_as_posix_has_them() {
    let (mut volume, file) = with_file(b"apple");
    volume.link(file, ROOT, "b").unwrap();
    assert!(volume.link(file, ROOT, "b").is_err());
    volume.remove_file(ROOT, "a").unwrap();
    assert_eq!(content(&volume, "b"), Some(b"apple".to_vec()));
    let dir = volume.create_dir(ROOT, "dir").unwrap();
    assert!(volume.link(dir, ROOT, "other").is_err());
    assert!(volume.remove_file(ROOT, "dir").is_err());
    volume.create_file(dir, "inside").unwrap();
    assert!(volume.remove_dir(ROOT, "dir").is_err());
    volume.remove_file(dir, "inside").unwrap();
    volume.remove_dir(ROOT, "dir").unwrap();
    assert!(volume.remove_dir(ROOT, "b").is_err());
    let names = volume.entries(ROOT).unwrap();
    assert_eq!(names, [("b".to_owned(), file)]);
    assert!(volume.attributes(99).is_err());
    // An open file without a name.
    volume.remove_file(ROOT, "b").unwrap();
    volume.write(file, b"still", 0).unwrap();
    assert_eq!(volume.attributes(file).unwrap().len, 5);
}

#[test]
fn space_is_reserved_and_counted() {
    let mut volume = Volume::new(512);
    let empty = volume.used_bytes();
    let file = volume.create_file(ROOT, "a").unwrap();
    volume.allocate(file, 0, 2048).unwrap();
    let attributes = volume.attributes(file).unwrap();
    assert_eq!((attributes.len, attributes.allocated), (2048, 2048));
    assert_eq!(volume.used_bytes() - empty, 512 + 2048);
    volume.set_len(file, 100).unwrap();
    assert_eq!(volume.attributes(file).unwrap().allocated, 512);
}
