//! `durable-raft` beside other Raft log stores, durable appends through what each offers openraft.
//!
//! `cargo bench` prints one table and writes `comparisons.json` below `target/`, measured as `cargo bench comparisons`
//! in the workspace of the engines is: every round runs every contender once, in its own fresh directory; a ratio
//! is the median of the ratios of single rounds. `BENCH_ROUNDS` (7), `BENCH_SECONDS` (0.5), `BENCH_DIR`.

#[path = "../../../../xtask/benches/comparisons/contender.rs"]
#[allow(dead_code, reason = "it knows the workloads of all crates")]
mod contender;
#[path = "../../../../xtask/benches/comparisons/measure.rs"]
#[allow(dead_code, reason = "it knows the workloads of all crates")]
mod measure;
#[path = "../../../../xtask/benches/comparisons/report.rs"]
mod report;
#[path = "../../../../xtask/benches/comparisons/rounds.rs"]
mod rounds;
#[path = "../../../../xtask/benches/comparisons/scheduler.rs"]
mod scheduler;

use std::env;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use raft_peers::{Entry, NAMES, RaftLog};

use contender::{Contender, Role, Unit};
use measure::{closed_loop, record};

const SIZE: usize = 256;

fn main() -> anyhow::Result<()> {
    if !env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    rounds::run(&contenders(), Path::new(env!("CARGO_TARGET_TMPDIR")), 0.5)
}

fn contenders() -> Vec<Contender> {
    let workloads = [
        (format!("raft: durable append of one entry, {SIZE} B"), 1, 1),
        (
            format!("raft: durable append of 64 entries, {SIZE} B"),
            64,
            1,
        ),
        (
            format!("raft: one entry, {SIZE} B, in 100 groups at once"),
            1,
            100,
        ),
    ];
    let mut all = Vec::new();
    for (workload, batch, groups) in workloads {
        for name in NAMES {
            all.push(Contender {
                workload: workload.clone(),
                name: name.to_owned(),
                role: role(name),
                unit: Unit::Operations,
                floor: String::new(),
                real_time: false,
                run: Box::new(move |dir, time| append(name, dir, time, batch, groups)),
            });
        }
    }
    all
}

/// The modes that acknowledge before the disk has it promise less; and so does what never syncs its votes.
fn role(name: &str) -> Role {
    match name {
        "durable-raft" => Role::Own,
        "hiqlite-wal-0.15-async" | "hiqlite-wal-0.15-interval" => Role::LesserPeer,
        _ => Role::Peer,
    }
}

/// Counts entries that were appended `batch` at a time, in `groups` groups with a thread each.
fn append(
    name: &str,
    dir: &Path,
    time: Duration,
    batch: u64,
    groups: u64,
) -> anyhow::Result<measure::Rate> {
    let runtime = raft_peers::runtime()?;
    let logs = raft_peers::open(name, dir, groups, &runtime)?;
    let logs: Vec<Mutex<Box<dyn RaftLog>>> = logs.into_iter().map(Mutex::new).collect();
    let data = record(SIZE);
    let threads = usize::try_from(groups)?;
    let rate = closed_loop(threads, time, |thread| {
        let log = logs.get(thread).context("a log for each thread")?;
        let (mut next, data) = (1, data.clone());
        Ok(move || {
            let entry = |index| Entry {
                index,
                term: 1,
                data: data.clone(),
            };
            // Nobody else takes it.
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append((next..next + batch).map(entry).collect())?;
            next += batch;
            Ok(batch)
        })
    })?;
    for log in logs {
        log.into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .close()?;
    }
    Ok(rate)
}
