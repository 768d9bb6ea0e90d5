//! raft-log: one group a store; what it is given is durable when `flush(true, …)` calls back.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use raft_log::api::raft_log_writer::RaftLogWriter as _;
use raft_log::{Config, RaftLog as Store, Types};

use crate::{Entry, RaftLog, State};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bytes;

impl Types for Bytes {
    /// Term and index.
    type LogId = (u64, u64);
    type LogPayload = Vec<u8>;
    /// Term and node.
    type Vote = (u64, u64);
    type Callback = SyncSender<io::Result<()>>;
    type UserData = String;

    fn log_index(log_id: &Self::LogId) -> u64 {
        log_id.1
    }

    fn payload_size(payload: &Self::LogPayload) -> u64 {
        payload.len() as u64
    }
}

pub(crate) struct Log(Store<Bytes>);

impl Log {
    pub(crate) fn open(dir: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self(Store::open(Arc::new(Config::new(dir)))?))
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let (done, flushed) = sync_channel(1);
        self.0.flush(true, Some(done))?;
        Ok(flushed.recv()??)
    }
}

impl RaftLog for Log {
    fn save_vote(&mut self, term: u64, node: u64) -> anyhow::Result<()> {
        self.0.save_vote((term, node))?;
        self.flush()
    }

    fn append(&mut self, entries: Vec<Entry>) -> anyhow::Result<()> {
        let entries = entries.into_iter();
        let entries = entries.map(|entry| ((entry.term, entry.index), entry.data));
        self.0.append(entries)?;
        self.flush()
    }

    fn truncate(&mut self, from: u64) -> anyhow::Result<()> {
        self.0.truncate(from)?;
        self.flush()
    }

    fn purge(&mut self, up_to: u64) -> anyhow::Result<()> {
        let found = self.0.read(up_to, up_to + 1).next().transpose()?;
        let term = found.map_or(0, |((term, _), _)| term);
        self.0.purge((term, up_to))?;
        self.flush()
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }

    fn state(&mut self) -> anyhow::Result<State> {
        let state = self.0.log_state();
        let purged = state.purged().map(|id| id.1);
        let vote = state.vote().copied();
        let last = state.last().map_or(0, |id| id.1);
        let first = purged.map_or(1, |purged| purged + 1);
        let read = self.0.read(first, (last + 1).max(first));
        let entries = read.map(|read| {
            let ((term, index), data) = read?;
            Ok(Entry { index, term, data })
        });
        let entries = entries.collect::<anyhow::Result<_>>()?;
        Ok(State {
            vote,
            purged,
            entries,
        })
    }
}
