//! Three nodes as processes, and what is done to them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::NODE;
use crate::types::{Reply, Request};
use crate::wire;

/// Whatever is waited for has come by then, on a slow machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Group<'a> {
    dir: &'a Path,
    pub(crate) addresses: Vec<String>,
    nodes: Vec<Child>,
}

/// The numbers of a node.
pub(crate) type Metrics = BTreeMap<String, u64>;

impl<'a> Group<'a> {
    /// Nodes 1, 2 and 3, with their files in `dir`.
    pub(crate) async fn start(dir: &'a Path) -> Self {
        // All are held until all are known, so that they are different ones.
        let ports: Vec<_> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let address = |port: &TcpListener| port.local_addr().unwrap().to_string();
        let addresses: Vec<_> = ports.iter().map(address).collect();
        drop(ports);
        let mut group = Self {
            dir,
            addresses,
            nodes: Vec::new(),
        };
        group.nodes = (0..3).map(|nth| group.spawn(nth)).collect();
        for nth in 0..3 {
            group.metrics_when(nth, |_| true).await;
        }
        let members = (1..).zip(group.addresses.clone()).collect();
        let founded = ask(&group.addresses[0], &Request::Found(members)).await;
        assert!(matches!(founded, Ok(Reply::Done)), "{founded:?}");
        // Before that the first node alone knows that there is a group.
        for nth in 0..3 {
            let is_member = |metrics: &Metrics| metrics.contains_key("raft_applied_index");
            group.metrics_when(nth, is_member).await;
        }
        group
    }

    fn spawn(&self, nth: usize) -> Child {
        let dir = self.dir.join(format!("node {nth}"));
        let node = format!("{}\n{}\n{}", nth + 1, self.addresses[nth], dir.display());
        let mut program = Command::new(std::env::current_exe().unwrap());
        program
            .args(["--exact", "a_node", "--nocapture"])
            .env(NODE, node);
        program
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
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
            if let Ok(Reply::Text(text)) = ask(&self.addresses[nth], &Request::Metrics).await {
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

    /// The node that leads, as seen by one that is not `without`.
    pub(crate) async fn leader(&self, without: Option<usize>) -> usize {
        let asked = usize::from(without == Some(0));
        let not = without.map(|nth| nth as u64 + 1);
        let known = |metrics: &Metrics| metrics.get("raft_leader").copied();
        let is_wanted = |metrics: &Metrics| known(metrics).is_some_and(|id| Some(id) != not);
        let metrics = self.metrics_when(asked, is_wanted).await;
        usize::try_from(metrics["raft_leader"]).unwrap() - 1
    }

    pub(crate) fn kill(&mut self, nth: usize) {
        self.nodes[nth].kill().unwrap();
        self.nodes[nth].wait().unwrap();
    }

    /// Starts node `nth` again, and waits until it has applied what `other` has by now.
    pub(crate) async fn restart(&mut self, nth: usize, other: usize) -> Metrics {
        let there = self.metrics_when(other, |_| true).await["raft_applied_index"];
        self.nodes[nth] = self.spawn(nth);
        let is_there = |metrics: &Metrics| metrics.get("raft_applied_index") >= Some(&there);
        self.metrics_when(nth, is_there).await
    }

    pub(crate) fn signal(&self, nth: usize, signal: Signal) {
        let pid = i32::try_from(self.nodes[nth].id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // One that has ended is no error; and in a panic this must not be another one.
            drop(node.kill());
            drop(node.wait());
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

/// Asks one node, and waits for one second at most.
async fn ask(address: &str, request: &Request) -> std::io::Result<Reply> {
    let asked = async {
        let mut stream = wire::connect(address).await?;
        wire::send(&mut stream, request).await?;
        wire::receive(&mut stream).await
    };
    let answered = tokio::time::timeout(Duration::from_secs(1), asked).await;
    answered.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
