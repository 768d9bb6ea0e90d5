//! openraft's own storage suite, on a log and a state machine that live on, and on ones that lose everything unsynced
//! after every call that has returned, and are opened again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

#[path = "openraft/machine.rs"]
mod machine;

use std::fmt::Debug;
use std::future::Future;
use std::ops::RangeBounds;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use durable_io::sim::SimDisk;
use durable_raft::openraft09::{LogStorage, SnapshotStream};
use durable_raft::{Error, LogStore};
use machine::{Machine, Types, machine, sum};
use openraft::storage::{LogFlushed, RaftLogStorage, RaftStateMachine, Snapshot};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{
    BasicNode, CommittedLeaderId, EntryPayload, LogId, LogState, OptionalSend, RaftLogReader,
    RaftSnapshotBuilder, SnapshotMeta, StorageError, StoredMembership, Vote,
};
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
        let sim = SimDisk::new();
        let store = support::open(&sim);
        let log = storage(&store);
        Ok((store, log, machine(&sim)))
    }
}

#[test]
fn the_suite_of_openraft_passes() {
    Suite::test_all(Builder).unwrap();
}

/// A log and a state machine on a computer that loses power after every call.
#[derive(Clone)]
struct Mortal(Arc<Mutex<Option<Life>>>);

struct Life {
    sim: SimDisk,
    _store: LogStore,
    log: LogStorage<Types>,
    machine: Machine,
}

impl Life {
    fn begin(sim: SimDisk) -> Self {
        let store = support::options(&sim).cache(0).open("/raft").unwrap();
        let (log, machine) = (storage(&store), machine(&sim));
        Self {
            sim,
            _store: store,
            log,
            machine,
        }
    }

    /// The power fails, and the computer is started again.
    fn end(self) -> Self {
        let world = self.sim.world().lose_unsynced();
        drop(self);
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

    async fn machine(&self) -> Machine {
        self.0.lock().await.as_ref().unwrap().machine.clone()
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

type Membership = StoredMembership<u64, BasicNode>;

impl RaftSnapshotBuilder<Types> for Mortal {
    async fn build_snapshot(&mut self) -> Answer<Snapshot<Types>> {
        let built = self.machine().await.build_snapshot().await;
        self.die(built).await
    }
}

impl RaftStateMachine<Types> for Mortal {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Answer<(Option<LogId<u64>>, Membership)> {
        let applied = self.machine().await.applied_state().await;
        self.die(applied).await
    }

    /// What is applied is durable with what follows only: so a sync follows.
    async fn apply<I>(&mut self, entries: I) -> Answer<Vec<u64>>
    where
        I: IntoIterator<Item = openraft::Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut machine = self.machine().await;
        let applied = machine.apply(entries).await;
        machine.core().sync().unwrap();
        drop(machine);
        self.die(applied).await
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Answer<Box<SnapshotStream>> {
        let begun = self.machine().await.begin_receiving_snapshot().await;
        self.die(begun).await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<SnapshotStream>,
    ) -> Answer<()> {
        let installed = self.machine().await.install_snapshot(meta, snapshot).await;
        self.die(installed).await
    }

    async fn get_current_snapshot(&mut self) -> Answer<Option<Snapshot<Types>>> {
        let current = self.machine().await.get_current_snapshot().await;
        self.die(current).await
    }
}

struct MortalBuilder;

impl StoreBuilder<Types, Mortal, Mortal> for MortalBuilder {
    async fn build(&self) -> Answer<((), Mortal, Mortal)> {
        let mortal = Mortal::new();
        Ok(((), mortal.clone(), mortal))
    }
}

#[test]
fn the_suite_passes_when_the_power_fails_after_every_call() {
    Suite::test_all(MortalBuilder).unwrap();
}

/// Tells a thread that there may be something new.
struct Notifier(std::sync::mpsc::Sender<()>);

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        // Who does not wait any more is not told.
        self.0.send(()).unwrap_or(());
    }
}

/// Waits for `future` on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let (sender, woken) = channel();
    let waker = Waker::from(Arc::new(Notifier(sender)));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => woken.recv().unwrap(),
        }
    }
}

fn log_id(index: u64) -> LogId<u64> {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn numbers(indexes: std::ops::RangeInclusive<u64>) -> Vec<openraft::Entry<Types>> {
    let entry = |index| openraft::Entry {
        log_id: log_id(index),
        payload: EntryPayload::Normal(index),
    };
    indexes.map(entry).collect()
}

/// openraft purges up to a snapshot that it has begun to install, and does not wait for that.
#[test]
fn a_purge_waits_until_the_state_machine_holds_what_goes() {
    let mut leader = machine(&SimDisk::new());
    wait(leader.apply(numbers(1..=9))).unwrap();
    let snapshot = wait(leader.build_snapshot()).unwrap();

    let sim = SimDisk::new();
    let store = support::open(&sim);
    let mut follower = machine(&sim);
    let mut log = storage(&store).purging_after(&follower);
    wait(follower.apply(numbers(1..=3))).unwrap();

    // What was applied is made durable before.
    wait(log.purge(log_id(3))).unwrap();
    let lost = SimDisk::boot(sim.world().lose_unsynced());
    assert_eq!(sum(machine(&lost).core()), 6);

    assert!(!follower.core().make_durable_up_to(9).unwrap());
    let (group, core) = (log.group().clone(), follower.core().clone());
    let purge = thread::spawn(move || {
        wait(log.purge(log_id(9))).unwrap();
        core.stats().snapshot
    });
    wait(follower.install_snapshot(&snapshot.meta, snapshot.snapshot)).unwrap();
    assert_eq!(purge.join().unwrap(), Some(9), "it did not wait");
    assert_eq!(group.state().unwrap().purged.unwrap().index, 9);
    assert_eq!(sum(follower.core()), 45);
}

#[test]
fn a_purge_that_waits_in_vain_is_an_error() {
    let sim = SimDisk::new();
    let store = support::open(&sim);
    let mut follower = machine(&sim);
    let mut log = storage(&store).purging_after(&follower);
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(9)),
        ..SnapshotMeta::default()
    };
    let empty = wait(follower.begin_receiving_snapshot()).unwrap();
    wait(follower.install_snapshot(&meta, empty)).unwrap_err();
    wait(log.purge(log_id(9))).unwrap_err();
    assert_eq!(log.group().state().unwrap().purged, None);
}
