//! A replicated key-value store of three nodes, in processes of their own, over TCP.
//!
//! ```console
//! $ cargo run --release -p durable-raft --example replicated -- cluster /tmp/fruit
//! ```
//!
//! and, beside it, `… --example replicated -- put apple 3`, `get apple`, `delete apple`, `cas apple 3 4`, `metrics`,
//! and more: see [`USAGE`]. README.md says what to change to make it yours.

#![allow(clippy::print_stdout, reason = "an example")]

mod client;
mod network;
mod node;
mod types;
mod wire;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process};

use client::Client;
use node::{Settings, serve};
use types::{Answer, Command, Reply, Request};

const USAGE: &str = "
  cluster DIR              three nodes with their files in DIR, until Ctrl-C; go on with it by the same command
  serve ID ADDRESS DIR     one more node, such as 4 127.0.0.1:7104 /tmp/fruit/4
  put KEY VALUE | get KEY | delete KEY
  cas KEY OLD NEW          NEW takes the place of OLD; `-` is none
  add ID ADDRESS           node ID gets all entries
  members ID...            these nodes vote from now on
  metrics [ADDRESS]        numbers of one node, or of all three

Nodes are looked for at REPLICATED_NODES (127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103).";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn addresses() -> Vec<String> {
    match std::env::var("REPLICATED_NODES") {
        Ok(nodes) => nodes.split(',').map(str::to_owned).collect(),
        Err(_) => (7101..=7103)
            .map(|port| format!("127.0.0.1:{port}"))
            .collect(),
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["cluster", dir] => cluster(Path::new(dir)).await,
        ["serve", id, address, dir] => {
            println!("node {id} at {address}");
            serve(
                id.parse()?,
                address,
                &PathBuf::from(dir),
                Settings::default(),
            )
            .await
        }
        ["metrics"] => {
            for address in addresses() {
                println!("# {address}");
                show(vec![address], &Request::Metrics).await?;
            }
            Ok(())
        }
        ["metrics", address] => show(vec![(*address).to_owned()], &Request::Metrics).await,
        words => match request(words)? {
            Some(request) => show(addresses(), &request).await,
            None => Err(format!("what can be done:{USAGE}").into()),
        },
    }
}

/// What a client's words ask for.
fn request(words: &[&str]) -> Outcome<Option<Request>> {
    let text = |word: &str| word.to_owned();
    let value = |word: &str| (word != "-").then(|| word.to_owned());
    Ok(Some(match words {
        ["put", key, value] => Request::Write(Command::Put {
            key: text(key),
            value: text(value),
        }),
        ["get", key] => Request::Get(text(key)),
        ["delete", key] => Request::Write(Command::Delete { key: text(key) }),
        ["cas", key, old, new] => Request::Write(Command::CompareAndSet {
            key: text(key),
            old: value(old),
            new: value(new),
        }),
        ["add", id, address] => Request::AddLearner(id.parse()?, text(address)),
        ["members", ids @ ..] => {
            let ids = ids.iter().map(|id| id.parse());
            Request::ChangeMembers(ids.collect::<Result<_, _>>()?)
        }
        _ => return Ok(None),
    }))
}

/// Asks the leader of `nodes`, and prints what it answers.
async fn show(nodes: Vec<String>, request: &Request) -> Outcome<()> {
    match Client::new(nodes).ask(request).await? {
        Reply::Answer(Answer { before, is_done }) => {
            let done = if is_done { "done" } else { "not done" };
            println!(
                "{done}; it was {}",
                before.as_deref().unwrap_or("not there")
            );
        }
        Reply::Value(value) => println!("{}", value.as_deref().unwrap_or("not there")),
        Reply::Text(text) => print!("{text}"),
        Reply::Done => println!("done"),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

/// Runs three nodes, which end with this process' terminal.
async fn cluster(dir: &Path) -> Outcome<()> {
    let program = std::env::current_exe()?;
    let mut nodes: Vec<Child> = Vec::new();
    let mut members = BTreeMap::new();
    for (id, address) in (1..).zip(addresses()) {
        let files = dir.join(id.to_string());
        let mut node = Process::new(&program);
        node.args(["serve", &id.to_string(), &address]).arg(files);
        nodes.push(node.spawn()?);
        members.insert(id, address);
    }
    for address in members.values() {
        // It waits until the node answers.
        Client::new(vec![address.clone()])
            .ask(&Request::Metrics)
            .await?;
    }
    let first = members.values().next().cloned();
    let first = first.ok_or("REPLICATED_NODES names no node")?;
    match Client::new(vec![first]).ask(&Request::Found(members)).await {
        Ok(_) => println!("founded; now put, get, delete, cas from another terminal"),
        Err(_) => println!("the nodes go on with what they have"),
    }
    for mut node in nodes {
        println!("a node has ended: {}", node.wait()?);
    }
    Ok(())
}
