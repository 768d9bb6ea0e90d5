//! What groups answer, and what is left of them when the store is opened again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::mpsc;

use durable_io::sim::SimDisk;
use durable_raft::{Background, Change, Error, LogStore, MAX_ENTRY_SIZE, Options};
use support::{entries, entry, open, options, point, shape, vote};

/// Does nothing but open again.
fn reopen(store: &LogStore, sim: &SimDisk) -> LogStore {
    store.close().unwrap();
    open(sim)
}

#[test]
fn everything_is_as_it_was_when_the_store_is_opened_again() {
    let sim = SimDisk::new();
    let store = open(&sim);
    let (one, two) = (store.create(1).unwrap(), store.create(2).unwrap());
    one.save_vote(&vote(1)).unwrap();
    one.append(&entries(1..6)).unwrap();
    one.truncate(5).unwrap();
    one.save_committed(Some(&point(3))).unwrap();
    one.purge(&point(2)).unwrap();
    two.append(&entries(10..12)).unwrap();
    two.save_vote(&vote(7)).unwrap();
    let before = (shape(&one), shape(&two));
    assert_eq!(before.0.entries, entries(3..5));
    assert_eq!(before.0.state.committed, Some(point(3)));
    drop((one, two));
    let store = reopen(&store, &sim);
    assert_eq!(store.groups().unwrap(), [1, 2]);
    let groups = [1, 2].map(|id| store.group(id).unwrap());
    assert_eq!((shape(&groups[0]), shape(&groups[1])), before);
    assert_eq!(store.recovery().entries, 4);
    assert_eq!(store.verify().unwrap().damage.len(), 0);
}

#[test]
fn a_destroyed_group_does_not_come_back_under_its_id() {
    let sim = SimDisk::new();
    let store = open(&sim);
    let old = store.create(1).unwrap();
    old.append(&entries(1..3)).unwrap();
    old.save_vote(&vote(4)).unwrap();
    store.destroy(1).unwrap();
    assert!(matches!(store.group(1), Err(Error::NoGroup { group: 1 })));
    let new = store.create(1).unwrap();
    assert!(new.incarnation() > old.incarnation());
    assert!(matches!(old.vote(), Err(Error::NoGroup { group: 1 })));
    let refused = old.append(&entries(3..4));
    assert!(matches!(refused, Err(Error::NoGroup { group: 1 })));
    drop((old, new));
    let store = reopen(&store, &sim);
    let group = store.group(1).unwrap();
    assert_eq!(group.vote().unwrap(), None);
    assert_eq!(group.entries(0..9).unwrap(), []);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let sim = SimDisk::new();
    let store = open(&sim);
    let group = store.create(1).unwrap();
    group.append(&entries(5..8)).unwrap();
    group.save_committed(Some(&point(6))).unwrap();
    let before = shape(&group);
    let gap = group.append(&entries(9..10));
    assert!(matches!(
        gap,
        Err(Error::Gap {
            expected: 8,
            found: 9,
            ..
        })
    ));
    let again = group.append(&entries(7..8));
    assert!(matches!(
        again,
        Err(Error::Gap {
            expected: 8,
            found: 7,
            ..
        })
    ));
    let committed = group.truncate(6);
    assert!(matches!(committed, Err(Error::Committed { kept: 6, .. })));
    let beyond = group.save_committed(Some(&point(8)));
    assert!(matches!(beyond, Err(Error::Beyond { index: 8, .. })));
    let exists = store.create(1);
    assert!(matches!(exists, Err(Error::GroupExists { group: 1 })));
    let mut large = entry(8);
    large.data = vec![0; MAX_ENTRY_SIZE + 1];
    let refused = group.append(&[large]);
    assert!(matches!(
        refused,
        Err(Error::TooLarge { what: "entry", .. })
    ));
    let mut long = vote(1);
    long.leader = vec![0; 257];
    let refused = group.save_vote(&long);
    assert!(matches!(
        refused,
        Err(Error::TooLarge {
            what: "leader",
            limit: 256,
            ..
        })
    ));
    assert_eq!(shape(&group), before);
}

#[test]
fn a_purge_beyond_the_end_moves_it_and_one_that_is_done_does_nothing() {
    let sim = SimDisk::new();
    let store = open(&sim);
    let group = store.create(1).unwrap();
    group.append(&entries(0..3)).unwrap();
    group.purge(&point(9)).unwrap();
    group.purge(&point(4)).unwrap();
    let state = group.state().unwrap();
    assert_eq!((state.purged, state.last), (Some(point(9)), None));
    let gap = group.append(&entries(9..10));
    assert!(matches!(gap, Err(Error::Gap { expected: 10, .. })));
    group.append(&entries(10..11)).unwrap();
    drop(group);
    let store = reopen(&store, &sim);
    let group = store.group(1).unwrap();
    assert_eq!(group.entries(0..99).unwrap(), entries(10..11));
}

#[test]
fn an_entry_that_is_larger_than_a_segment_is_stored_in_parts() {
    let sim = SimDisk::new();
    let store = open(&sim);
    let group = store.create(1).unwrap();
    let mut all = entries(1..4);
    all[1].data = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    group.append(&all).unwrap();
    assert_eq!(group.entries(0..9).unwrap(), all);
    assert_eq!(group.entries_within(2..9, 1).unwrap(), all[1..2]);
    drop(group);
    let store = reopen(&store, &sim);
    assert_eq!(store.group(1).unwrap().entries(0..9).unwrap(), all);
    assert_eq!(store.verify().unwrap().entries, 3);
}

#[test]
fn a_callback_is_called_after_the_sync_and_entries_can_be_read_before() {
    let sim = SimDisk::new();
    let store = options(&sim)
        .background(Background::Inline)
        .open("/raft")
        .unwrap();
    let group = store.create(1).unwrap();
    let (called, durable) = mpsc::channel();
    group
        .submit(Change::Append(&entries(1..2)), move |result| {
            called.send(result).unwrap();
        })
        .unwrap();
    assert_eq!(group.entries(1..2).unwrap(), entries(1..2));
    assert!(durable.try_recv().is_err(), "no sync has returned");
    let stats = store.stats();
    assert!(stats.durable_record < stats.last_record);
    assert!(store.run_background().unwrap());
    durable.try_recv().unwrap().unwrap();
    assert_eq!(store.stats().durable_record, stats.last_record);
}

#[test]
fn a_callback_may_use_the_store_and_whoever_still_waits_is_called_at_the_end() {
    let sim = SimDisk::new();
    let store = open(&sim);
    let group = store.create(1).unwrap();
    let (called, durable) = mpsc::channel();
    let (again, next) = (group.clone(), called.clone());
    group
        .submit(Change::Append(&entries(1..2)), move |result| {
            result.unwrap();
            again
                .submit(Change::Vote(&vote(2)), move |result| {
                    next.send(result).unwrap();
                })
                .unwrap();
        })
        .unwrap();
    durable.recv().unwrap().unwrap();
    let inline = options(&SimDisk::new()).background(Background::Inline);
    let other = inline.open("/raft").unwrap();
    let group = other.create(1).unwrap();
    let dismissed = called.clone();
    group
        .submit(Change::Vote(&vote(2)), move |result| {
            dismissed.send(result).unwrap();
        })
        .unwrap();
    drop(other);
    assert!(matches!(durable.recv().unwrap(), Err(Error::Closed)));
    assert!(matches!(group.vote(), Err(Error::Closed)));
}

#[test]
fn closing_calls_back_and_works_through_an_arc() {
    let sim = SimDisk::new();
    let store = std::sync::Arc::new(
        options(&sim)
            .background(Background::Inline)
            .open("/raft")
            .unwrap(),
    );
    let group = store.create(1).unwrap();
    let (called, durable) = mpsc::channel();
    group
        .submit(Change::Vote(&vote(2)), move |result| {
            called.send(result).unwrap();
        })
        .unwrap();
    std::sync::Arc::clone(&store).close().unwrap();
    durable.try_recv().unwrap().unwrap();
    assert!(matches!(store.close(), Err(Error::Closed)));
    assert!(matches!(group.save_vote(&vote(3)), Err(Error::Closed)));
    // Also while a handle of a group lives on.
    assert_eq!(open(&sim).group(1).unwrap().vote().unwrap(), Some(vote(2)));
}

#[test]
fn a_store_without_a_cache_reads_from_the_log() {
    let sim = SimDisk::new();
    let store = options(&sim).cache(0).open("/raft").unwrap();
    let (one, two) = (store.create(1).unwrap(), store.create(2).unwrap());
    for index in 1..20 {
        one.append(&[entry(index)]).unwrap();
        two.append(&entries(2 * index..2 * index + 2)).unwrap();
    }
    assert_eq!(store.stats().cache_bytes, 0);
    assert_eq!(one.entries(3..15).unwrap(), entries(3..15));
    assert_eq!(two.entries(0..u64::MAX).unwrap(), entries(2..40));
    assert_eq!(
        Options::new()
            .disk(sim.disk())
            .open("/other")
            .unwrap()
            .groups()
            .unwrap(),
        [] as [u64; 0]
    );
}

#[test]
fn a_store_is_read_without_being_opened_and_nothing_is_changed() {
    let sim = SimDisk::new();
    let store = open(&sim);
    let group = store.create(1).unwrap();
    group.save_vote(&vote(3)).unwrap();
    let mut all = entries(1..30);
    all[3].data = vec![5; 6000];
    for entry in &all {
        group.append(std::slice::from_ref(entry)).unwrap();
    }
    for _ in 0..200 {
        store.create(2).unwrap();
        store.destroy(2).unwrap();
    }
    store.compact().unwrap();
    assert!(store.stats().moved_records > 0);
    group.purge(&point(2)).unwrap();
    let before = shape(&group);
    let busy = options(&sim).open_read_only("/raft");
    assert!(matches!(
        busy,
        Err(Error::Disk(durable_io::Error::Locked { .. }))
    ));
    drop((group, store));
    let files = sim.used_bytes();
    let read = options(&sim).open_read_only("/raft").unwrap();
    assert_eq!(read.groups(), [1]);
    assert_eq!(read.vote(1).unwrap(), before.vote);
    assert_eq!(read.state(1).unwrap(), before.state);
    assert_eq!(read.entries(1, 0..u64::MAX).unwrap(), all[2..]);
    assert_eq!(read.entries(1, 4..6).unwrap(), all[3..5]);
    assert!(matches!(read.vote(2), Err(Error::NoGroup { group: 2 })));
    assert_eq!(sim.used_bytes(), files);
    drop(read);
    assert_eq!(shape(&open(&sim).group(1).unwrap()), before);
}
