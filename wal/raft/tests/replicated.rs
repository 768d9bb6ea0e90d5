//! The store of `examples/replicated`: three or five processes, of which one after the other is killed, or stopped for
//! longer than it may lead without being heard of, or does not reach the others, or is heard late, while clients read and
//! write. What they see is linearizable for each key, and nothing that was acknowledged is lost.
//!
//! `SEED` draws the order of the faults of the network. `ROUNDS=200 cargo test --release -p durable-raft --test replicated` runs for longer.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[path = "../examples/replicated/client.rs"]
mod client;
#[path = "replicated/clients.rs"]
mod clients;
#[path = "replicated/group.rs"]
mod group;
#[path = "replicated/history.rs"]
mod history;
#[path = "replicated/links.rs"]
mod links;
#[path = "../examples/replicated/network.rs"]
mod network;
#[path = "../examples/replicated/node.rs"]
mod node;
#[path = "replicated/partitions.rs"]
mod partitions;
#[path = "../examples/replicated/types.rs"]
mod types;
#[path = "../examples/replicated/wire.rs"]
mod wire;

use std::path::Path;

use clients::Clients;
use durable_io::testing::seed;
use group::Group;
use nix::sys::signal::Signal;
use node::{Settings, serve};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;

/// Says that this process is a node: its id, its address and its directory.
const NODE: &str = "REPLICATED_TEST_NODE";
/// So many operations are acknowledged in each phase of a round: more than the log keeps behind a snapshot.
const PHASE: u64 = 120;

/// What [`Group`] starts; nothing, if nobody asks for it.
#[test]
fn a_node() {
    let Ok(node) = std::env::var(NODE) else {
        return;
    };
    let mut lines = node.lines();
    let mut next = || lines.next().unwrap();
    let (id, address, dir) = (next().parse().unwrap(), next(), next());
    let settings = Settings {
        snapshot_every: 40,
        keep: 10,
        segment_size: 1 << 20,
    };
    let served = Runtime::new()
        .unwrap()
        .block_on(serve(id, address, Path::new(dir), settings));
    served.unwrap();
}

/// Kills or stops a node, and sees to it that the group goes on without it, and with it again. Returns how many snapshots
/// it was sent.
async fn round(group: &mut Group<'_>, nth: u64, clients: &mut Clients) -> u64 {
    let leader = group.leader(&[]).await;
    // The leader, and then one that follows.
    let victim = (leader + usize::from(nth % 2 == 1)) % 3;
    let other = (victim + 1) % 3;
    if nth % 4 < 2 {
        group.kill(victim).await;
        clients.go_on(PHASE).await;
        group.restart(victim).await;
        let metrics = group.catch_up(victim, other).await;
        clients.go_on(PHASE).await;
        return metrics["raft_snapshots_installed"];
    }
    group.signal(victim, Signal::SIGSTOP);
    // Another one leads: it is longer than what the stopped one may believe in.
    group.leader(&[victim]).await;
    clients.go_on(PHASE).await;
    let there = group.metrics_when(other, |_| true).await["raft_applied_index"];
    group.signal(victim, Signal::SIGCONT);
    clients.go_on(PHASE).await;
    let is_there = |metrics: &group::Metrics| metrics.get("raft_applied_index") >= Some(&there);
    let metrics = group.metrics_when(victim, is_there).await;
    metrics["raft_snapshots_installed"]
}

async fn judge(rounds: u64) {
    let temp = tempfile::tempdir().unwrap();
    let mut group = Group::start(temp.path(), 3).await;
    let mut clients = Clients::start(group.addresses.clone());
    let mut snapshots = 0;
    for nth in 0..rounds {
        snapshots += round(&mut group, nth, &mut clients).await;
    }
    assert!(
        snapshots > 0,
        "no node was away for so long that it was sent a snapshot"
    );
    clients.judge().await;
}

/// The rounds that `ROUNDS` asks for, or `default`.
fn rounds(default: u64) -> u64 {
    std::env::var("ROUNDS").map_or(default, |rounds| rounds.parse().unwrap())
}

#[test]
fn what_clients_see_is_linearizable_and_nothing_is_lost() {
    Runtime::new().unwrap().block_on(judge(rounds(4)));
}

/// With so many nodes, `rounds` times: each fault of the network once.
fn judge_partitions(count: usize) {
    let seed = seed(1);
    for nth in 0..rounds(1) {
        let random = StdRng::seed_from_u64(seed + nth);
        Runtime::new()
            .unwrap()
            .block_on(partitions::judge(count, random));
    }
}

#[test]
fn three_nodes_whose_links_break_lose_nothing() {
    judge_partitions(3);
}

#[test]
fn five_nodes_whose_links_break_while_some_die_lose_nothing() {
    judge_partitions(5);
}
