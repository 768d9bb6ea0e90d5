//! Clients that read and write while nodes die and links break, and what they have seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{Client, Failure};
use crate::group::DEADLINE;
use crate::history::{ABSENT, Op, Recorded, impossible};
use crate::types::{Command, Reply, Request};

const CLIENTS: u64 = 4;
/// Keys that all clients write.
const KEYS: u64 = 8;

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

/// All clients, at work.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Seen>>,
    acknowledged: watch::Receiver<u64>,
}

impl Clients {
    /// Clients of `nodes`, which begin at once.
    pub(crate) fn start(nodes: Vec<String>) -> Self {
        let shared = Arc::new(Shared {
            nodes,
            clock: AtomicU64::new(1),
            is_over: AtomicBool::new(false),
            acknowledged: watch::Sender::new(0),
        });
        let tasks = (0..CLIENTS).map(|id| tokio::spawn(run_client(Arc::clone(&shared), id)));
        Self {
            tasks: tasks.collect(),
            acknowledged: shared.acknowledged.subscribe(),
            shared,
        }
    }

    /// Waits until so many more operations are acknowledged.
    pub(crate) async fn go_on(&mut self, count: u64) {
        let aim = *self.acknowledged.borrow() + count;
        let reached = timeout(DEADLINE, self.acknowledged.wait_for(|count| *count >= aim)).await;
        assert!(reached.is_ok(), "the group does not go on");
    }

    /// Ends their work, and judges it: nothing that was acknowledged is lost, and for each key there is an order in which
    /// all that was seen can have happened.
    pub(crate) async fn judge(self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let mut histories: BTreeMap<u64, Vec<Recorded>> = BTreeMap::new();
        let mut own = Vec::new();
        for client in self.tasks {
            let seen = client.await.unwrap();
            own.extend(seen.own);
            for (key, history) in seen.history {
                histories.entry(key).or_default().extend(history);
            }
        }
        let mut reader = Client::new(self.shared.nodes.clone());
        for key in own {
            let found = reader.ask(&Request::Get(key.clone())).await.unwrap();
            assert!(
                matches!(&found, Reply::Value(Some(value)) if *value == key),
                "{key} was acknowledged, and is lost: {found:?}"
            );
        }
        for (key, mut history) in histories {
            let called = self.shared.clock.fetch_add(1, Ordering::SeqCst);
            let reply = reader.ask(&Request::Get(name(key))).await.unwrap();
            history.push(Recorded {
                op: outcome(Op::Get(ABSENT), reply),
                called,
                returned: Some(self.shared.clock.fetch_add(1, Ordering::SeqCst)),
            });
            let impossible = impossible(&history);
            assert!(
                impossible.is_none(),
                "of key {key}: {impossible:?} cannot have happened"
            );
        }
    }
}
