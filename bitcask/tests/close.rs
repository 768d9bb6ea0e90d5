//! Closing through a shared handle, and what is answered after it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::mpsc;
use std::thread;

use bitcask::{Background, BackupOptions, Batch, Bitcask, Error, Options, Result, SyncMode};
use support::{assert_holds, contents, fast_dir, options};

type Call = fn(&Bitcask) -> Result<()>;

/// Every call that can fail.
const CALLS: [(&str, Call); 19] = [
    ("get", |store| store.get(b"a").map(drop)),
    ("get_many", |store| store.get_many(&[b"a"]).map(drop)),
    ("contains", |store| store.contains(b"a").map(drop)),
    ("put", |store| store.put(b"a", b"2")),
    ("delete", |store| store.delete(b"a")),
    ("write", |store| store.write(Batch::new().delete(b"a"))),
    ("an empty batch", |store| store.write(Batch::new())),
    ("compare_and_set", |store| {
        store.compare_and_set(b"a", None, None).map(drop)
    }),
    ("update", |store| {
        store.update(b"a", |_| Some(b"2")).map(drop)
    }),
    ("snapshot", |store| store.snapshot().map(drop)),
    ("keys", |store| store.keys().map(drop)),
    ("fold", |store| store.fold((), |(), _, _| ())),
    ("sync", Bitcask::sync),
    ("rotate", Bitcask::rotate),
    ("merge", |store| store.merge().map(drop)),
    ("backup", |store| {
        let nowhere = "/a directory that is not made";
        store.backup(nowhere, &BackupOptions::new()).map(drop)
    }),
    ("verify", |store| store.verify().map(drop)),
    ("run_background", |store| store.run_background().map(drop)),
    ("close", Bitcask::close),
];

#[test]
fn after_close_every_call_answers_closed() {
    for background in [Background::Inline, Background::Threads] {
        let dir = fast_dir();
        let store = options().background(background).open(dir.path()).unwrap();
        store.put(b"a", b"1").unwrap();
        store.close().unwrap();
        for (name, call) in CALLS {
            let result = call(&store);
            assert!(matches!(result, Err(Error::Closed)), "{name}: {result:?}");
        }
        assert_eq!(store.stats().keys, 1);
    }
}

#[test]
fn after_close_somebody_else_may_open_and_what_is_open_is_read_on() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    for key in [b"a", b"b", b"c"] {
        store.put(key, &[7; 900]).unwrap();
    }
    let model = contents(&store);
    let snapshot = store.snapshot().unwrap();
    let mut keys = store.keys().unwrap();
    let value = store.get(b"a").unwrap().unwrap();
    store.close().unwrap();

    let next = options().open(dir.path()).unwrap();
    assert!(next.recovery().closed);
    assert_holds(&next, &model);
    // Everything that the snapshot shows is overwritten and merged away under it.
    for key in [b"a", b"b", b"c"] {
        next.put(key, b"newer").unwrap();
    }
    next.rotate().unwrap();
    next.merge().unwrap();
    assert_eq!(snapshot.get(b"b").unwrap().unwrap(), [7; 900]);
    assert_eq!(keys.by_ref().map(Result::unwrap).count(), 3);
    assert_eq!(value, [7; 900]);
    // The handle that was closed does not take the lock from the one that has it.
    drop(store);
    let locked = options().open(dir.path()).unwrap_err();
    assert!(matches!(
        locked,
        Error::Disk(durable_io::Error::Locked { .. })
    ));
}

/// Writers and a merger are in the middle of their work when the store is closed. What was acknowledged is
/// there afterwards, and nothing else.
#[test]
fn a_store_is_closed_beside_writers_and_merges() {
    const WRITERS: u32 = 3;
    for mode in [SyncMode::Always, SyncMode::Manual] {
        let dir = fast_dir();
        let options = || Options::new().sync(mode).data_file_size(4096).reserve(0);
        let store = &options().open(dir.path()).unwrap();
        let (tell, told) = mpsc::channel();
        let written: u32 = thread::scope(|scope| {
            let write = |writer: u32, tell: mpsc::Sender<()>| {
                for n in 0_u32.. {
                    let key = [writer.to_le_bytes(), n.to_le_bytes()].concat();
                    match store.put(&key, &[7; 50]) {
                        Ok(()) => drop(tell.send(())),
                        Err(Error::Closed) => return n,
                        Err(error) => panic!("{error}"),
                    }
                }
                u32::MAX
            };
            let spawn = |writer| {
                let tell = tell.clone();
                scope.spawn(move || (writer, write(writer, tell)))
            };
            let writers: Vec<_> = (0..WRITERS).map(spawn).collect();
            let merger = scope.spawn(|| {
                loop {
                    let merged = store.rotate().and_then(|()| store.merge());
                    if let Err(error) = merged {
                        assert!(matches!(error, Error::Closed), "{error}");
                        return;
                    }
                }
            });
            told.iter().take(200).count();
            store.close().unwrap();
            merger.join().unwrap();
            let written = writers.into_iter().map(|writer| writer.join().unwrap());
            let mut all = 0;
            let reopened = options().open(dir.path()).unwrap();
            assert!(reopened.recovery().closed, "{mode:?}");
            for (writer, count) in written {
                all += count;
                for n in 0..count {
                    let key = [writer.to_le_bytes(), n.to_le_bytes()].concat();
                    assert!(reopened.contains(&key).unwrap(), "{mode:?} {writer} {n}");
                }
            }
            assert_eq!(reopened.stats().keys, u64::from(all), "{mode:?}");
            all
        });
        assert!(written >= 200);
    }
}
