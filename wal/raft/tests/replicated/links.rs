//! The network between the nodes: what one node says to another passes here, or waits, or comes late.
//!
//! Each node is known to all others, and to clients, by the address of its gate. A gate reads a request, sees which node
//! sent it, holds it back as the link from there says, passes it on, and does the same with the answer on the link
//! back. Nothing is dropped: what is held back when a link is severed comes when it is whole again, also if whoever
//! sent it has given up long ago. That is harder on the nodes than loss.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::types::{Reply, Request};
use crate::wire;

/// From one node to another, by their places in the group.
pub(crate) type Link = (usize, usize);

/// What is wrong with the network; without an entry, a link is whole.
#[derive(Clone, Debug, Default)]
struct State {
    severed: BTreeSet<Link>,
    delays: BTreeMap<Link, Duration>,
}

/// The links between all nodes.
#[derive(Debug, Default)]
pub(crate) struct Links {
    state: watch::Sender<State>,
    /// How many messages came later than they were sent, by a delay or a severed link.
    late: watch::Sender<u64>,
}

impl Links {
    /// From now on nothing passes along `links`.
    pub(crate) fn sever(&self, links: impl IntoIterator<Item = Link>) {
        self.state.send_modify(|state| state.severed.extend(links));
    }

    /// From now on each message along `links` takes so long.
    pub(crate) fn delay(&self, links: impl IntoIterator<Item = Link>, by: Duration) {
        let links = links.into_iter().map(|link| (link, by));
        self.state.send_modify(|state| state.delays.extend(links));
    }

    /// All links are whole; what was held back goes on its way.
    pub(crate) fn heal(&self) {
        self.state.send_replace(State::default());
    }

    /// How many messages came late.
    pub(crate) fn late(&self) -> u64 {
        *self.late.borrow()
    }

    /// Waits until so many came late.
    pub(crate) async fn come_late(&self, count: u64) {
        // It is dropped with the runtime, if at all.
        drop(self.late.subscribe().wait_for(|late| *late >= count).await);
    }

    /// Waits until a message that is sent now is at the end of `link`.
    async fn pass(&self, link: Link) {
        let mut states = self.state.subscribe();
        let state = states.borrow().clone();
        if let Some(by) = state.delays.get(&link) {
            sleep(*by).await;
        }
        // It is dropped with the runtime, if at all.
        let is_open = |state: &State| !state.severed.contains(&link);
        drop(states.wait_for(is_open).await);
        if state.delays.contains_key(&link) || state.severed.contains(&link) {
            self.late.send_modify(|late| *late += 1);
        }
    }
}

/// The place of the node that sent `request`; `None`: it was a client.
fn sender(request: &Request) -> Option<usize> {
    let vote = match request {
        Request::Append(request) => &request.vote,
        Request::Vote(request) => &request.vote,
        Request::Snapshot(request) => &request.vote,
        _ => return None,
    };
    // Only a leader or a candidate asks others, in its own name.
    Some(usize::try_from(vote.leader_id.node_id).unwrap() - 1)
}

/// Where one node is reached by others.
#[derive(Debug)]
pub(crate) struct Gate {
    accepting: JoinHandle<()>,
}

impl Gate {
    /// The gate of node `nth`, which listens at `node`.
    pub(crate) fn open(links: &Arc<Links>, nth: usize, gate: TcpListener, node: &str) -> Self {
        let (links, node) = (Arc::clone(links), node.to_owned());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _from)) = gate.accept().await {
                let (links, node) = (Arc::clone(&links), node.clone());
                // A connection that breaks is the matter of whoever is at its ends.
                connections.spawn(async move { drop(carry(&links, nth, stream, &node).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { accepting }
    }

    /// Nobody listens at its address any more, and what it held back is lost.
    pub(crate) async fn close(self) {
        self.accepting.abort();
        // It was ended: that is all that it can say.
        drop(self.accepting.await);
    }
}

/// Carries requests and answers between `near` and node `nth` at `node`, one after the other.
async fn carry(links: &Links, nth: usize, mut near: TcpStream, node: &str) -> io::Result<()> {
    near.set_nodelay(true)?;
    let mut far = None;
    loop {
        let request: Request = wire::receive(&mut near).await?;
        let sender = sender(&request);
        if let Some(sender) = sender {
            links.pass((sender, nth)).await;
        }
        let far = match &mut far {
            Some(stream) => stream,
            none => none.insert(wire::connect(node).await?),
        };
        wire::send(far, &request).await?;
        let reply: Reply = wire::receive(far).await?;
        if let Some(sender) = sender {
            links.pass((nth, sender)).await;
        }
        wire::send(&mut near, &reply).await?;
    }
}
