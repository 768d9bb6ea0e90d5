//! What the tests have in common.

use std::ops::Range;

use durable_io::sim::SimDisk;
use durable_raft::{Entry, Group, LogPoint, LogState, LogStore, Options, Vote};

/// Small enough that a few appends fill a segment.
pub(crate) const SEGMENT_SIZE: u64 = 4096;

pub(crate) fn options(sim: &SimDisk) -> Options {
    Options::new().segment_size(SEGMENT_SIZE).disk(sim.disk())
}

pub(crate) fn open(sim: &SimDisk) -> LogStore {
    options(sim).open("/raft").unwrap()
}

pub(crate) fn vote(term: u64) -> Vote {
    Vote {
        term,
        leader: vec![1, 2, 3],
    }
}

pub(crate) fn point(index: u64) -> LogPoint {
    LogPoint {
        index,
        term: index / 3,
        leader: vec![4, 5],
    }
}

pub(crate) fn entry(index: u64) -> Entry {
    Entry {
        index,
        term: index / 3,
        data: format!("entry {index}").into_bytes(),
    }
}

pub(crate) fn entries(indexes: Range<u64>) -> Vec<Entry> {
    indexes.map(entry).collect()
}

/// All that a group shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) vote: Option<Vote>,
    pub(crate) state: LogState,
    pub(crate) entries: Vec<Entry>,
}

pub(crate) fn shape(group: &Group) -> Shape {
    Shape {
        vote: group.vote().unwrap(),
        state: group.state().unwrap(),
        entries: group.entries(0..u64::MAX).unwrap(),
    }
}
