//! What is in a store's directory: what opening removes from it, and what it leaves alone.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::indexing_slicing,
    reason = "test, and the files are its subject"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use event_store::{
    Error, Event, Expected, NewEvent, Position, Query, StoredEvents, Subscribe, Version,
};
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

/// Every file below `dir`, by its name, with its bytes and the time of its last change.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let mut found = Vec::new();
    let mut queue = vec![dir.to_owned()];
    while let Some(dir) = queue.pop() {
        for name in names(&dir) {
            let path = dir.join(name);
            if path.is_dir() {
                queue.push(path);
            } else {
                let changed = fs::metadata(&path).unwrap().modified().unwrap();
                found.push((path.clone(), fs::read(&path).unwrap(), changed));
            }
        }
    }
    found
}

fn is_locked<T>(opened: Result<T, Error>) -> bool {
    let error = opened.err().unwrap();
    matches!(error, Error::Disk(durable_io::Error::Locked { .. }))
}

#[test]
fn a_store_that_is_only_read_shows_everything_and_is_not_changed() {
    let dir = fast_dir();
    let path = dir.path();
    let store = options().open(path).unwrap();
    for n in 0..60 {
        let (stream, kind) = [("s-1", "A"), ("s-2", "B"), ("t", "A")][n % 3];
        put(&store, stream, kind, n as u128);
        if n == 40 {
            settle(&store);
        }
    }
    store.tombstone("t", Expected::Any).unwrap();
    store.sync().unwrap();
    let mut reader = store.subscribe(Subscribe::new().named("reader")).unwrap();
    reader.try_next().unwrap().unwrap();
    reader.acknowledge().unwrap();
    drop(reader);
    let all: Vec<Event> = store.read_all(Position(1)).map(Result::unwrap).collect();
    assert!(is_locked(options().open_read_only(path)));
    // Not closed: what a kill leaves.
    drop(store);
    fs::write(path.join("~0123456789abcdef~index"), b"half of it").unwrap();
    // What is in no file yet is not made, not even for the lock.
    fs::remove_file(path.join("lock")).unwrap();
    let before = contents(path);

    let store = options().open_read_only(path).unwrap();
    let beside = options().open_read_only(path).unwrap();
    assert_eq!(store.last_position(), Position(61));
    assert_eq!(store.subscriptions(), [("reader".to_owned(), Position(1))]);
    let events = |found: Result<StoredEvents, Error>| -> Vec<Event> {
        found.unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(events(store.read_all(Position(1))), all);
    let from = |matches: &dyn Fn(&Event) -> bool| -> Vec<Event> {
        all.iter().filter(|event| matches(event)).cloned().collect()
    };
    let later = |event: &Event| event.position() >= Position(30) && event.kind() == "A";
    assert_eq!(
        events(beside.query(Query::new().kinds(["A"]), Position(30))),
        from(&later)
    );
    let of_stream = |event: &Event| event.stream() == "t" && event.version() >= Version(7);
    assert_eq!(events(store.read_stream("t", Version(7))), from(&of_stream));
    assert_eq!(contents(path), before);

    assert!(is_locked(options().open(path)));
    drop((store, beside));
    assert_eq!(options().open(path).unwrap().last_position(), Position(61));
}

#[test]
fn a_store_that_is_only_read_says_what_is_lost() {
    let dir = fast_dir();
    let path = dir.path();
    assert!(options().open_read_only(path).is_err());
    let store = options().open(path).unwrap();
    let payload = [7; 2000];
    for _ in 0..8 {
        let event = NewEvent::new("Kind", &payload);
        store.append("s", Expected::Any, [event]).unwrap();
    }
    settle(&store);
    store.close().unwrap();
    assert_eq!(
        options().open_read_only(path).unwrap().last_position(),
        Position(8)
    );
    for (name, offset) in [("0000000000000001.wal", 900), ("mark", 20)] {
        let path = path.join("events").join(name);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[offset] ^= 1;
        if name == "mark" {
            damaged[4096 + offset] ^= 1;
        }
        fs::write(&path, damaged).unwrap();
        let opened = options().open_read_only(dir.path());
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{name}");
        fs::write(&path, whole).unwrap();
    }
    options().open_read_only(path).unwrap();
}

/// The end of the log looked like a torn one, was cut, and only then the index said what was lost with it.
#[test]
fn a_store_that_is_refused_is_not_changed() {
    let dir = fast_dir();
    let path = dir.path();
    let store = options().open(path).unwrap();
    let mut reader = store.subscribe(Subscribe::new().named("reader")).unwrap();
    for _ in 0..2 {
        let event = NewEvent::new("Kind", &[7; 2000]);
        store.append("s", Expected::Any, [event]).unwrap();
    }
    // All of them are in the index, and nothing in the log follows the last one.
    settle(&store);
    reader.try_next().unwrap().unwrap();
    reader.acknowledge().unwrap();
    drop((reader, store));
    let segment = path.join("events").join("0000000000000001.wal");
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[last] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let files = || {
        let mut files = contents(path);
        // Who opens writes its number there.
        files.retain(|(path, ..)| !path.ends_with("lock"));
        files
    };
    let before = files();
    for _ in 0..2 {
        let refused = options().open(path).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
        assert!(files() == before, "what is refused was changed");
    }
}

/// As when the log alone is restored from a copy, and continues elsewhere.
#[test]
fn an_index_of_another_log_is_made_anew() {
    let dir = fast_dir();
    let path = |store: &str| dir.path().join(store);
    let open = |store| options().index_interval(1).open(path(store)).unwrap();
    for (name, stream, first) in [("one", "old", 0), ("other", "new", 100)] {
        let store = open(name);
        for n in first..first + 6 {
            put(&store, stream, "Kind", n);
        }
        settle(&store);
        store.close().unwrap();
    }
    let is_index = |name: &String| name == "index" || name.strip_suffix(".part").is_some();
    for name in names(&path("other")).iter().filter(|name| is_index(name)) {
        fs::remove_file(path("other").join(name)).unwrap();
    }
    for name in names(&path("one")).iter().filter(|name| is_index(name)) {
        fs::copy(path("one").join(name), path("other").join(name)).unwrap();
    }
    let store = open("other");
    assert!(store.recovery().lost_parts > 0);
    assert_eq!(store.read_stream("new", Version(1)).count(), 6);
    assert_eq!(store.read_stream("old", Version(1)).count(), 0);
    assert!(store.verify().unwrap().damage.is_empty());
}

#[test]
fn a_reader_does_not_pass_over_an_event_that_cannot_be_read() {
    let dir = fast_dir();
    let store = options().index_interval(1).open(dir.path()).unwrap();
    for _ in 0..6 {
        let event = NewEvent::new("Kind", &[7; 2000]);
        store.append("s", Expected::Any, [event]).unwrap();
    }
    settle(&store);
    let segment = dir.path().join("events").join("0000000000000001.wal");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[3000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let mut reader = store.subscribe(Subscribe::new()).unwrap();
    assert_eq!(reader.try_next().unwrap().unwrap().position(), Position(1));
    for _ in 0..6 {
        let errors = reader.try_next();
        assert!(matches!(errors, Err(Error::Corrupt { .. })), "{errors:?}");
    }
}
