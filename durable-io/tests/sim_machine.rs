//! The simulated machine beside its disk: time, ids, locks, maps, the trace of calls, and barriers that
//! are switched off.
#![allow(clippy::unwrap_used, reason = "test")]

use std::collections::BTreeSet;
use std::time::Duration;

use durable_io::sim::{Call, Damage, SimDisk};
use durable_io::{Barrier, Dir, Disk, Error, Lock, Result, Site, made_durable};

fn machine() -> (SimDisk, Dir) {
    let sim = SimDisk::new();
    let dir = sim.disk().open_dir("/").unwrap();
    (sim, dir)
}

#[test]
fn time_stands_still_until_it_is_moved_and_does_not_go_back_in_a_crash() {
    let (sim, _dir) = machine();
    let start = sim.disk().now();
    assert_eq!(sim.disk().now(), start);
    sim.advance(Duration::from_secs(3));
    assert_eq!(sim.disk().now(), start + Duration::from_secs(3));
    let reborn = SimDisk::boot(sim.world().lose_unsynced());
    assert_eq!(reborn.disk().now(), start + Duration::from_secs(3));
}

#[test]
fn ids_are_the_same_on_every_run_and_never_given_twice_not_even_after_a_crash() {
    let draw = || {
        let (sim, _dir) = machine();
        let mut ids: Vec<u64> = (0..10).map(|_| sim.disk().unique_id().unwrap()).collect();
        let reborn = SimDisk::boot(sim.world().lose_unsynced());
        ids.extend((0..10).map(|_| reborn.disk().unique_id().unwrap()));
        ids
    };
    let ids = draw();
    assert_eq!(ids, draw());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[test]
fn a_lock_excludes_until_it_is_dropped_or_the_process_dies() {
    let (sim, dir) = machine();
    let lock = dir.try_lock("LOCK").unwrap();
    assert!(matches!(dir.try_lock("LOCK"), Err(Error::Locked { .. })));
    assert!(dir.try_lock("OTHER").unwrap_err().is_locked());
    dir.create_dir("below").unwrap();
    drop(dir.open_dir("below").unwrap().try_lock("LOCK").unwrap());
    let reborn = SimDisk::boot(sim.world());
    let of_reborn = reborn.disk().open_dir("/").unwrap();
    drop(of_reborn.try_lock("LOCK").unwrap());
    drop(lock);
    drop(dir.try_lock("LOCK").unwrap());
}

#[test]
fn readers_share_a_lock_and_a_writer_shares_it_with_nobody() {
    let (_sim, dir) = machine();
    let temp = tempfile::TempDir::new().unwrap();
    let of_os = Disk::os().open_dir(temp.path()).unwrap();
    for dir in [dir, of_os] {
        let is_locked = |result: Result<Lock>| result.is_err_and(|error| error.is_locked());
        let readers = [(), ()].map(|()| dir.try_lock_shared("LOCK").unwrap());
        assert!(dir.list().unwrap().is_empty(), "no file is made");
        assert!(is_locked(dir.try_lock("LOCK")));
        let [one, other] = readers;
        drop(one);
        assert!(is_locked(dir.try_lock("LOCK")));
        drop(other);
        let writer = dir.try_lock("LOCK").unwrap();
        assert!(is_locked(dir.try_lock_shared("LOCK")));
        drop(writer);
        // With the file.
        let reader = dir.try_lock_shared("LOCK").unwrap();
        assert!(is_locked(dir.try_lock("LOCK")));
        drop(reader);
        drop(dir.try_lock("LOCK").unwrap());
    }
}

#[test]
fn a_map_shows_the_bytes_and_ends_where_the_file_ends() {
    let (_sim, dir) = machine();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(&[b'A'; 600], 0).unwrap();
    let map = file.map(100..600).unwrap();
    assert_eq!(*map, [b'A'; 500]);
    dir.remove("a").unwrap();
    file.write_all_at(b"more", 600).unwrap();
    assert_eq!(*map, [b'A'; 500]);
    assert!(file.map(0..605).is_err());
}

#[test]
fn what_is_mapped_is_not_changed_here_either() {
    let (sim, dir) = machine();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(&[b'A'; 600], 0).unwrap();
    let map = file.map(100..600).unwrap();
    let calls = sim.calls();
    let refused = dir.open("a").unwrap().write_all_at(b"B", 599);
    assert!(matches!(refused, Err(Error::Mapped { offset: 599, .. })));
    assert!(matches!(file.set_len(599), Err(Error::Mapped { .. })));
    assert_eq!(sim.calls() - calls, 1, "the opening");
    drop(map);
    file.set_len(599).unwrap();
}

#[test]
fn a_list_is_in_no_order_one_could_rely_on_and_always_the_same() {
    let list = || {
        let (_sim, dir) = machine();
        for name in ["c", "a", "d", "b", "e", "f"] {
            dir.create_new(name).unwrap();
        }
        dir.list()
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect::<String>()
    };
    assert_eq!(list(), list());
    assert_ne!(list(), "abcdef");
    assert_ne!(list(), "cadbef");
}

#[test]
fn the_trace_names_every_call_in_order() {
    let (sim, dir) = machine();
    sim.start_trace();
    let before = sim.calls();
    let file = dir.create_new("a").unwrap();
    file.allocate(0, 700).unwrap();
    file.write_all_at(&[1; 600], 100).unwrap();
    drop(file.write_durable_at(&[1; 5], 7).unwrap());
    file.set_len(650).unwrap();
    drop(file.sync_data().unwrap());
    dir.rename("a", "b").unwrap();
    dir.sync().unwrap();
    let shown = |call: Call| {
        let to = call.to.map_or_else(String::new, |to| format!(" to {to}"));
        format!("{} {}{to} {}+{}", call.op, call.path, call.offset, call.len)
    };
    let calls: Vec<String> = sim.trace().into_iter().map(shown).collect();
    let expected = [
        "create_new a 0+0",
        "allocate a 0+700",
        "write a 100+600",
        "write_durable a 7+5",
        "set_len a 650+0",
        "sync_data a 0+0",
        "rename a to b 0+0",
        "sync_dir  0+0",
    ];
    assert_eq!(calls, expected);
    assert_eq!(sim.calls() - before, calls.len() as u64);
    assert!(sim.trace().is_empty());
}

#[test]
fn a_barrier_that_is_switched_off_succeeds_and_does_nothing() {
    let sync = |off: bool| {
        let (sim, dir) = machine();
        let file = dir.create_new("a").unwrap();
        dir.sync().unwrap();
        file.write_all_at(b"A", 0).unwrap();
        // One line, since a site is a place in the sources.
        let sync = || drop(file.sync_data().unwrap());
        sync();
        let mut sites = sim
            .sites()
            .into_iter()
            .filter(|(site, _)| site.barrier == Barrier::Data);
        let (site, count) = sites.next().unwrap();
        assert_eq!(count, 1);
        file.write_all_at(b"B", 0).unwrap();
        if off {
            sim.ignore(site);
        }
        sync();
        sim.world().lose_unsynced().file_bytes("/a").unwrap()
    };
    assert_eq!(sync(false), b"B");
    assert_eq!(sync(true), b"A");
}

#[test]
fn what_another_crate_syncs_is_switched_off_for_one_line_of_its_caller() {
    let (sim, dir) = machine();
    let file = dir.create_new("a").unwrap();
    dir.sync().unwrap();
    let sync = || drop(file.sync_data().unwrap());
    let within = |(site, _): &(Site, u64)| site.step == "within";
    for byte in [b"A", b"B"] {
        file.write_all_at(byte, 0).unwrap();
        made_durable(sync);
        let (site, _) = sim.sites().into_iter().find(within).unwrap();
        assert_eq!(site.file, file!());
        sim.ignore(site);
    }
    let durable = || sim.world().lose_unsynced().file_bytes("/a").unwrap();
    assert_eq!(durable(), b"A");
    // The same sync for somebody else.
    sync();
    assert_eq!(durable(), b"B");
}

#[test]
fn damage_is_done_to_one_file_and_is_there_after_a_power_loss() {
    let (sim, dir) = machine();
    for name in ["a", "b"] {
        dir.create_new(name)
            .unwrap()
            .write_all_at(&[7; 1000], 0)
            .unwrap();
    }
    let world = sim.world();
    let sum = |damage| {
        let damaged = world.damaged("/a", damage)?.lose_unsynced();
        assert_eq!(damaged.file_bytes("/b"), world.file_bytes("/b"));
        let bytes = damaged.file_bytes("/a").unwrap_or_default();
        Some((
            bytes.len(),
            bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>(),
        ))
    };
    assert_eq!(
        sum(Damage::Flip {
            offset: 999,
            mask: 8
        }),
        Some((1000, 7008))
    );
    assert_eq!(
        sum(Damage::Set {
            offset: 600,
            value: 0
        }),
        Some((1000, 6993))
    );
    assert_eq!(
        sum(Damage::Set {
            offset: 600,
            value: 7
        }),
        None,
        "nothing changes"
    );
    assert_eq!(
        sum(Damage::Flip {
            offset: 1000,
            mask: 8
        }),
        None,
        "beyond the end"
    );
    assert_eq!(
        sum(Damage::Zero {
            offset: 500,
            len: 100
        }),
        Some((1000, 6300))
    );
    assert_eq!(sum(Damage::Truncate { len: 10 }), Some((10, 70)));
    assert_eq!(sum(Damage::Remove), Some((0, 0)));
    assert!(world.damaged("/c", Damage::Remove).is_none());
}

#[test]
fn a_file_opened_for_reading_is_not_changed() {
    let (_sim, dir) = machine();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(b"hello", 0).unwrap();
    let reader = || dir.open_read_only("a").unwrap();
    assert!(reader().write_all_at(b"HE", 0).is_err());
    assert!(reader().write_durable_at(b"HE", 0).is_err());
    assert!(reader().set_len(2).is_err());
    assert!(reader().allocate(0, 4096).is_err());
    assert_eq!(&*reader().map(0..5).unwrap(), b"hello");
}

#[test]
fn what_is_spoilt_or_forbidden_cannot_be_read_although_it_is_there() {
    let (sim, dir) = machine();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(&[7; 3000], 0).unwrap();
    sim.spoil("/a", 1024..1536);
    let read = |range: std::ops::Range<u64>| {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        file.read_exact_at(&mut bytes, range.start)
    };
    read(0..1024).unwrap();
    read(1536..3000).unwrap();
    assert!(read(1535..1536).unwrap_err().is_unreadable());
    assert!(!read(2999..3001).unwrap_err().is_unreadable());
    file.write_all_at(&[8; 100], 1024).unwrap();
    read(0..3000).unwrap_err();
    file.write_all_at(&[8; 512], 1024).unwrap();
    read(0..3000).unwrap();
    sim.forbid("/a");
    assert!(dir.open("a").unwrap_err().is_unreadable());
    assert!(!dir.open("b").unwrap_err().is_unreadable());
}
