//! The nodes: each with a log and a state machine on a simulated disk of its own, until it dies; and what they agree on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable_io::Site;
use durable_io::sim::{SimDisk, World};
use durable_io::testing::simulated::files;
use durable_raft::machine::{self, Changes, StateMachine};
use durable_raft::openraft09::{self, LogStorage};
use durable_raft::{Background, Error, LogStore, Options, Result};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AsyncRuntime, Config, LogId, LogState, OptionalSend, RaftLogReader, SnapshotPolicy,
    StorageError, Vote,
};
use rand::Rng;

use crate::history::ABSENT;
use crate::network::{Network, Weather};
use crate::runtime::{Place, Runtime, draw, end, note, spawn_at};
use crate::{Command, Types};

pub(crate) type Raft = openraft::Raft<Types>;

const GROUP: u64 = 1;

/// A bug that is planted, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// A leader that starts again goes on to lead.
    LastingLeader,
    /// Nothing that a node acknowledges waits for the disk.
    NoSync,
}

/// How the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Only the process ends.
    Process,
    /// What was not synced stays, or not.
    Power,
}

struct Node {
    raft: Raft,
    log: Arc<LogStore>,
    machine: StateMachine,
    sim: SimDisk,
}

enum Slot {
    /// What is on its disk.
    Off(World),
    /// It begins with this; until it is on, nobody has heard of it.
    Starting(World),
    On(Box<Node>),
}

pub(crate) struct State {
    bug: Bug,
    pub(crate) weather: Weather,
    slots: BTreeMap<Place, Slot>,
    /// What each node has voted last.
    votes: BTreeMap<Place, Vote<u64>>,
    /// The entries that some node has applied.
    agreed: BTreeMap<u64, durable_raft::Entry>,
}

/// All nodes, as the scenario sees them.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Mutex<State>>);

impl Cluster {
    /// Nodes from 1 to `count`, which are off.
    pub(crate) fn new(count: u64, bug: Bug) -> Self {
        let off = |place| (place, Slot::Off(SimDisk::new().world()));
        Self(Arc::new(Mutex::new(State {
            bug,
            weather: Weather::default(),
            slots: (1..=count).map(off).collect(),
            votes: BTreeMap::new(),
            agreed: BTreeMap::new(),
        })))
    }

    pub(crate) fn with<T>(&self, does: impl FnOnce(&mut State) -> T) -> T {
        does(&mut self.0.lock().unwrap())
    }

    fn on<T>(&self, place: Place, does: impl FnOnce(&Node) -> T) -> Option<T> {
        self.with(|state| match state.slots.get(&place) {
            Some(Slot::On(node)) => Some(does(node)),
            _ => None,
        })
    }

    /// The node at `place`, unless it is off.
    pub(crate) fn raft(&self, place: Place) -> Option<Raft> {
        self.on(place, |node| node.raft.clone())
    }

    /// Its state machine.
    pub(crate) fn machine(&self, place: Place) -> Option<StateMachine> {
        self.on(place, |node| node.machine.clone())
    }

    /// Switches on the node at `place`, if it is off; it is there soon.
    pub(crate) fn start(&self, place: Place) {
        let world = self.with(|state| match state.slots.get(&place) {
            Some(Slot::Off(world)) => Some(world.clone()),
            _ => None,
        });
        let Some(world) = world else { return };
        let starting = Slot::Starting(world.clone());
        self.with(|state| state.slots.insert(place, starting));
        let cluster = self.clone();
        spawn_at(place, async move {
            let node = cluster.open(place, SimDisk::boot(world)).await;
            cluster.with(|state| state.slots.insert(place, Slot::On(Box::new(node))));
        });
    }

    async fn open(&self, place: Place, sim: SimDisk) -> Node {
        let bug = self.with(|state| state.bug);
        let log = Options::new()
            .segment_size(16 << 10)
            .background(Background::Inline)
            .disk(sim.disk())
            .open("/log")
            .unwrap();
        let group = match log.group(GROUP) {
            Err(Error::NoGroup { .. }) => log.create(GROUP).unwrap(),
            group => group.unwrap(),
        };
        let store = lsm::Options::new()
            .log_segment_size(16 << 10)
            .manifest_segment_size(4 << 10)
            .reserve(0);
        let machine = machine::Options::new()
            .store(store)
            .background(Background::Inline)
            .disk(sim.disk())
            .open("/machine")
            .unwrap();
        let config = Config {
            snapshot_policy: SnapshotPolicy::LogsSinceLast(25),
            max_in_snapshot_log_to_keep: 5,
            replication_lag_threshold: 25,
            install_snapshot_timeout: 2_000,
            ..Config::default()
        };
        let storage = openraft09::StateMachine::new(machine.clone(), apply);
        let entries = Storage {
            log: LogStorage::new(group).purging_after(&storage),
            cluster: self.clone(),
            place,
            bug,
        };
        let network = Network {
            cluster: self.clone(),
            from: place,
        };
        let log = Arc::new(log);
        spawn_at(
            place,
            background(Arc::clone(&log), machine.clone(), sim.clone(), bug),
        );
        let config = Arc::new(config.validate().unwrap());
        let raft = Raft::new(place, config, network, entries, storage)
            .await
            .unwrap();
        Node {
            raft,
            log,
            machine,
            sim,
        }
    }

    /// The node at `place` dies in the middle of whatever it does. What is on its disk is what it starts with.
    pub(crate) fn kill(&self, place: Place, death: Death) {
        let slot = self.with(|state| state.slots.remove(&place));
        let world = match &slot {
            Some(Slot::Off(world) | Slot::Starting(world)) => world.clone(),
            Some(Slot::On(node)) if death == Death::Process => node.sim.world(),
            Some(Slot::On(node)) => node.sim.world().power_loss(draw(Rng::r#gen)),
            None => panic!("there is no node {place}"),
        };
        end(place);
        drop(slot);
        note((place, files(&SimDisk::boot(world.clone()))));
        self.with(|state| state.slots.insert(place, Slot::Off(world)));
    }

    /// No two nodes have applied different entries, neither now nor at any time before.
    pub(crate) fn check_agreement(&self) {
        self.with(|state| {
            for (place, slot) in &state.slots {
                let Slot::On(node) = slot else { continue };
                let last = node.machine.applied().unwrap().last;
                let applied = last.map_or(0, |point| point.index);
                let entries = node.log.group(GROUP).unwrap().entries(0..applied + 1);
                for entry in entries.unwrap() {
                    let known = state
                        .agreed
                        .entry(entry.index)
                        .or_insert_with(|| entry.clone());
                    assert_eq!(*known, entry, "node {place} has applied another entry");
                }
            }
        });
    }
}

/// The background work of a node, as slow as its disk is: nothing is durable before it is done.
async fn background(log: Arc<LogStore>, machine: StateMachine, sim: SimDisk, bug: Bug) {
    loop {
        let is_slow = draw(|random| random.gen_bool(0.1));
        let most = if is_slow { 60_000 } else { 3_000 };
        let latency = Duration::from_micros(draw(|random| random.gen_range(50..most)));
        Runtime::sleep(latency).await;
        sim.advance(latency);
        if bug == Bug::NoSync {
            let of_answers = |site: &Site| site.file.ends_with("waiting.rs");
            let sites = sim.sites().into_keys().filter(of_answers);
            sites.for_each(|site| sim.ignore(site));
        }
        log.run_background().unwrap();
        machine.run_background().unwrap();
    }
}

/// The key under which a value is.
pub(crate) fn key(key: u64) -> [u8; 8] {
    key.to_le_bytes()
}

/// The value that `bytes` are; [`ABSENT`] is none.
pub(crate) fn value(bytes: Option<&[u8]>) -> u64 {
    bytes.map_or(ABSENT, |bytes| {
        u64::from_le_bytes(bytes.try_into().unwrap())
    })
}

/// Applies a command; true if it has changed the value, as asked.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the type that the state machine asks for"
)]
fn apply(changes: &mut Changes<'_>, command: Command) -> Result<bool> {
    let (at, is_expected, new) = match command {
        Command::Put { key, value } => (key, None, value),
        Command::CompareAndSet { key, old, new } => (key, Some(old), new),
    };
    let before = value(changes.get(&key(at))?.as_deref());
    let is_done = is_expected.is_none_or(|old| old == before);
    match (is_done, new) {
        (false, _) => {}
        (true, ABSENT) => changes.delete(&key(at)),
        (true, new) => changes.put(&key(at), &key(new)),
    }
    Ok(is_done)
}

/// The log storage of a node, which may have a bug.
#[derive(Clone)]
struct Storage {
    log: LogStorage<Types>,
    cluster: Cluster,
    place: Place,
    bug: Bug,
}

type Answer<T> = std::result::Result<T, StorageError<u64>>;

impl RaftLogReader<Types> for Storage {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Answer<Vec<openraft::Entry<Types>>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.log.try_get_log_entries(range).await
    }
}

impl RaftLogStorage<Types> for Storage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Answer<LogState<Types>> {
        self.log.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Answer<()> {
        self.log.save_vote(vote).await?;
        self.cluster
            .with(|state| state.votes.insert(self.place, *vote));
        Ok(())
    }

    async fn read_vote(&mut self) -> Answer<Option<Vote<u64>>> {
        let vote = self.log.read_vote().await?;
        let last = self
            .cluster
            .with(|state| state.votes.get(&self.place).copied());
        // The last one may have been lost before it was acknowledged to openraft, or not be known here.
        let last = last.filter(|last| Some(last.leader_id) == vote.map(|vote| vote.leader_id));
        Ok(match self.bug {
            Bug::LastingLeader => last.or(vote),
            _ => vote,
        })
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Answer<()> {
        self.log.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Answer<Option<LogId<u64>>> {
        self.log.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Answer<()>
    where
        I: IntoIterator<Item = openraft::Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.log.append(entries, callback).await
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Answer<()> {
        self.log.truncate(log_id).await
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Answer<()> {
        self.log.purge(log_id).await
    }
}
