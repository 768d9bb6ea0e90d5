//! A client: it finds the leader, and says honestly what it does not know.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::types::{Reply, Request};
use crate::wire;

/// So long it looks for a leader that answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long it waits for one answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two rounds of questions, while there is no leader.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was done or not, or will be: the node that was asked has not answered.
    Unknown(String),
    /// It was not done: nobody leads, or nobody is there.
    NoLeader,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(reason) => write!(f, "it may be done or not: {reason}"),
            Self::NoLeader => f.write_str("nothing was done: there is no leader"),
        }
    }
}

impl std::error::Error for Failure {}

/// A client of the nodes at some addresses.
#[derive(Debug)]
pub(crate) struct Client {
    nodes: Vec<String>,
    /// Whom it asks first.
    leader: String,
    stream: Option<TcpStream>,
}

impl Client {
    /// One that knows these nodes; the others it hears of.
    pub(crate) fn new(nodes: Vec<String>) -> Self {
        let leader = nodes.first().cloned().expect("a client knows a node");
        Self {
            nodes,
            leader,
            stream: None,
        }
    }

    /// The leader's answer to `request`. A write is asked for again only if it is known that it was not done.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        let begun = Instant::now();
        let mut asked = 0;
        while begun.elapsed() < PATIENCE {
            match self.ask_leader(request).await {
                Ok(Reply::NotLeader(Some(other))) if other != self.leader => self.turn_to(other),
                Ok(Reply::NotLeader(_)) | Err(Failure::NoLeader) => self.turn_to_next(),
                Ok(Reply::Failed(_)) | Err(Failure::Unknown(_)) if !request.is_write() => {
                    self.turn_to_next();
                }
                Ok(Reply::Failed(reason)) => return Err(Failure::Unknown(reason)),
                Err(failure) => {
                    // It may be cut off from the others, and not know it: the next request goes elsewhere first.
                    self.turn_to_next();
                    return Err(failure);
                }
                Ok(reply) => return Ok(reply),
            }
            asked += 1;
            if asked % self.nodes.len() == 0 {
                sleep(PAUSE).await;
            }
        }
        Err(Failure::NoLeader)
    }

    fn turn_to(&mut self, other: String) {
        self.leader = other;
        self.stream = None;
    }

    fn turn_to_next(&mut self) {
        let at = self.nodes.iter().position(|node| *node == self.leader);
        let next = at.map_or(0, |at| at + 1) % self.nodes.len();
        if let Some(next) = self.nodes.get(next).cloned() {
            self.turn_to(next);
        }
    }

    /// Asks whom it takes for the leader.
    async fn ask_leader(&mut self, request: &Request) -> Result<Reply, Failure> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => match timeout(ANSWER, wire::connect(&self.leader)).await {
                Ok(Ok(stream)) => stream,
                _ => return Err(Failure::NoLeader),
            },
        };
        let asked = async {
            wire::send(&mut stream, request).await?;
            wire::receive(&mut stream).await
        };
        match timeout(ANSWER, asked).await {
            Ok(Ok(reply)) => {
                self.stream = Some(stream);
                Ok(reply)
            }
            Ok(Err(error)) => Err(Failure::Unknown(error.to_string())),
            Err(_) => Err(Failure::Unknown("no answer".to_owned())),
        }
    }
}
