//! Closed loops, and how much they do in a given time.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::scheduler::involuntary_switches;

/// The sizes of records, in bytes.
pub(crate) const SIZES: [usize; 2] = [128, 4096];
/// How many threads append them.
pub(crate) const THREADS: [usize; 3] = [1, 8, THREADS_MAX];
pub(crate) const THREADS_MAX: usize = 32;
/// The size of records that are not made durable, in bytes.
pub(crate) const QUICK_SIZE: usize = 128;
/// How many of them are appended between two looks at the clock.
pub(crate) const QUICK: u64 = 32;
/// Bytes of payload that are replayed.
pub(crate) const REPLAYED: usize = 64 << 20;

/// The first moments of a log.
const FIRST: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) involuntary_switches: u64,
}

/// A record that does not compress.
pub(crate) fn record(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    random.flatten().take(size).collect()
}

/// Makes a worker in each of `threads` threads, and has all of them work again and again for `time`.
/// A worker returns how much it did.
///
/// Before that they work for half as long unmeasured: what was made for them has left caches cold, and
/// a disk that is still busy with it.
pub(crate) fn closed_loop<W>(
    threads: usize,
    time: Duration,
    make: impl Fn(usize) -> anyhow::Result<W> + Sync,
) -> anyhow::Result<Rate>
where
    W: FnMut() -> anyhow::Result<u64>,
{
    let ready = Barrier::new(threads + 1);
    let run = |thread| {
        let warmed_up = |mut worker: W| {
            let start = Instant::now();
            // Once at least: threads that start with the first append.
            loop {
                worker()?;
                if start.elapsed() >= time / 2 {
                    return anyhow::Ok(worker);
                }
            }
        };
        let worker = make(thread).and_then(warmed_up);
        // Before an error is returned: the others wait.
        ready.wait();
        let mut worker = worker?;
        let start = Instant::now();
        let mut done = 0;
        while start.elapsed() < time {
            done += worker()?;
        }
        Ok(float(done) / start.elapsed().as_secs_f64())
    };
    thread::scope(|scope| {
        let run = &run;
        let start = |thread| scope.spawn(move || run(thread));
        let workers: Vec<_> = (0..threads).map(start).collect();
        ready.wait();
        let before = involuntary_switches()?;
        let mut per_second = 0.0;
        for worker in workers {
            let rate: anyhow::Result<f64> = worker
                .join()
                .map_err(|_panic| anyhow!("a worker panicked"))?;
            per_second += rate?;
        }
        Ok(Rate {
            per_second,
            involuntary_switches: involuntary_switches()? - before,
        })
    })
}

/// Makes something new, and has it work again and again, in one thread, until its first moments are over.
pub(crate) fn first_moments<L, W>(make: impl Fn() -> anyhow::Result<(L, W)>) -> anyhow::Result<Rate>
where
    W: FnMut(&L) -> anyhow::Result<()>,
{
    let start = Instant::now();
    let before = involuntary_switches()?;
    let (made, mut work) = make()?;
    let mut done = 0;
    while start.elapsed() < FIRST {
        work(&made)?;
        done += 1;
    }
    Ok(Rate {
        per_second: float(done) / start.elapsed().as_secs_f64(),
        involuntary_switches: involuntary_switches()? - before,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}
