//! raft-engine, whose groups share one log. It gives up entries only from the front, or by others of the same index:
//! so each batch also says which entry is the last.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt};

use crate::{Entry, RaftLog, State};

const VOTE: &[u8] = b"vote";
const LAST: &[u8] = b"last";
const PURGED: &[u8] = b"purged";

struct Log {
    engine: Arc<Engine>,
    group: u64,
}

/// An entry's bytes, behind its index and its term.
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        number(&entry.value).unwrap_or(0)
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_le_bytes)
}

pub(crate) fn open(dir: &Path, groups: u64) -> anyhow::Result<Vec<Box<dyn RaftLog>>> {
    let config = Config {
        dir: dir.to_str().context("a path in UTF-8")?.to_owned(),
        ..Config::default()
    };
    let engine = Arc::new(Engine::open(config)?);
    let log = |group| Log {
        engine: Arc::clone(&engine),
        group,
    };
    Ok((1..=groups)
        .map(|group| Box::new(log(group)) as Box<dyn RaftLog>)
        .collect())
}

impl Log {
    fn write(
        &self,
        fill: impl FnOnce(&mut LogBatch) -> raft_engine::Result<()>,
    ) -> anyhow::Result<()> {
        let mut batch = LogBatch::default();
        fill(&mut batch)?;
        self.engine.write(&mut batch, true)?;
        Ok(())
    }

    fn number(&self, key: &[u8]) -> Option<u64> {
        number(&self.engine.get(self.group, key)?)
    }

    fn put(&self, batch: &mut LogBatch, key: &[u8], number: u64) -> raft_engine::Result<()> {
        batch.put(self.group, key.to_vec(), number.to_le_bytes().to_vec())
    }
}

impl RaftLog for Log {
    fn save_vote(&mut self, term: u64, node: u64) -> anyhow::Result<()> {
        let vote = [term.to_le_bytes(), node.to_le_bytes()].concat();
        self.write(|batch| batch.put(self.group, VOTE.to_vec(), vote))
    }

    fn append(&mut self, entries: Vec<Entry>) -> anyhow::Result<()> {
        let last = entries.last().context("nothing to append")?.index;
        let messages = entries.iter().map(|entry| {
            let head = [entry.index.to_le_bytes(), entry.term.to_le_bytes()].concat();
            let mut message = BytesValue::new();
            message.value = [&head, &*entry.data].concat();
            message
        });
        let messages = messages.collect::<Vec<_>>();
        self.write(|batch| {
            batch.add_entries::<Indexed>(self.group, &messages)?;
            self.put(batch, LAST, last)
        })
    }

    fn truncate(&mut self, from: u64) -> anyhow::Result<()> {
        self.write(|batch| self.put(batch, LAST, from - 1))
    }

    fn purge(&mut self, up_to: u64) -> anyhow::Result<()> {
        self.write(|batch| {
            batch.add_command(self.group, Command::Compact { index: up_to + 1 });
            self.put(batch, PURGED, up_to)
        })
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }

    fn state(&mut self) -> anyhow::Result<State> {
        let vote = self.engine.get(self.group, VOTE);
        let vote = vote.and_then(|vote| Some((number(&vote)?, number(vote.get(8..)?)?)));
        let purged = self.number(PURGED);
        let first = purged.map_or(1, |purged| purged + 1);
        let last = self.number(LAST).unwrap_or(0);
        let mut messages = Vec::new();
        if first <= last {
            let engine = &self.engine;
            engine.fetch_entries_to::<Indexed>(self.group, first, last + 1, None, &mut messages)?;
        }
        let entries = messages.iter().map(|message| {
            let (index, rest) = message.value.split_at_checked(8).context("an index")?;
            let (term, data) = rest.split_at_checked(8).context("a term")?;
            Ok(Entry {
                index: number(index).context("an index")?,
                term: number(term).context("a term")?,
                data: data.to_vec(),
            })
        });
        Ok(State {
            vote,
            purged,
            entries: entries.collect::<anyhow::Result<_>>()?,
        })
    }
}
