//! The core workloads of YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", 2010), one thread.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

use crate::keys::{key, value};
use crate::measure::{Rate, closed_loop, float};
use crate::ordered::{Ordered, loaded};

/// How skewed the choice of keys is.
const SKEW: f64 = 0.99;
/// The most entries of one scan.
const SCANNED: u64 = 100;

/// Operations in a hundred; the rest are reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    updates: u32,
    inserts: u32,
    scans: u32,
    /// Each followed by a write of what was read.
    modifications: u32,
    /// Reads prefer what was inserted last.
    reads_latest: bool,
}

const READS: Mix = Mix {
    name: "YCSB C, reads",
    updates: 0,
    inserts: 0,
    scans: 0,
    modifications: 0,
    reads_latest: false,
};

pub(crate) const MIXES: [Mix; 6] = [
    Mix {
        name: "YCSB A, half updates",
        updates: 50,
        ..READS
    },
    Mix {
        name: "YCSB B, 5 % updates",
        updates: 5,
        ..READS
    },
    READS,
    Mix {
        name: "YCSB D, reads of the latest",
        inserts: 5,
        reads_latest: true,
        ..READS
    },
    Mix {
        name: "YCSB E, short scans",
        inserts: 5,
        scans: 95,
        ..READS
    },
    Mix {
        name: "YCSB F, read-modify-write",
        modifications: 50,
        ..READS
    },
];

pub(crate) fn run<S: Ordered>(dir: &Path, time: Duration, mix: Mix) -> anyhow::Result<Rate> {
    let (store, count) = loaded::<S>(dir)?;
    let rate = closed_loop(1, time, |_thread| {
        let (store, value, mut count) = (&store, value(), count);
        let (mut random, skewed) = (StdRng::seed_from_u64(1), Zipf::new(float(count), SKEW)?);
        Ok(move || {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank, from 1 to the number of keys"
            )]
            let rank = skewed.sample(&mut random) as u64 - 1;
            let chosen = if mix.reads_latest {
                count - 1 - rank
            } else {
                rank
            };
            let (key_of_new, chosen) = (key(count), key(chosen));
            let dice = random.random_range(0..100);
            if dice < mix.inserts {
                store.put(&key_of_new, &value)?;
                count += 1;
            } else if dice < mix.inserts + mix.updates {
                store.put(&chosen, &value)?;
            } else if dice < mix.inserts + mix.updates + mix.scans {
                let most = random.random_range(1..=SCANNED);
                black_box(S::read_on(&store.view()?, &chosen, most)?);
            } else {
                let mut read = None;
                store.get(&store.reader()?, &chosen, |value| {
                    read = value.last().copied();
                })?;
                anyhow::ensure!(read.is_some(), "a key is absent");
                if dice < mix.inserts + mix.updates + mix.scans + mix.modifications {
                    store.put(&chosen, &value)?;
                }
            }
            Ok(1)
        })
    })?;
    store.close()?;
    Ok(rate)
}
