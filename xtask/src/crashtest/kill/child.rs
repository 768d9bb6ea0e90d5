//! The process that is killed: it opens the log, writes with four threads while a fifth rotates and
//! truncates, closes, opens again, and never ends by itself.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wal::{Lsn, Options, Wal};

use super::ChildArgs;
use super::line::{Line, Step};
use super::log::SEGMENT_SIZE;
use super::workload::{self, WRITERS};

/// How many records a planted liar holds back in its own memory.
const HELD_BACK: u64 = 8;

/// Works until it is killed. Returns only after a failure, which it has told its parent.
pub(crate) fn child(args: &ChildArgs) {
    let Err(error) = work(args);
    // The parent may be gone; then there is nobody to tell.
    drop(Line::Failed(format!("{error:#}")).say());
}

fn work(args: &ChildArgs) -> anyhow::Result<Infallible> {
    let mut rng = StdRng::seed_from_u64(args.seed);
    let mut next = [1; WRITERS];
    for (next, given) in next.iter_mut().zip(&args.next) {
        *next = *given;
    }
    loop {
        Line::Begin(Step::Open).say()?;
        let options = Options::new()
            .sync(args.mode.sync_mode())
            .segment_size(SEGMENT_SIZE);
        let wal = options.open(&args.dir)?;
        Line::End(Step::Open).say()?;
        if args.plant {
            lie(&wal, &mut next[0])?;
        } else {
            write(&wal, &mut next, &mut rng)?;
        }
        Line::Begin(Step::Close).say()?;
        // A log that is only dropped must be found as whole as one that is closed.
        if rng.random_bool(0.5) {
            wal.close()?;
        } else {
            drop(wal);
        }
        Line::End(Step::Close).say()?;
    }
}

/// One life of the log between open and close.
fn write(wal: &Wal, next: &mut [u64; WRITERS], rng: &mut StdRng) -> anyhow::Result<()> {
    let operations = rng.random_range(50..400);
    let seed = rng.random();
    let (acked, heard) = channel();
    thread::scope(|scope| {
        let controller = scope.spawn(move || control(wal, &heard, seed));
        let mut writers = Vec::new();
        for (writer, next) in next.iter_mut().enumerate() {
            let acked = acked.clone();
            writers.push(scope.spawn(move || append(wal, writer, next, operations, &acked)));
        }
        // The controller ends when the last writer has let go of its sender.
        drop(acked);
        writers.push(controller);
        for thread in writers {
            thread
                .join()
                .map_err(|_panic| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(())
    })
}

/// One writer: each operation is acknowledged on the pipe only after the log has returned.
fn append(
    wal: &Wal,
    writer: usize,
    next: &mut u64,
    operations: u64,
    acked: &Sender<u64>,
) -> anyhow::Result<()> {
    for _ in 0..operations {
        let n = *next;
        let count = workload::count(writer, n);
        let payloads: Vec<Vec<u8>> = (n..n + count)
            .map(|n| workload::payload(writer, n))
            .collect();
        let lsn = match payloads.as_slice() {
            [payload] => wal.append(payload)?.0,
            batch => {
                let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
                wal.append_batch(&batch)?.start.0
            }
        };
        *next = n + count;
        Line::Ack {
            writer,
            n,
            count,
            lsn,
        }
        .say()?;
        if acked.send(lsn + count - 1).is_err() {
            // The controller has failed, and its error is the one to report.
            return Ok(());
        }
    }
    Ok(())
}

/// Rotates and truncates now and then, paced by the acknowledgements it hears.
fn control(wal: &Wal, acked: &Receiver<u64>, seed: u64) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut last = 0;
    let mut wait = rng.random_range(5..150);
    for lsn in acked {
        last = lsn.max(last);
        wait -= 1;
        if wait > 0 {
            continue;
        }
        wait = rng.random_range(5..150);
        if rng.random_bool(0.5) {
            Line::Begin(Step::Rotate).say()?;
            wal.rotate()?;
            Line::End(Step::Rotate).say()?;
        } else {
            // Never beyond what was acknowledged: so what is retained is known exactly.
            let keep = rng.random_range(0..600);
            let lsn = (last + 1).saturating_sub(keep).max(1);
            Line::Begin(Step::Truncate(lsn)).say()?;
            wal.truncate_before(Lsn(lsn))?;
            Line::End(Step::Truncate(lsn)).say()?;
        }
    }
    Ok(())
}

/// The planted bug: records are acknowledged while they are still in this process's memory.
fn lie(wal: &Wal, next: &mut u64) -> anyhow::Result<()> {
    for _ in 0..100 {
        let first = *next;
        let lsn = wal.bounds().end.0;
        for n in first..first + HELD_BACK {
            Line::Ack {
                writer: 0,
                n,
                count: 1,
                lsn: lsn + n - first,
            }
            .say()?;
        }
        for n in first..first + HELD_BACK {
            wal.append(&workload::payload(0, n))?;
        }
        *next = first + HELD_BACK;
    }
    Ok(())
}
