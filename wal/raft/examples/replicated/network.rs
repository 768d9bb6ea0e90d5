//! How a node reaches the others: one connection to each, made anew when it broke.

use std::io;
use std::time::Duration;

use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RaftNetwork, RaftNetworkFactory};
use tokio::net::TcpStream;

use crate::types::{Reply, Request, Types};
use crate::wire;

/// Makes the connections.
#[derive(Debug)]
pub(crate) struct Network;

/// The way to one node.
#[derive(Debug)]
pub(crate) struct Peer {
    id: u64,
    address: String,
    /// Taken while a request is on its way: one that is given up leaves none.
    stream: Option<TcpStream>,
}

type Failure<E> = RPCError<u64, BasicNode, RaftError<u64, E>>;

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, node: &BasicNode) -> Peer {
        Peer {
            id,
            address: node.addr.clone(),
            stream: None,
        }
    }
}

impl Peer {
    /// The answer to `request`, of which `take` takes what it must be.
    async fn ask<T, E: std::error::Error>(
        &mut self,
        request: Request,
        take: impl FnOnce(Reply) -> Option<Result<T, RaftError<u64, E>>>,
    ) -> Result<T, Failure<E>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => wire::connect(&self.address)
                .await
                .map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?,
        };
        let asked = async {
            wire::send(&mut stream, &request).await?;
            wire::receive(&mut stream).await
        };
        let broken = |error: io::Error| RPCError::Network(NetworkError::new(&error));
        let reply = asked.await.map_err(broken)?;
        self.stream = Some(stream);
        let answer =
            take(reply).ok_or_else(|| broken(io::Error::other("another kind of answer")))?;
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.id, error)))
    }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure<openraft::error::Infallible>> {
        let take = |reply| match reply {
            Reply::Append(answer) => Some(answer),
            _ => None,
        };
        self.ask(Request::Append(request), take).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure<openraft::error::Infallible>> {
        let take = |reply| match reply {
            Reply::Vote(answer) => Some(answer),
            _ => None,
        };
        self.ask(Request::Vote(request), take).await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<InstallSnapshotError>> {
        let take = |reply| match reply {
            Reply::Snapshot(answer) => Some(answer),
            _ => None,
        };
        self.ask(Request::Snapshot(request), take).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(Duration::from_millis(100)))
    }
}
