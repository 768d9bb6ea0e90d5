//! What a failed sync leaves, variant by variant: in the page cache, after a power loss, and for the next
//! sync.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use durable_io::sim::{FaultKind, SyncFailure};
use support::machine::{EIO, ENOSPC, Machine, code, is_poisoned};

/// The second half of a log of `N`s, whose sync fails: overwritten and longer by a sector.
fn failed_sync(failure: SyncFailure) -> Machine {
    let machine = Machine::new();
    machine.log.write_all_at(&[b'N'; 1024], 512).unwrap();
    machine.strike_next(FaultKind::Sync(failure));
    assert_eq!(code(machine.log.sync_data()), Some(EIO));
    machine
}

#[test]
fn a_failed_file_sync_leaves_what_its_variant_says() {
    // Seen through the page cache, after a power loss that keeps nothing, and after one that keeps
    // all that is still pending.
    let expected = [
        (SyncFailure::CacheKeeps, ["1536 ONN", "1024 OO", "1536 OO."]),
        (SyncFailure::CacheReverts, ["1024 OO", "1024 OO", "1024 OO"]),
        (
            SyncFailure::HappenedAnyway,
            ["1536 ONN", "1536 ONN", "1536 ONN"],
        ),
        (SyncFailure::StillDirty, ["1536 ONN", "1024 OO", "1536 ONN"]),
    ];
    assert_eq!(expected.map(|(failure, _)| failure), SyncFailure::ALL);
    for (failure, pictures) in expected {
        assert_eq!(failed_sync(failure).log(), pictures, "{failure:?}");
    }
}

#[test]
fn the_next_sync_through_another_opening_succeeds_and_proves_nothing() {
    let expected = [
        (SyncFailure::CacheKeeps, "1536 OO."),
        (SyncFailure::CacheReverts, "1024 OO"),
        (SyncFailure::HappenedAnyway, "1536 ONN"),
        (SyncFailure::StillDirty, "1536 ONN"),
    ];
    for (failure, durable) in expected {
        let machine = failed_sync(failure);
        drop(machine.dir.open("log").unwrap().sync_data().unwrap());
        let [_, lost, kept] = machine.log();
        assert_eq!([lost.as_str(), &kept], [durable; 2], "{failure:?}");
    }
}

#[test]
fn bytes_that_only_the_cache_keeps_become_durable_when_they_are_written_again() {
    for failure in SyncFailure::ALL {
        let machine = failed_sync(failure);
        let reopened = machine.dir.open("log").unwrap();
        reopened.write_all_at(&[b'N'; 1024], 512).unwrap();
        drop(reopened.sync_data().unwrap());
        assert_eq!(machine.log(), ["1536 ONN"; 3], "{failure:?}");
    }
}

#[test]
fn a_failed_directory_sync_leaves_what_its_variant_says() {
    let old = "below/, log 1024 OO, other 0";
    let new = "below/, log 1024 OO, new 0";
    let expected = [
        // Names go through a journal: they stay dirty.
        (SyncFailure::CacheKeeps, [new, old, new]),
        (SyncFailure::CacheReverts, [old, old, old]),
        (SyncFailure::HappenedAnyway, [new, new, new]),
        (SyncFailure::StillDirty, [new, old, new]),
    ];
    for (failure, pictures) in expected {
        let machine = Machine::new();
        machine.dir.rename("other", "new").unwrap();
        machine.strike_next(FaultKind::Sync(failure));
        assert_eq!(code(machine.dir.sync()), Some(EIO));
        assert_eq!(machine.pictures(), pictures, "{failure:?}");
        assert!(is_poisoned(machine.dir.sync()), "{failure:?}");
    }
}

#[test]
fn after_a_failed_sync_every_clone_is_poisoned_and_reads_go_on() {
    for failure in SyncFailure::ALL {
        let machine = failed_sync(failure);
        let clone = machine.log.clone();
        let before = (machine.sim.calls(), machine.pictures());
        assert!(is_poisoned(clone.sync_data()), "{failure:?}");
        assert!(is_poisoned(clone.write_all_at(b"x", 0)), "{failure:?}");
        assert!(is_poisoned(clone.write_durable_at(b"x", 0)), "{failure:?}");
        assert!(is_poisoned(clone.set_len(0)), "{failure:?}");
        assert_eq!((machine.sim.calls(), machine.pictures()), before);
        let mut byte = [0];
        clone.read_exact_at(&mut byte, 0).unwrap();
        assert_eq!(byte, [b'O']);
        assert!(machine.dir.open("log").is_ok(), "{failure:?}");
    }
}

#[test]
fn a_sync_that_fails_with_an_errno_leaves_everything_pending() {
    let machine = Machine::new();
    machine.log.write_all_at(&[b'N'; 512], 0).unwrap();
    machine.dir.create_new("new").unwrap();
    let before = machine.pictures();
    machine.strike_next(FaultKind::Errno(ENOSPC));
    assert_eq!(code(machine.log.sync_data()), Some(ENOSPC));
    machine.strike_next(FaultKind::Errno(EIO));
    assert_eq!(code(machine.dir.sync()), Some(EIO));
    assert_eq!(machine.pictures(), before);
}

#[test]
fn a_durable_write_can_fail_as_a_sync_does() {
    let expected = [
        (SyncFailure::CacheKeeps, ["1024 NO", "1024 OO", "1024 OO"]),
        (SyncFailure::CacheReverts, ["1024 OO", "1024 OO", "1024 OO"]),
        (
            SyncFailure::HappenedAnyway,
            ["1024 NO", "1024 NO", "1024 NO"],
        ),
        (SyncFailure::StillDirty, ["1024 NO", "1024 OO", "1024 NO"]),
    ];
    for (failure, pictures) in expected {
        let machine = Machine::new();
        machine.strike_next(FaultKind::Sync(failure));
        let result = machine.log.write_durable_at(&[b'N'; 512], 0);
        assert_eq!(code(result), Some(EIO), "{failure:?}");
        assert_eq!(machine.log(), pictures, "{failure:?}");
        assert!(is_poisoned(machine.log.sync_data()), "{failure:?}");
    }
}
