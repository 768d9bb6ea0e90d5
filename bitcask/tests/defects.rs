//! One test for each defect of the reference stores that could exist here.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use bitcask::{Bitcask, Error, Options, SyncMode};
use durable_io::sim::{Fault, FaultKind, SimDisk, World};
use support::{
    Model, assert_holds, contents, data, fast_dir, hint, names, options, read, settle, write,
};

fn sim_options(disk: &SimDisk) -> Options {
    options().sync(SyncMode::Always).disk(disk.disk())
}

fn reopened(world: World) -> Bitcask {
    sim_options(&SimDisk::boot(world)).open("/store").unwrap()
}

/// Two sealed files with overwritten, deleted and live keys, and an active one; and what they hold.
fn fill(store: &Bitcask) -> Model {
    for n in 0..6_u8 {
        store.put(&[n], &[n; 100]).unwrap();
    }
    store.rotate().unwrap();
    for n in 0..3_u8 {
        store.put(&[n], &[n + 100; 50]).unwrap();
    }
    store.delete(&[4]).unwrap();
    store.rotate().unwrap();
    store.put(b"new", b"").unwrap();
    contents(store)
}

#[test]
fn d05_what_put_acknowledged_is_there_after_power_loss() {
    let sim = SimDisk::new();
    let store = sim_options(&sim).open("/store").unwrap();
    store.put(b"order-123", b"paid").unwrap();
    let after = reopened(sim.world().lose_unsynced());
    assert_eq!(after.get(b"order-123").unwrap().unwrap(), b"paid");
}

#[test]
fn d09_a_merge_cut_off_after_any_step_loses_nothing() {
    let sim = SimDisk::new();
    let policy = bitcask::MergePolicy::new()
        .trigger_dead_percent(1)
        .threshold_dead_percent(1);
    let options = sim_options(&sim).auto_merge(true).merge_policy(policy);
    let store = options.open("/store").unwrap();
    let model = fill(&store);
    let mut steps = 0;
    while store.run_background().unwrap() {
        steps += 1;
        for world in [sim.world().lose_unsynced(), sim.world().keep_unsynced()] {
            let after = reopened(world);
            assert_holds(&after, &model);
            after.merge().unwrap();
            assert_holds(&after, &model);
        }
    }
    assert!(steps > 4 && store.stats().merges > 0, "{steps} steps");
}

#[test]
fn d10_what_the_manifest_does_not_name_counts_for_nothing() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let model = fill(&store);
    settle(&store);
    store.close().unwrap();
    let before = names(dir.path());
    // What a merge leaves that was cut off: an output, whole or not, a hint, a new manifest.
    let first = read(dir.path(), &data(1));
    write(dir.path(), &data(77), &first);
    write(dir.path(), &data(78), &first[..70]);
    write(dir.path(), &hint(77), &read(dir.path(), &hint(1)));
    write(dir.path(), "manifest.tmp", b"half a manifest");
    write(dir.path(), "notes.txt", b"not ours");
    let store = options().open(dir.path()).unwrap();
    assert_holds(&store, &model);
    assert_eq!(store.recovery().removed_files, 4);
    let mut expected = before;
    expected.push("notes.txt".to_owned());
    assert_eq!(names(dir.path()), expected);
}

#[test]
fn d11_no_hint_changes_an_answer() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let model = fill(&store);
    settle(&store);
    drop(store);
    let hints = [hint(1), hint(2)].map(|name| read(dir.path(), &name));
    let check = |hinted: u64| {
        let store = options().open(dir.path()).unwrap();
        assert_holds(&store, &model);
        assert_eq!(store.recovery().hinted_files, hinted);
        // And they are made again.
        settle(&store);
        assert_eq!(
            [hint(1), hint(2)].map(|name| read(dir.path(), &name)),
            hints
        );
    };
    check(2);
    for len in (0..hints[0].len()).step_by(7) {
        write(dir.path(), &hint(1), &hints[0][..len]);
        check(1);
    }
    for at in (0..hints[0].len()).step_by(5) {
        let mut bytes = hints[0].clone();
        bytes[at] ^= 1;
        write(dir.path(), &hint(1), &bytes);
        check(1);
    }
    write(dir.path(), &hint(1), &hints[1]);
    write(dir.path(), &hint(2), &hints[0]);
    check(0);
    support::dir(dir.path()).remove(&hint(1)).unwrap();
    check(1);
}

#[test]
fn d12_a_deleted_key_does_not_come_back_by_a_merge() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.put(b"a", &[1; 1000]).unwrap();
    store.put(b"gone", b"old").unwrap();
    store.rotate().unwrap();
    store.delete(b"gone").unwrap();
    store.put(b"b", &[2; 300]).unwrap();
    store.put(b"b", &[3; 300]).unwrap();
    store.rotate().unwrap();
    settle(&store);
    for _ in 0..3 {
        store.merge().unwrap();
        settle(&store);
        assert_eq!(store.get(b"gone").unwrap(), None);
    }
    drop(store);
    let store = options().open(dir.path()).unwrap();
    assert_eq!(store.get(b"gone").unwrap(), None);
    assert_eq!(contents(&store).len(), 2);
}

#[test]
fn d13_any_bytes_are_a_value_and_the_empty_key_is_a_key() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let values: [&[u8]; 5] = [b"", b"\0", b"\xff", b"TOMBSTONE", b"__deleted__"];
    let mut model = Model::new();
    for (n, value) in (0_u8..).zip(values) {
        let key = vec![0xff; usize::from(n)];
        store.put(&key, value).unwrap();
        model.insert(key, value.to_vec());
    }
    assert_holds(&store, &model);
    store.rotate().unwrap();
    drop(store);
    let store = options().open(dir.path()).unwrap();
    assert_holds(&store, &model);
    store.delete(b"").unwrap();
    assert_eq!(store.get(b"").unwrap(), None);
    assert_eq!(store.get(&[0xff]).unwrap().unwrap(), b"\0");
}

#[test]
fn d16_no_changed_byte_of_a_sealed_file_is_believed() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    let model = fill(&store);
    settle(&store);
    store.close().unwrap();
    drop(store);
    let whole = read(dir.path(), &data(1));
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap();
    let mut damaged = 0;
    for at in 0..=used {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        write(dir.path(), &data(1), &bytes);
        let store = match options().open(dir.path()) {
            Ok(store) => store,
            Err(Error::Corrupt { .. }) => continue,
            Err(error) => panic!("byte {at}: {error}"),
        };
        for (key, value) in &model {
            match store.get(key) {
                Ok(found) => assert_eq!(found.unwrap(), *value, "byte {at}"),
                Err(Error::Corrupt { path, .. }) => {
                    assert_eq!(path, dir.path().join(data(1)));
                    damaged += 1;
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
        assert!(!store.verify().unwrap().is_whole(), "byte {at}");
    }
    assert!(damaged > 200, "{damaged}");
}

#[test]
fn d29_a_second_opener_is_told_who_has_it_and_a_reader_is_not_refused() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.put(b"a", b"1").unwrap();
    let refused = options().open(dir.path()).unwrap_err();
    let locked = durable_io::Error::Locked {
        path: dir.path().join("lock"),
        pid: Some(std::process::id()),
    };
    assert_eq!(refused.to_string(), locked.to_string());
    let reader = options().open_read_only(dir.path()).unwrap();
    store.put(b"a", b"2").unwrap();
    assert_eq!(reader.get(b"a").unwrap().unwrap(), b"1");
    drop(store);
    options().open(dir.path()).unwrap();
}

/// There was no descriptor for the next data file, for a moment, and the store was poisoned by it.
#[test]
fn what_the_system_refuses_poisons_nothing_and_the_next_call_may_succeed() {
    const EMFILE: i32 = 24;
    let mut refused = 0;
    for nth in 0.. {
        let sim = SimDisk::new();
        let store = sim_options(&sim).open("/store").unwrap();
        let fill = |key: &[u8]| store.put(key, &[1; 900]);
        fill(b"a").unwrap();
        fill(b"b").unwrap();
        // The next one begins another file.
        let begin = sim.calls();
        sim.inject(Fault {
            call: begin + nth,
            kind: FaultKind::Errno(EMFILE),
            sticky: false,
        });
        let result = fill(b"c");
        if sim.calls() <= begin + nth {
            result.unwrap();
            break;
        }
        match result {
            Ok(()) => {}
            Err(Error::Disk(error)) if error.changed_nothing() => {
                refused += 1;
                fill(b"c").unwrap();
                assert_eq!(store.get(b"c").unwrap().unwrap(), [1; 900]);
            }
            // A write or a sync, which is final.
            Err(error) => assert!(fill(b"c").is_err(), "{error}"),
        }
        drop(store);
        let store = reopened(sim.world());
        assert_eq!(store.get(b"a").unwrap().unwrap(), [1; 900]);
    }
    assert!(refused > 0);
}

/// A merge that the system refused was poison, or never tried again.
#[test]
fn background_work_that_is_refused_is_tried_again_and_shown() {
    const EMFILE: i32 = 24;
    let sim = SimDisk::new();
    let options = sim_options(&sim).auto_merge(true);
    let store = options.open("/store").unwrap();
    let model = fill(&store);
    sim.inject(Fault {
        call: sim.calls(),
        kind: FaultKind::Errno(EMFILE),
        sticky: true,
    });
    settle(&store);
    let failures = store.stats().background_failures;
    if failures > 0 {
        assert!(
            store
                .trouble()
                .unwrap()
                .error
                .to_string()
                .contains("cannot")
        );
    }
    sim.clear_fault();
    sim.advance(std::time::Duration::from_secs(60));
    settle(&store);
    assert_eq!(store.stats().background_failures, 0);
    store.put(b"later", b"1").unwrap();
    assert_eq!(contents(&store).len(), model.len() + 1);
}
