//! Whole groups in one process: openraft, logs and state machines on simulated disks, a simulated network, clients, and
//! time that passes as fast as it can. A seed decides all of it, so that what it finds, it finds again.
//!
//! `SEED=7 cargo test -p durable-raft --test simulation` does that run alone; `SEEDS=1000` is how many others there are.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[path = "simulation/cluster.rs"]
mod cluster;
#[path = "replicated/history.rs"]
mod history;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/runtime.rs"]
mod runtime;
#[path = "simulation/scenario.rs"]
mod scenario;

use std::thread;

use durable_raft::openraft09::SnapshotStream;
use openraft::BasicNode;
use serde::{Deserialize, Serialize};

use cluster::Bug;
use runtime::Runtime;

openraft::declare_raft_types!(
    /// The types of the groups.
    pub(crate) Types:
        D = Command,
        R = bool,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = SnapshotStream,
        AsyncRuntime = Runtime,
);

/// What a client asks to be changed; a value of 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    Put { key: u64, value: u64 },
    CompareAndSet { key: u64, old: u64, new: u64 },
}

/// A run, on a thread of its own: a panic is its end, and nobody else's. Returns how many operations were acknowledged,
/// and the hash of all that happened.
fn run(seed: u64, bug: Bug) -> thread::Result<(usize, u64)> {
    thread::spawn(move || runtime::run(seed, scenario::run(bug))).join()
}

/// The seeds to try: `SEED` alone, or as many as `SEEDS` says.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("SEEDS").unwrap_or(default),
    }
}

#[test]
fn nodes_that_lose_power_and_links_agree_and_a_seed_repeats_all_of_it() {
    let mut acknowledged = 0;
    for seed in seeds(40) {
        let seen = run(seed, Bug::None);
        let seen = seen.unwrap_or_else(|_panic| panic!("SEED={seed}"));
        acknowledged += seen.0;
        let again = run(seed, Bug::None).unwrap_or_else(|_panic| panic!("SEED={seed}, again"));
        assert_eq!(seen, again, "SEED={seed} is not the same twice");
    }
    assert!(acknowledged > 0, "nothing is acknowledged");
}

/// The first seed that finds `bug`.
fn found(bug: Bug, seeds: u64) -> Option<u64> {
    (1..=seeds).find(|seed| run(*seed, bug).is_err())
}

#[test]
fn a_sync_that_is_left_out_is_found() {
    assert_ne!(found(Bug::NoSync, 50), None);
}

#[test]
fn a_leader_that_starts_again_in_its_old_term_is_found() {
    assert_ne!(found(Bug::LastingLeader, 200), None);
}
