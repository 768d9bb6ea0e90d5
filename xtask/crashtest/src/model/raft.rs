//! What a Raft node does to its storage: it votes, appends, takes back what another leader overrules, and purges
//! what a snapshot covers. Nothing of it may change places with anything else.

use super::state::{State, key_of, number_of};
use super::workload::value;
use crate::splitmix::splitmix;

/// Under these keys, and one for each entry, stands what the storage holds.
const VOTE: &[u8] = b"vote";
const PURGED: &[u8] = b"purged";
const ENTRY: &str = "entry";

/// A purge leaves so many entries at least.
const KEPT: u64 = 3;

/// One call of a Raft node to its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The node votes in `term` for `node`.
    Vote { term: u64, node: u64 },
    /// The entry of `index`, which is one behind the last.
    Append {
        index: u64,
        term: u64,
        bytes: Vec<u8>,
    },
    /// The entries from `index` on are gone.
    Truncate { index: u64 },
    /// The entries up to `index`, with it, are gone.
    Purge { index: u64 },
}

impl Step {
    pub(super) fn apply_to(&self, state: &mut State) {
        match self {
            Self::Vote { term, node } => put_vote(state, *term, *node),
            Self::Append { index, term, bytes } => put_entry(state, *index, *term, bytes),
            Self::Truncate { index } => remove_entries(state, |at| at >= *index),
            Self::Purge { index } => {
                remove_entries(state, |at| at <= *index);
                put_purged(state, *index);
            }
        }
    }
}

/// Sets the vote in `state`.
pub(crate) fn put_vote(state: &mut State, term: u64, node: u64) {
    state.put(VOTE, format!("{term} {node}").into_bytes());
}

/// Says in `state` that entries up to `index` were purged.
pub(crate) fn put_purged(state: &mut State, index: u64) {
    state.put(PURGED, index.to_string().into_bytes());
}

/// Puts an entry into `state`.
pub(crate) fn put_entry(state: &mut State, index: u64, term: u64, bytes: &[u8]) {
    let term = format!("{term} ");
    let value = [term.as_bytes(), bytes].concat();
    state.put(&key_of(ENTRY, index), value);
}

/// True if `state` has an entry of this index.
pub(crate) fn has_entry(state: &State, index: u64) -> bool {
    state.pairs().contains_key(&key_of(ENTRY, index))
}

/// The index of the entry that stands under `key`, if that is an entry's.
fn index_of(key: &[u8]) -> Option<u64> {
    number_of(ENTRY, key)
}

fn remove_entries(state: &mut State, is_gone: impl Fn(u64) -> bool) {
    let keys = state.pairs().keys();
    let gone = keys.filter(|key| index_of(key).is_some_and(&is_gone));
    let gone: Vec<Vec<u8>> = gone.cloned().collect();
    for key in gone {
        state.remove(&key);
    }
}

/// What stands under `key`, in words.
pub(super) fn describe(key: &[u8]) -> String {
    match index_of(key) {
        Some(index) => format!("{ENTRY} {index}"),
        None if key == VOTE => "the vote".to_owned(),
        None => "the last purged index".to_owned(),
    }
}

/// The first `last` steps of a node.
pub(super) fn steps(last: u64) -> impl Iterator<Item = Step> {
    let mut node = Node::default();
    (1..=last).map(move |n| node.step(n))
}

/// What the steps so far have left.
#[derive(Default)]
struct Node {
    term: u64,
    /// The entries that there are: those behind `purged`, up to `last`.
    purged: u64,
    last: u64,
    /// It has voted in this term, and must append before it does so again.
    has_voted: bool,
}

impl Node {
    /// Step `n`. Each changes something: a step without any effect could be lost unseen.
    fn step(&mut self, n: u64) -> Step {
        let drawn = splitmix(n) >> 16;
        let there = self.last - self.purged;
        if n == 1 || !self.has_voted && drawn.is_multiple_of(8) {
            self.has_voted = true;
            self.term += 1;
            let node = 1 + drawn / 8 % 3;
            return Step::Vote {
                term: self.term,
                node,
            };
        }
        // A new leader may overrule what was not committed; never all.
        if self.has_voted && there > KEPT && drawn.is_multiple_of(2) {
            self.has_voted = false;
            let index = self.last - drawn / 2 % KEPT;
            self.last = index - 1;
            return Step::Truncate { index };
        }
        if there > 4 * KEPT && drawn % 8 == 1 {
            self.purged = self.last - KEPT - drawn / 8 % KEPT;
            return Step::Purge { index: self.purged };
        }
        self.has_voted = false;
        self.last += 1;
        Step::Append {
            index: self.last,
            term: self.term,
            bytes: value(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_legal_and_changes_something() {
        let mut state = State::default();
        let (mut last, mut purged, mut term) = (0, 0, 0);
        let mut counts = [0; 4];
        for step in steps(400) {
            let before = state.hash();
            step.apply_to(&mut state);
            assert_ne!(state.hash(), before, "{step:?}");
            match step {
                Step::Vote { term: of, .. } => {
                    assert!(of > term);
                    (term, counts[0]) = (of, counts[0] + 1);
                }
                Step::Append {
                    index, term: of, ..
                } => {
                    assert_eq!((index, of), (last + 1, term));
                    (last, counts[1]) = (index, counts[1] + 1);
                }
                Step::Truncate { index } => {
                    assert!(index > purged && index <= last);
                    (last, counts[2]) = (index - 1, counts[2] + 1);
                }
                Step::Purge { index } => {
                    assert!(index > purged && index < last);
                    (purged, counts[3]) = (index, counts[3] + 1);
                }
            }
        }
        assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
        assert!(has_entry(&state, last) && !has_entry(&state, purged));
    }
}
