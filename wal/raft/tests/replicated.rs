//! The store of `examples/replicated`: three processes, of which one after the other is killed, or stopped for longer
//! than it may lead without being heard of, while clients read and write. What they see is linearizable for each key,
//! and nothing that was acknowledged is lost.
//!
//! `ROUNDS=200 cargo test --release -p durable-raft --test replicated` runs for longer.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[path = "../examples/replicated/client.rs"]
mod client;
#[path = "replicated/group.rs"]
mod group;
#[path = "replicated/history.rs"]
mod history;
#[path = "../examples/replicated/network.rs"]
mod network;
#[path = "../examples/replicated/node.rs"]
mod node;
#[path = "../examples/replicated/types.rs"]
mod types;
#[path = "../examples/replicated/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use client::{Client, Failure};
use group::{DEADLINE, Group};
use history::{ABSENT, Op, Recorded, impossible};
use nix::sys::signal::Signal;
use node::{Settings, serve};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;
use types::{Command, Reply, Request};

/// Says that this process is a node: its id, its address and its directory.
const NODE: &str = "REPLICATED_TEST_NODE";
const CLIENTS: u64 = 4;
/// Keys that all clients write.
const KEYS: u64 = 8;
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

/// What all clients share.
struct Shared {
    nodes: Vec<String>,
    /// The order of calls and returns.
    clock: AtomicU64,
    is_over: AtomicBool,
    /// How many operations were acknowledged.
    acknowledged: watch::Sender<u64>,
}

/// What a client has seen.
#[derive(Default)]
struct Seen {
    /// By key.
    history: BTreeMap<u64, Vec<Recorded>>,
    /// Keys that only this client writes, once, and which were acknowledged.
    own: Vec<String>,
}

fn name(key: u64) -> String {
    format!("key {key}")
}

fn text(value: u64) -> Option<String> {
    (value != ABSENT).then(|| value.to_string())
}

fn number(text: Option<&str>) -> u64 {
    text.map_or(ABSENT, |text| text.parse().unwrap())
}

/// Operation `n` of a client, whose value is `value`, and who has last seen `seen` there.
fn request(n: u64, key: u64, value: u64, seen: u64) -> (Request, Op) {
    let key = name(key);
    match n % 6 {
        0 => (Request::Write(Command::Delete { key }), Op::Put(ABSENT)),
        1 | 2 => {
            let old = text(seen);
            let (new, is_done) = (text(value), None);
            let set = Command::CompareAndSet { key, old, new };
            let (old, new) = (seen, value);
            (Request::Write(set), Op::CompareAndSet { old, new, is_done })
        }
        3 | 4 => {
            let put = text(value).map(|value| Command::Put { key, value });
            (Request::Write(put.unwrap()), Op::Put(value))
        }
        _ => (Request::Get(key), Op::Get(ABSENT)),
    }
}

/// `op`, as `reply` says that it went.
fn outcome(op: Op, reply: Reply) -> Op {
    match (op, reply) {
        (Op::CompareAndSet { old, new, .. }, Reply::Answer(answer)) => {
            let is_done = Some(answer.is_done);
            Op::CompareAndSet { old, new, is_done }
        }
        (Op::Put(value), Reply::Answer(_)) => Op::Put(value),
        (Op::Get(_), Reply::Value(value)) => Op::Get(number(value.as_deref())),
        (op, reply) => panic!("{op:?} was answered with {reply:?}"),
    }
}

async fn run_client(shared: Arc<Shared>, id: u64) -> Seen {
    let mut client = Client::new(shared.nodes.clone());
    let mut seen = Seen::default();
    let mut last_seen = BTreeMap::new();
    let now = || shared.clock.fetch_add(1, Ordering::SeqCst);
    let mut n = 0;
    while !shared.is_over.load(Ordering::SeqCst) {
        n += 1;
        // Every value is written once.
        let value = n * CLIENTS + id;
        let key = (n / 2 + id * 3) % KEYS;
        let last: &mut u64 = last_seen.entry(key).or_insert(ABSENT);
        let (asked, op) = request(n, key, value, *last);
        let called = now();
        let (op, returned) = match client.ask(&asked).await {
            Ok(reply) => (outcome(op, reply), Some(now())),
            Err(Failure::Unknown(_)) => (op, None),
            // Nothing was done; if it stays so, the phase does not end.
            Err(Failure::NoLeader) => continue,
        };
        if let Op::Get(found) = op {
            *last = found;
        }
        let recorded = Recorded {
            op,
            called,
            returned,
        };
        seen.history.entry(key).or_default().push(recorded);
        let own = format!("own {id} {n}");
        let (key, value) = (own.clone(), own.clone());
        let put = Request::Write(Command::Put { key, value });
        if returned.is_some() && client.ask(&put).await.is_ok() {
            seen.own.push(own);
            shared.acknowledged.send_modify(|count| *count += 1);
        }
    }
    seen
}

/// Waits until clients have done more.
async fn phase(acknowledged: &mut watch::Receiver<u64>) {
    let aim = *acknowledged.borrow() + PHASE;
    let reached = timeout(DEADLINE, acknowledged.wait_for(|count| *count >= aim)).await;
    assert!(reached.is_ok(), "the group does not go on");
}

/// Kills or stops a node, and sees to it that the group goes on without it, and with it again. Returns how many snapshots
/// it was sent.
async fn round(group: &mut Group<'_>, nth: u64, acknowledged: &mut watch::Receiver<u64>) -> u64 {
    let leader = group.leader(None).await;
    // The leader, and then one that follows.
    let victim = (leader + usize::from(nth % 2 == 1)) % 3;
    let other = (victim + 1) % 3;
    if nth % 4 < 2 {
        group.kill(victim);
        phase(acknowledged).await;
        let metrics = group.restart(victim, other).await;
        phase(acknowledged).await;
        return metrics["raft_snapshots_installed"];
    }
    group.signal(victim, Signal::SIGSTOP);
    // Another one leads: it is longer than what the stopped one may believe in.
    group.leader(Some(victim)).await;
    phase(acknowledged).await;
    let there = group.metrics_when(other, |_| true).await["raft_applied_index"];
    group.signal(victim, Signal::SIGCONT);
    phase(acknowledged).await;
    let is_there = |metrics: &group::Metrics| metrics.get("raft_applied_index") >= Some(&there);
    let metrics = group.metrics_when(victim, is_there).await;
    metrics["raft_snapshots_installed"]
}

async fn judge(rounds: u64) {
    let temp = tempfile::tempdir().unwrap();
    let mut group = Group::start(temp.path()).await;
    let shared = Arc::new(Shared {
        nodes: group.addresses.clone(),
        clock: AtomicU64::new(1),
        is_over: AtomicBool::new(false),
        acknowledged: watch::Sender::new(0),
    });
    let clients = (0..CLIENTS).map(|id| tokio::spawn(run_client(Arc::clone(&shared), id)));
    let clients: Vec<_> = clients.collect();
    let mut acknowledged = shared.acknowledged.subscribe();
    let mut snapshots = 0;
    for nth in 0..rounds {
        snapshots += round(&mut group, nth, &mut acknowledged).await;
    }
    assert!(
        snapshots > 0,
        "no node was away for so long that it was sent a snapshot"
    );
    shared.is_over.store(true, Ordering::SeqCst);
    let mut histories: BTreeMap<u64, Vec<Recorded>> = BTreeMap::new();
    let mut own = Vec::new();
    for client in clients {
        let seen = client.await.unwrap();
        own.extend(seen.own);
        for (key, history) in seen.history {
            histories.entry(key).or_default().extend(history);
        }
    }
    let mut reader = Client::new(shared.nodes.clone());
    for key in own {
        let found = reader.ask(&Request::Get(key.clone())).await.unwrap();
        assert!(
            matches!(&found, Reply::Value(Some(value)) if *value == key),
            "{key} was acknowledged, and is lost: {found:?}"
        );
    }
    for (key, mut history) in histories {
        let called = shared.clock.fetch_add(1, Ordering::SeqCst);
        let reply = reader.ask(&Request::Get(name(key))).await.unwrap();
        history.push(Recorded {
            op: outcome(Op::Get(ABSENT), reply),
            called,
            returned: Some(shared.clock.fetch_add(1, Ordering::SeqCst)),
        });
        let impossible = impossible(&history);
        assert!(
            impossible.is_none(),
            "of key {key}: {impossible:?} cannot have happened"
        );
    }
}

#[test]
fn what_clients_see_is_linearizable_and_nothing_is_lost() {
    let rounds = std::env::var("ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    Runtime::new().unwrap().block_on(judge(rounds.unwrap_or(4)));
}
