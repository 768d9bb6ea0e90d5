//! What is deleted gives its space back without a call, and what the store says of its space.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use lsm::{
    Background, Batch, DelayCause, Error, KeyspaceOptions, LevelSpace, Lsm, Options, Strategy,
};

const KEYS: u32 = 3000;

fn options() -> Options {
    Options::new()
        .background(Background::Inline)
        .sync(lsm::SyncMode::Manual)
        .table_size(32 << 10)
        .reserve(0)
}

fn key(n: u32) -> Vec<u8> {
    format!("{n:06}").into_bytes()
}

fn settle(db: &Lsm) {
    while db.run_background().unwrap() {}
}

/// A store with many keys in tables of its last levels, of either strategy; and how many bytes they take.
fn filled(options: Options, strategy: Strategy) -> (tempfile::TempDir, Lsm, u64) {
    let dir = tempfile::tempdir().unwrap();
    let keyspace = KeyspaceOptions::new().strategy(strategy);
    let db = options
        .keyspace("default", keyspace)
        .open(dir.path())
        .unwrap();
    for n in 0..KEYS {
        db.put(&key(n), &[7; 100]).unwrap();
    }
    db.compact(..).unwrap();
    let bytes = db.stats().table_bytes;
    assert!(bytes > 300_000);
    (dir, db, bytes)
}

fn deleted_one_by_one(db: &Lsm, keys: std::ops::Range<u32>) {
    for n in keys {
        db.delete(&key(n)).unwrap();
    }
    db.flush().unwrap();
}

fn holds(db: &Lsm, is_left: impl Fn(u32) -> bool) {
    let left = db.scan(..).unwrap().map(|pair| pair.unwrap().0);
    let expected = (0..KEYS).filter(|n| is_left(*n)).map(key);
    assert!(left.eq(expected));
}

const STRATEGIES: [Strategy; 2] = [Strategy::LazyLeveled, Strategy::Leveled];

#[test]
fn a_range_of_keys_that_are_deleted_one_by_one_gives_its_space_back_without_a_call() {
    for strategy in STRATEGIES {
        let (_dir, db, before) = filled(options(), strategy);
        deleted_one_by_one(&db, 500..2500);
        assert!(db.stats().table_bytes > before);
        settle(&db);
        let after = db.stats().table_bytes;
        assert!(
            after < before * 4 / 10,
            "{after} of {before} bytes are left"
        );
        let space = &db.explain_space()[0];
        let tombstones: u64 = space.levels.iter().map(|level| level.tombstones).sum();
        assert_eq!(tombstones, 0, "{space:?}");
        holds(&db, |n| !(500..2500).contains(&n));
    }
}

#[test]
fn without_the_option_it_stays_until_a_level_is_due() {
    let (_dir, db, before) = filled(options().reclaim_percent(101), Strategy::Leveled);
    deleted_one_by_one(&db, 500..2500);
    settle(&db);
    assert!(db.stats().table_bytes > before);
    db.compact(..).unwrap();
    assert!(db.stats().table_bytes < before * 4 / 10);
}

/// Most of each table: none goes as a whole.
#[test]
fn ranges_that_cover_no_whole_table_give_their_space_back_too() {
    for strategy in STRATEGIES {
        let (_dir, db, before) = filled(options(), strategy);
        let is_left = |n: u32| n % 100 < 10;
        for n in (0..KEYS).step_by(100) {
            db.delete_range(&key(n + 10), &key(n + 100)).unwrap();
        }
        db.flush().unwrap();
        settle(&db);
        let after = db.stats().table_bytes;
        assert!(after < before / 4, "{after} of {before} bytes are left");
        let space = &db.explain_space()[0];
        assert!(
            space.levels.iter().all(|level| level.range_tombstones == 0),
            "{space:?}"
        );
        holds(&db, is_left);
    }
}

#[test]
fn a_few_deletions_are_not_worth_a_merge() {
    let (_dir, db, _) = filled(options(), Strategy::Leveled);
    settle(&db);
    let before = db.stats().compactions;
    for n in (0..KEYS).step_by(30) {
        db.delete(&key(n)).unwrap();
    }
    db.flush().unwrap();
    settle(&db);
    assert_eq!(db.stats().compactions, before);
    let due: u64 = db.explain_space()[0]
        .levels
        .iter()
        .map(|level| level.due_bytes)
        .sum();
    assert_eq!(due, 0);
}

#[test]
fn what_a_snapshot_sees_is_held_and_comes_back_when_it_ends() {
    for strategy in STRATEGIES {
        let (_dir, db, before) = filled(options(), strategy);
        let snapshot = db.snapshot().unwrap();
        // A table that goes as a whole, and a part of others.
        db.delete_range(&key(0), &key(1000)).unwrap();
        deleted_one_by_one(&db, 1000..2500);
        settle(&db);
        assert!(db.stats().table_bytes > before);
        assert_eq!(snapshot.scan(..).count(), KEYS as usize);
        let held = |db: &Lsm| -> u64 {
            let space = &db.explain_space()[0];
            space.levels.iter().map(|level| level.held_bytes).sum()
        };
        assert!(held(&db) > 100_000, "{}", held(&db));
        assert!(!db.run_background().unwrap());
        drop(snapshot);
        assert_eq!(held(&db), 0);
        settle(&db);
        assert!(db.stats().table_bytes < before * 3 / 10);
        holds(&db, |n| n >= 2500);
    }
}

#[test]
fn the_levels_that_are_explained_are_all_there_is() {
    let (_dir, db, _) = filled(options(), Strategy::LazyLeveled);
    let other = db
        .create_keyspace("other", &KeyspaceOptions::new())
        .unwrap();
    other.put(b"a", b"1").unwrap();
    db.put(b"a", b"1").unwrap();
    db.delete(&key(1)).unwrap();
    db.delete_range(&key(5), &key(7)).unwrap();
    db.flush().unwrap();
    let space = db.explain_space();
    let names: Vec<&str> = space.iter().map(|keyspace| &*keyspace.name).collect();
    assert_eq!(names, ["default", "other"]);
    assert!(space[0].memtable_bytes == 0 && space[1].memtable_bytes > 0);
    assert_eq!(space[1].levels, []);
    let sum = |of: fn(&LevelSpace) -> u64| space[0].levels.iter().map(of).sum::<u64>();
    let stats = db.stats();
    assert_eq!(sum(|level| level.tables), stats.tables);
    assert_eq!(sum(|level| level.bytes), stats.table_bytes);
    assert_eq!(sum(|level| level.runs), stats.runs);
    assert_eq!(sum(|level| level.entries), u64::from(KEYS) + 2);
    let new = &space[0].levels[0];
    assert_eq!((new.level, new.tombstones, new.range_tombstones), (0, 1, 1));
}

#[test]
fn a_range_takes_about_what_its_keys_take() {
    let (_dir, db, whole) = filled(options(), Strategy::Leveled);
    let bytes = |from: u32, to: u32| db.approximate_bytes(&key(from)[..]..&key(to)[..]).unwrap();
    assert_eq!(db.approximate_bytes(..).unwrap(), whole);
    let half = bytes(0, KEYS / 2);
    assert!(half.abs_diff(whole / 2) < whole / 10, "{half} of {whole}");
    assert!(bytes(100, 101) < 20_000);
    assert_eq!(bytes(5, 5), 0);
    assert_eq!(bytes(6, 5), 0);
    // What is in memory counts, exactly.
    let before = bytes(KEYS, KEYS + 10);
    for n in 0..20 {
        db.put(&key(KEYS + n), &[7; 1000]).unwrap();
    }
    let more = bytes(KEYS, KEYS + 10) - before;
    assert!((10_000..12_000).contains(&more), "{more}");
    let keyspace = db.create_keyspace("gone", &KeyspaceOptions::new()).unwrap();
    assert_eq!(keyspace.approximate_bytes(..).unwrap(), 0);
    db.drop_keyspace("gone").unwrap();
    assert!(matches!(
        keyspace.approximate_bytes(..),
        Err(Error::Dropped)
    ));
}

#[test]
fn who_does_not_want_to_wait_is_told_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = options()
        .memtable_size(100_000)
        .memory(300_000)
        .block_cache(4096);
    let db = options.open(dir.path()).unwrap();
    let write = |n: u32| db.try_write(Batch::new().put(&key(n), &vec![7; 30_000]));
    let (mut written, mut refused) = (0, 0);
    while refused < 3 {
        let flushes = db.stats().flushes;
        match write(written) {
            Ok(()) => written += 1,
            Err(Error::WouldDelay { cause, delay }) => {
                assert_eq!((cause, delay), (DelayCause::Memory, None));
                assert!(!db.contains(&key(written)).unwrap());
                refused += 1;
                // Nobody has waited: the background has not done anything meanwhile, and does now.
                assert_eq!(db.stats().flushes, flushes);
                settle(&db);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written >= 12, "{written}");
    assert_eq!(db.scan(..).unwrap().count(), written as usize);
    assert_eq!(db.stats().delays.writes, 0);
}
