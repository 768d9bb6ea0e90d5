//! The device floor: how long one durable append takes, by every method there is.
//!
//! `cargo bench -p durable-io --bench sync`, with `BENCH_DIR` naming a directory on the disk in
//! question (otherwise it is below `target/`). The methods take turns, append by append, so that all
//! of them meet the same noise; a sample is the median of many appends. Compare figures of one run
//! only: the ratios stand when the disk's own speed changes.

#[path = "sync/appender.rs"]
mod appender;

use std::cell::OnceCell;
use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use durable_io::Disk;

use appender::{Appender, Error, METHODS};

/// How many samples are taken of each method, and of how many appends each.
const SAMPLES: usize = 10;
const ROUNDS: usize = 500;

/// The time of one append by each method, `SAMPLES` times.
type Samples = Vec<[Duration; METHODS.len()]>;

/// Takes every sample of every method: the median of `rounds` appends, the methods in turn.
fn measure(appenders: &mut [Appender], rounds: usize) -> Result<Samples, Error> {
    let mut samples = Samples::new();
    for _ in 0..SAMPLES {
        let mut times = vec![Vec::with_capacity(rounds); METHODS.len()];
        for _ in 0..rounds {
            for (appender, times) in appenders.iter_mut().zip(&mut times) {
                appender.make_room()?;
                let start = Instant::now();
                appender.append()?;
                times.push(start.elapsed());
            }
        }
        let mut medians = [Duration::ZERO; METHODS.len()];
        for (median, times) in medians.iter_mut().zip(&mut times) {
            *median = *times.select_nth_unstable(rounds / 2).1;
        }
        samples.push(medians);
    }
    Ok(samples)
}

/// The samples of appends of `size` bytes to files below `parent`.
fn sample(parent: &Path, size: u64, rounds: usize) -> Result<Samples, Error> {
    let temp = tempfile::tempdir_in(parent)?;
    let dir = Disk::os().open_dir(temp.path())?;
    let appenders = METHODS.map(|method| Appender::new(&dir, method, size));
    let mut appenders = appenders.into_iter().collect::<Result<Vec<_>, _>>()?;
    measure(&mut appenders, rounds)
}

fn main() {
    // Warming up has no use here: every call gives one of the samples taken before.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_nanos(1))
        .sample_size(SAMPLES)
        .configure_from_args();
    // Without `cargo bench` this is a test that it works.
    let is_bench = env::args().any(|arg| arg == "--bench");
    let rounds = if is_bench { ROUNDS } else { 1 };
    let parent = env::var_os("BENCH_DIR");
    let parent = parent.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    for size in [128, 4 << 10, 16 << 10] {
        let samples = OnceCell::new();
        let mut group = criterion.benchmark_group(format!("durable append of {size} B"));
        group.throughput(Throughput::Bytes(size));
        group.sampling_mode(SamplingMode::Flat);
        for (at, (name, ..)) in METHODS.iter().enumerate() {
            let mut next = 0;
            group.bench_function(*name, |bencher| {
                // Only here: a filter that matches no method must not have any measured.
                let samples = samples.get_or_init(|| {
                    sample(parent.as_ref(), size, rounds).expect("the disk can be measured")
                });
                bencher.iter_custom(|n| {
                    let sample = samples.get(next % SAMPLES).and_then(|all| all.get(at));
                    next += 1;
                    sample.copied().unwrap_or_default() * u32::try_from(n).unwrap_or(u32::MAX)
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
