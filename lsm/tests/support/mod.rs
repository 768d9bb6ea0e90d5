//! What the tests share.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;

use lsm::{Background, Options, SyncMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Small enough that a few writes flush, and a few flushes merge.
pub(crate) fn small() -> Options {
    Options::new()
        .background(Background::Inline)
        .memtable_size(4 << 10)
        .memory(1 << 20)
        .block_cache(64 << 10)
        .table_size(8 << 10)
        .log_segment_size(64 << 10)
        .manifest_segment_size(4 << 10)
        .reserve(0)
}

/// The seed of a random test: of the environment, or `default`.
pub(crate) fn seeded(default: u64) -> (u64, StdRng) {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(default);
    (seed, StdRng::seed_from_u64(seed))
}

/// Options of many kinds, all of which must give the same answers.
pub(crate) fn any_options(rng: &mut StdRng) -> (Options, lsm::KeyspaceOptions) {
    let mode = match rng.random_range(0..3) {
        0 => SyncMode::Always,
        1 => SyncMode::Batch {
            writes: rng.random_range(1..20),
            interval: std::time::Duration::from_secs(3600),
        },
        _ => SyncMode::Manual,
    };
    let strategy = if rng.random() {
        lsm::Strategy::Leveled
    } else {
        lsm::Strategy::LazyLeveled
    };
    let compression = if rng.random() {
        lsm::Compression::Lz4
    } else {
        lsm::Compression::None
    };
    let keyspace = lsm::KeyspaceOptions::new()
        .strategy(strategy)
        .compression(compression)
        .block_size(rng.random_range(64..2000))
        .filter_bits(rng.random_range(0..12));
    let options = small()
        .sync(mode)
        .memtable_size(1 << rng.random_range(8..14))
        .table_size(1 << rng.random_range(9..15))
        .replay_limit(1 << rng.random_range(10..20))
        .auto_compact(rng.random_range(0..4) > 0)
        .keyspace("default", keyspace.clone())
        .keyspace("other", keyspace.clone());
    (options, keyspace)
}
