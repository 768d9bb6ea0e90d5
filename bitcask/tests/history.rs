//! A recorded history of several threads is linearizable for each key, while a merge runs beside them.
//!
//! Each operation takes effect at one instant between its call and its return: for the events of one
//! key in their order, the set of all configurations is kept in which the store can be then (the value
//! of the key, and which of the operations in flight have taken effect).
//!
//! Source: Lowe, "Testing for linearizability", 2017: just-in-time linearization.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bitcask::{Bitcask, Options, SyncMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::{fast_dir, seed};

const THREADS: usize = 4;
const KEYS: u64 = 12;
/// The value of an absent key.
const ABSENT: u64 = 0;

/// An operation, with its outcome.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// Also a deletion: of [`ABSENT`].
    Put(u64),
    Get(u64),
    /// One that was done; also an update.
    CompareAndSet {
        expected: u64,
        new: u64,
    },
}

impl Op {
    /// The value after it, if it can take effect where the value is `now`.
    fn after(self, now: u64) -> Option<u64> {
        match self {
            Self::Put(value) => Some(value),
            Self::Get(seen) => (seen == now).then_some(now),
            Self::CompareAndSet { expected, new } => (expected == now).then_some(new),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Recorded {
    thread: usize,
    key: u64,
    op: Op,
    called: u64,
    returned: u64,
}

/// The value of the key, and the threads whose operation in flight has taken effect, as bits.
type Configuration = (u64, u8);

/// True if `history`, of one key, is linearizable.
fn is_linearizable(history: &[Recorded]) -> bool {
    let mut events: Vec<(u64, bool, Recorded)> = Vec::new();
    for recorded in history {
        events.push((recorded.called, true, *recorded));
        events.push((recorded.returned, false, *recorded));
    }
    events.sort_by_key(|(at, ..)| *at);
    let mut in_flight: [Option<Op>; THREADS] = [None; THREADS];
    let mut configurations: HashSet<Configuration> = HashSet::from([(ABSENT, 0)]);
    for (_, is_call, recorded) in events {
        if is_call {
            in_flight[recorded.thread] = Some(recorded.op);
            continue;
        }
        // Everything in flight may take effect now, in any order; this operation must have.
        let bit = 1 << recorded.thread;
        let mut open: Vec<Configuration> = configurations.drain().collect();
        let mut seen: HashSet<Configuration> = open.iter().copied().collect();
        while let Some((value, effective)) = open.pop() {
            if effective & bit != 0 {
                configurations.insert((value, effective & !bit));
            }
            for (thread, op) in in_flight.iter().enumerate() {
                let next = op.filter(|_| effective & 1 << thread == 0);
                let Some(after) = next.and_then(|op| op.after(value)) else {
                    continue;
                };
                let configuration = (after, effective | 1 << thread);
                if seen.insert(configuration) {
                    open.push(configuration);
                }
            }
        }
        in_flight[recorded.thread] = None;
        if configurations.is_empty() {
            eprintln!("{recorded:?} cannot have happened");
            return false;
        }
    }
    true
}

fn key(n: u64) -> Vec<u8> {
    format!("key {n}").into_bytes()
}

fn decode(value: Option<bitcask::Value>) -> u64 {
    value.map_or(ABSENT, |value| {
        u64::from_le_bytes(value[..8].try_into().unwrap())
    })
}

/// Values of different lengths, so that merges have different work.
fn encode(value: u64) -> Vec<u8> {
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.resize(8 + usize::try_from(value % 90).unwrap(), 7);
    bytes
}

/// One thread's operations.
fn work(store: &Bitcask, clock: &AtomicU64, thread: usize, ops: u64, seed: u64) -> Vec<Recorded> {
    let mut rng = StdRng::seed_from_u64(seed + thread as u64);
    let mut history = Vec::new();
    let mut last_seen = ABSENT;
    for n in 1..=ops {
        // Every value is written once.
        let value = n * THREADS as u64 + thread as u64;
        let k = rng.random_range(0..KEYS);
        let called = clock.fetch_add(1, Ordering::SeqCst);
        let op = match rng.random_range(0..10) {
            0..3 => {
                store.put(&key(k), &encode(value)).unwrap();
                Op::Put(value)
            }
            3 => {
                store.delete(&key(k)).unwrap();
                Op::Put(ABSENT)
            }
            4..6 => {
                let expected = last_seen;
                let bytes = encode(expected);
                let wanted = (expected != ABSENT).then_some(&bytes[..]);
                let new = encode(value);
                let done = store.compare_and_set(&key(k), wanted, Some(&new)).unwrap();
                let new = value;
                match done {
                    Ok(()) => Op::CompareAndSet { expected, new },
                    // As good as a look, at the moment of the comparison.
                    Err(found) => {
                        let found = decode(found);
                        assert_ne!(found, expected, "it was there, and refused");
                        last_seen = found;
                        Op::Get(found)
                    }
                }
            }
            6 => {
                let new = encode(value);
                let expected = decode(store.update(&key(k), |_| Some(&new)).unwrap());
                let new = value;
                Op::CompareAndSet { expected, new }
            }
            7 => {
                let keys: Vec<_> = (0..KEYS).map(key).collect();
                let k = usize::try_from(k).unwrap();
                last_seen = decode(store.get_many(&keys).unwrap().swap_remove(k));
                Op::Get(last_seen)
            }
            _ => {
                last_seen = decode(store.get(&key(k)).unwrap());
                Op::Get(last_seen)
            }
        };
        let returned = clock.fetch_add(1, Ordering::SeqCst);
        let recorded = Recorded {
            thread,
            key: k,
            op,
            called,
            returned,
        };
        history.push(recorded);
    }
    history
}

/// Runs threads on one store, with a merge beside them, and returns what each key went through.
fn record(options: Options, ops: u64, seed: u64) -> BTreeMap<u64, Vec<Recorded>> {
    let dir = fast_dir();
    let store = &options.open(dir.path()).unwrap();
    let clock = &AtomicU64::new(1);
    let is_over = &AtomicBool::new(false);
    let histories: Vec<Vec<Recorded>> = thread::scope(|scope| {
        let merger = scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                store.rotate().unwrap();
                store.merge().unwrap();
            }
        });
        let per_thread = ops / THREADS as u64;
        let spawn = |thread| scope.spawn(move || work(store, clock, thread, per_thread, seed));
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        let histories = threads.into_iter().map(|thread| thread.join().unwrap());
        let histories = histories.collect();
        is_over.store(true, Ordering::Relaxed);
        merger.join().unwrap();
        histories
    });
    assert!(store.stats().merges > 0);
    assert!(store.verify().unwrap().is_whole());
    let mut keys: BTreeMap<u64, Vec<Recorded>> = BTreeMap::new();
    for recorded in histories.into_iter().flatten() {
        keys.entry(recorded.key).or_default().push(recorded);
    }
    keys
}

/// How many operations: from the environment, for longer runs.
fn ops(default: u64) -> u64 {
    let ops = std::env::var("OPS").ok().and_then(|ops| ops.parse().ok());
    ops.unwrap_or(default)
}

#[test]
fn a_history_beside_merges_is_linearizable() {
    let options = Options::new()
        .sync(SyncMode::Manual)
        .data_file_size(16 << 10);
    for (key, history) in record(options, ops(100_000), seed(1)) {
        assert!(is_linearizable(&history), "key {key}");
    }
}

#[test]
fn a_history_of_durable_writes_is_linearizable() {
    let options = Options::new().data_file_size(16 << 10);
    for (key, history) in record(options, ops(20_000), seed(2)) {
        assert!(is_linearizable(&history), "key {key}");
    }
}

#[test]
fn a_history_that_is_not_linearizable_is_found() {
    let at = |thread, called, returned, op| Recorded {
        thread,
        key: 0,
        op,
        called,
        returned,
    };
    let put = at(0, 1, 2, Op::Put(7));
    let stale = at(1, 3, 4, Op::Get(ABSENT));
    assert!(!is_linearizable(&[put, stale]));
    // Beside the write, either may be seen.
    assert!(is_linearizable(&[
        at(0, 1, 4, Op::Put(7)),
        at(1, 2, 3, Op::Get(ABSENT))
    ]));
    assert!(is_linearizable(&[
        at(0, 1, 4, Op::Put(7)),
        at(1, 2, 3, Op::Get(7))
    ]));
    let cas = Op::CompareAndSet {
        expected: 7,
        new: 8,
    };
    assert!(is_linearizable(&[
        put,
        at(1, 3, 4, cas),
        at(0, 5, 6, Op::Get(8))
    ]));
    assert!(!is_linearizable(&[at(1, 3, 4, cas)]));
    // Two that both succeed where only one can.
    assert!(!is_linearizable(&[put, at(1, 3, 6, cas), at(2, 4, 5, cas)]));
}
