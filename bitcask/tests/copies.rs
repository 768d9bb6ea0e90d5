//! Stores put together of files of several moments: copied file by file while the store went on, or with
//! an older file put back. What opens holds a state that was; for the rest nothing is removed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::collections::BTreeMap;
use std::path::Path;

use bitcask::{Bitcask, Corruption, Error};
use support::{Model, contents, data, dir, fast_dir, names, options, read, settle, write};

type Files = BTreeMap<String, Vec<u8>>;

/// All files of the store but its lock.
fn files(path: &Path) -> Files {
    let mut names = names(path);
    names.retain(|name| name != "lock");
    let bytes = names.into_iter().map(|name| {
        let bytes = read(path, &name);
        (name, bytes)
    });
    bytes.collect()
}

fn put_back(path: &Path, files: &Files) {
    for name in names(path) {
        dir(path).remove(&name).unwrap();
    }
    for (name, bytes) in files {
        write(path, name, bytes);
    }
}

/// A store after each of many steps: its files, and what it holds.
fn history(path: &Path) -> Vec<(Files, Model)> {
    let store = options().data_file_size(1024).open(path).unwrap();
    let put = |key: u8, value: u8| store.put(&[key], &[value; 300]).unwrap();
    let mut history = Vec::new();
    let mut then = |step: &dyn Fn(&Bitcask)| {
        step(&store);
        history.push((files(path), contents(&store)));
    };
    then(&|_| {});
    for n in 1..=4 {
        then(&|_| put(n, n));
    }
    then(&|_| put(1, 11));
    then(&settle);
    then(&|store| _ = store.merge().unwrap());
    then(&|store| store.delete(&[2]).unwrap());
    then(&|_| put(5, 5));
    then(&|_| put(3, 13));
    then(&|store| store.rotate().unwrap());
    then(&|store| _ = store.merge().unwrap());
    then(&|_| put(6, 6));
    then(&|_| put(7, 7));
    then(&|store| store.rotate().unwrap());
    then(&|_| put(9, 9));
    // Both versions of a key go from their places: this one is not in the older copy of its file.
    then(&|_| put(1, 21));
    then(&|store| _ = store.merge().unwrap());
    // Files that come and go again, and only the file that a merge made of them tells.
    for n in 10..15 {
        then(&|_| put(n, n));
    }
    then(&|store| store.rotate().unwrap());
    then(&|store| _ = store.merge().unwrap());
    store.close().unwrap();
    let (_, last) = history.last().unwrap().clone();
    history.push((files(path), last));
    history
}

/// Opens what is in `path`. What it holds, or the damage; then nothing may have been removed.
fn judge(path: &Path) -> Result<Model, Corruption> {
    let before = files(path);
    let corruption = |error: Error| match error {
        Error::Corrupt { reason, .. } => reason,
        other => panic!("{other}"),
    };
    let read_only = options().data_file_size(1024).open_read_only(path);
    assert_eq!(files(path), before, "a reader changes nothing");
    let opened = options().data_file_size(1024).open(path);
    assert_eq!(opened.is_ok(), read_only.is_ok());
    let store = opened.map_err(|error| {
        assert_eq!(files(path), before, "{error}");
        corruption(error)
    })?;
    store
        .fold(Model::new(), |mut model, key, value| {
            model.insert(key.to_vec(), value.to_vec());
            model
        })
        .map_err(corruption)
}

#[test]
fn a_copy_of_several_moments_is_a_state_that_was_or_an_error_that_removes_nothing() {
    let (live, copy) = (fast_dir(), fast_dir());
    let history = history(live.path());
    let (mut whole, mut refused, mut old) = (0, 0, 0);
    for (root, (root_files, _)) in history.iter().enumerate() {
        for (rest, (rest_files, rest_holds)) in history.iter().enumerate() {
            // As they were then; with those of the manifest's moment that went since; or instead.
            let over = |below: &Files, above: &Files| {
                let mut files: Files = below.clone().into_iter().chain(above.clone()).collect();
                files.insert("manifest".to_owned(), root_files["manifest"].clone());
                files
            };
            for copied in [
                over(rest_files, rest_files),
                over(root_files, rest_files),
                over(rest_files, root_files),
            ] {
                put_back(copy.path(), &copied);
                let judged = judge(copy.path());
                let what = format!("manifest of {root}, files of {rest}: {judged:?}");
                let has_newer = root <= rest
                    && rest_files
                        .iter()
                        .all(|(name, bytes)| name == "manifest" || copied[name] == *bytes);
                match judged {
                    // Nothing is lost, so nothing may be missing.
                    Ok(model) if has_newer => assert_eq!(model, *rest_holds, "{what}"),
                    Ok(model) => {
                        assert!(history.iter().any(|(_, held)| *held == model), "{what}");
                        whole += 1;
                    }
                    Err(reason) => {
                        refused += 1;
                        let Corruption::OldManifest { file } = reason else {
                            continue;
                        };
                        assert!(root_files.get(&data(file)).is_none(), "{what}");
                        old += 1;
                        // With the right one everything is there again.
                        if has_newer {
                            write(copy.path(), "manifest", &rest_files["manifest"]);
                            assert_eq!(judge(copy.path()), Ok(rest_holds.clone()), "{what}");
                        }
                    }
                }
            }
        }
    }
    assert!(
        whole > 100 && refused > 100 && old > 100,
        "{whole} whole, {refused} refused, {old} of them for their manifest"
    );
}

#[test]
fn a_file_of_another_store_is_not_removed() {
    let (one, other) = (fast_dir(), fast_dir());
    for path in [one.path(), other.path()] {
        let store = options().open(path).unwrap();
        store.put(b"a", b"1").unwrap();
        store.rotate().unwrap();
        store.put(b"b", b"2").unwrap();
        store.rotate().unwrap();
    }
    drop(options().open(one.path()).unwrap());
    let store = options().open(other.path()).unwrap();
    for _ in 0..3 {
        store.put(b"b", b"2").unwrap();
        store.rotate().unwrap();
    }
    let foreign = data(5);
    write(one.path(), &foreign, &read(other.path(), &foreign));
    assert_eq!(judge(one.path()), Err(Corruption::ForeignFile));
    dir(one.path()).remove(&foreign).unwrap();
    assert_eq!(judge(one.path()).unwrap().len(), 2);
}

/// Whatever else only a store with a manifest has: a group, another file, a hint.
#[test]
fn a_store_without_its_manifest_is_not_made_anew_if_anything_else_is_left() {
    let live = fast_dir();
    let store = options().open(live.path()).unwrap();
    store.put(b"a", b"1").unwrap();
    store.rotate().unwrap();
    settle(&store);
    drop(store);
    dir(live.path()).remove("manifest").unwrap();
    for goes in [None, Some(data(2)), Some(data(1))] {
        if let Some(goes) = goes {
            dir(live.path()).remove(&goes).unwrap();
        }
        assert_eq!(judge(live.path()), Err(Corruption::ManifestLost));
    }
}
