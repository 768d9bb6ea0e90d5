//! The process that is killed: it opens the store, writes with four threads while a fifth rotates and
//! merges, closes, opens again, and never ends by itself.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use bitcask::Bitcask;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::workload::{self, Model, WRITERS};
use crate::crashtest::kill::ChildArgs;
use crate::crashtest::kill::line::{Line, Step};

/// How many operations a planted liar holds back in its own memory.
const HELD_BACK: u64 = 8;

/// A writer: what its keys hold, and the number of its next operation.
struct Writer {
    number: usize,
    model: Model,
    next: u64,
}

impl Writer {
    /// Does the next operation, and tells that it is done.
    fn step(&mut self, store: &Bitcask) -> anyhow::Result<()> {
        workload::write(store, &self.model, self.number, self.next)?;
        self.acknowledge()?;
        workload::apply(&mut self.model, self.number, self.next);
        self.next += 1;
        Ok(())
    }

    fn acknowledge(&self) -> std::io::Result<()> {
        Line::Ack {
            writer: self.number,
            n: self.next,
            count: 1,
            lsn: 0,
        }
        .say()
    }
}

/// Works until it is killed. Returns only after a failure, which it has told its parent.
pub(crate) fn child(args: &ChildArgs) {
    let Err(error) = work(args);
    // The parent may be gone; then there is nobody to tell.
    drop(Line::Failed(format!("{error:#}")).say());
}

fn work(args: &ChildArgs) -> anyhow::Result<Infallible> {
    let mut rng = StdRng::seed_from_u64(args.seed);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| {
            let next = args.next.get(number).copied().unwrap_or(1);
            let mut model = Model::new();
            (1..next).for_each(|n| workload::apply(&mut model, number, n));
            Writer {
                number,
                model,
                next,
            }
        })
        .collect();
    loop {
        Line::Begin(Step::Open).say()?;
        let store = super::options(args.mode).open(&args.dir)?;
        Line::End(Step::Open).say()?;
        match writers.first_mut() {
            Some(first) if args.plant => lie(&store, first)?,
            _ => write(&store, &mut writers, &mut rng)?,
        }
        Line::Begin(Step::Close).say()?;
        // A store that is only dropped must be found as whole as one that is closed.
        if rng.random_bool(0.5) {
            store.close()?;
        } else {
            drop(store);
        }
        Line::End(Step::Close).say()?;
    }
}

/// One life of the store between open and close.
fn write(store: &Bitcask, writers: &mut [Writer], rng: &mut StdRng) -> anyhow::Result<()> {
    let operations = rng.random_range(50..400);
    let seed = rng.random();
    let (acked, heard) = channel();
    thread::scope(|scope| {
        let mut threads = vec![scope.spawn(move || control(store, &heard, seed))];
        for writer in writers {
            let acked: Sender<()> = acked.clone();
            threads.push(scope.spawn(move || {
                for _ in 0..operations {
                    writer.step(store)?;
                    if acked.send(()).is_err() {
                        // The controller has failed, and its error is the one to report.
                        break;
                    }
                }
                Ok(())
            }));
        }
        // The controller ends when the last writer has let go of its sender.
        drop(acked);
        for thread in threads {
            thread
                .join()
                .map_err(|_panic| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(())
    })
}

/// Rotates and merges now and then, paced by the acknowledgements it hears.
fn control(store: &Bitcask, acked: &Receiver<()>, seed: u64) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut wait = rng.random_range(5..150);
    for () in acked {
        wait -= 1;
        if wait > 0 {
            continue;
        }
        wait = rng.random_range(5..150);
        Line::Begin(Step::Rotate).say()?;
        store.rotate()?;
        Line::End(Step::Rotate).say()?;
        if rng.random_bool(0.6) {
            Line::Begin(Step::Merge).say()?;
            store.merge()?;
            Line::End(Step::Merge).say()?;
        }
    }
    Ok(())
}

/// The planted bug: operations are acknowledged while they are still in this process's memory.
fn lie(store: &Bitcask, writer: &mut Writer) -> anyhow::Result<()> {
    for _ in 0..100 {
        let first = writer.next;
        for n in first..first + HELD_BACK {
            writer.next = n;
            writer.acknowledge()?;
        }
        for n in first..first + HELD_BACK {
            workload::write(store, &writer.model, writer.number, n)?;
            workload::apply(&mut writer.model, writer.number, n);
        }
        writer.next = first + HELD_BACK;
    }
    Ok(())
}
