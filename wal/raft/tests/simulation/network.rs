//! A network that delays messages, passes one before another, passes one twice, and loses some.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AsyncRuntime, BasicNode, RaftNetwork, RaftNetworkFactory};
use rand::Rng;
use tokio::sync::oneshot;

use crate::Types;
use crate::cluster::{Cluster, Death, Raft};
use crate::runtime::{NOWHERE, Place, Runtime, draw, note, pause, spawn_at};

/// So long a node waits for an answer.
const ANSWER: Duration = Duration::from_secs(1);

/// What is wrong with the network.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// Nothing passes from the first to the second.
    pub(crate) severed: BTreeSet<(Place, Place)>,
    /// Of a hundred messages so many are lost.
    pub(crate) lost: u32,
    /// Of a hundred messages so many take longer than an election.
    pub(crate) late: u32,
    /// After so many of a hundred answers, the node that gave it loses its power, and starts again at once.
    pub(crate) deadly: u32,
}

impl Cluster {
    /// Waits until a message is at its end; false if it never is.
    pub(crate) async fn pass(&self, from: Place, to: Place) -> bool {
        let (is_lost, delay) = self.with(|state| {
            let weather = &state.weather;
            let (luck, pace) = draw(|random| (random.gen_range(0..100), random.gen_range(0..100)));
            let is_lost = weather.severed.contains(&(from, to)) || luck < weather.lost;
            let longest = if pace < weather.late {
                1_000_000
            } else {
                8_000
            };
            (is_lost, draw(|random| random.gen_range(100..longest)))
        });
        if !is_lost {
            Runtime::sleep(Duration::from_micros(delay)).await;
        }
        !is_lost
    }

    /// What node `to` answers to what `from` asks, by `serve`; `None` if that does not come. Nodes may get it twice.
    pub(crate) async fn ask_twice<T, F>(
        &self,
        from: Place,
        to: Place,
        what: String,
        serve: impl Fn(Raft) -> F + Clone + Send + 'static,
    ) -> Option<T>
    where
        T: Debug + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        if draw(|random| random.gen_bool(0.02)) {
            let (sender, _nobody) = oneshot::channel();
            self.send(from, to, what.clone(), serve.clone(), sender);
        }
        self.ask_once(from, to, what, serve).await
    }

    /// As [`ask_twice`](Cluster::ask_twice), of a client: a request that comes twice is done twice.
    pub(crate) async fn ask_once<T, F>(
        &self,
        from: Place,
        to: Place,
        what: String,
        serve: impl FnOnce(Raft) -> F + Send + 'static,
    ) -> Option<T>
    where
        T: Debug + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.send(from, to, what, serve, sender);
        Runtime::timeout(ANSWER, receiver).await.ok()?.ok()
    }

    fn send<T, F>(
        &self,
        from: Place,
        to: Place,
        what: String,
        serve: impl FnOnce(Raft) -> F + Send + 'static,
        sender: oneshot::Sender<T>,
    ) where
        T: Debug + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let cluster = self.clone();
        spawn_at(NOWHERE, async move {
            if !cluster.pass(from, to).await {
                return;
            }
            note((from, to, what));
            let Some(raft) = cluster.raft(to) else {
                return;
            };
            spawn_at(to, async move {
                let answer = serve(raft).await;
                note((to, from, format!("{answer:?}")));
                spawn_at(NOWHERE, async move {
                    let dies = cluster.with(|state| state.weather.deadly);
                    if draw(|random| random.gen_range(0..100)) < dies {
                        cluster.kill(to, Death::Power);
                        cluster.start(to);
                    }
                    if cluster.pass(to, from).await {
                        // Who asked may have given up.
                        drop(sender.send(answer));
                    }
                });
            });
        });
    }
}

/// Makes the ways from a node to others.
pub(crate) struct Network {
    pub(crate) cluster: Cluster,
    pub(crate) from: Place,
}

/// The way from one node to another.
pub(crate) struct Way {
    cluster: Cluster,
    from: Place,
    to: Place,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, to: u64, _node: &BasicNode) -> Way {
        Way {
            cluster: self.cluster.clone(),
            from: self.from,
            to,
        }
    }
}

type Failure<E> = RPCError<u64, BasicNode, RaftError<u64, E>>;

impl Way {
    async fn call<T, E, F>(
        &self,
        what: String,
        serve: impl Fn(Raft) -> F + Clone + Send + 'static,
    ) -> Result<T, Failure<E>>
    where
        T: Debug + Send + 'static,
        E: std::error::Error + Send + 'static,
        F: Future<Output = Result<T, RaftError<u64, E>>> + Send + 'static,
    {
        let asked = self.cluster.ask_twice(self.from, self.to, what, serve);
        if let Some(answer) = asked.await {
            return answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.to, error)));
        }
        // As long as it takes to notice it.
        pause(10).await;
        let lost = std::io::Error::from(std::io::ErrorKind::TimedOut);
        Err(RPCError::Network(NetworkError::new(&lost)))
    }
}

impl RaftNetwork<Types> for Way {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure<openraft::error::Infallible>> {
        let what = format!("{request:?}");
        let serve = move |raft: Raft| {
            let request = request.clone();
            async move { raft.append_entries(request).await }
        };
        self.call(what, serve).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure<openraft::error::Infallible>> {
        let what = format!("{request:?}");
        let serve = move |raft: Raft| {
            let request = request.clone();
            async move { raft.vote(request).await }
        };
        self.call(what, serve).await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        let what = format!("{request:?}");
        let serve = move |raft: Raft| {
            let request = request.clone();
            async move { raft.install_snapshot(request).await }
        };
        self.call(what, serve).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(Duration::from_millis(50)))
    }
}
