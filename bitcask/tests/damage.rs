//! One place is damaged, or cannot be read: what is intact is reached, what is lost is named, and writing it
//! again heals it.

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

use bitcask::{Bitcask, Error, Options, Salvaged};
use durable_io::sim::{Fault, FaultKind, SimDisk};
use support::{contents, data, dir, fast_dir, hint, names, read, settle, write};

fn options() -> Options {
    support::options().data_file_size(4096)
}

fn value(n: u8) -> Vec<u8> {
    vec![n; 300]
}

/// 40 keys of 2 bytes, a record each of 314 bytes in a group of 338, 11 to a file.
fn fill(store: &Bitcask) {
    for n in 0..40 {
        store.put(&[n, n], &value(n)).unwrap();
    }
}

/// Flips a bit of the byte at `offset` of `name`.
fn damage(path: &Path, name: &str, offset: usize) {
    let mut bytes = read(path, name);
    bytes[offset] ^= 0x10;
    write(path, name, &bytes);
}

/// The keys that an iteration gives, and its errors.
fn keys(store: &Bitcask) -> (Vec<Vec<u8>>, Vec<Error>) {
    let (keys, errors): (Vec<_>, Vec<_>) = store.keys().unwrap().partition(Result::is_ok);
    let mut keys: Vec<_> = keys.into_iter().map(Result::unwrap).collect();
    keys.sort();
    (keys, errors.into_iter().map(Result::unwrap_err).collect())
}

/// What a salvage gives, and its errors.
fn salvage(path: &Path) -> (BTreeMap<Vec<u8>, Salvaged>, Vec<Error>) {
    let mut left = BTreeMap::new();
    let mut errors = Vec::new();
    for item in options().salvage(path).unwrap() {
        match item {
            Ok(salvaged) => assert!(left.insert(salvaged.key.clone(), salvaged).is_none()),
            Err(error) => errors.push(error),
        }
    }
    (left, errors)
}

fn lost_key(error: &Error) -> Option<&[u8]> {
    match error {
        Error::Corrupt { key, .. } => key.as_deref(),
        _ => None,
    }
}

/// A closed store of 40 keys with hints, in `path`.
fn closed(path: &Path) {
    let store = options().open(path).unwrap();
    fill(&store);
    settle(&store);
    store.close().unwrap();
}

fn copy_all(from: &Path, to: &Path) {
    for name in names(from).iter().filter(|name| *name != "lock") {
        write(to, name, &read(from, name));
    }
}

/// Where the third group of a file begins; its record is behind a header of 24 bytes.
const GROUP: usize = 64 + 2 * 344;

/// Byte by byte, group header and record header and key and value.
#[test]
fn a_damaged_record_is_one_error_and_writing_its_key_again_heals_it() {
    let whole = fast_dir();
    closed(whole.path());
    let all: Vec<Vec<u8>> = (0..40).map(|n| vec![n, n]).collect();
    for at in (GROUP..GROUP + 42).chain([GROUP + 200]) {
        let path = fast_dir();
        copy_all(whole.path(), path.path());
        damage(path.path(), &data(1), at);
        let mut store = options().open(path.path()).unwrap();
        let (mut there, errors) = keys(&store);
        // The records of a group whose header is damaged are right.
        assert_eq!(errors.len(), usize::from(at >= GROUP + 24), "byte {at}");
        if at >= GROUP + 38 {
            assert_eq!(lost_key(&errors[0]), Some(&[2, 2][..]), "byte {at}");
            let damage = store.verify().unwrap().damage;
            assert_eq!(lost_key(&damage[0]), Some(&[2, 2][..]), "byte {at}");
        }
        there.retain(|key| *key != [2, 2]);
        assert_eq!(there.len(), 39);
        store.put(&[2, 2], b"healed").unwrap();
        // In this handle, in the next one, and when the damaged file is merged away.
        for step in 0..3 {
            let (there, errors) = keys(&store);
            assert!(errors.is_empty(), "byte {at}, step {step}: {errors:?}");
            assert_eq!(there, all, "byte {at}, step {step}");
            assert_eq!(store.stats().keys, 40);
            assert_eq!(store.get(&[2, 2]).unwrap().unwrap(), b"healed");
            if step == 0 {
                drop(store);
                store = options().open(path.path()).unwrap();
            } else {
                store.rotate().unwrap();
                store.merge().unwrap();
            }
        }
        assert!(store.verify().unwrap().is_whole());
    }
}

#[test]
fn a_damaged_file_stays_and_all_others_are_merged() {
    let path = fast_dir();
    closed(path.path());
    damage(path.path(), &data(2), GROUP + 200);
    let store = options().open(path.path()).unwrap();
    let before = names(path.path());
    for n in (0..40).step_by(2) {
        store.put(&[n, n], b"newer").unwrap();
    }
    store.rotate().unwrap();
    let error = store.merge().unwrap_err();
    assert_eq!(lost_key(&error), Some(&[13, 13][..]), "{error}");
    let after = names(path.path());
    assert!(after.contains(&data(2)) && !after.contains(&data(1)) && !after.contains(&data(3)));
    assert!(before.contains(&data(1)));
    let (there, errors) = keys(&store);
    assert_eq!((there.len(), errors.len()), (39, 1));
    store.delete(&[13, 13]).unwrap();
    drop(store);
    let store = options().open(path.path()).unwrap();
    store.rotate().unwrap();
    store.merge().unwrap();
    assert_eq!(contents(&store).len(), 39);
    assert!(!names(path.path()).contains(&data(2)));
}

/// What a damaged tombstone hides must not come back, by no merge and no opening.
#[test]
fn a_damaged_tombstone_hides_what_it_hid() {
    for (has_hint, stays) in [(true, true), (true, false), (false, false)] {
        let path = fast_dir();
        let store = options().open(path.path()).unwrap();
        store.put(b"gone", &[1; 200]).unwrap();
        store.put(b"live", &[1; 3000]).unwrap();
        store.rotate().unwrap();
        store.delete(b"gone").unwrap();
        store.put(b"twice", &[1; 1000]).unwrap();
        store.put(b"twice", &[2; 1000]).unwrap();
        store.rotate().unwrap();
        settle(&store);
        drop(store);
        // The first record of the second file.
        damage(path.path(), &data(2), 64 + 24 + 13);
        if !has_hint {
            dir(path.path()).remove(&hint(2)).unwrap();
            options().open(path.path()).unwrap_err();
            continue;
        }
        if stays {
            // So the record that the tombstone hides stays, and the tombstone with it.
            damage(path.path(), &data(1), 1000);
        }
        let (left, errors) = salvage(path.path());
        assert!(left[&b"gone"[..]].may_be_older && !left[&b"twice"[..]].may_be_older);
        assert_eq!(errors.len(), 1 + usize::from(stays), "{errors:?}");
        for nth in 0..2 {
            let store = options().open(path.path()).unwrap();
            assert_eq!(store.get(b"gone").unwrap(), None);
            assert_eq!(store.merge().is_err(), stays);
            assert_eq!(store.get(b"gone").unwrap(), None);
            let (there, errors) = keys(&store);
            assert_eq!(there.len() + errors.len(), 2, "{nth}: {there:?} {errors:?}");
            assert_eq!(errors.len(), usize::from(stays));
        }
    }
}

/// By every byte of a group of the active file, which is refused.
#[test]
fn a_salvage_gives_everything_intact_of_a_store_that_does_not_open() {
    let whole = fast_dir();
    let store = options()
        .data_file_size(1 << 20)
        .open(whole.path())
        .unwrap();
    store.put(&[2, 2], b"old").unwrap();
    fill(&store);
    store.close().unwrap();
    let group = GROUP + 48;
    for at in (group..group + 42).chain([group + 200]) {
        let path = fast_dir();
        copy_all(whole.path(), path.path());
        damage(path.path(), &data(1), at);
        options().open(path.path()).unwrap_err();
        let (left, errors) = salvage(path.path());
        assert_eq!(left.len(), 40, "byte {at}");
        assert_eq!(errors.len(), 1, "byte {at}: {errors:?}");
        let is_lost = at >= group + 24;
        for n in 0..40 {
            let salvaged = &left[&vec![n, n]];
            let expected = if is_lost && n == 2 {
                b"old".to_vec()
            } else {
                value(n)
            };
            assert_eq!(salvaged.value, expected, "byte {at}");
            // Nothing says whose the lost record is; it is older than what stands behind it.
            assert_eq!(
                salvaged.may_be_older,
                n < 2 || n == 2 && is_lost,
                "byte {at}, key {n}"
            );
        }
    }
}

#[test]
fn a_salvage_knows_by_a_hint_what_is_lost() {
    let path = fast_dir();
    let store = options().open(path.path()).unwrap();
    fill(&store);
    store.put(&[15, 15], b"newer").unwrap();
    store.put(&[0, 0], b"newer").unwrap();
    store.rotate().unwrap();
    settle(&store);
    let store_files = store.stats().data_files;
    drop(store);
    let number = store_files - 1;
    let bytes = read(path.path(), &data(number));
    let at = bytes
        .windows(5)
        .position(|bytes| bytes == b"newer")
        .unwrap();
    damage(path.path(), &data(number), at);
    let (left, errors) = salvage(path.path());
    assert_eq!(lost_key(&errors[0]), Some(&[15, 15][..]));
    let older: Vec<_> = left
        .values()
        .filter(|salvaged| salvaged.may_be_older)
        .collect();
    assert_eq!((older.len(), older[0].value.clone()), (1, value(15)));
    assert_eq!(left[&vec![0, 0]].value, b"newer");
}

/// Nothing says what is older without the manifest; with one that is older, what was written since is there.
#[test]
fn a_salvage_does_without_the_manifest_or_a_file() {
    let path = fast_dir();
    let store = options().open(path.path()).unwrap();
    let older = read(path.path(), "manifest");
    fill(&store);
    store.put(&[0, 0], b"newer").unwrap();
    drop(store);
    for manifest in [Some(older), None] {
        match manifest {
            Some(bytes) => write(path.path(), "manifest", &bytes),
            None => dir(path.path()).remove("manifest").unwrap(),
        }
        let (left, errors) = salvage(path.path());
        assert!(!errors.is_empty());
        assert_eq!(
            (left.len(), &left[&vec![0, 0]].value[..]),
            (40, &b"newer"[..])
        );
        assert!(left.values().all(|salvaged| salvaged.may_be_older));
    }
    dir(path.path()).remove(&data(2)).unwrap();
    assert_eq!(salvage(path.path()).0.len(), 29);
}

/// Every call of a salvage and of a verification fails once, and from there on.
#[test]
fn what_cannot_be_read_is_an_item_and_not_the_end() {
    let sim = SimDisk::new();
    let options = || options().disk(sim.disk());
    let store = options().open("/store").unwrap();
    fill(&store);
    settle(&store);
    store.close().unwrap();
    let salvaged = |options: Options| {
        let items = options.salvage("/store")?;
        let (left, errors): (Vec<_>, Vec<_>) = items.partition(Result::is_ok);
        Ok::<_, Error>((left.len(), errors.len()))
    };
    let begin = sim.calls();
    assert_eq!(salvaged(options()).unwrap(), (40, 0));
    let (mut all, mut some) = (0, 0);
    for call in 0..sim.calls() - begin {
        for sticky in [false, true] {
            let call = sim.calls() + call;
            let kind = FaultKind::Errno(5);
            sim.inject(Fault { call, kind, sticky });
            match salvaged(options()) {
                Ok((40, _)) => all += 1,
                Ok((_, errors)) => {
                    assert!(errors > 0);
                    some += 1;
                }
                Err(error) => assert!(matches!(error, Error::Disk(_)), "{error}"),
            }
            sim.clear_fault();
        }
    }
    assert!(all > 10 && some > 40, "{all} whole, {some} in part");
    // The other files are verified all the same.
    let store = options().open("/store").unwrap();
    let begin = sim.calls();
    assert!(store.verify().unwrap().is_whole());
    for call in 0..sim.calls() - begin {
        let call = sim.calls() + call;
        let (kind, sticky) = (FaultKind::Errno(5), false);
        sim.inject(Fault { call, kind, sticky });
        let verified = store.verify().unwrap();
        assert_eq!(verified.data_files, 4);
        sim.clear_fault();
    }
}
