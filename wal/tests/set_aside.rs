//! What a repair takes is kept in files that are the user's.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::collections::BTreeSet;
use std::path::Path;

use wal::Lsn;

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{checkpointed, damage, dir, fast_dir, options, read, segment, settle, snapshot, write};

const LAST: u64 = 18;

/// The records of a log that is made of what a repair left and of what it set aside.
fn put_together(path: &Path, aside: &[String]) -> BTreeSet<u64> {
    let whole = fast_dir();
    for (name, bytes) in snapshot(path) {
        if Path::new(&name)
            .extension()
            .is_some_and(|suffix| suffix == "wal")
        {
            write(whole.path(), &name, &bytes);
        }
    }
    for name in aside {
        let (of, _) = name.split_once(".cut").unwrap();
        write(whole.path(), of, &read(path, name));
    }
    let records = options().salvage(whole.path()).unwrap();
    records.flatten().map(|record| record.lsn.0).collect()
}

#[test]
fn nothing_but_what_is_damaged_is_lost_by_a_repair() {
    for (checkpoint, lsn) in (0..=LAST).flat_map(|c| (1..=LAST).map(move |lsn| (c, lsn))) {
        let what = format!("checkpoint {checkpoint}, damage of {lsn}");
        let dir = checkpointed(checkpoint);
        damage(dir.path(), lsn);
        let log = options().repair(dir.path()).unwrap();
        let aside = log.recovery().set_aside.clone();
        log.close().unwrap();
        let all: BTreeSet<u64> = (1..=LAST).filter(|&other| other != lsn).collect();
        assert_eq!(put_together(dir.path(), &aside), all, "{what}");
        // Those are all, and nobody else takes them away.
        drop(options().open(dir.path()).unwrap());
        let others = snapshot(dir.path()).into_iter().map(|(name, _)| name);
        let others: BTreeSet<_> = others.filter(|name| name.contains(".cut")).collect();
        assert_eq!(others, aside.into_iter().collect(), "{what}");
    }
}

#[test]
fn a_torn_tail_and_an_empty_segment_are_not_kept() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(&[1; 400]).unwrap();
    settle(&log);
    drop(log);
    let mut bytes = read(dir.path(), &segment(1));
    bytes[600] = 7;
    write(dir.path(), &segment(1), &bytes);
    let log = options().repair(dir.path()).unwrap();
    assert_eq!(log.recovery().dropped, None);
    assert!(log.recovery().set_aside.is_empty());
    drop(log);
    // Now it is damage; the preallocated segment above it holds nothing.
    damage(dir.path(), 1);
    let log = options().repair(dir.path()).unwrap();
    let aside = &log.recovery().set_aside;
    assert!(
        aside.len() == 1 && aside[0].starts_with(&segment(1)),
        "{aside:?}"
    );
}

/// If it does not know which log it is, it keeps everything all the same.
#[test]
fn what_a_log_without_a_superblock_loses_is_kept() {
    let log = checkpointed(0);
    dir(log.path()).remove("mark").unwrap();
    damage(log.path(), 6);
    let repaired = options().repair(log.path()).unwrap();
    let aside = repaired.recovery().set_aside.clone();
    assert_eq!(repaired.bounds(), Lsn(1)..Lsn(6));
    drop(repaired);
    let all: BTreeSet<u64> = (1..=LAST).filter(|&other| other != 6).collect();
    assert_eq!(put_together(log.path(), &aside), all);
}
