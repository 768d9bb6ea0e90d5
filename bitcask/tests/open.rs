//! What opening makes of a torn or damaged active file; what a failure leaves to be read; limits.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bitcask::{
    Batch, Bitcask, Corruption, Error, MAX_KEY_SIZE, MAX_UNSYNCED, Options, Progress, SyncMode,
};
use durable_io::sim::{Fault, FaultKind, SimDisk, SyncFailure};
use support::{Model, assert_holds, contents, data, fast_dir, options, read, settle, write};

fn sim_options(sim: &SimDisk, mode: SyncMode) -> Options {
    options().sync(mode).disk(sim.disk())
}

/// A store of three groups in one file, not closed, its states before and after each, and the offset
/// at which each group begins.
fn three_groups() -> (tempfile::TempDir, Vec<Model>, Vec<usize>) {
    let dir = fast_dir();
    let store = options().sync(SyncMode::Always).open(dir.path()).unwrap();
    let mut models = vec![Model::new()];
    let mut starts = vec![64];
    for (n, len) in [(1_u8, 30), (2, 100), (3, 12)] {
        let batch = Batch::new().put(&[n], &vec![n; len]).put(b"last", &[n]);
        store.write(batch).unwrap();
        models.push(contents(&store));
        let used = read(dir.path(), &data(1));
        let end = used.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        starts.push(end.next_multiple_of(8));
    }
    (dir, models, starts)
}

/// Also within the few bytes behind its last record, up to where the next group would begin.
#[test]
fn an_active_file_that_ends_anywhere_is_read_as_far_as_it_goes() {
    let (dir, models, starts) = three_groups();
    let whole = read(dir.path(), &data(1));
    let manifest = read(dir.path(), "manifest");
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    assert!(
        used < starts[3],
        "the last group ends where the next begins"
    );
    for len in starts[2]..=starts[3] {
        write(dir.path(), &data(1), &whole[..len]);
        write(dir.path(), "manifest", &manifest);
        let store = options().open(dir.path()).unwrap();
        let model = if len < used { &models[2] } else { &models[3] };
        assert_holds(&store, model);
        store.close().unwrap();
        let store = options().open(dir.path()).unwrap();
        assert_holds(&store, model);
        assert!(store.verify().unwrap().damage.is_empty());
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_does_not_come_back() {
    let (dir, models, starts) = three_groups();
    let whole = read(dir.path(), &data(1));
    let manifest = read(dir.path(), "manifest");
    for at in starts[2]..starts[3] {
        let mut torn = whole.clone();
        torn[at..].fill(0);
        if torn == whole {
            continue;
        }
        write(dir.path(), &data(1), &torn);
        write(dir.path(), "manifest", &manifest);
        let store = options().open(dir.path()).unwrap();
        assert_holds(&store, &models[2]);
        let nonzero = torn[starts[2]..].iter().rposition(|&byte| byte != 0);
        let torn_bytes = nonzero.map_or(0, |last| last as u64 + 1);
        assert_eq!(store.recovery().torn_bytes, torn_bytes);
        store.put(b"after", b"1").unwrap();
        drop(store);
        let store = options().open(dir.path()).unwrap();
        assert_eq!(store.stats().keys, models[2].len() as u64 + 1);
    }
}

#[test]
fn damage_of_durable_groups_is_an_error_that_names_the_place_and_changes_nothing() {
    let (dir, _, starts) = three_groups();
    let whole = read(dir.path(), &data(1));
    for group in 0..2 {
        for at in starts[group]..starts[group + 1] - 8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            write(dir.path(), &data(1), &damaged);
            let error = options().open(dir.path()).unwrap_err();
            let Error::Corrupt {
                path,
                offset,
                reason,
                key: None,
            } = error
            else {
                panic!("byte {at}: {error}");
            };
            assert_eq!(path, dir.path().join(data(1)));
            assert_eq!(offset, starts[group] as u64);
            let durable = starts[2] as u64;
            assert_eq!(reason, Corruption::LostGroups { durable });
            assert_eq!(read(dir.path(), &data(1)), damaged);
        }
    }
}

#[test]
fn after_a_close_the_loss_of_the_last_group_is_seen_too() {
    let (dir, models, starts) = three_groups();
    options().open(dir.path()).unwrap().close().unwrap();
    let whole = read(dir.path(), &data(1));
    let store = options().open(dir.path()).unwrap();
    assert!(store.recovery().closed);
    assert_holds(&store, &models[3]);
    drop(store);
    let mut damaged = whole;
    damaged[starts[2]..].fill(0);
    write(dir.path(), &data(1), &damaged);
    let error = options().open(dir.path()).unwrap_err();
    let durable = starts[3] as u64;
    let lost = Corruption::LostGroups { durable };
    assert!(matches!(error, Error::Corrupt { reason, .. } if reason == lost));
}

#[test]
fn a_lost_manifest_or_file_is_an_error() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.put(b"a", b"1").unwrap();
    store.rotate().unwrap();
    drop(store);
    let held = support::dir(dir.path());
    held.rename(&data(1), "away").unwrap();
    let error = options().open(dir.path()).unwrap_err();
    let missing = Corruption::MissingFile;
    assert!(matches!(error, Error::Corrupt { reason, .. } if reason == missing));
    held.rename("away", &data(1)).unwrap();
    held.remove("manifest").unwrap();
    let error = options().open(dir.path()).unwrap_err();
    let lost = Corruption::ManifestLost;
    assert!(matches!(error, Error::Corrupt { reason, .. } if reason == lost));
    // A creation that was cut short is another thing.
    held.remove(&data(1)).unwrap();
    held.rename(&data(2), &data(1)).unwrap();
    write(dir.path(), &data(1), &[0; 512]);
    assert!(options().open(dir.path()).unwrap().recovery().created);
}

#[test]
fn d30_after_a_failed_sync_readers_see_what_is_durable_and_nobody_writes() {
    for failure in SyncFailure::ALL {
        let sim = SimDisk::new();
        let store = sim_options(&sim, SyncMode::Manual).open("/store").unwrap();
        store.put(b"a", b"durable").unwrap();
        store.put(b"b", b"durable").unwrap();
        store.sync().unwrap();
        let model = contents(&store);
        let before = store.snapshot().unwrap();
        store.put(b"a", b"newer").unwrap();
        store.delete(b"b").unwrap();
        store.put(b"c", b"newest").unwrap();
        assert_eq!(store.get(b"a").unwrap().unwrap(), b"newer");
        sim.inject(Fault {
            call: sim.calls(),
            kind: FaultKind::Sync(failure),
            sticky: false,
        });
        store.sync().unwrap_err();
        assert_eq!(contents(&store), model, "{failure:?}");
        assert_eq!(store.get(b"a").unwrap().unwrap(), b"durable");
        assert_eq!(store.get(b"c").unwrap(), None);
        assert_eq!(before.get(b"b").unwrap().unwrap(), b"durable");
        let refused = [
            store.put(b"a", b"2"),
            store.delete(b"a"),
            store.write(Batch::new()),
            store.sync(),
            store.rotate(),
            store.merge().map(drop),
            store.compare_and_set(b"a", None, None).map(drop),
        ];
        for result in refused {
            assert!(matches!(result, Err(Error::Poisoned { .. })), "{result:?}");
        }
        assert!(matches!(store.close(), Err(Error::Poisoned { .. })));
    }
}

#[test]
fn a_store_that_is_not_synced_syncs_by_itself_before_it_must_remember_too_much() {
    let sim = SimDisk::new();
    let options = sim_options(&sim, SyncMode::Manual).data_file_size(16 << 20);
    let store = options.open("/store").unwrap();
    let write = |n: usize| {
        let batch = (0..n).fold(Batch::new(), |batch, i| batch.put(&i.to_le_bytes(), b""));
        store.write(batch).unwrap();
    };
    write(MAX_UNSYNCED);
    assert_eq!(store.stats().unsynced_writes, 1);
    write(1);
    assert_eq!(store.stats().unsynced_writes, 0);
    assert_eq!(store.stats().syncs, 1);
}

#[test]
fn a_batch_syncs_when_it_is_full_or_its_interval_over() {
    let mode = |interval| SyncMode::Batch {
        writes: 3,
        interval,
    };
    let sim = SimDisk::new();
    let options = sim_options(&sim, mode(Duration::from_secs(3600)));
    let store = options.open("/store").unwrap();
    let unsynced: Vec<u64> = (0..6_u8)
        .map(|n| {
            store.put(&[n], b"").unwrap();
            assert!(!store.run_background().unwrap());
            store.stats().unsynced_writes
        })
        .collect();
    assert_eq!(unsynced, [1, 2, 0, 1, 2, 0]);
    drop(store);
    let store = sim_options(&sim, mode(Duration::ZERO))
        .open("/store")
        .unwrap();
    store.put(b"a", b"").unwrap();
    assert!(store.run_background().unwrap());
    assert_eq!(store.stats().unsynced_writes, 0);
    assert!(!store.run_background().unwrap());
}

#[test]
fn what_is_too_large_is_refused_and_nothing_written() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.put(&vec![1; MAX_KEY_SIZE], b"fits").unwrap();
    let before = store.stats();
    let refused = store.put(&vec![1; MAX_KEY_SIZE + 1], b"").unwrap_err();
    assert!(matches!(refused, Error::TooLarge { what: "key", .. }));
    assert_eq!(store.stats(), before);
    for size in [0, 1023, u64::MAX] {
        let refused = options().data_file_size(size).open(dir.path().join("x"));
        assert!(matches!(refused, Err(Error::InvalidOption { .. })));
    }
}

#[test]
fn a_value_larger_than_a_data_file_gets_a_file_of_its_own_size() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.put(b"a", &[1; 10_000]).unwrap();
    store.put(b"b", b"next").unwrap();
    let model = contents(&store);
    assert_eq!(store.stats().data_files, 2);
    settle(&store);
    drop(store);
    let store = options().open(dir.path()).unwrap();
    assert_holds(&store, &model);
    store.merge().unwrap();
    assert_holds(&store, &model);
}

#[test]
fn opening_with_several_threads_gives_the_same_and_tells_how_far_it_is() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    for n in 0..2000_u32 {
        store
            .put(&(n % 300).to_le_bytes(), &n.to_le_bytes())
            .unwrap();
        if n % 7 == 0 {
            store.delete(&(n % 90).to_le_bytes()).unwrap();
        }
    }
    let model = contents(&store);
    let stats = store.stats();
    drop(store);
    for with_hints in [false, true] {
        let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let teller = Arc::clone(&told);
        let options = options()
            .open_threads(3)
            .progress(move |progress| teller.lock().unwrap().push(progress));
        let store = options.open(dir.path()).unwrap();
        assert_holds(&store, &model);
        assert_eq!(store.stats().dead_bytes, stats.dead_bytes);
        assert_eq!(store.stats().tombstone_bytes, stats.tombstone_bytes);
        let last = *told.lock().unwrap().last().unwrap();
        assert_eq!(last.files_done, stats.data_files - 1);
        assert_eq!(
            (last.files, store.recovery().hinted_files > 0),
            (last.files_done, with_hints)
        );
        settle(&store);
    }
}

#[test]
fn a_hint_that_is_written_in_parts_is_valid() {
    let dir = fast_dir();
    let options = options().data_file_size(8 << 20);
    let store = options.clone().open(dir.path()).unwrap();
    for start in (0..40_000_u32).step_by(4000) {
        let keys = start..start + 4000;
        let batch = keys.fold(Batch::new(), |batch, n| batch.put(&n.to_le_bytes(), b"1"));
        store.write(batch).unwrap();
    }
    store.rotate().unwrap();
    settle(&store);
    assert!(store.verify().unwrap().is_whole());
    drop(store);
    let store = options.open(dir.path()).unwrap();
    assert_eq!(store.recovery().hinted_files, 1);
    assert_eq!(store.stats().keys, 40_000);
    assert_eq!(store.get(&7_u32.to_le_bytes()).unwrap().unwrap(), b"1");
}

/// A writer counts two keys up together, while readers open the store again and again.
#[test]
fn a_reader_beside_a_writer_sees_a_state_that_was() {
    let dir = fast_dir();
    let store = &options().sync(SyncMode::Manual).open(dir.path()).unwrap();
    let (is_over, written) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let count = |store: &Bitcask, n: u64| {
        let batch = Batch::new()
            .put(b"a", &n.to_le_bytes())
            .put(b"b", &n.to_le_bytes());
        store.write(batch).unwrap();
    };
    count(store, 0);
    let decode = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut n = 0;
            while !is_over.load(Ordering::Relaxed) {
                n += 1;
                count(store, n);
                written.store(n, Ordering::SeqCst);
                if n.is_multiple_of(200) {
                    store.merge().unwrap();
                }
            }
        });
        for _ in 0..100 {
            let least = written.load(Ordering::SeqCst);
            let reader = options().open_read_only(dir.path()).unwrap();
            let a = decode(&reader.get(b"a").unwrap().unwrap());
            let b = decode(&reader.get(b"b").unwrap().unwrap());
            assert!(a == b && a >= least, "{a} and {b}, after {least}");
            let snapshot = store.snapshot().unwrap();
            let both = snapshot.fold(Vec::new(), |mut both, _, value| {
                both.push(decode(value));
                both
            });
            let both = both.unwrap();
            assert!(both.len() == 2 && both[0] == both[1], "{both:?}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// So it works where the files or the whole file system cannot be written to.
#[test]
fn a_reader_opens_no_file_for_writing_and_takes_no_lock() {
    let sim = SimDisk::new();
    let store = sim_options(&sim, SyncMode::Always).open("/store").unwrap();
    store.put(b"a", b"1").unwrap();
    store.rotate().unwrap();
    store.put(b"b", b"2").unwrap();
    while store.run_background().unwrap() {}
    store.close().unwrap();
    sim.start_trace();
    let reader = sim_options(&sim, SyncMode::Always).open_read_only("/store");
    let reader = reader.unwrap();
    assert_eq!(
        reader.fold(0, |sum, _, value| sum + value.len()).unwrap(),
        2
    );
    let mut calls: Vec<_> = sim.trace().into_iter().map(|call| call.op).collect();
    calls.sort_unstable();
    calls.dedup();
    assert_eq!(
        calls,
        ["len", "list", "map", "open_dir", "open_read_only", "read"]
    );
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Bitcask>();
    is_shared::<bitcask::Snapshot>();
    is_shared::<bitcask::Value>();
    is_shared::<Error>();
}

/// The active file is mapped piece by piece. A value of no bytes behind the last byte of a piece is in none.
#[test]
fn an_empty_value_is_read_wherever_its_record_ends() {
    for len in 1..600 {
        let dir = fast_dir();
        let store = options().open(dir.path()).unwrap();
        let key = vec![7; len];
        store.put(&key, b"").unwrap();
        assert_eq!(store.get(&key).unwrap().unwrap(), b"", "{len}");
    }
}
