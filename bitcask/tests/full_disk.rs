//! A full disk that copies on write: the zeros of a data file are no space there, so a group can be refused in
//! the middle of its write.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use bitcask::{Batch, Bitcask, Error};
use durable_io::sim::SimDisk;
use support::contents;

/// A record of a key of one byte that begins with the first group of a data file ends with its first sector.
const TO_THE_SECTOR: usize = 512 - 64 - 24 - 12 - 1;
/// Another one fills the next sector.
const A_SECTOR: usize = 512 - 12 - 1;

fn open(sim: &SimDisk, reserve: u64) -> Bitcask {
    let options = support::options().data_file_size(4096).reserve(reserve);
    options.disk(sim.disk()).open("/store").unwrap()
}

fn is_full<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    let full = result.unwrap_err();
    matches!(full, Error::Disk(durable_io::Error::NoSpace { .. }))
}

fn two(store: &Bitcask, byte: u8) -> Result<(), Error> {
    let batch = Batch::new().put(b"1", &[byte; TO_THE_SECTOR]);
    store.write(batch.put(b"2", &[byte; A_SECTOR]))
}

fn stands_at(sim: &SimDisk, offset: u64) -> u8 {
    let dir = sim.disk().open_dir("/store").unwrap();
    let mut byte = [0];
    let file = dir.open_read_only("0000000000000001.data").unwrap();
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0]
}

/// A store on a disk that copies on write, which had space for the first sector of a batch of two.
fn refused() -> (SimDisk, Bitcask) {
    let sim = SimDisk::new();
    sim.copy_on_write();
    let store = open(&sim, 0);
    sim.set_budget(Some(sim.used_bytes() + 512));
    assert!(is_full(two(&store, b'r')));
    assert_ne!(stands_at(&sim, 64), 0, "a part of it was written");
    sim.set_budget(None);
    (sim, store)
}

#[test]
fn a_refused_group_is_gone_when_the_store_goes_on_and_after_a_crash_is_a_torn_tail() {
    let (sim, store) = refused();
    assert_eq!(contents(&store).len(), 0);
    let crashed = open(&SimDisk::boot(sim.world().keep_unsynced()), 0);
    assert_eq!(contents(&crashed).len(), 0);
    // One that is shorter, and does not cover it.
    store.put(b"next", b"").unwrap();
    store.sync().unwrap();
    assert_eq!(stands_at(&sim, 511), 0);
    drop(store);
    assert_eq!(contents(&open(&sim, 0)).len(), 1);
}

/// The next group has the same header, and its records stand where those of the refused one would: a power
/// loss that keeps one sector of each would make a batch of both.
#[test]
fn no_power_loss_mixes_a_refused_group_with_the_next_one() {
    let (sim, store) = refused();
    two(&store, b'a').unwrap();
    let states = sim.world().crash_states(1 << 12).unwrap();
    assert!(states.len() > 3, "{}", states.len());
    for state in states {
        let found = contents(&open(&SimDisk::boot(state), 0));
        let first_bytes: Vec<u8> = found.values().map(|value| value[0]).collect();
        assert!(
            [&b""[..], b"aa"].contains(&&*first_bytes),
            "{first_bytes:?}"
        );
    }
}

/// What is held back is given back by the removal of a file: where the disk copies on write, cutting one gives
/// nothing back.
#[test]
fn keys_are_deleted_and_files_merged_on_a_full_disk() {
    let sim = SimDisk::new();
    sim.copy_on_write();
    let store = open(&sim, 64 << 10);
    for n in 0..24_u8 {
        store.put(&[n], &[n; 400]).unwrap();
    }
    store.sync().unwrap();
    sim.set_budget(Some(sim.used_bytes()));
    assert!(is_full(store.put(b"more", &[0; 400])));
    for n in 0..20_u8 {
        assert!(store.delete(&[n]).is_ok(), "{n}");
    }
    let report = store.merge().unwrap();
    assert!(report.inputs > 0, "{report:?}");
    store.put(b"more", &[0; 400]).unwrap();
    store.sync().unwrap();
    drop(store);
    assert_eq!(contents(&open(&sim, 64 << 10)).len(), 5);
}
