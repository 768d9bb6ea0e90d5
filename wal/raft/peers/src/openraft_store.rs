//! Whatever implements openraft's `RaftLogStorage`.

use std::path::Path;
use std::sync::Arc;

use durable_raft::openraft09::LogStorage;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{BasicNode, CommittedLeaderId, EntryPayload, LogId, RaftLogReader as _, Vote};
use tokio::runtime::{Handle, Runtime};

use crate::{Entry, RaftLog, State};

openraft::declare_raft_types!(
    /// Bytes are replicated. Not a `Vec<u8>`, which serde takes for a list of numbers: every store would encode each.
    pub(crate) Types:
        D = serde_bytes::ByteBuf,
        R = (),
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = std::io::Cursor<Vec<u8>>,
);

pub(crate) struct OpenraftStore<S> {
    store: S,
    runtime: Handle,
    end: fn(S, &Handle) -> anyhow::Result<()>,
    /// What the store lives in, if it does not keep that itself.
    kept: Option<Arc<durable_raft::LogStore>>,
}

impl<S: RaftLogStorage<Types>> OpenraftStore<S> {
    pub(crate) fn boxed(
        store: S,
        runtime: Handle,
        end: fn(S, &Handle) -> anyhow::Result<()>,
    ) -> Box<dyn RaftLog> {
        Box::new(Self {
            store,
            runtime,
            end,
            kept: None,
        })
    }

    fn read(&mut self, from: u64, to: u64) -> anyhow::Result<Vec<Entry>> {
        // A new reader each time: that of hiqlite-wal remembers places which a truncation has given to others.
        let entries = self.runtime.block_on(async {
            let mut reader = self.store.get_log_reader().await;
            reader.try_get_log_entries(from..=to).await
        })?;
        let entry = |entry: openraft::Entry<Types>| Entry {
            index: entry.log_id.index,
            term: entry.log_id.leader_id.term,
            data: match entry.payload {
                EntryPayload::Normal(data) => data.into_vec(),
                EntryPayload::Blank | EntryPayload::Membership(_) => Vec::new(),
            },
        };
        Ok(entries.into_iter().map(entry).collect())
    }

    fn log_id(&mut self, index: u64) -> anyhow::Result<LogId<u64>> {
        let there = self.read(index, index)?;
        let term = there.first().map_or(0, |entry| entry.term);
        Ok(log_id(term, index))
    }
}

fn log_id(term: u64, index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(term, 0), index)
}

impl<S: RaftLogStorage<Types>> RaftLog for OpenraftStore<S> {
    fn save_vote(&mut self, term: u64, node: u64) -> anyhow::Result<()> {
        let vote = Vote::new(term, node);
        Ok(self.runtime.block_on(self.store.save_vote(&vote))?)
    }

    fn append(&mut self, entries: Vec<Entry>) -> anyhow::Result<()> {
        let entries = entries.into_iter().map(|entry| openraft::Entry {
            log_id: log_id(entry.term, entry.index),
            payload: EntryPayload::Normal(entry.data.into()),
        });
        let appended = self.store.blocking_append(entries.collect::<Vec<_>>());
        Ok(self.runtime.block_on(appended)?)
    }

    fn truncate(&mut self, from: u64) -> anyhow::Result<()> {
        let from = self.log_id(from)?;
        Ok(self.runtime.block_on(self.store.truncate(from))?)
    }

    fn purge(&mut self, up_to: u64) -> anyhow::Result<()> {
        let up_to = self.log_id(up_to)?;
        Ok(self.runtime.block_on(self.store.purge(up_to))?)
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        (self.end)(self.store, &self.runtime)?;
        // The last group closes the store.
        match self.kept.and_then(Arc::into_inner) {
            Some(store) => Ok(store.close()?),
            None => Ok(()),
        }
    }

    fn state(&mut self) -> anyhow::Result<State> {
        let vote = self.runtime.block_on(self.store.read_vote())?;
        let log = self.runtime.block_on(self.store.get_log_state())?;
        let purged = log.last_purged_log_id.map(|id| id.index);
        let first = purged.map_or(1, |purged| purged + 1);
        let last = log.last_log_id.map_or(0, |id| id.index);
        let entries = if first <= last {
            self.read(first, last)?
        } else {
            Vec::new()
        };
        Ok(State {
            vote: vote.map(|vote| (vote.leader_id.term, vote.leader_id.node_id)),
            purged,
            entries,
        })
    }
}

/// This workspace's: one store for all groups.
pub(crate) fn open_durable_raft(
    dir: &Path,
    groups: u64,
    runtime: &Runtime,
) -> anyhow::Result<Vec<Box<dyn RaftLog>>> {
    let store = Arc::new(durable_raft::Options::new().open(dir.join("raft"))?);
    let group = |id| {
        let group = match store.group(id) {
            Err(durable_raft::Error::NoGroup { .. }) => store.create(id)?,
            group => group?,
        };
        let log: Box<dyn RaftLog> = Box::new(OpenraftStore {
            store: LogStorage::<Types>::new(group),
            runtime: runtime.handle().clone(),
            end: |_group, _runtime| Ok(()),
            kept: Some(Arc::clone(&store)),
        });
        Ok(log)
    };
    (1..=groups).map(group).collect()
}
