//! What stands in a store's directory: what opening removes from it, and what it leaves alone.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test, and the files are its subject"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::fs;
use std::path::Path;

use support::{fast_dir, options, put, settle};

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_a_crash_left_of_a_new_list_goes_and_what_is_not_ours_stays() {
    let dir = fast_dir();
    let path = dir.path();
    let store = options().open(path).unwrap();
    for n in 0..40 {
        put(&store, "s", "Kind", n);
    }
    settle(&store);
    store.close().unwrap();
    let before = names(path);
    for left in ["~0123456789abcdef~index", "00000000000000ff.part"] {
        fs::write(path.join(left), b"half of it").unwrap();
    }
    let others = [
        "index.tmp",
        "~0123456789abcdef~notes",
        "~0123456789ABCDEF~index",
        "~index",
    ];
    for other in others {
        fs::write(path.join(other), b"a user's").unwrap();
    }
    let store = options().open(path).unwrap();
    assert_eq!(store.recovery().removed_files, 2);
    assert_eq!(store.recovery().lost_parts, 0);
    let mut after = before;
    after.extend(others.map(str::to_owned));
    after.sort();
    assert_eq!(names(path), after);
}
