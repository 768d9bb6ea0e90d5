//! What is replicated, and what nodes and clients say to each other. This is the file to change first.

use std::collections::{BTreeMap, BTreeSet};

use durable_raft::Result;
use durable_raft::machine::Changes;
use durable_raft::openraft09::SnapshotStream;
use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The types of this group.
    pub(crate) Types:
        D = Command,
        R = Answer,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = SnapshotStream,
);

/// What a client may ask to be changed. It is stored in the log: an older one must stay readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    Put {
        key: String,
        value: String,
    },
    Delete {
        key: String,
    },
    /// Gives `key` the value `new`, if it has the value `old`; `None` is none.
    CompareAndSet {
        key: String,
        old: Option<String>,
        new: Option<String>,
    },
}

/// What a command has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The value before it.
    pub(crate) before: Option<String>,
    /// True if it has changed the value, as asked.
    pub(crate) is_done: bool,
}

/// Applies a command. Each node does so on its own, and must come to the same.
pub(crate) fn apply(changes: &mut Changes<'_>, command: Command) -> Result<Answer> {
    let (key, is_expected, new) = match command {
        Command::Put { key, value } => (key, None, Some(value)),
        Command::Delete { key } => (key, None, None),
        Command::CompareAndSet { key, old, new } => (key, Some(old), new),
    };
    let before = changes.get(key.as_bytes())?;
    let before = before.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let is_done = is_expected.is_none_or(|old| old == before);
    if is_done {
        match new {
            Some(value) => changes.put(key.as_bytes(), value.as_bytes()),
            None => changes.delete(key.as_bytes()),
        }
    }
    Ok(Answer { before, is_done })
}

/// What is asked of a node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    // By nodes.
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    Snapshot(InstallSnapshotRequest<Types>),
    // By clients.
    Write(Command),
    Get(String),
    /// Found the group, once, with these nodes and their addresses.
    Found(BTreeMap<u64, String>),
    /// A node that gets all entries, and does not vote yet.
    AddLearner(u64, String),
    /// The nodes that vote from now on.
    ChangeMembers(BTreeSet<u64>),
    Metrics,
}

impl Request {
    /// True if a node that has got it may have done it although it did not answer.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self, Self::Get(_) | Self::Metrics)
    }
}

/// What a node answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    Snapshot(Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>),
    Answer(Answer),
    Value(Option<String>),
    Done,
    Text(String),
    /// Nothing was done: another node leads, perhaps the one at this address.
    NotLeader(Option<String>),
    /// It may or may not be done.
    Failed(String),
}
