//! Every call that makes a table fails in every way it can: no name is half a table, and nothing else is
//! left.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, clippy::print_stderr, reason = "each test file uses a part")]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use durable_io::sim::{Fault, FaultKind, ShortBy, SimDisk, SyncFailure};
use durable_io::{Dir, Disk, Temp};
use sstable::compaction::{Action, Compaction, Job, Retention};
use sstable::{BlockCache, Compression, Error, Options, Source, Table};
use support::{Model, assert_whole, holds};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn model(salt: u8) -> Model {
    let mut model = Model::default();
    for n in 0..60_u8 {
        model.put(&[n], 0, &[salt; 40]);
    }
    model.delete_range(b"x", b"z", 1);
    model
}

fn options() -> Options {
    Options::new().block_size(256).partition_keys(20)
}

fn names(dir: &Dir) -> Vec<String> {
    let entries = dir.list().unwrap().into_iter();
    entries.map(|entry| entry.name).collect()
}

fn open(disk: &Disk) -> sstable::Result<Table> {
    let dir = disk.open_dir("/tables").unwrap();
    Table::open(&dir, "table", &BlockCache::new(0))
}

/// A disk with a table that another is about to replace, and the number of the first call that does.
fn with_old_table() -> SimDisk {
    let sim = SimDisk::new();
    let disk = sim.disk();
    let dir = disk.create_dir("/tables").unwrap();
    model(1).build(&options(), &dir, "table").unwrap();
    sim
}

/// Whatever `kind` does at one call or from there on, each of them, `check` holds afterwards.
fn at_every_call(kind: FaultKind, check: impl Fn(&SimDisk, sstable::Result<()>, bool)) {
    for sticky in [false, true] {
        for nth in 0.. {
            let sim = with_old_table();
            let disk = sim.disk();
            let dir = disk.open_dir("/tables").unwrap();
            let call = sim.calls() + nth;
            sim.inject(Fault { call, kind, sticky });
            let built = model(2).build(&options(), &dir, "table").map(drop);
            let is_over = sim.clear_fault() == 0;
            check(&sim, built, sticky);
            if is_over {
                assert!(nth > 8, "{nth} calls");
                break;
            }
        }
    }
}

#[test]
fn a_call_that_fails_leaves_the_old_table_or_the_new_one_and_no_other_file() {
    let mut kinds = vec![
        FaultKind::Errno(EIO),
        FaultKind::Errno(ENOSPC),
        FaultKind::ErrnoAfter(EIO),
    ];
    kinds.extend(SyncFailure::ALL.map(FaultKind::Sync));
    for kind in kinds {
        at_every_call(kind, |sim, built, sticky| {
            let disk = sim.disk();
            let table = open(&disk).unwrap();
            if built.is_ok() {
                holds(&table, &model(2)).unwrap();
            } else {
                let is_old = table.get(&[0]).unwrap().unwrap()[0] == 1;
                holds(&table, &model(if is_old { 1 } else { 2 })).unwrap();
            }
            assert!(table.verify().unwrap().is_whole());
            let dir = disk.open_dir("/tables").unwrap();
            model(3).build(&options(), &dir, "table").unwrap();
            holds(&open(&disk).unwrap(), &model(3)).unwrap();
            // While nothing can be removed, nothing is: then who owns the directory does it, since another
            // writer may be at work under such a name.
            let is_left = |name: &String| sticky && Temp::target_of(name) == Some("table");
            let others = names(&dir).into_iter().filter(|name| !is_left(name));
            assert_eq!(others.collect::<Vec<_>>(), ["table"], "{kind:?}");
        });
    }
}

#[test]
fn a_table_that_was_acknowledged_survives_whatever_failed_before() {
    for failure in SyncFailure::ALL {
        at_every_call(FaultKind::Sync(failure), |sim, built, _| {
            let disk = SimDisk::boot(sim.world().lose_unsynced()).disk();
            let table = open(&disk).unwrap();
            let is_old = table.get(&[0]).unwrap().unwrap()[0] == 1;
            assert!(!is_old || built.is_err());
            holds(&table, &model(if is_old { 1 } else { 2 })).unwrap();
        });
    }
}

#[test]
fn short_writes_and_reads_are_no_failure() {
    for short in [ShortBy::OneByte, ShortBy::WholeSectors, ShortBy::AllButOne] {
        at_every_call(FaultKind::Short(short), |sim, built, _| {
            built.unwrap();
            let table = open(&sim.disk()).unwrap();
            holds(&table, &model(2)).unwrap();
            assert!(table.verify().unwrap().is_whole());
        });
    }
}

/// Address space and maps are limited, for a process and for the system: a table that cannot be mapped is read.
#[test]
fn a_refused_map_is_no_failure() {
    const ENOMEM: i32 = 12;
    let model = model(1);
    for compression in [Compression::None, Compression::Lz4] {
        for cache_bytes in [0, 1 << 20] {
            let sim = SimDisk::new();
            let disk = sim.disk();
            let dir = disk.create_dir("/tables").unwrap();
            let options = options().compression(compression);
            let info = model.build(&options, &dir, "table").unwrap();
            // No other call can fail so.
            sim.inject(Fault {
                call: sim.calls() + 2,
                kind: FaultKind::Errno(ENOMEM),
                sticky: false,
            });
            let cache = BlockCache::new(cache_bytes);
            let table = Table::open(&dir, "table", &cache).unwrap();
            assert_eq!(sim.clear_fault(), 1);
            sim.start_trace();
            for _ in 0..2 {
                holds(&table, &model).unwrap();
                assert_whole(&table, &info);
            }
            let calls = sim.trace();
            assert!(!calls.is_empty() && calls.iter().all(|call| call.op == "read"));
            assert_eq!(cache.bytes() > 0, cache_bytes > 0);
            let value = table.get(&[7]).unwrap().unwrap();
            drop(table);
            assert_eq!(value, [1; 40]);
        }
    }
}

/// What is read and not mapped is checked each time: it may have changed since.
#[test]
fn a_table_that_is_not_mapped_believes_nothing_it_did_not_check() {
    const ENOMEM: i32 = 12;
    let sim = with_old_table();
    sim.inject(Fault {
        call: sim.calls() + 3,
        kind: FaultKind::Errno(ENOMEM),
        sticky: false,
    });
    let table = open(&sim.disk()).unwrap();
    assert_eq!(sim.clear_fault(), 1);
    assert_eq!(table.get(&[7]).unwrap().unwrap(), [1; 40]);
    let dir = sim.disk().open_dir("/tables").unwrap();
    let file = dir.open("table").unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let at = bytes.windows(40).position(|window| window == [1; 40]);
    file.write_all_at(&[2], at.unwrap() as u64 + 5).unwrap();
    let first = table.get(&[0]);
    assert!(matches!(first, Err(Error::Corrupt { .. })), "{first:?}");
}

/// A filter, or whoever is told of the progress, panics in the middle of a compaction: no output stays.
#[test]
fn what_panics_in_a_compaction_leaves_nothing_behind() {
    let sim = with_old_table();
    let disk = sim.disk();
    let dir = disk.open_dir("/tables").unwrap();
    let run = |calls_before_the_panic: usize| {
        let table = open(&disk).unwrap();
        let mut calls = 0;
        let retention = Retention::new().filter(|_| {
            calls += 1;
            assert!(calls <= calls_before_the_panic, "planted");
            true
        });
        let job = Job {
            action: Action::Merge,
            inputs: vec![1],
            input_bytes: table.file_bytes(),
            output_level: 1,
            output_run: 0,
            output_bytes: 300,
            older: Vec::new(),
        };
        let mut outputs = 0;
        let name = || {
            outputs += 1;
            format!("output {outputs}")
        };
        let compaction = Compaction::new(options()).retention(retention);
        compaction.run(&job, vec![Source::of(&table)], &dir, name)
    };
    for calls in 0..60 {
        let ended = catch_unwind(AssertUnwindSafe(|| run(calls)));
        assert!(ended.is_err());
        assert_eq!(names(&dir), ["table"], "{calls} calls");
    }
    assert!(run(60).unwrap().len() > 5);
}

/// A table on read-only media, or of another user, opens: nothing asks for more than reading.
#[test]
fn reading_a_table_only_looks() {
    const LOOKING: [&str; 5] = ["open_dir", "open_read_only", "len", "map", "read"];
    let sim = with_old_table();
    let disk = sim.disk();
    sim.start_trace();
    let table = open(&disk).unwrap();
    holds(&table, &model(1)).unwrap();
    assert!(table.verify().unwrap().is_whole());
    let mut text = Vec::new();
    sstable::dump(&disk, "/tables/table", sstable::Detail::Entries, &mut text).unwrap();
    let calls: Vec<_> = sim.trace().into_iter().map(|call| call.op).collect();
    assert!(calls.len() > 5);
    let others: Vec<_> = calls.iter().filter(|op| !LOOKING.contains(op)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn after_a_failed_write_nothing_can_be_added() {
    let sim = with_old_table();
    let disk = sim.disk();
    let dir = disk.open_dir("/tables").unwrap();
    let mut writer = options().create(&dir, "table").unwrap();
    sim.inject(Fault {
        call: sim.calls(),
        kind: FaultKind::Errno(EIO),
        sticky: false,
    });
    let value = vec![7; 300 << 10];
    let mut errors = 0;
    for n in 0..10_u8 {
        let entry = sstable::Entry {
            key: &[n],
            version: 0,
            kind: sstable::Kind::Put,
            value: &value,
        };
        errors += usize::from(writer.add(entry).is_err());
    }
    assert_eq!(errors, 9);
    assert!(matches!(writer.finish(), Err(Error::Disk(_))));
    assert_eq!(names(&dir), ["table"]);
    holds(&open(&disk).unwrap(), &model(1)).unwrap();
}

#[test]
fn a_disk_of_any_size_is_full_without_harm() {
    let sim = with_old_table();
    let used = sim.used_bytes();
    for more in (0..).step_by(512) {
        let sim = with_old_table();
        sim.set_budget(Some(used + more));
        let disk = sim.disk();
        let dir = disk.open_dir("/tables").unwrap();
        let built = model(2).build(&options(), &dir, "table");
        assert_eq!(names(&dir), ["table"]);
        let table = open(&disk).unwrap();
        holds(&table, &model(if built.is_ok() { 2 } else { 1 })).unwrap();
        if built.is_ok() {
            assert!(more > 4096);
            break;
        }
    }
}
