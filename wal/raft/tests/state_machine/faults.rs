//! Every call of a build and of an installation fails, and the disk is full at many sizes: the old store or the new one
//! is there, whole.

use durable_io::sim::{Fault, FaultKind, SimDisk, SyncFailure};
use durable_raft::machine::StateMachine;
use durable_raft::{Error, Result};

use super::{get, install, open, options, put, sent};

/// What the old store has of the key, and the new one.
const OLD: Option<u64> = Some(1);
const NEW: Option<u64> = Some(10);
const KEY: &[u8] = b"key 0";

fn old() -> (SimDisk, StateMachine) {
    let sim = SimDisk::new();
    let machine = open(&sim);
    put(&machine, 1, KEY).unwrap();
    drop(machine.build_snapshot().unwrap());
    (sim, machine)
}

/// What is there after a restart, with what was not synced and without it.
fn restarted(sim: &SimDisk) -> [Option<u64>; 2] {
    let world = sim.world();
    [world.lose_unsynced(), world.keep_unsynced()].map(|world| {
        let machine = open(&SimDisk::boot(world));
        // It goes on.
        put(&machine, 41, b"more").unwrap();
        get(&machine, KEY)
    })
}

/// Does `work` where call `call` fails as `kind` says, and returns whether it was struck.
fn strike(call: u64, kind: FaultKind, work: impl Fn(&StateMachine) -> Result<()>) -> bool {
    let (sim, machine) = old();
    let fault = Fault {
        call: sim.calls() + call,
        kind,
        sticky: false,
    };
    sim.inject(fault);
    let done = work(&machine);
    let is_struck = sim.clear_fault() > 0;
    let described = format!("call {call} fails as {kind:?}, and that is {done:?}");
    // Reads go on.
    let found = get(&machine, KEY);
    assert!(done.is_ok() || found == OLD, "{described}; read {found:?}");
    drop(machine);
    for left in restarted(&sim) {
        assert!(
            left == found || done.is_err() && left == NEW,
            "{described}; left {left:?}"
        );
    }
    is_struck
}

/// Does `work` with each of its calls failing, and with the disk full at each size.
fn fail_everywhere(work: impl Fn(&StateMachine) -> Result<()>) {
    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;
    let kinds = [
        FaultKind::Errno(EIO),
        FaultKind::Errno(ENOSPC),
        FaultKind::Sync(SyncFailure::CacheKeeps),
    ];
    // Each call in one of the ways, and its neighbours in the others: all of it takes minutes.
    let mut kinds = kinds.into_iter().cycle();
    let struck = (0..10_000).take_while(|call| {
        let kind = kinds.next().expect("they are repeated");
        strike(*call, kind, &work)
    });
    assert!(struck.count() > 30);
    fill_the_disk(work);
}

fn fill_the_disk(work: impl Fn(&StateMachine) -> Result<()>) {
    let mut space = 0;
    loop {
        let (sim, machine) = old();
        sim.set_budget(Some(sim.used_bytes() + space));
        let done = work(&machine);
        sim.set_budget(None);
        let found = get(&machine, KEY);
        if done.is_ok() {
            assert!(space > 0, "nothing needs space");
            return;
        }
        assert_eq!(found, OLD, "{space} bytes were free");
        assert_eq!(restarted(&sim), [OLD; 2]);
        // When there is space again it works, and there is no end of it.
        assert!(!matches!(done, Err(Error::Poisoned(_))));
        work(&machine).unwrap();
        space += 4096;
    }
}

#[test]
fn an_installation_that_fails_anywhere_leaves_the_old_store_or_the_new_one() {
    let sent = sent(10);
    fail_everywhere(|machine| install(machine, &sent, 10));
}

#[test]
fn a_build_that_fails_anywhere_loses_nothing() {
    fail_everywhere(|machine| machine.build_snapshot().map(drop));
}

#[test]
fn an_opening_that_fails_anywhere_can_be_tried_again() {
    let (sim, machine) = old();
    drop(machine);
    let world = sim.world();
    for call in 0..10_000 {
        let sim = SimDisk::boot(world.clone());
        let kind = FaultKind::Errno(5);
        let sticky = false;
        sim.inject(Fault { call, kind, sticky });
        drop(options(&sim).open("/machine"));
        if sim.clear_fault() == 0 {
            assert!(call > 10);
            return;
        }
        assert_eq!(get(&open(&sim), KEY), OLD, "call {call}");
    }
}
