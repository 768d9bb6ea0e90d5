//! The state machine: what is applied, and what is sent, received, damaged, refused and removed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[path = "state_machine/faults.rs"]
mod faults;
#[path = "state_machine/format.rs"]
mod format;

use durable_io::sim::SimDisk;
use durable_raft::machine::{Applied, KEYSPACE, Options, SnapshotData, StateMachine};
use durable_raft::{Background, Corruption, Error, LogPoint, Result};
use lsm::KeyspaceOptions;

fn options(sim: &SimDisk) -> Options {
    let store = lsm::Options::new()
        .memtable_size(4096)
        .log_segment_size(8192)
        .manifest_segment_size(1024)
        .reserve(0);
    Options::new()
        .store(store)
        .background(Background::Inline)
        .keyspace("other", KeyspaceOptions::new())
        .disk(sim.disk())
}

fn open(sim: &SimDisk) -> StateMachine {
    options(sim).open("/machine").unwrap()
}

fn point(index: u64) -> LogPoint {
    LogPoint {
        index,
        term: 2,
        leader: b"n1".to_vec(),
    }
}

/// Entry `index` puts its number under `key`, in both keyspaces.
fn put(machine: &StateMachine, index: u64, key: &[u8]) -> Result<()> {
    machine.apply(&point(index), None, |changes| {
        changes.put(key, &index.to_le_bytes());
        changes.put_in("other", key, b"there too")
    })
}

fn get(machine: &StateMachine, key: &[u8]) -> Option<u64> {
    let snapshot = machine.read().unwrap();
    let found = snapshot.get(key).unwrap();
    let other = snapshot.keyspace("other").unwrap().get(key).unwrap();
    assert_eq!(other.is_some(), found.is_some(), "a batch was torn");
    found.map(|bytes| u64::from_le_bytes(bytes.as_ref().try_into().unwrap()))
}

fn bytes(data: &mut SnapshotData) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(data.len().unwrap()).unwrap()];
    let mut at = 0;
    while at < bytes.len() {
        // In small pieces, so that they begin and end everywhere.
        let end = bytes.len().min(at + 7_919);
        let read = data.read_at(&mut bytes[at..end], at as u64).unwrap();
        assert!(read > 0);
        at += read;
    }
    assert_eq!(data.read_at(&mut [0; 8], at as u64).unwrap(), 0);
    bytes
}

/// Sends `bytes` to `machine`, and has it installed.
fn install(machine: &StateMachine, bytes: &[u8], last: u64) -> Result<()> {
    let incoming = machine.receive()?;
    incoming.write_at(bytes, 0)?;
    let is_expected = |found: &Applied| found.last == Some(point(last));
    machine.install("monday", SnapshotData::Incoming(incoming), is_expected)
}

/// What another node sends that has applied `last` entries.
fn sent(last: u64) -> Vec<u8> {
    sent_by(&SimDisk::new(), last)
}

fn sent_by(sim: &SimDisk, last: u64) -> Vec<u8> {
    let machine = open(sim);
    for index in 1..=last {
        put(&machine, index, format!("key {}", index % 5).as_bytes()).unwrap();
    }
    bytes(&mut machine.build_snapshot().unwrap().data)
}

fn reason(error: Error) -> Corruption {
    match error {
        Error::Corrupt { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn an_entry_is_applied_once_and_what_it_answers_is_answered() {
    let machine = open(&SimDisk::new());
    assert_eq!(machine.applied().unwrap(), Applied::default());
    put(&machine, 3, b"a").unwrap();
    let seen = machine.apply(&point(4), Some(b"us"), |changes| {
        changes.put(b"a", b"unseen");
        changes.delete_in("other", b"a")?;
        let before = changes.before()?.get(b"a")?;
        assert_eq!(before, changes.get(b"a")?);
        assert_eq!(
            changes.get_in("other", b"a")?.as_deref(),
            Some(&b"there too"[..])
        );
        Ok(before.unwrap().to_vec())
    });
    assert_eq!(seen.unwrap(), 3_u64.to_le_bytes());
    let applied = machine.applied().unwrap();
    assert_eq!(applied.last, Some(point(4)));
    assert_eq!(applied.membership.as_deref(), Some(&b"us"[..]));
    for index in [4, 1] {
        let again = put(&machine, index, b"b");
        assert!(matches!(again, Err(Error::Applied { last: 4, .. })));
    }
    let refused = machine.apply(&point(5), None, |changes| {
        changes.put(b"b", b"");
        changes.put_in("nowhere", b"b", b"")
    });
    assert!(matches!(
        refused,
        Err(Error::State(lsm::Error::NoKeyspace { .. }))
    ));
    let large = vec![0; durable_raft::MAX_MEMBERSHIP_SIZE + 1];
    let refused = machine.apply(&point(5), Some(&large), |_| Ok(()));
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    assert_eq!(machine.applied().unwrap(), applied);
    assert_eq!(machine.read().unwrap().get(b"b").unwrap(), None);
}

#[test]
fn a_snapshot_brings_everything_and_survives_power_loss() {
    let sim = SimDisk::new();
    let follower = open(&sim);
    put(&follower, 1, b"old").unwrap();
    let old = follower.read().unwrap();
    install(&follower, &sent(40), 40).unwrap();
    put(&follower, 41, b"new").unwrap();
    assert_eq!(
        old.get(b"old").unwrap().as_deref(),
        Some(&1_u64.to_le_bytes()[..])
    );
    assert_eq!(get(&follower, b"old"), None);
    assert_eq!(
        (follower.stats().installed, follower.stats().snapshot),
        (1, Some(40))
    );

    let lost = SimDisk::boot(sim.world().lose_unsynced());
    let follower = open(&lost);
    assert_eq!(get(&follower, b"key 0"), Some(40));
    assert_eq!(get(&follower, b"key 4"), Some(39));
    assert_eq!(follower.applied().unwrap().last, Some(point(40)));
    // It can be sent on, as it came, whatever was applied behind it.
    put(&follower, 41, b"key 0").unwrap();
    let mut snapshot = follower.snapshot().unwrap().unwrap();
    assert_eq!(snapshot.id, "monday");
    let third = open(&SimDisk::new());
    install(&third, &bytes(&mut snapshot.data), 40).unwrap();
    assert_eq!(get(&third, b"key 0"), Some(40));
}

#[test]
fn a_snapshot_that_is_being_sent_may_be_replaced() {
    let machine = open(&SimDisk::new());
    put(&machine, 1, b"a").unwrap();
    let mut first = machine.build_snapshot().unwrap();
    put(&machine, 2, b"a").unwrap();
    let second = machine.build_snapshot().unwrap();
    assert_ne!(first.id, second.id);
    let follower = open(&SimDisk::new());
    install(&follower, &bytes(&mut first.data), 1).unwrap();
    assert_eq!(get(&follower, b"a"), Some(1));
}

#[test]
fn files_of_many_chunks_and_zeros_at_their_ends_are_sent() {
    let large = vec![7; 600 << 10];
    let leader = open(&SimDisk::new());
    let put = |changes: &mut durable_raft::machine::Changes<'_>| {
        changes.put(b"large", &large);
        Ok(())
    };
    leader.apply(&point(1), None, put).unwrap();
    let sent = bytes(&mut leader.build_snapshot().unwrap().data);
    let follower = open(&SimDisk::new());
    install(&follower, &sent, 1).unwrap();
    let found = follower.read().unwrap().get(b"large").unwrap();
    assert_eq!(found.as_deref(), Some(large.as_slice()));
    // A transfer that was begun anew by somebody who has less.
    let longer = [&sent[..], &[9; 100]].concat();
    install(&open(&SimDisk::new()), &longer, 1).unwrap();
}

/// A follower, and the files that it has.
fn follower() -> (SimDisk, StateMachine, Vec<(String, u64)>) {
    let sim = SimDisk::new();
    let machine = open(&sim);
    put(&machine, 1, b"old").unwrap();
    let files = sim.files();
    (sim, machine, files)
}

#[test]
fn damage_in_what_is_received_is_refused_and_nothing_is_replaced() {
    let whole = sent(40);
    let (sim, machine, files) = follower();
    let refuse = |bytes: &[u8]| {
        let refused = install(&machine, bytes, 40).unwrap_err();
        assert_eq!(get(&machine, b"old"), Some(1));
        assert_eq!(sim.files(), files, "something was left");
        refused
    };
    // Every byte of the beginning, and one here and there.
    for at in (0..300).chain((300..whole.len()).step_by(97)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        assert_eq!(reason(refuse(&bytes)), Corruption::Received, "byte {at}");
    }
    for len in (0..300).chain((300..whole.len()).step_by(97)) {
        assert_eq!(
            reason(refuse(&whole[..len])),
            Corruption::Received,
            "{len} bytes"
        );
    }
    // Of two streams, each of which is whole: the ids of the other one are others.
    let other = SimDisk::new();
    other.disk().unique_id().unwrap();
    let other = sent_by(&other, 40);
    let half = whole.len() / 2;
    let mixed = [&whole[..half], &other[half..]].concat();
    assert_eq!(reason(refuse(&mixed)), Corruption::Received);
    let other = install(&machine, &sent(39), 40).unwrap_err();
    assert_eq!(reason(other), Corruption::OtherSnapshot);
    assert_eq!(sim.files(), files);
    put(&machine, 2, b"old").unwrap();
    install(&machine, &whole, 40).unwrap();
    assert_eq!(get(&machine, b"key 0"), Some(40));
}

#[test]
fn what_the_sender_has_damaged_itself_is_refused() {
    let sim = SimDisk::new();
    let machine = open(&sim);
    for index in 1..=40 {
        put(&machine, index, format!("key {index}").as_bytes()).unwrap();
    }
    drop(machine.build_snapshot().unwrap());
    machine.close().unwrap();
    drop(machine);
    let is_table = |path: &str| path.contains(".snapshot/tables/");
    let files = sim.files();
    let (table, len) = files.iter().find(|(path, _)| is_table(path)).unwrap();
    let (path, name) = table.rsplit_once('/').unwrap();
    let file = sim.disk().open_dir(path).unwrap().open(name).unwrap();
    file.write_all_at(b"rotten", len / 2).unwrap();
    let machine = open(&sim);
    let sent = bytes(&mut machine.snapshot().unwrap().unwrap().data);
    let (_sim, follower, _) = follower();
    let refused = install(&follower, &sent, 40).unwrap_err();
    assert!(
        matches!(refused, Error::State(lsm::Error::Corrupt { .. })),
        "{refused}"
    );
    assert_eq!(get(&follower, b"old"), Some(1));
}

#[test]
fn an_older_snapshot_is_refused() {
    let machine = open(&SimDisk::new());
    put(&machine, 7, b"a").unwrap();
    let refused = install(&machine, &sent(6), 6);
    assert!(matches!(refused, Err(Error::OldSnapshot { .. })));
    assert_eq!(get(&machine, b"a"), Some(7));
}

#[test]
fn a_store_that_was_removed_comes_back_from_the_snapshot() {
    let sim = SimDisk::new();
    let machine = open(&sim);
    put(&machine, 1, b"a").unwrap();
    drop(machine.build_snapshot().unwrap());
    put(&machine, 2, b"a").unwrap();
    machine.close().unwrap();
    assert!(matches!(machine.applied(), Err(Error::Closed)));
    drop(machine);
    remove(&sim, "store");
    let machine = open(&sim);
    assert!(machine.recovery().installed);
    // The log has the rest.
    assert_eq!(get(&machine, b"a"), Some(1));
    put(&machine, 2, b"a").unwrap();
    drop(machine.build_snapshot().unwrap());
    drop(machine);
    // Without the root nobody knows what counts.
    sim.disk()
        .open_dir("/machine")
        .unwrap()
        .remove("root")
        .unwrap();
    let refused = options(&sim).open("/machine").unwrap_err();
    assert_eq!(reason(refused), Corruption::RootLost);
}

/// Removes what has `suffix`.
fn remove(sim: &SimDisk, suffix: &str) {
    let dir = sim.disk().open_dir("/machine").unwrap();
    for entry in dir.list().unwrap() {
        if entry.name.ends_with(suffix) {
            let within = dir.open_dir(&entry.name).unwrap();
            for part in within.list().unwrap() {
                if part.is_dir {
                    let files = within.open_dir(&part.name).unwrap();
                    for file in files.list().unwrap() {
                        files.remove(&file.name).unwrap();
                    }
                    within.remove_dir(&part.name).unwrap();
                } else {
                    within.remove(&part.name).unwrap();
                }
            }
            dir.remove_dir(&entry.name).unwrap();
        }
    }
}

#[test]
fn a_snapshot_that_was_removed_is_made_anew() {
    let sim = SimDisk::new();
    let machine = open(&sim);
    put(&machine, 1, b"a").unwrap();
    drop(machine.build_snapshot().unwrap());
    remove(&sim, "snapshot");
    machine.snapshot().unwrap_err();
    drop(machine);
    let machine = open(&sim);
    drop(machine.build_snapshot().unwrap());
    assert!(machine.snapshot().unwrap().is_some());
}

#[test]
fn each_damaged_byte_of_the_root_is_seen() {
    let sim = SimDisk::new();
    let machine = open(&sim);
    put(&machine, 1, b"a").unwrap();
    drop(machine.build_snapshot().unwrap());
    drop(machine);
    let root = sim
        .disk()
        .open_dir("/machine")
        .unwrap()
        .open("root")
        .unwrap();
    for at in 0..root.len().unwrap() {
        let mut byte = [0];
        root.read_exact_at(&mut byte, at).unwrap();
        root.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let refused = options(&sim).open("/machine").unwrap_err();
        assert_eq!(reason(refused), Corruption::Root, "byte {at}");
        root.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(get(&open(&sim), b"a"), Some(1));
}

#[test]
fn a_store_that_does_not_say_what_was_applied_is_damaged() {
    let sim = SimDisk::new();
    let machine = open(&sim);
    put(&machine, 1, b"a").unwrap();
    machine.close().unwrap();
    drop(machine);
    let path = "/machine/0000000000000001.store";
    let store = lsm::Options::new().background(Background::Inline);
    let store = store.disk(sim.disk()).open(path).unwrap();
    store
        .keyspace(KEYSPACE)
        .unwrap()
        .put(b"applied", b"short")
        .unwrap();
    store.close().unwrap();
    drop(store);
    let refused = options(&sim).open("/machine").unwrap_err();
    assert_eq!(reason(refused), Corruption::Applied);
}
