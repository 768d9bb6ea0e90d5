//! A simulated disk that is full.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use durable_io::sim::{SimDisk, fill_the_disk, inject_everywhere};
use durable_io::{Dir, Error, Result, replace_file};
use support::files::{Files, Op};
use support::log::{Append, AppendOne, LogSubject, Recovery};
use support::picture::of_disk;
use support::{bound, passes};

fn is_full<T>(result: Result<T>) -> bool {
    matches!(result.err(), Some(Error::NoSpace { .. }))
}

/// A disk of `bytes` with a file `a` of two sectors: one unit for the name, two for the content.
fn disk_of(bytes: u64) -> (SimDisk, Dir) {
    let sim = SimDisk::new();
    let dir = sim.disk().open_dir("/").unwrap();
    dir.create_new("a")
        .unwrap()
        .write_all_at(&[b'A'; 1024], 0)
        .unwrap();
    assert_eq!(sim.used_bytes(), 3 * 512);
    sim.set_budget(Some(bytes));
    (sim, dir)
}

#[test]
fn the_last_unit_can_be_written_and_the_byte_after_it_cannot() {
    let (sim, dir) = disk_of(4 * 512);
    let file = dir.open("a").unwrap();
    assert_eq!(dir.free_space().unwrap(), 512);
    file.write_all_at(&[b'B'; 512], 1024).unwrap();
    assert_eq!((dir.free_space().unwrap(), sim.used_bytes()), (0, 4 * 512));
    assert!(is_full(file.write_all_at(b"x", 1536)));
    assert_eq!(of_disk(&sim.disk()), "a 1536 AAB");
    // A full disk poisons nothing, and overwriting needs no space.
    file.write_all_at(&[b'C'; 1536], 0).unwrap();
    assert_eq!(of_disk(&sim.disk()), "a 1536 CCC");
}

#[test]
fn a_write_of_which_only_a_part_fits_leaves_whole_units() {
    let (sim, dir) = disk_of(5 * 512);
    let file = dir.open("a").unwrap();
    assert!(is_full(file.write_all_at(&[b'B'; 2000], 100)));
    assert_eq!(of_disk(&sim.disk()), "a 2048 (A100B412)BBB");
    sim.set_budget(None);
    file.write_all_at(&[b'C'; 2048], 0).unwrap();
    drop(file.sync_data().unwrap());
    assert_eq!(of_disk(&sim.disk()), "a 2048 CCCC");
}

#[test]
fn a_write_that_syncs_on_a_full_disk_poisons() {
    let (_sim, dir) = disk_of(4 * 512);
    let file = dir.open("a").unwrap();
    let error = file.write_durable_at(&[b'B'; 1024], 1024).unwrap_err();
    assert!(!error.changed_nothing(), "{error}");
    let poisoned = file.write_all_at(b"x", 0);
    assert!(matches!(poisoned, Err(Error::Poisoned { .. })));
}

#[test]
fn where_a_disk_copies_on_write_overwriting_needs_space_until_the_next_sync() {
    let (sim, dir) = disk_of(4 * 512);
    sim.copy_on_write();
    let file = dir.open("a").unwrap();
    drop(file.sync_data().unwrap());
    assert!(is_full(file.write_all_at(&[b'B'; 1024], 0)));
    assert_eq!(of_disk(&sim.disk()), "a 1024 BA");
    // What was copied can be written again.
    file.write_all_at(&[b'C'; 512], 0).unwrap();
    assert!(is_full(file.allocate(1024, 1)));
    drop(file.sync_data().unwrap());
    file.write_all_at(&[b'C'; 512], 512).unwrap();
    assert_eq!(of_disk(&sim.disk()), "a 1024 CC");
    // Cutting gives nothing back before a sync, removing does.
    drop(file.sync_data().unwrap());
    file.set_len(512).unwrap();
    assert_eq!(sim.used_bytes(), 3 * 512);
    drop(file.sync_data().unwrap());
    assert_eq!(sim.used_bytes(), 2 * 512);
    file.write_all_at(&[b'D'; 512], 0).unwrap();
    dir.remove("a").unwrap();
    assert_eq!(sim.used_bytes(), 0);
}

#[test]
fn an_allocation_that_does_not_fit_changes_nothing_and_poisons_nothing() {
    let (sim, dir) = disk_of(4 * 512);
    let file = dir.open("a").unwrap();
    let before = sim.world();
    assert!(is_full(file.allocate(1024, 513)));
    assert_eq!(of_disk(&sim.disk()), "a 1024 AA");
    assert_eq!(of_disk(&SimDisk::boot(before).disk()), "a 1024 AA");
    file.allocate(1024, 512).unwrap();
    assert_eq!(of_disk(&sim.disk()), "a 1536 AA.");
    // What was reserved can be written on a full disk.
    file.write_all_at(&[b'B'; 512], 1024).unwrap();
    drop(file.sync_data().unwrap());
}

#[test]
fn a_name_needs_space_too() {
    let (sim, dir) = disk_of(3 * 512);
    assert!(is_full(dir.create_new("b")));
    assert!(is_full(dir.create_dir("b")));
    assert!(is_full(replace_file(&dir, "a", b"new")));
    dir.rename("a", "b").unwrap();
    assert_eq!(of_disk(&sim.disk()), "b 1024 AA");
}

#[test]
fn removing_and_truncating_work_on_a_full_disk_and_make_room() {
    let (sim, dir) = disk_of(4 * 512);
    let other = dir.create_new("b").unwrap();
    assert!(is_full(other.allocate(0, 1)));
    dir.open("a").unwrap().set_len(100).unwrap();
    other.allocate(0, 1).unwrap();
    dir.remove("a").unwrap();
    assert_eq!(dir.free_space().unwrap(), 2 * 512);
    other.allocate(0, 1024).unwrap();
    assert_eq!(sim.used_bytes(), 3 * 512);
}

#[test]
fn a_disk_that_is_more_than_full_takes_nothing_new_until_the_limit_is_lifted() {
    let (sim, dir) = disk_of(0);
    assert_eq!(dir.free_space().unwrap(), 0);
    let file = dir.open("a").unwrap();
    file.write_all_at(&[b'B'; 1024], 0).unwrap();
    drop(file.sync_data().unwrap());
    dir.sync().unwrap();
    assert!(is_full(file.allocate(1024, 1)));
    file.set_len(512).unwrap();
    sim.set_budget(None);
    assert_eq!(dir.free_space().unwrap(), u64::MAX);
    file.allocate(512, 4096).unwrap();
    assert_eq!(of_disk(&sim.disk()), "a 4608 B........");
}

#[test]
fn a_second_name_needs_the_space_of_a_name_and_no_more() {
    let (sim, dir) = disk_of(4 * 512);
    dir.link("a", "b").unwrap();
    assert_eq!(sim.used_bytes(), 4 * 512);
    // The content is freed with its last name.
    dir.remove("a").unwrap();
    assert_eq!(sim.used_bytes(), 3 * 512);
}

#[test]
fn a_store_meets_a_full_disk_at_every_size() {
    let report = fill_the_disk(&LogSubject::new(), &[AppendOne; 4], &|_report| {});
    assert_eq!(report.violations, [""; 0]);
    // Two names, and four records of 600 bytes: seven disks of whole sectors, and one of nothing. And one
    // more where each record that begins in the sector of the one before is a second copy of it.
    assert_eq!(report.injected, 8 + 9);
    assert_eq!(report.unstruck, 2, "on the largest everything fits");
}

#[test]
fn the_largest_disk_of_a_sweep_is_large_enough() {
    let subject = Files::new(&[Op::Replace(600)]);
    let report = fill_the_disk(&subject, &[Op::Replace(600); 2], &|_report| {});
    assert_eq!(report.violations, [""; 0]);
    assert!(report.unstruck > 0, "{report:?}");
}

#[test]
fn a_right_store_survives_every_fault_at_every_call() {
    for append in [Append::Syncs, Append::WritesDurably, Append::Groups] {
        let subject = LogSubject::appending(append);
        let report = inject_everywhere(&subject, &[AppendOne; 3], &|_report| {});
        assert_eq!(report.violations, [""; 0], "{append:?}");
        assert!(report.injected > 10 * report.calls, "{report:?}");
        assert_eq!(report.unstruck, 0, "{append:?}");
    }
}

#[test]
fn d30_a_store_that_swallows_the_error_of_a_sync_is_caught() {
    let wrong = LogSubject::appending(Append::SwallowsErrors);
    let report = inject_everywhere(&wrong, &[AppendOne; 2], &|_report| {});
    assert!(!report.violations.is_empty());
    // Only a power loss shows that the bytes are still dirty.
    let is_dirty = |violation: &String| violation.contains("Sync(StillDirty)");
    assert!(report.violations.iter().any(is_dirty), "{report:#?}");
    let of_syncs = |violation: &String| violation.contains("(Sync)");
    assert!(
        report.violations.iter().all(of_syncs),
        "{:#?}",
        report.violations
    );
}

#[test]
fn d30_a_recovery_that_syncs_what_only_the_cache_holds_and_does_not_write_it_again_is_caught() {
    let wrong = LogSubject::recovering(Recovery::Syncs);
    // No crash alone shows it.
    passes(&wrong, &bound(2));
    let report = inject_everywhere(&wrong, &[AppendOne; 2], &|_report| {});
    assert!(!report.violations.is_empty());
    let of_cache = |violation: &String| violation.contains("Sync(CacheKeeps)");
    assert!(
        report.violations.iter().all(of_cache),
        "{:#?}",
        report.violations
    );
}
