//! What a user sees of a store, the model of it, and how it is read.

use std::collections::BTreeMap;

use crashtest::content::{identify, payload};
use durable_io::sim::Outcome;
use durable_raft::{Entry, Group, LogPoint, LogStore, Vote};

use super::Op;

/// The groups that hold anything: one that was just created is like one that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State(pub(super) BTreeMap<u64, GroupState>);

/// Everything by the number of the operation that wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct GroupState {
    vote: Option<u64>,
    purged: Option<u64>,
    committed: Option<u64>,
    /// By index: the operation, and which of its entries.
    pub(super) entries: BTreeMap<u64, (u64, usize)>,
}

/// The group that everything is done to, and the one that comes and goes.
pub(super) const FIRST: u64 = 1;
pub(super) const SECOND: u64 = 2;

/// Bytes of the entries that an operation appends to a group.
fn sizes(op: Op, group: u64) -> &'static [usize] {
    match (op, group) {
        (Op::Append, FIRST) => &[20],
        (Op::Later, SECOND) => &[40],
        (Op::AppendMany, FIRST) => &[300, 16, 260],
        (Op::Large, FIRST) => &[2600],
        (Op::Other, SECOND) => &[120],
        _ => &[],
    }
}

/// The entries that operation `n` appends to `group`, whose last one is `last`.
pub(super) fn entries(op: Op, n: u64, group: u64, last: u64) -> Vec<Entry> {
    let sizes = sizes(op, group).iter().enumerate();
    let entries = sizes.zip(last + 1..).map(|((nth, size), index)| Entry {
        index,
        term: n,
        data: payload(n, nth, *size),
    });
    entries.collect()
}

pub(super) fn vote(n: u64) -> Vote {
    Vote {
        term: n,
        leader: payload(n, 0, 24),
    }
}

pub(super) fn point(index: u64) -> LogPoint {
    LogPoint {
        index,
        term: index + 7,
        leader: payload(index, 1, 20),
    }
}

impl GroupState {
    pub(super) fn last(&self) -> u64 {
        let last = self.entries.last_key_value().map(|(index, _)| *index);
        last.or(self.purged).unwrap_or(0)
    }

    /// From where on the last two entries may be truncated.
    pub(super) fn conflict(&self) -> Option<u64> {
        let kept = self.committed.max(self.purged).unwrap_or(0);
        let first = self.last().saturating_sub(1).max(kept + 1);
        self.entries.contains_key(&first).then_some(first)
    }

    /// Up to where all but the last entry is purged.
    pub(super) fn purge(&self) -> Option<u64> {
        let point = self.last().saturating_sub(1);
        (point > self.purged.unwrap_or(0)).then_some(point)
    }

    /// What is committed, if that is news.
    pub(super) fn commit(&self) -> Option<u64> {
        let last = self.last();
        (last > self.committed.unwrap_or(0)).then_some(last)
    }
}

impl State {
    pub(super) fn group(&self, id: u64) -> GroupState {
        self.0.get(&id).cloned().unwrap_or_else(GroupState::default)
    }

    /// The state after operation `n`.
    pub(super) fn after(&self, op: Op, n: u64) -> Self {
        let mut after = self.clone();
        for id in [FIRST, SECOND] {
            let mut group = self.group(id);
            for entry in entries(op, n, id, group.last()) {
                let written = identify(&entry.data).expect("it was just made");
                group.entries.insert(entry.index, written);
            }
            match (op, id) {
                (Op::Vote, FIRST) => group.vote = Some(n),
                (Op::Truncate, FIRST) => {
                    if let Some(first) = group.conflict() {
                        drop(group.entries.split_off(&first));
                    }
                }
                (Op::Purge, FIRST) => {
                    if let Some(point) = group.purge() {
                        group.entries = group.entries.split_off(&(point + 1));
                        group.purged = Some(point);
                    }
                }
                (Op::Commit, FIRST) => group.committed = group.commit().or(group.committed),
                (Op::Destroy, SECOND) => group = GroupState::default(),
                _ => {}
            }
            after.set(id, group);
        }
        after
    }

    fn set(&mut self, id: u64, group: GroupState) {
        if group == GroupState::default() {
            self.0.remove(&id);
        } else {
            self.0.insert(id, group);
        }
    }
}

/// Everything that `store` holds, each read in every way.
pub(super) fn observe(store: &LogStore) -> Outcome<State> {
    let mut state = State::default();
    for id in store.groups()? {
        state.set(id, observe_group(&store.group(id)?)?);
    }
    Ok(state)
}

fn observe_group(group: &Group) -> Outcome<GroupState> {
    let found = group.vote()?;
    let number = found.as_ref().map(|found| found.term);
    if found != number.map(vote) {
        return Err(format!("{found:?} is nobody's vote").into());
    }
    let log = group.state()?;
    let index = |found: Option<LogPoint>| match found {
        Some(found) if found != point(found.index) => Err(format!("{found:?} is nobody's")),
        found => Ok(found.map(|found| found.index)),
    };
    let mut state = GroupState {
        vote: number,
        purged: index(log.purged)?,
        committed: index(log.committed)?,
        ..GroupState::default()
    };
    for entry in group.entries(0..u64::MAX)? {
        let written = identify(&entry.data).filter(|(n, _)| *n == entry.term);
        let written = written.ok_or_else(|| format!("{entry:?} was written by nobody"))?;
        if group.entries_within(entry.index..u64::MAX, 1)?.as_slice() != [entry.clone()] {
            return Err(format!("{entry:?} is another one alone").into());
        }
        state.entries.insert(entry.index, written);
    }
    let keys = state.entries.keys();
    if log.first != keys.min().copied()
        || log.last.map(|(index, _)| index) != state.entries.keys().max().copied()
    {
        return Err(format!("{state:?} is said to be {:?} to {:?}", log.first, log.last).into());
    }
    Ok(state)
}
