//! openraft's own storage suite, on a store that lives on, and on one that loses everything unsynced after every
//! call that has returned, and is opened again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

#[path = "openraft/machine.rs"]
mod machine;

use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::Arc;

use durable_io::sim::SimDisk;
use durable_raft::openraft09::LogStorage;
use durable_raft::{Error, LogStore};
use machine::{Machine, Types};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{LogId, LogState, OptionalSend, RaftLogReader, StorageError, Vote};
use tokio::sync::{Mutex, oneshot};

type Answer<T> = Result<T, StorageError<u64>>;

/// The log storage of group 1, which is created if it is not there.
fn storage(store: &LogStore) -> LogStorage<Types> {
    let group = match store.group(1) {
        Err(Error::NoGroup { .. }) => store.create(1).unwrap(),
        group => group.unwrap(),
    };
    LogStorage::new(group)
}

struct Builder;

impl StoreBuilder<Types, LogStorage<Types>, Machine, LogStore> for Builder {
    async fn build(&self) -> Answer<(LogStore, LogStorage<Types>, Machine)> {
        let store = support::open(&SimDisk::new());
        let log = storage(&store);
        Ok((store, log, Machine::default()))
    }
}

#[test]
fn the_suite_of_openraft_passes() {
    Suite::test_all(Builder).unwrap();
}

/// A store whose machine loses power after every call.
#[derive(Clone)]
struct Mortal(Arc<Mutex<Option<Life>>>);

struct Life {
    sim: SimDisk,
    store: LogStore,
    log: LogStorage<Types>,
}

impl Life {
    fn begin(sim: SimDisk) -> Self {
        let store = support::options(&sim).cache(0).open("/raft").unwrap();
        let log = storage(&store);
        Self { sim, store, log }
    }

    /// The power fails, and the machine is started again.
    fn end(self) -> Self {
        let Self { sim, store, log } = self;
        let world = sim.world().lose_unsynced();
        drop((log, store));
        Self::begin(SimDisk::boot(world))
    }
}

impl Mortal {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Life::begin(SimDisk::new())))))
    }

    async fn log(&self) -> LogStorage<Types> {
        self.0.lock().await.as_ref().unwrap().log.clone()
    }

    /// Gives `answer`, after the loss of power.
    async fn die<T>(&self, answer: T) -> T {
        let mut life = self.0.lock().await;
        let ended = life.take().unwrap().end();
        *life = Some(ended);
        answer
    }
}

impl RaftLogReader<Types> for Mortal {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Answer<Vec<openraft::Entry<Types>>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let read = self.log().await.try_get_log_entries(range).await;
        self.die(read).await
    }
}

impl RaftLogStorage<Types> for Mortal {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Answer<LogState<Types>> {
        let state = self.log().await.get_log_state().await;
        self.die(state).await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Answer<()> {
        let saved = self.log().await.save_vote(vote).await;
        self.die(saved).await
    }

    async fn read_vote(&mut self) -> Answer<Option<Vote<u64>>> {
        let vote = self.log().await.read_vote().await;
        self.die(vote).await
    }

    /// It is durable with what follows only: so a vote follows.
    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Answer<()> {
        let mut log = self.log().await;
        log.save_committed(committed).await?;
        let vote = log.read_vote().await?.unwrap_or(Vote::new(0, 0));
        log.save_vote(&vote).await?;
        drop(log);
        self.die(Ok(())).await
    }

    async fn read_committed(&mut self) -> Answer<Option<LogId<u64>>> {
        let committed = self.log().await.read_committed().await;
        self.die(committed).await
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Answer<()>
    where
        I: IntoIterator<Item = openraft::Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let log = self.log().await;
        let entries: Vec<_> = entries.into_iter().collect();
        log.clone().append(entries, callback).await?;
        // Called after the callback of the append, with which the call ends.
        let (sender, receiver) = oneshot::channel();
        let first = log.group().entries(0..u64::MAX).unwrap();
        let nothing = durable_raft::Change::Append(&[]);
        let done = move |result| drop(sender.send(result));
        log.group().submit(nothing, done).unwrap();
        receiver.await.unwrap().unwrap();
        drop(log);
        self.die(()).await;
        let again = self.log().await.group().entries(0..u64::MAX).unwrap();
        assert_eq!(again, first, "an append was acknowledged, and is gone");
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Answer<()> {
        let truncated = self.log().await.truncate(log_id).await;
        self.die(truncated).await
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Answer<()> {
        let purged = self.log().await.purge(log_id).await;
        self.die(purged).await
    }
}

struct MortalBuilder;

impl StoreBuilder<Types, Mortal, Machine> for MortalBuilder {
    async fn build(&self) -> Answer<((), Mortal, Machine)> {
        Ok(((), Mortal::new(), Machine::default()))
    }
}

#[test]
fn the_suite_passes_when_the_power_fails_after_every_call() {
    Suite::test_all(MortalBuilder).unwrap();
}
