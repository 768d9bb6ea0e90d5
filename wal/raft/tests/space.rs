//! What the log takes of the disk, how many syncs it takes, and what works when the disk is full.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::sync::mpsc;

use durable_io::sim::SimDisk;
use durable_raft::{Background, Change, Entry, Group, LogStore, Stats};
use support::{SEGMENT_SIZE, entries, entry, options, point, shape, vote};

fn assert_bounded(stats: &Stats) {
    let bound = 2 * stats.live_bytes + 3 * SEGMENT_SIZE;
    let disk = stats.segments * SEGMENT_SIZE;
    assert!(disk <= bound, "{disk} bytes, {bound} allowed: {stats:?}");
}

fn run_all(store: &LogStore) {
    while store.run_background().unwrap() {}
}

/// 99 groups append and purge, and one never purges; its entries have `size` bytes.
fn ninety_nine_purge(size: usize) -> Stats {
    let sim = SimDisk::new();
    let inline = options(&sim).background(Background::Inline).cache(0);
    let store = inline.clone().open("/raft").unwrap();
    let groups: Vec<Group> = (0..100).map(|id| store.create(id).unwrap()).collect();
    let slow = |index| Entry {
        data: vec![7; size],
        ..entry(index)
    };
    for round in 1..60 {
        groups[0].append(&[slow(round)]).unwrap();
        for group in &groups[1..] {
            group.append(&[entry(round)]).unwrap();
            group.purge(&point(round)).unwrap();
        }
        run_all(&store);
        assert_bounded(&store.stats());
    }
    let stats = store.stats();
    let slow: Vec<Entry> = (1..60).map(slow).collect();
    assert_eq!(groups[0].entries(0..99).unwrap(), slow);
    store.close().unwrap();
    let store = inline.open("/raft").unwrap();
    assert_eq!(store.group(0).unwrap().entries(0..99).unwrap(), slow);
    let state = store.group(99).unwrap().state().unwrap();
    assert_eq!((state.purged, state.first), (Some(point(59)), None));
    assert_eq!(store.verify().unwrap().damage.len(), 0);
    stats
}

#[test]
fn a_group_that_never_purges_keeps_no_other_from_giving_space_back() {
    for size in [0, 200, 5000] {
        let stats = ninety_nine_purge(size);
        assert!(stats.moved_records > 0, "{stats:?}");
    }
}

#[test]
fn the_appends_of_a_hundred_groups_share_three_syncs() {
    let sim = SimDisk::new();
    let store = options(&sim).segment_size(1 << 20).open("/raft").unwrap();
    let groups: Vec<Group> = (0..100).map(|id| store.create(id).unwrap()).collect();
    let before = store.stats().syncs;
    let (go, held) = mpsc::channel();
    let (called, durable) = mpsc::channel();
    let mut first = Some(held);
    for group in &groups {
        let called = called.clone();
        // The first one keeps the thread that syncs until all are there, as a sync of a slow disk would.
        let held = first.take();
        let done = move |result| {
            if let Some(held) = held {
                held.recv().unwrap();
            }
            called.send(result).unwrap();
        };
        group.submit(Change::Append(&[entry(1)]), done).unwrap();
    }
    go.send(()).unwrap();
    for _ in &groups {
        durable.recv().unwrap().unwrap();
    }
    let syncs = store.stats().syncs - before;
    assert!(syncs <= 3, "{syncs} syncs");
}

/// Fills the disk with appends of `group`; returns the last one that was acknowledged.
fn fill(group: &Group, from: u64) -> u64 {
    for index in from.. {
        let large = Entry {
            data: vec![1; 300],
            ..entry(index)
        };
        match group.append(&[large]) {
            Ok(()) => {}
            Err(error) if error.is_no_space() => return index - 1,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("a disk is not endless")
}

#[test]
fn votes_truncations_and_purges_work_on_a_full_disk_and_make_room() {
    let sim = SimDisk::new();
    sim.set_budget(Some(20 * SEGMENT_SIZE));
    let inline = options(&sim).background(Background::Inline);
    let store = inline.clone().open("/raft").unwrap();
    let (one, two) = (store.create(1).unwrap(), store.create(2).unwrap());
    two.append(&entries(1..5)).unwrap();
    let last = fill(&one, 1);
    assert!(last > 20);
    one.save_vote(&vote(9)).unwrap();
    one.truncate(last - 2).unwrap();
    two.truncate(4).unwrap();
    one.save_committed(Some(&point(last - 4))).unwrap();
    one.purge(&point(last - 4)).unwrap();
    store.compact().unwrap();
    assert_bounded(&store.stats());
    assert_eq!(store.stats().reserve_bytes, 2 * SEGMENT_SIZE, "held again");
    let again = fill(&one, last - 2);
    assert!(again > last + 10, "{last}, then {again}");
    store.destroy(1).unwrap();
    store.compact().unwrap();
    let before = shape(&two);
    assert_eq!(before.entries, entries(1..4));
    drop((one, two));
    store.close().unwrap();
    let store = inline.open("/raft").unwrap();
    assert_eq!(store.groups().unwrap(), [2]);
    assert_eq!(shape(&store.group(2).unwrap()), before);
}

#[test]
fn an_append_that_does_not_fit_is_not_there_in_part() {
    let sim = SimDisk::new();
    let store = options(&sim)
        .background(Background::Inline)
        .open("/raft")
        .unwrap();
    let group = store.create(1).unwrap();
    group.append(&entries(1..3)).unwrap();
    sim.set_budget(Some(sim.used_bytes() + 2 * SEGMENT_SIZE));
    let many: Vec<Entry> = (3..30)
        .map(|index| Entry {
            data: vec![1; 1000],
            ..entry(index)
        })
        .collect();
    assert!(group.append(&many).unwrap_err().is_no_space());
    assert_eq!(group.entries(0..99).unwrap(), entries(1..3));
    sim.set_budget(None);
    group.append(&entries(3..4)).unwrap();
    drop(group);
    drop(store);
    let store = options(&sim).open("/raft").unwrap();
    assert_eq!(
        store.group(1).unwrap().entries(0..99).unwrap(),
        entries(1..4)
    );
}
