//! A node: a log, a state machine, and a server.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use durable_raft::machine::{self, StateMachine};
use durable_raft::openraft09::{self, LogStorage};
use durable_raft::{LogStore, Options};
use openraft::error::{CheckIsLeaderError, ClientWriteError, ForwardToLeader, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{BasicNode, ChangeMembers, Config, Raft, SnapshotPolicy};
use tokio::net::{TcpListener, TcpStream};

use crate::network::Network;
use crate::types::{Reply, Request, Types, apply};
use crate::wire;

/// The group in the node's log; a node of several groups has one log for all of them.
const GROUP: u64 = 1;

/// How a node is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// After so many entries a snapshot is built.
    pub(crate) snapshot_every: u64,
    /// So many entries are kept behind it, for nodes that were away for a short time.
    pub(crate) keep: u64,
    /// Bytes of a segment of the log.
    pub(crate) segment_size: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            snapshot_every: 5_000,
            keep: 1_000,
            segment_size: 16 << 20,
        }
    }
}

struct Node {
    raft: Raft<Types>,
    machine: StateMachine,
    /// All that is not open any more is told so when it is dropped.
    log: LogStore,
}

/// Runs node `id`, whose files are in `dir`, at `address`, until the process ends: by whatever, it needs no farewell.
pub(crate) async fn serve(
    id: u64,
    address: &str,
    dir: &Path,
    settings: Settings,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind(address).await?;
    let node = Arc::new(open(id, dir, settings).await?);
    loop {
        let (stream, _from) = listener.accept().await?;
        let node = Arc::clone(&node);
        // A connection that breaks is the matter of whoever is at its other end.
        tokio::spawn(async move { drop(answer(&node, stream).await) });
    }
}

async fn open(
    id: u64,
    dir: &Path,
    settings: Settings,
) -> Result<Node, Box<dyn Error + Send + Sync>> {
    let log = Options::new()
        .segment_size(settings.segment_size)
        .open(dir.join("log"))?;
    let group = match log.group(GROUP) {
        Err(durable_raft::Error::NoGroup { .. }) => log.create(GROUP)?,
        group => group?,
    };
    let machine = machine::Options::new().open(dir.join("machine"))?;
    let config = Config {
        // An election takes longer than the slowest sync.
        heartbeat_interval: 250,
        election_timeout_min: 1_000,
        election_timeout_max: 2_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(settings.snapshot_every),
        max_in_snapshot_log_to_keep: settings.keep,
        replication_lag_threshold: settings.snapshot_every,
        snapshot_max_chunk_size: 1 << 20,
        install_snapshot_timeout: 10_000,
        ..Config::default()
    };
    let storage = openraft09::StateMachine::new(machine.clone(), apply);
    let entries = LogStorage::new(group).purging_after(&storage);
    let config = Arc::new(config.validate()?);
    let raft = Raft::new(id, config, Network, entries, storage).await?;
    Ok(Node { raft, machine, log })
}

/// Answers what comes over `stream`, one after the other.
async fn answer(node: &Node, mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let request = wire::receive(&mut stream).await?;
        let reply = node.handle(request).await;
        wire::send(&mut stream, &reply).await?;
    }
}

impl Node {
    async fn handle(&self, request: Request) -> Reply {
        match request {
            Request::Append(request) => Reply::Append(self.raft.append_entries(request).await),
            Request::Vote(request) => Reply::Vote(self.raft.vote(request).await),
            Request::Snapshot(request) => {
                Reply::Snapshot(self.raft.install_snapshot(request).await)
            }
            Request::Write(command) => match self.raft.client_write(command).await {
                Ok(written) => Reply::Answer(written.data),
                Err(error) => not_written(&error),
            },
            Request::Get(key) => self.get(&key).await,
            Request::Found(members) => {
                let node = |(id, addr)| (id, BasicNode { addr });
                let members: BTreeMap<_, _> = members.into_iter().map(node).collect();
                match self.raft.initialize(members).await {
                    Ok(()) => Reply::Done,
                    Err(error) => Reply::Failed(error.to_string()),
                }
            }
            Request::AddLearner(id, addr) => {
                let added = self.raft.add_learner(id, BasicNode { addr }, true);
                changed(added.await)
            }
            Request::ChangeMembers(members) => {
                let members = ChangeMembers::ReplaceAllVoters(members);
                changed(self.raft.change_membership(members, false).await)
            }
            Request::Metrics => Reply::Text(self.metrics()),
        }
    }

    /// Reads behind everything that was acknowledged before: a quorum says that this node still leads.
    async fn get(&self, key: &str) -> Reply {
        match self.raft.ensure_linearizable().await {
            Ok(_) => {}
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(other))) => {
                return not_leader(&other);
            }
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => {
                return Reply::NotLeader(None);
            }
            Err(error) => return Reply::Failed(error.to_string()),
        }
        let found = self
            .machine
            .read()
            .and_then(|now| Ok(now.get(key.as_bytes())?));
        match found {
            Ok(value) => {
                Reply::Value(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
            }
            Err(error) => Reply::Failed(error.to_string()),
        }
    }

    /// Numbers in the text format of Prometheus.
    fn metrics(&self) -> String {
        let raft = self.raft.metrics().borrow().clone();
        let (log, machine) = (self.log.stats(), self.machine.stats());
        let leads = raft.current_leader == Some(raft.id);
        let numbers = [
            ("raft_term", Some(raft.current_term)),
            ("raft_leader", raft.current_leader),
            ("raft_leads", Some(u64::from(leads))),
            ("raft_is_well", Some(u64::from(raft.running_state.is_ok()))),
            ("raft_last_index", raft.last_log_index),
            ("raft_applied_index", machine.applied),
            ("raft_snapshot_index", machine.snapshot),
            ("raft_purged_index", raft.purged.map(|purged| purged.index)),
            ("raft_snapshots_built", Some(machine.built)),
            ("raft_snapshots_installed", Some(machine.installed)),
            ("log_syncs", Some(log.syncs)),
            ("log_disk_bytes", Some(log.disk_bytes)),
            ("store_table_bytes", Some(machine.store.table_bytes)),
        ];
        let mut text = String::new();
        for (name, number) in numbers {
            if let Some(number) = number {
                writeln!(text, "{name} {number}").expect("a string takes everything");
            }
        }
        text
    }
}

fn not_leader(other: &ForwardToLeader<u64, BasicNode>) -> Reply {
    let leader = other.leader_node.as_ref();
    Reply::NotLeader(leader.map(|leader| leader.addr.clone()))
}

fn not_written(error: &RaftError<u64, ClientWriteError<u64, BasicNode>>) -> Reply {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(other)) => not_leader(other),
        error => Reply::Failed(error.to_string()),
    }
}

fn changed(
    result: Result<ClientWriteResponse<Types>, RaftError<u64, ClientWriteError<u64, BasicNode>>>,
) -> Reply {
    match result {
        Ok(_) => Reply::Done,
        Err(error) => not_written(&error),
    }
}
