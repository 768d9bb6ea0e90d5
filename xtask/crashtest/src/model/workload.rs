//! What is done to a store: operation `n` of each kind is a pure function of `n`, and a value tells which
//! operation wrote it.

use clap::ValueEnum;

use super::raft;
use super::state::{State, key_of, number_of};
use crate::engine::Change;
use crate::splitmix::splitmix;

/// Keys that the operations choose from.
const KEYS: u64 = 200;
/// One operation in so many deletes.
const DELETES: u64 = 6;
/// One operation in so many is a batch, where a store has them.
const BATCHES: u64 = 3;
/// A batch has two parts, or one more, up to so many.
const PARTS: u64 = 4;
/// Parts of one batch are so far apart in what their values are made of: beyond any number of operations.
const PART: u64 = 1 << 32;
/// One operation in so many is followed by a sync, where the store acknowledges before it is durable.
const SYNCS: u64 = 4;
const SHORTEST: u64 = 64;
const LONGEST: u64 = 2060;

/// What a log's contents are called.
pub(crate) const RECORD: &str = "record";

/// What a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A map from keys to values.
    #[default]
    Kv,
    /// Records, one behind the other.
    Log,
    /// What a Raft node keeps: its vote, and a log that is cut at both ends.
    Raft,
}

impl Kind {
    /// Its word on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Log => "log",
            Self::Raft => "raft",
        }
    }

    /// What stands under `key` of its [`Contents`](crate::Contents), in words.
    pub(crate) fn describe(self, key: &[u8]) -> String {
        let text = String::from_utf8_lossy(key);
        match self {
            Self::Kv => format!("key {text}"),
            Self::Log => match number_of(RECORD, key) {
                Some(number) => format!("{RECORD} {number}"),
                None => text.into_owned(),
            },
            Self::Raft => raft::describe(key),
        }
    }
}

/// What a store is, and what else it can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Shape {
    /// What the program of `--command` is: a key-value store, a log, or the storage of a Raft node.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "KIND",
        requires = "command"
    )]
    pub(crate) kind: Kind,
    /// The program of `--command` also knows `batch`: all of it or nothing.
    #[arg(long, requires = "command")]
    pub(crate) batches: bool,
    /// The program of `--command` answers before what it did is durable, and makes everything durable on `sync`:
    /// then only the newest operations since the last sync may be lost.
    #[arg(long, requires = "command")]
    pub(crate) unsynced: bool,
}

impl Shape {
    /// The words of a command line that say this.
    pub(crate) fn words(self) -> Vec<String> {
        let mut words = vec![format!("--kind={}", self.kind.word())];
        words.extend(self.batches.then(|| "--batches".to_owned()));
        words.extend(self.unsynced.then(|| "--unsynced".to_owned()));
        words
    }

    /// True if operation `n` is followed by a sync.
    pub(crate) fn syncs_after(self, n: u64) -> bool {
        self.unsynced && (splitmix(n ^ (1 << 61)) >> 32).is_multiple_of(SYNCS)
    }

    /// Operations 1 to `last`.
    pub(crate) fn operations(self, last: u64) -> Vec<Operation> {
        match self.kind {
            Kind::Kv => (1..=last).map(|n| change(n, self.batches)).collect(),
            Kind::Log => (1..=last).map(|n| append(n, self.batches)).collect(),
            Kind::Raft => raft::steps(last).map(Operation::Raft).collect(),
        }
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Each of these keys gets its new value, or is deleted: all of it or nothing.
    Change(Vec<Change>),
    /// These records come behind those that there are: all or none.
    Append(Vec<Vec<u8>>),
    Raft(raft::Step),
}

impl Operation {
    /// Does it to `state`.
    pub(crate) fn apply_to(&self, state: &mut State) {
        match self {
            Self::Change(changes) => {
                for (key, value) in changes {
                    match value {
                        Some(value) => state.put(key, value.clone()),
                        None => state.remove(key),
                    }
                }
            }
            Self::Append(records) => {
                for record in records {
                    let index = state.pairs().len() as u64;
                    state.put(&key_of(RECORD, index), record.clone());
                }
            }
            Self::Raft(step) => step.apply_to(state),
        }
    }
}

/// The bytes of a key: letters and digits, so that a line of text can hold them.
fn key_bytes(key: u64) -> Vec<u8> {
    format!("k{key:03}").into_bytes()
}

/// Operation `n` of a key-value store.
fn change(n: u64, batches: bool) -> Operation {
    let hash = splitmix(n);
    let parts = parts(n, batches);
    if parts > 1 {
        // Keys apart from each other, so that they stand in different places of a store.
        let key = |part: u64| key_bytes((hash + part * (KEYS / PARTS)) % KEYS);
        let changes = (0..parts).map(|part| (key(part), Some(value(n + part * PART))));
        return Operation::Change(changes.collect());
    }
    let deletes = (hash >> 32).is_multiple_of(DELETES);
    let value = (!deletes).then(|| value(n));
    Operation::Change(vec![(key_bytes(hash % KEYS), value)])
}

/// Operation `n` of a log.
fn append(n: u64, batches: bool) -> Operation {
    let records = (0..parts(n, batches)).map(|part| value(n + part * PART));
    Operation::Append(records.collect())
}

/// Of how many parts operation `n` is.
fn parts(n: u64, batches: bool) -> u64 {
    let drawn = splitmix(n ^ (1 << 62)) >> 32;
    if batches && drawn.is_multiple_of(BATCHES) {
        2 + (drawn / BATCHES) % (PARTS - 1)
    } else {
        1
    }
}

/// 64 to 2060 bytes: the operation's number (8 bytes, little-endian), then a pattern of it.
pub(crate) fn value(n: u64) -> Vec<u8> {
    let mut word = splitmix(n ^ (1 << 63));
    let len = usize::try_from(SHORTEST + word % (LONGEST - SHORTEST + 1));
    let len = len.expect("a small number");
    let mut bytes = n.to_le_bytes().to_vec();
    while bytes.len() < len {
        word = splitmix(word);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A hash of two numbers.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    splitmix(splitmix(a) ^ b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kind: Kind, batches: bool) -> Shape {
        let unsynced = false;
        Shape {
            kind,
            batches,
            unsynced,
        }
    }

    #[test]
    fn one_operation_in_six_deletes_and_one_in_three_is_a_batch_where_there_are_any() {
        for (batches, some) in [(false, 0..1), (true, 150..250)] {
            let operations = shape(Kind::Kv, batches).operations(600);
            let of = |is: &dyn Fn(&[Change]) -> bool| {
                let changes = operations.iter().filter(|operation| match operation {
                    Operation::Change(changes) => is(changes),
                    _ => false,
                });
                changes.count()
            };
            assert!((40..140).contains(&of(&|changes| matches!(changes, [(_, None)]))));
            assert!(some.contains(&of(&|changes| changes.len() > 1)));
            assert_eq!(operations.len(), 600);
        }
    }

    #[test]
    fn the_keys_of_a_batch_differ_and_so_do_its_values() {
        for operation in shape(Kind::Kv, true).operations(300) {
            let Operation::Change(changes) = operation else {
                panic!("{operation:?}");
            };
            let distinct: std::collections::BTreeMap<_, _> = changes.iter().cloned().collect();
            assert_eq!(distinct.len(), changes.len());
            let values: std::collections::BTreeSet<_> = distinct.values().collect();
            assert_eq!(values.len(), changes.len());
        }
    }

    #[test]
    fn a_value_is_of_the_length_that_its_number_says() {
        for n in 1..600 {
            assert!((64..=2060).contains(&value(n).len()));
            assert!(value(n).starts_with(&n.to_le_bytes()));
        }
    }
}
