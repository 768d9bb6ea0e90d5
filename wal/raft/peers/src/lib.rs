//! Raft log stores of others, and [`durable_raft`], behind one interface: for the judge, which drives them as a
//! program (`judged`), and for the benchmark.
//!
//! Each is configured as its documentation says that it is durable; the ones that are named for it acknowledge
//! earlier.

mod engine;
mod log;
mod openraft_store;

use std::path::Path;

use anyhow::{Context as _, bail};
use hiqlite_wal_014::LogSync as Sync014;
use hiqlite_wal_015::LogSync as Sync015;
use tokio::runtime::{Handle, Runtime};

use crate::openraft_store::OpenraftStore;

/// What a segment of hiqlite's log takes: its default.
const HIQLITE_SEGMENT: u32 = 2 << 20;

/// The names of the stores.
pub const NAMES: [&str; 7] = [
    "durable-raft",
    "hiqlite-wal-0.14",
    "hiqlite-wal-0.15",
    "hiqlite-wal-0.15-async",
    "hiqlite-wal-0.15-interval",
    "raft-log",
    "raft-engine",
];

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    pub data: Vec<u8>,
}

/// What a log holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Term and node.
    pub vote: Option<(u64, u64)>,
    /// The last index that is purged.
    pub purged: Option<u64>,
    pub entries: Vec<Entry>,
}

/// The log of one group. Each change returns when the store says that it is durable.
pub trait RaftLog: Send {
    fn save_vote(&mut self, term: u64, node: u64) -> anyhow::Result<()>;
    fn append(&mut self, entries: Vec<Entry>) -> anyhow::Result<()>;
    /// Gives up what stands at `from` and after it.
    fn truncate(&mut self, from: u64) -> anyhow::Result<()>;
    /// Gives up what stands at `up_to` and before it.
    fn purge(&mut self, up_to: u64) -> anyhow::Result<()>;
    fn state(&mut self) -> anyhow::Result<State>;
    /// Ends it: when this returns, nothing of it writes any more.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}

/// Where the stores' own tasks run.
///
/// # Errors
/// No threads.
pub fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(1).enable_time().build()?)
}

/// Opens the logs of `groups` groups below `dir`, of the store called `name`: in one store where it has groups,
/// else in a store each.
///
/// # Errors
/// No such name; what the store refuses.
pub fn open(
    name: &str,
    dir: &Path,
    groups: u64,
    runtime: &Runtime,
) -> anyhow::Result<Vec<Box<dyn RaftLog>>> {
    let own = |group: u64| {
        let path = dir.join(format!("group-{group}"));
        let text = path.to_str().context("a path in UTF-8")?;
        anyhow::Ok(text.to_owned())
    };
    let handle = || runtime.handle().clone();
    match name {
        "durable-raft" => openraft_store::open_durable_raft(dir, groups, runtime),
        "raft-engine" => engine::open(dir, groups),
        "raft-log" => each(groups, |group| Ok(Box::new(log::Log::open(&own(group)?)?))),
        "hiqlite-wal-0.14" => each(groups, |group| {
            let start =
                hiqlite_wal_014::LogStore::start(own(group)?, Sync014::Immediate, HIQLITE_SEGMENT);
            let store = runtime.block_on(start)?;
            let stop = |store: hiqlite_wal_014::LogStore<_>, runtime: &Handle| {
                Ok(runtime.block_on(store.stop())?)
            };
            Ok(OpenraftStore::boxed(store, handle(), stop))
        }),
        _ => {
            let sync = match name {
                "hiqlite-wal-0.15" => Sync015::Immediate,
                "hiqlite-wal-0.15-async" => Sync015::ImmediateAsync,
                "hiqlite-wal-0.15-interval" => Sync015::IntervalMillis(200),
                _ => bail!("there is no store called {name:?}; there are {NAMES:?}"),
            };
            each(groups, |group| {
                let start =
                    hiqlite_wal_015::LogStore::start(own(group)?, sync.clone(), HIQLITE_SEGMENT);
                let store = runtime.block_on(start)?;
                let stop = |store: hiqlite_wal_015::LogStore<_>, runtime: &Handle| {
                    Ok(runtime.block_on(store.stop())?)
                };
                Ok(OpenraftStore::boxed(store, handle(), stop))
            })
        }
    }
}

fn each(
    groups: u64,
    open: impl FnMut(u64) -> anyhow::Result<Box<dyn RaftLog>>,
) -> anyhow::Result<Vec<Box<dyn RaftLog>>> {
    (0..groups).map(open).collect()
}
