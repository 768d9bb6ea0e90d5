//! One test for each defect that such engines had: named after it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use btree::{Background, Btree, Corruption, Error, Options, SyncMode};
use durable_io::sim::{Damage, Fault, FaultKind, SimDisk, SyncFailure, World};

const PAGE: u64 = 512;

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .page_size(512)
        .log_segment_size(4096)
        .large_transaction(2000)
        .growth(4 * PAGE)
        .reserve(16 * PAGE)
        .background(Background::Inline)
        .disk(disk.disk())
}

fn open(disk: &SimDisk) -> Btree {
    options(disk).open("/btree").unwrap()
}

fn put(store: &Btree, key: &[u8], value: &[u8]) -> btree::Result<()> {
    let mut write = store.begin_write()?;
    write.create_table("t")?.put(key, value)?;
    write.commit()
}

fn get(store: &Btree, key: &[u8]) -> Option<Vec<u8>> {
    let read = store.begin_read();
    let table = read.table("t").unwrap();
    table.get(key).unwrap().map(btree::Value::into_vec)
}

fn after_power_loss(world: &World) -> SimDisk {
    SimDisk::boot(world.lose_unsynced())
}

fn key(n: u32) -> Vec<u8> {
    format!("key {n:05}").into_bytes()
}

/// A store of three levels.
fn fill(store: &Btree, count: u32) {
    let mut write = store.begin_write().unwrap();
    let mut table = write.create_table("t").unwrap();
    for n in 0..count {
        table.put(&key(n), &[7; 40]).unwrap();
    }
    write.commit().unwrap();
}

/// A magic value meant "deleted".
#[test]
fn d13_every_byte_string_is_a_value_and_a_key() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let values: [&[u8]; 5] = [b"", b"\0", b"__DELETED__", &[0xFF; 3], &[0; 600]];
    for value in values {
        for key in values.iter().filter(|key| key.len() < 60) {
            put(&store, key, value).unwrap();
            assert_eq!(get(&store, key).as_deref(), Some(value));
        }
    }
    drop(store);
    let store = open(&after_power_loss(&disk.world()));
    assert_eq!(get(&store, b"").as_deref(), Some(&[0; 600][..]));
    assert_eq!(store.begin_read().table("t").unwrap().len(), 4);
}

/// Replay applied what had no commit.
#[test]
fn d19_a_transaction_is_there_as_a_whole_or_not_at_all() {
    let mut seen = [false; 2];
    for calls in 0.. {
        let disk = SimDisk::new();
        let store = open(&disk);
        put(&store, b"before", b"1").unwrap();
        disk.inject(Fault {
            call: disk.calls() + calls,
            kind: FaultKind::Errno(5),
            sticky: true,
        });
        let mut write = store.begin_write().unwrap();
        let both = write
            .create_table("t")
            .and_then(|mut table| table.put(b"one", b"1"))
            .and_then(|()| write.create_table("u")?.put(b"two", b"2"));
        both.unwrap();
        let committed = write.commit().is_ok();
        for world in [disk.world().lose_unsynced(), disk.world().keep_unsynced()] {
            let store = open(&SimDisk::boot(world));
            let one = get(&store, b"one").is_some();
            let two = store.begin_read().table("u").is_ok();
            assert_eq!(one, two, "after {calls} calls");
            assert!(one || !committed, "after {calls} calls");
            seen[usize::from(one)] = true;
        }
        if committed {
            break;
        }
    }
    assert_eq!(seen, [true; 2]);
}

/// Allocation stood outside of what was recovered.
#[test]
fn d20_no_page_is_leaked_or_owned_twice_whenever_the_power_fails() {
    let disk = SimDisk::new();
    let store = open(&disk);
    for n in 0..60 {
        put(&store, &key(n % 23), &vec![1; 10 * n as usize]).unwrap();
        if n % 7 == 0 {
            store.run_background().unwrap();
        }
        if n % 11 == 0 {
            store.checkpoint().unwrap();
        }
        let survivor = open(&after_power_loss(&disk.world()));
        survivor.verify().unwrap();
        survivor.checkpoint().unwrap();
        survivor.verify().unwrap();
    }
    store.verify().unwrap();
}

/// The page size was not in the file.
#[test]
fn d21_the_page_size_is_in_the_file() {
    let disk = SimDisk::new();
    let store = open(&disk);
    put(&store, b"key", b"value").unwrap();
    store.close().unwrap();
    let refused = options(&disk).page_size(1024).open("/btree").unwrap_err();
    assert!(matches!(refused, Error::InvalidOption(_)), "{refused}");
    let any = Options::new().background(Background::Inline);
    let store = any.disk(disk.disk()).open("/btree").unwrap();
    assert_eq!(store.stats().page_size, 512);
    assert_eq!(get(&store, b"key").unwrap(), b"value");
}

/// Pages were not merged, and their space was lost.
#[test]
fn d22_pages_are_merged_and_used_again() {
    let disk = SimDisk::new();
    let store = open(&disk);
    fill(&store, 1000);
    store.checkpoint().unwrap();
    let full = store.verify().unwrap();
    assert!(full.fill_permille > 600, "{full:?}");
    let mut order: Vec<_> = (0..1000).collect();
    let seed = support::seed();
    support::with_seed(seed, || {
        use rand::SeedableRng as _;
        use rand::seq::SliceRandom as _;
        order.shuffle(&mut rand::rngs::StdRng::seed_from_u64(seed));
        for keys in order[..900].chunks(100) {
            let mut write = store.begin_write().unwrap();
            for &n in keys {
                write.table("t").unwrap().delete(&key(n)).unwrap();
            }
            write.commit().unwrap();
        }
        store.checkpoint().unwrap();
        let few = store.verify().unwrap();
        assert!(few.fill_permille > 400, "{few:?}");
        assert!(few.tree_pages < full.tree_pages / 4, "{few:?} {full:?}");
    });
    let pages = store.stats().pages;
    for _ in 0..20 {
        fill(&store, 1000);
        let mut write = store.begin_write().unwrap();
        assert_eq!(write.table("t").unwrap().delete_range(..).unwrap(), 1000);
        write.commit().unwrap();
        store.checkpoint().unwrap();
    }
    let grown = store.stats();
    assert!(grown.pages <= 3 * pages, "{grown:?}, before {pages}");
    assert_eq!(store.verify().unwrap().tree_pages, 1);
}

/// A damaged pointer made a scan go round for ever.
#[test]
fn d23_and_d31_damage_is_an_error_that_ends_every_walk_and_takes_no_memory() {
    let disk = SimDisk::new();
    let store = open(&disk);
    fill(&store, 60);
    put(&store, b"large", &[9; 1500]).unwrap();
    store.close().unwrap();
    let world = disk.world().keep_unsynced();
    let len = world.file_bytes("/btree/pages").unwrap().len() as u64;
    let mut refused = 0;
    for offset in (0..len).step_by(7) {
        let flip = Damage::Flip { offset, mask: 0x40 };
        let damaged = SimDisk::boot(world.damaged("/btree/pages", flip).unwrap());
        let store = match options(&damaged).open("/btree") {
            Ok(store) => store,
            Err(Error::Corrupt { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let read = store.begin_read();
        let Ok(table) = read.table("t") else {
            refused += 1;
            continue;
        };
        let mut entries = 0;
        let is_whole = table.range(..).all(|entry| {
            entries += 1;
            entry.is_ok()
        });
        assert!(entries <= 62);
        refused += u32::from(!is_whole);
        assert!(!is_whole || entries == 61, "{offset}");
        assert!(is_whole || store.verify().is_err(), "{offset}");
    }
    assert!(refused > 500, "{refused}");
}

/// Two handles wrote to one store.
#[test]
fn d29_the_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::new().background(Background::Inline);
    let store = options().open(dir.path()).unwrap();
    let refused = options().open(dir.path()).unwrap_err();
    assert!(
        matches!(&refused, Error::Disk(durable_io::Error::Locked { .. })),
        "{refused}"
    );
    drop(store);
    options().open(dir.path()).unwrap();
}

/// A failed fsync was tried again, and "succeeded".
#[test]
fn d30_a_failed_sync_poisons_and_reads_show_what_is_durable() {
    for failure in SyncFailure::ALL {
        for calls in 0..40 {
            let disk = SimDisk::new();
            let store = open(&disk);
            put(&store, b"key", b"old").unwrap();
            disk.inject(Fault {
                call: disk.calls() + calls,
                kind: FaultKind::Sync(failure),
                sticky: true,
            });
            let committed = put(&store, b"key", b"new").is_ok();
            let written = store.checkpoint().is_ok();
            disk.clear_fault();
            let shown = get(&store, b"key").unwrap();
            assert_eq!(shown, if committed { b"new" } else { b"old" });
            if !written {
                let again = put(&store, b"key", b"newer").unwrap_err();
                assert!(matches!(again, Error::Poisoned(_)), "{again}");
                assert!(store.sync().is_err() && store.begin_write().is_err());
            }
            drop(store);
            let survivor = open(&after_power_loss(&disk.world()));
            let found = get(&survivor, b"key").unwrap();
            assert!(found == b"new" || !committed, "{failure:?} after {calls}");
            survivor.verify().unwrap();
        }
    }
}

/// Every file, with its bytes.
fn bytes(disk: &SimDisk) -> Vec<(String, Option<Vec<u8>>)> {
    let names = disk.files().into_iter().map(|(name, _)| name);
    let bytes = |name: String| (name.clone(), disk.world().file_bytes(&name));
    names.map(bytes).collect()
}

/// Puts behind the last record what a power cut may leave.
fn tear_log(disk: &SimDisk) {
    let segment = format!("{:016x}.wal", 1);
    let whole = disk.world().file_bytes(&format!("/btree/log/{segment}"));
    let end = whole.unwrap().iter().rposition(|&byte| byte != 0).unwrap();
    let file = disk.disk().open_dir("/btree/log").unwrap().open(&segment);
    let offset = (end as u64 + 64).next_multiple_of(8);
    file.unwrap().write_all_at(&[9; 20], offset).unwrap();
}

/// An older copy of a file was believed.
#[test]
fn an_older_copy_of_one_file_is_not_believed() {
    let copy = |from: &SimDisk, to: &SimDisk| {
        let dir = |disk: &SimDisk| disk.disk().open_dir("/btree").unwrap();
        let file = dir(from).open("pages").unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let file = dir(to).open("pages").unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    };
    let disk = SimDisk::new();
    let store = open(&disk);
    put(&store, b"one", b"1").unwrap();
    store.checkpoint().unwrap();
    let older = SimDisk::boot(disk.world().keep_unsynced());
    put(&store, b"two", b"2").unwrap();
    store.checkpoint().unwrap();
    put(&store, b"three", b"3").unwrap();
    drop(store);
    let now = SimDisk::boot(disk.world().keep_unsynced());
    let mixed = SimDisk::boot(disk.world().keep_unsynced());
    copy(&older, &mixed);
    tear_log(&mixed);
    let before = bytes(&mixed);
    let refused = options(&mixed).open("/btree").unwrap_err();
    // Not even what is torn was cut.
    assert!(bytes(&mixed) == before, "what is refused was changed");
    let Error::Corrupt { reason, .. } = refused else {
        panic!("{refused}");
    };
    assert!(matches!(reason, Corruption::LogRange { .. }), "{reason}");
    // The right file gives everything.
    copy(&now, &mixed);
    assert_eq!(get(&open(&mixed), b"three").unwrap(), b"3");
    // And the other way round: the log is too old.
    copy(&now, &older);
    let refused = options(&older).open("/btree").unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}

/// Committed, shown, not durable, gone: a reader had seen it.
#[test]
fn readers_see_only_what_is_durable_and_writers_what_is_committed() {
    let disk = SimDisk::new();
    let store = open(&disk);
    put(&store, b"key", b"old").unwrap();
    let mut write = store.begin_write().unwrap();
    write.table("t").unwrap().put(b"key", b"new").unwrap();
    write.commit_with(btree::Durability::Buffered).unwrap();
    assert_eq!(get(&store, b"key").unwrap(), b"old");
    let mut write = store.begin_write().unwrap();
    let seen = write.table("t").unwrap().get(b"key").unwrap().unwrap();
    assert_eq!(&*seen, b"new");
    drop(seen);
    write.abort_durable().unwrap();
    assert_eq!(get(&store, b"key").unwrap(), b"new");
    assert_eq!(
        get(&open(&after_power_loss(&disk.world())), b"key").unwrap(),
        b"new"
    );
    let manual = SimDisk::new();
    let store = options(&manual)
        .sync(SyncMode::Manual)
        .open("/btree")
        .unwrap();
    put(&store, b"key", b"seen").unwrap();
    assert_eq!(get(&store, b"key").unwrap(), b"seen");
    assert_eq!(store.stats().unsynced_commits, 1);
    let read = store.begin_read();
    let failure = FaultKind::Sync(SyncFailure::ALL[0]);
    disk.clear_fault();
    manual.inject(Fault {
        call: manual.calls(),
        kind: failure,
        sticky: true,
    });
    store.sync().unwrap_err();
    // What the reader has was never durable.
    let refused = read.table("t").map(drop).unwrap_err();
    assert!(matches!(refused, Error::Poisoned(_)), "{refused}");
    assert!(store.begin_read().tables().unwrap().is_empty());
}

/// A transaction that is many times as large as the memory for its pages (an eighth of 64 of them),
/// ended everywhere.
#[test]
fn a_transaction_that_is_larger_than_memory_is_there_as_a_whole_or_not_at_all() {
    let run = |disk: &SimDisk| -> btree::Result<()> {
        let store = options(disk).cache_size(64 * PAGE).open("/btree")?;
        put(&store, b"before", b"1")?;
        let mut write = store.begin_write()?;
        let mut table = write.create_table("t")?;
        for n in 0..3000 {
            table.put(&key(n * 7919 % 3000), &[n.to_le_bytes()[0]; 40])?;
        }
        table.put(b"large", &vec![3; 20_000])?;
        write.commit()?;
        store.verify()?;
        assert!(store.stats().pages > 5 * 64);
        Ok(())
    };
    let whole = SimDisk::new();
    run(&whole).unwrap();
    let calls = whole.calls();
    // At the end every call, before that some of them.
    let ends = (0..calls - 30).step_by(191).chain(calls - 30..calls);
    for call in ends {
        let disk = SimDisk::new();
        disk.inject(Fault {
            call,
            kind: FaultKind::Errno(5),
            sticky: true,
        });
        let committed = run(&disk).is_ok();
        for world in [disk.world().lose_unsynced(), disk.world().keep_unsynced()] {
            let disk = SimDisk::boot(world);
            let store = options(&disk).cache_size(64 * PAGE).open("/btree").unwrap();
            store.verify().unwrap();
            let read = store.begin_read();
            let count = read.table("t").map_or(0, |table| table.len());
            assert!([0, 1, 3002].contains(&count), "{count} after {call} calls");
            assert!(count == 3002 || !committed);
        }
    }
}

/// On a full disk nothing could be deleted.
#[test]
fn a_full_disk_refuses_and_deletions_make_room() {
    for free in [2_000, 9_000, 20_000, 60_000] {
        let disk = SimDisk::new();
        let store = open(&disk);
        disk.set_budget(Some(disk.used_bytes() + free));
        let mut kept = Vec::new();
        let refused = loop {
            let n = u32::try_from(kept.len()).unwrap();
            match put(&store, &key(n), &[5; 60]) {
                Ok(()) => kept.push(n),
                Err(error) => break error,
            }
        };
        assert!(refused.is_no_space(), "{refused}");
        assert_eq!(
            store.begin_read().table("t").map_or(0, |t| t.len()),
            kept.len() as u64
        );
        store.verify().unwrap();
        for n in kept {
            let mut write = store.begin_write().unwrap();
            write.table("t").unwrap().delete(&key(n)).unwrap();
            write.commit().unwrap();
        }
        store.checkpoint().unwrap();
        store.verify().unwrap();
        put(&store, b"again", &[5; 60]).unwrap();
        let survivor = open(&after_power_loss(&disk.world()));
        assert_eq!(survivor.begin_read().table("t").unwrap().len(), 1);
    }
}
