//! Many Raft groups in one log: what came together shares a sync, and a group that never purges keeps nobody's
//! space.
//!
//! ```console
//! $ cargo run -p durable-raft --example many_groups
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use std::sync::mpsc::channel;

use durable_raft::{Change, Entry, Error, LogPoint, Options, Result, Vote};

const GROUPS: u64 = 100;
const ROUNDS: u64 = 200;

fn entry(index: u64) -> Entry {
    let data = format!("command {index} of some client, and what it is about").into_bytes();
    Entry {
        index,
        term: 1,
        data,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temp = tempfile::tempdir()?;
    let dir = temp.path().join("raft");
    let options = Options::new().segment_size(256 << 10);
    let store = options.clone().open(&dir)?;
    for id in 0..GROUPS {
        let leader = b"node 1".to_vec();
        store.create(id)?.save_vote(&Vote { term: 1, leader })?;
    }
    let before = store.stats().syncs;
    for index in 1..=ROUNDS {
        let (called, durable) = channel();
        for id in 0..GROUPS {
            let called = called.clone();
            let group = store.group(id)?;
            // It can be read now, and replicated; `done` is called when it is durable.
            let done = move |result: Result<()>| drop(called.send(result));
            group.submit(Change::Append(&[entry(index)]), done)?;
        }
        drop(called);
        durable.iter().collect::<Result<()>>()?;
        // All but the first group have a snapshot now and then.
        for id in (1..GROUPS).filter(|_| index % 20 == 0) {
            let (term, leader) = (1, b"node 1".to_vec());
            let point = LogPoint {
                index,
                term,
                leader,
            };
            store.group(id)?.purge(&point)?;
        }
    }
    store.compact()?;
    let stats = store.stats();
    println!(
        "{} appends, {} syncs; {} bytes count, {} are on the disk",
        GROUPS * ROUNDS,
        stats.syncs - before,
        stats.live_bytes,
        stats.disk_bytes
    );
    store.destroy(7)?;
    store.close()?;

    // As after any crash.
    let store = options.open(&dir)?;
    println!("{:?}", store.recovery());
    println!("group 0: {:?}", store.group(0)?.state()?);
    println!("group 9: {:?}", store.group(9)?.state()?);
    match store.group(7) {
        Err(Error::NoGroup { group }) => println!("group {group} is gone"),
        other => drop(other?),
    }
    Ok(store.close()?)
}
