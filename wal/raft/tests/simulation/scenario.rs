//! A run: clients that read and write, nodes that die, links that break; and what must hold in the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use openraft::BasicNode;
use openraft::error::{ClientWriteError, RaftError};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::Command;
use crate::cluster::{Bug, Cluster, Death, Raft, key, value};
use crate::history::{ABSENT, Op, Recorded, impossible};
use crate::network::Weather;
use crate::runtime::{NOWHERE, Place, draw, note, pause, spawn_at};

const CLIENTS: u64 = 3;
/// Keys that all clients write at one time; then others, so that few writes of a key have an unknown outcome.
const KEYS: u64 = 3;
/// So many events happen until then.
const EVENTS_OF_KEYS: u64 = 2;
/// What only one client writes, once, has keys from here on.
const OWN: u64 = 1_000_000;
/// So many things happen to the nodes.
const EVENTS: u64 = 30;
/// When all is well again, a group is at work before so many milliseconds are over.
const PATIENCE: u64 = 60_000;

/// What has been seen.
#[derive(Default)]
struct Seen {
    clock: u64,
    /// The first of the keys that all clients write now.
    first_key: u64,
    /// By key.
    history: BTreeMap<u64, Vec<Recorded>>,
    /// Keys with values that were acknowledged, and are written once.
    own: BTreeMap<u64, u64>,
    is_over: bool,
    ended: u64,
}

type Shared = Arc<Mutex<Seen>>;

fn now(seen: &Shared) -> u64 {
    let mut seen = seen.lock().unwrap();
    seen.clock += 1;
    seen.clock
}

/// An operation on key `at` is over, or, unless its outcome `is_known`, may still be done.
fn record(seen: &Shared, at: u64, op: Op, called: u64, is_known: bool) {
    let recorded = Recorded {
        op,
        called,
        returned: is_known.then(|| now(seen)),
    };
    let mut seen = seen.lock().unwrap();
    seen.history.entry(at).or_default().push(recorded);
}

/// What a node says to a request.
#[derive(Debug)]
enum Reply {
    Written(bool),
    Read(u64),
    /// Nothing was done; perhaps that one leads.
    NotLeader(Option<Place>),
    Unknown,
}

async fn write(raft: Raft, command: Command) -> Reply {
    match raft.client_write(command).await {
        Ok(written) => Reply::Written(written.data),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(other))) => {
            Reply::NotLeader(other.leader_id)
        }
        Err(_) => Reply::Unknown,
    }
}

async fn read(cluster: Cluster, place: Place, raft: Raft, at: u64) -> Reply {
    if raft.ensure_linearizable().await.is_err() {
        return Reply::NotLeader(None);
    }
    let machine = cluster.machine(place).unwrap();
    let now = machine.read().unwrap();
    Reply::Read(value(now.get(&key(at)).unwrap().as_deref()))
}

/// A client, and whom it takes for the leader.
struct Client {
    cluster: Cluster,
    leader: Place,
    count: u64,
}

impl Client {
    fn new(cluster: &Cluster, count: u64) -> Self {
        Self {
            cluster: cluster.clone(),
            leader: 1,
            count,
        }
    }

    /// What whom it takes for the leader says to it.
    async fn ask(&mut self, op: Op, at: u64) -> Reply {
        let place = self.leader;
        let cluster = self.cluster.clone();
        let command = match op {
            Op::Put(value) => Some(Command::Put { key: at, value }),
            Op::CompareAndSet { old, new, .. } => {
                Some(Command::CompareAndSet { key: at, old, new })
            }
            Op::Get(_) => None,
        };
        let serve = move |raft: Raft| {
            let (cluster, command) = (cluster.clone(), command.clone());
            async move {
                match command {
                    Some(command) => write(raft, command).await,
                    None => read(cluster, place, raft, at).await,
                }
            }
        };
        let what = format!("{op:?} of {at}");
        let reply = self.cluster.ask_once(NOWHERE, place, what, serve).await;
        let reply = reply.unwrap_or(Reply::Unknown);
        match reply {
            Reply::Written(_) | Reply::Read(_) => {}
            Reply::NotLeader(Some(other)) if other != place => self.leader = other,
            Reply::NotLeader(_) | Reply::Unknown => {
                self.leader = place % self.count + 1;
                pause(20).await;
            }
        }
        reply
    }
}

/// `op`, as `reply` says that it went; `None`: it was not done.
fn outcome(op: Op, reply: &Reply) -> Option<(Op, bool)> {
    match (op, reply) {
        (Op::CompareAndSet { old, new, .. }, Reply::Written(is_done)) => {
            let is_done = Some(*is_done);
            Some((Op::CompareAndSet { old, new, is_done }, true))
        }
        (Op::Put(_), Reply::Written(_)) => Some((op, true)),
        (Op::Get(_), Reply::Read(found)) => Some((Op::Get(*found), true)),
        // A read that was not answered says nothing.
        (Op::Get(_), Reply::Unknown) | (_, Reply::NotLeader(_)) => None,
        (_, Reply::Unknown) => Some((op, false)),
        (op, reply) => panic!("{op:?} was answered with {reply:?}"),
    }
}

async fn run_client(cluster: Cluster, count: u64, id: u64, seen: Shared) {
    let mut client = Client::new(&cluster, count);
    let mut last = BTreeMap::new();
    let mut n = 0;
    while !seen.lock().unwrap().is_over {
        n += 1;
        let fresh = n * CLIENTS + id;
        let first = seen.lock().unwrap().first_key;
        let (at, kind) = draw(|random| (first + random.gen_range(0..KEYS), random.gen_range(0..7)));
        let last: &mut u64 = last.entry(at).or_insert(ABSENT);
        let op = match kind {
            0 => Op::Put(ABSENT),
            1 | 2 => Op::Put(fresh),
            3 => Op::CompareAndSet {
                old: *last,
                new: fresh,
                is_done: None,
            },
            _ => Op::Get(ABSENT),
        };
        let called = now(&seen);
        let reply = client.ask(op, at).await;
        if let Some((op, is_known)) = outcome(op, &reply) {
            record(&seen, at, op, called, is_known);
            if let Op::Get(found) = op {
                *last = found;
            }
        }
        if kind == 6
            && matches!(
                client.ask(Op::Put(fresh), OWN + fresh).await,
                Reply::Written(_)
            )
        {
            seen.lock().unwrap().own.insert(OWN + fresh, fresh);
        }
        pause(draw(|random| random.gen_range(0..20))).await;
    }
    seen.lock().unwrap().ended += 1;
}

/// One thing happens.
fn event(cluster: &Cluster, count: u64) {
    let places: Vec<Place> = (1..=count).collect();
    let place = draw(|random| *places.choose(random).unwrap());
    let death = || {
        draw(|random| {
            if random.gen_bool(0.7) {
                Death::Power
            } else {
                Death::Process
            }
        })
    };
    match draw(|random| random.gen_range(0..12)) {
        0..=2 => cluster.kill(place, death()),
        3 => places
            .iter()
            .for_each(|place| cluster.kill(*place, death())),
        4 | 5 => places.iter().for_each(|place| cluster.start(*place)),
        6 => {
            // It is away for no longer than it takes to start.
            cluster.kill(place, death());
            cluster.start(place);
        }
        7 => {
            let others = places.iter().filter(|other| **other != place);
            let links: Vec<_> = others
                .flat_map(|other| [(place, *other), (*other, place)])
                .collect();
            cluster.with(|state| state.weather.severed.extend(links));
        }
        8 => {
            let other = draw(|random| *places.choose(random).unwrap());
            cluster.with(|state| state.weather.severed.insert((place, other)));
        }
        9 | 10 => cluster.with(|state| state.weather.severed.clear()),
        _ => {
            let upto = |most| draw(|random| random.gen_range(0..most));
            let (lost, late, deadly) = (upto(20), upto(10), upto(4));
            cluster.with(|state| {
                let weather = &mut state.weather;
                (weather.lost, weather.late, weather.deadly) = (lost, late, deadly);
            });
        }
    }
}

/// The group is founded by the first node, once that is there.
async fn found(cluster: &Cluster, count: u64) {
    (1..=count).for_each(|place| cluster.start(place));
    let members: BTreeMap<u64, BasicNode> =
        (1..=count).map(|id| (id, BasicNode::default())).collect();
    loop {
        pause(1).await;
        if let Some(raft) = cluster.raft(1) {
            raft.initialize(members).await.unwrap();
            return;
        }
    }
}

/// All that a run must keep, at its end: the network is whole, and all nodes are on.
async fn judge(cluster: &Cluster, count: u64, seen: Shared) {
    let until = |begun: u64| async move {
        pause(50).await;
        begun + 50
    };
    let mut waited = 0;
    while seen.lock().unwrap().ended < CLIENTS {
        waited = until(waited).await;
        assert!(waited < PATIENCE, "clients wait for ever");
    }
    let mut client = Client::new(cluster, count);
    let own = std::mem::take(&mut seen.lock().unwrap().own);
    let written: Vec<u64> = seen.lock().unwrap().history.keys().copied().collect();
    let keys = written.into_iter().map(|key| (key, None));
    for (at, expected) in own
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .chain(keys)
    {
        let mut waited = 0;
        let (called, found) = loop {
            let called = now(&seen);
            if let Reply::Read(found) = client.ask(Op::Get(ABSENT), at).await {
                break (called, found);
            }
            waited = until(waited).await;
            assert!(waited < PATIENCE, "the group does not go on");
        };
        if let Some(expected) = expected {
            assert_eq!(
                found, expected,
                "a write of key {at} was acknowledged, and is lost"
            );
        } else {
            record(&seen, at, Op::Get(found), called, true);
        }
    }
    cluster.check_agreement();
    for (key, history) in &seen.lock().unwrap().history {
        let impossible = impossible(history);
        assert!(
            impossible.is_none(),
            "of key {key}: {impossible:?} cannot have happened"
        );
        note((key, format!("{history:?}")));
    }
}

/// A run, which panics if something is wrong. Returns how many operations were acknowledged.
pub(crate) async fn run(bug: Bug) -> usize {
    let count = draw(|random| if random.gen_bool(0.7) { 3 } else { 5 });
    let cluster = Cluster::new(count, bug);
    found(&cluster, count).await;
    let seen = Shared::default();
    for id in 0..CLIENTS {
        spawn_at(
            NOWHERE,
            run_client(cluster.clone(), count, id, Arc::clone(&seen)),
        );
    }
    for nth in 0..EVENTS {
        if nth % EVENTS_OF_KEYS == 0 {
            seen.lock().unwrap().first_key += KEYS;
        }
        pause(draw(|random| random.gen_range(0..600))).await;
        event(&cluster, count);
        cluster.check_agreement();
    }
    cluster.with(|state| state.weather = Weather::default());
    (1..=count).for_each(|place| cluster.start(place));
    pause(2_000).await;
    seen.lock().unwrap().is_over = true;
    judge(&cluster, count, Arc::clone(&seen)).await;
    let seen = seen.lock().unwrap();
    let returned = seen
        .history
        .values()
        .flatten()
        .filter(|op| op.returned.is_some());
    returned.count()
}
