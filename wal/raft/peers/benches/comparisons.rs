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
#[path = "../../../../xtask/benches/comparisons/scheduler.rs"]
mod scheduler;

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressIterator as _;
use raft_peers::{Entry, NAMES, RaftLog};

use contender::{Contender, Measured, Role, Unit};
use measure::{closed_loop, record};

const SIZE: usize = 256;

fn main() -> anyhow::Result<()> {
    if !env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let rounds = variable("BENCH_ROUNDS", 7_usize)?.max(1);
    let time = Duration::try_from_secs_f64(variable("BENCH_SECONDS", 0.5)?)?;
    let temp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let parent = env::var_os("BENCH_DIR").map_or_else(|| temp.to_owned(), PathBuf::from);
    let contenders = contenders();
    let mut measured = Vec::new();
    for round in (0..rounds).progress() {
        measured.push(run_round(&contenders, round, &parent, time)?);
    }
    report::print(&contenders, &measured);
    let target = temp.parent().context("the target directory")?;
    report::write_json(target, &contenders, &measured)
}

fn variable<T: FromStr>(name: &str, default: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_unset) => Ok(default),
    }
}

/// Runs every contender once, beginning with another one each time.
fn run_round(
    contenders: &[Contender],
    round: usize,
    parent: &Path,
    time: Duration,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured = vec![Measured::default(); contenders.len()];
    for step in 0..contenders.len() {
        let at = (round * 5 + step) % contenders.len();
        let contender = &contenders[at];
        measured[at] = contender
            .measure(parent, time)
            .with_context(|| format!("{}: {}", contender.workload, contender.name))?;
    }
    Ok(measured)
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
