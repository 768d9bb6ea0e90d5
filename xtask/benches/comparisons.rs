//! The log, the hash-indexed store, the LSM-tree, the B+tree, the event store and the sorted table beside the raw
//! methods of the disk and, with `--features peers`, beside other logs, stores and tables; with `peers-stores` only
//! beside other stores and tables, with `peers-sqlite` only beside `SQLite` as an event store, and with
//! `peers-rocksdb` also beside `RocksDB`'s tables.
//!
//! `cargo bench comparisons` prints one table and writes `comparisons.json` below `target/`. Every
//! round runs every contender once, for a short time, in its own fresh directory, and begins with
//! another one: all meet the same noise. A ratio is the median of the ratios of single rounds, so it
//! stands when the machine's speed changes; compare absolute figures within one run only.
//!
//! | variable | default | |
//! |---|---|---|
//! | `BENCH_ROUNDS` | 7 | |
//! | `BENCH_SECONDS` | 0.2 | of one contender in one round, after half as long unmeasured |
//! | `BENCH_DIR` | below `target/` | a directory on the disk in question |
//! | `BENCH_ONLY` | | only contenders whose workload or name contains this, or one of several: `a\|b` |
//! | `BENCH_KEYS` | 200000 | in a store that is read, and in a table |
//! | `BENCH_REOPEN_KEYS` | 1000000 | in a store that is opened |
//! | `BENCH_MEMORY_KEYS` | 1000000 | the largest size at which the memory of an index is taken |
//!
//! The workloads of the hash-indexed store begin with `store:`, those of the LSM-tree with `lsm:`, of the B+tree
//! with `btree:`, of event stores with `events:`, of tables with `table:`; a peer stands in each where it is compared.
//! A peer whose name says "proxy" is reached through its engine, which costs something: with one table, compacted
//! and cached, and an empty memtable.
//!
//! On a busy machine an append measures the scheduler as much as the disk. Where the process may, all
//! appends are therefore measured once more under `SCHED_FIFO`, against a floor that was measured in
//! the same way.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

#[path = "comparisons/allocator.rs"]
mod allocator;
#[path = "comparisons/bitcask_store.rs"]
mod bitcask_store;
#[path = "comparisons/btree_store.rs"]
mod btree_store;
#[path = "comparisons/contender.rs"]
mod contender;
#[path = "comparisons/event_streams.rs"]
mod event_streams;
#[path = "comparisons/events.rs"]
mod events;
#[path = "comparisons/keys.rs"]
mod keys;
#[path = "comparisons/log.rs"]
mod log;
#[path = "comparisons/lsm_store.rs"]
mod lsm_store;
#[path = "comparisons/measure.rs"]
mod measure;
#[path = "comparisons/ordered.rs"]
mod ordered;
#[cfg(feature = "peers-stores")]
#[path = "comparisons/peers.rs"]
mod peers;
#[path = "comparisons/raw.rs"]
mod raw;
#[path = "comparisons/report.rs"]
mod report;
#[path = "comparisons/rounds.rs"]
mod rounds;
#[path = "comparisons/scheduler.rs"]
mod scheduler;
#[cfg(feature = "peers-sqlite")]
#[path = "comparisons/peers/sqlite.rs"]
mod sqlite;
#[path = "comparisons/sstable_table.rs"]
mod sstable_table;
#[path = "comparisons/stores.rs"]
mod stores;
#[path = "comparisons/tables.rs"]
mod tables;
#[path = "comparisons/ycsb.rs"]
mod ycsb;

use std::env;
use std::path::Path;

use contender::Contender;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let mut filters = args.iter().filter(|arg| !arg.starts_with('-'));
    let is_bench = args.iter().any(|arg| arg == "--bench");
    if !is_bench || filters.any(|filter| !"comparisons".contains(filter.as_str())) {
        return Ok(());
    }
    rounds::run(&contenders(), Path::new(env!("CARGO_TARGET_TMPDIR")), 0.2)
}

fn contenders() -> Vec<Contender> {
    let mut all = raw::contenders();
    all.extend(log::contenders());
    all.extend(bitcask_store::contenders());
    all.extend(lsm_store::contenders());
    all.extend(btree_store::contenders());
    all.extend(event_streams::contenders());
    all.extend(sstable_table::contenders());
    #[cfg(feature = "peers-sqlite")]
    all.extend(sqlite::contenders());
    #[cfg(feature = "peers-stores")]
    all.extend(peers::contenders());
    if let Err(error) = scheduler::RealTime::enter() {
        println!("Real-time workloads are skipped: {error}.");
        all.retain(|contender| !contender.real_time);
    }
    let only = env::var("BENCH_ONLY").unwrap_or_default();
    let is_wanted = |text: &str| only.split('|').any(|part| text.contains(part));
    all.retain(|contender| is_wanted(&contender.workload) || is_wanted(&contender.name));
    // Peers beside what they are compared with.
    let order: Vec<String> = all.iter().map(|one| one.workload.clone()).collect();
    all.sort_by_key(|one| order.iter().position(|workload| *workload == one.workload));
    all
}
