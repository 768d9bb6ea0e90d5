//! A store that is opened with other options than it was created with.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test fails by a panic"
)]

mod support;

use lsm::{Background, KeyspaceOptions, Lsm, Options};
use support::small;

/// With the defaults for all that a store keeps.
fn reopen(path: &std::path::Path) -> Lsm {
    let options = Options::new().background(Background::Inline).reserve(0);
    options.open(path).unwrap()
}

#[test]
fn a_manifest_keeps_the_segments_that_it_was_created_with() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let name = |n: usize| format!("{n:0100}");
    let db = small().manifest_segment_size(1024).open(&path).unwrap();
    for n in 0..20 {
        db.create_keyspace(&name(n), &KeyspaceOptions::new())
            .unwrap();
    }
    drop(db);
    // The first edit comes behind a snapshot, which is larger than such a segment.
    let db = reopen(&path);
    db.create_keyspace(&name(20), &KeyspaceOptions::new())
        .unwrap();
    db.close().unwrap();
    drop(db);
    let db = reopen(&path);
    assert_eq!(db.list_keyspaces().len(), 22);
}
