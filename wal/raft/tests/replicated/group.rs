//! Nodes as processes, and what is done to them.

use std::collections::BTreeMap;
use std::net;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpListener;

use crate::NODE;
use crate::links::{Gate, Links};
use crate::types::{Reply, Request};
use crate::wire;

/// Whatever is waited for has come by then, on a slow machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Group<'a> {
    dir: &'a Path,
    /// Where others and clients reach each node: through its gate.
    pub(crate) addresses: Vec<String>,
    /// Where the nodes listen.
    own_addresses: Vec<String>,
    pub(crate) links: Arc<Links>,
    nodes: Vec<Node>,
}

struct Node {
    process: Child,
    /// `None` while it is killed: nobody listens there.
    gate: Option<Gate>,
}

/// The numbers of a node.
pub(crate) type Metrics = BTreeMap<String, u64>;

/// So many addresses that nobody listens at.
fn free_addresses(count: usize) -> Vec<String> {
    // All are held until all are known, so that they are different ones.
    let ports: Vec<_> = (0..count)
        .map(|_| net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let address = |port: &net::TcpListener| port.local_addr().unwrap().to_string();
    ports.iter().map(address).collect()
}

impl<'a> Group<'a> {
    /// Nodes from 1 to `count`, with their files in `dir`.
    pub(crate) async fn start(dir: &'a Path, count: usize) -> Self {
        let mut addresses = free_addresses(2 * count);
        let own_addresses = addresses.split_off(count);
        let mut group = Self {
            dir,
            addresses,
            own_addresses,
            links: Arc::default(),
            nodes: Vec::new(),
        };
        for nth in 0..count {
            let node = group.spawn(nth).await;
            group.nodes.push(node);
        }
        for nth in 0..count {
            group.metrics_when(nth, |_| true).await;
        }
        let members = (1..).zip(group.addresses.clone()).collect();
        let founded = group.ask(0, &Request::Found(members)).await;
        assert!(matches!(founded, Ok(Reply::Done)), "{founded:?}");
        // Before that the first node alone knows that there is a group.
        for nth in 0..count {
            let is_member = |metrics: &Metrics| metrics.contains_key("raft_applied_index");
            group.metrics_when(nth, is_member).await;
        }
        group
    }

    async fn spawn(&self, nth: usize) -> Node {
        let dir = self.dir.join(format!("node {nth}"));
        let node = format!(
            "{}\n{}\n{}",
            nth + 1,
            self.own_addresses[nth],
            dir.display()
        );
        let mut program = Command::new(std::env::current_exe().unwrap());
        program
            .args(["--exact", "a_node", "--nocapture"])
            .env(NODE, node);
        let gate = TcpListener::bind(&self.addresses[nth]).await.unwrap();
        let gate = Gate::open(&self.links, nth, gate, &self.own_addresses[nth]);
        let program = program.stdin(Stdio::null()).stdout(Stdio::null());
        Node {
            process: program.spawn().unwrap(),
            gate: Some(gate),
        }
    }

    /// How many nodes there are.
    pub(crate) fn count(&self) -> usize {
        self.addresses.len()
    }

    /// Asks node `nth` until its numbers are as wanted, and returns them.
    pub(crate) async fn metrics_when(
        &self,
        nth: usize,
        is_wanted: impl Fn(&Metrics) -> bool,
    ) -> Metrics {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < DEADLINE {
            if let Ok(Reply::Text(text)) = self.ask(nth, &Request::Metrics).await {
                let metrics = parse(&text);
                if is_wanted(&metrics) {
                    return metrics;
                }
                last = Some(metrics);
            }
            tokio::task::yield_now().await;
        }
        panic!("node {nth} does not come to it: {last:?}");
    }

    /// The node that leads, as seen by one that is not among `without`; nor is it.
    pub(crate) async fn leader(&self, without: &[usize]) -> usize {
        let asked = (0..self.count()).find(|nth| !without.contains(nth));
        let place = |id: u64| usize::try_from(id).unwrap() - 1;
        let known = |metrics: &Metrics| metrics.get("raft_leader").map(|id| place(*id));
        let is_wanted =
            |metrics: &Metrics| known(metrics).is_some_and(|nth| !without.contains(&nth));
        let metrics = self.metrics_when(asked.unwrap(), is_wanted).await;
        known(&metrics).unwrap()
    }

    /// Waits until node `nth` has applied what `other` has by now.
    pub(crate) async fn catch_up(&self, nth: usize, other: usize) -> Metrics {
        let there = self.metrics_when(other, |_| true).await["raft_applied_index"];
        let is_there = |metrics: &Metrics| metrics.get("raft_applied_index") >= Some(&there);
        self.metrics_when(nth, is_there).await
    }

    pub(crate) async fn kill(&mut self, nth: usize) {
        let node = &mut self.nodes[nth];
        node.process.kill().unwrap();
        node.process.wait().unwrap();
        node.gate.take().unwrap().close().await;
    }

    /// Starts node `nth` again, which was killed.
    pub(crate) async fn restart(&mut self, nth: usize) {
        self.nodes[nth] = self.spawn(nth).await;
    }

    pub(crate) fn signal(&self, nth: usize, signal: Signal) {
        let pid = i32::try_from(self.nodes[nth].process.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Asks node `nth`, not through its gate, and waits for one second at most.
    pub(crate) async fn ask(&self, nth: usize, request: &Request) -> std::io::Result<Reply> {
        let asked = async {
            let mut stream = wire::connect(&self.own_addresses[nth]).await?;
            wire::send(&mut stream, request).await?;
            wire::receive(&mut stream).await
        };
        let answered = tokio::time::timeout(Duration::from_secs(1), asked).await;
        answered.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // One that has ended is no error; and in a panic this must not be another one.
            drop(node.process.kill());
            drop(node.process.wait());
        }
    }
}

fn parse(text: &str) -> Metrics {
    let number = |line: &str| {
        let (name, number) = line.split_once(' ').unwrap();
        (name.to_owned(), number.parse().unwrap())
    };
    text.lines().map(number).collect()
}
