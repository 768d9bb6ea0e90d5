//! The layer `fuse`: real processes and real system calls on a file system that loses power.
//!
//! The file system is mounted through FUSE and keeps everything on a simulated disk
//! ([`durable_io::sim::Volume`]): what a crash may leave is said in one place for this layer and the
//! layer `sim`. But here the kernel is in between, and a store may be anything: a library, or a
//! program that knows nothing of this workspace.
//!
//! A store runs once, from its creation on, and every call that changes something is recorded
//! ([`filesystem`], [`machine`]), in one order with its acknowledgements. Then, for every moment of that record
//! and several ways to lose power there, the disk is set to what was left, the store is opened
//! through the mount, dumped, and judged ([`replay`]); nothing is mounted again. What is wrong is told with the
//! barriers that are missing ([`cause`]), and tried under the promises of real file systems ([`profiles`]). Syncs that fail and disks that are full come after that ([`failures`]).
//!
//! Each engine is judged in a process of its own ([`mod@child`]), which mounts in a namespace of its
//! own ([`mount`]): when it ends, however it ends, nothing is mounted any more.

mod call;
mod cause;
mod child;
mod failures;
mod filesystem;
mod machine;
mod mount;
mod profiles;
mod replay;
mod wrong;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};

pub use child::FuseChild;

use crate::model::Shape;
use crate::process::{Heard, Process, SILENCE};
use crate::progress::Progress;
use crate::report::Fuse;
use crate::scratch::Scratch;
use crate::{Context, Ran, cores};
use child::Said;

/// The units of tearing, in bytes.
const UNITS: [usize; 2] = [512, 4096];

/// Judges each of `engines`, or the one that `command` runs, at both units of tearing; returns a
/// tally for each, in order.
///
/// # Errors
/// The harness itself failed. What the engines did wrong is in the tallies.
pub(crate) fn run(
    label: &str,
    engines: &[&str],
    command: Option<(&str, Shape)>,
    context: &Context<'_>,
) -> anyhow::Result<Ran<Vec<Fuse>>> {
    let started = Instant::now();
    let scratch = Scratch::new()?;
    let progress = Progress::new(label, None);
    let mut tallies = vec![Fuse::default(); engines.len()];
    let mut sum = Fuse::default();
    // Each round draws other states.
    for seed in context.seed.. {
        let jobs = jobs(&scratch, engines, command, seed, context)?;
        for (nth, said) in run_jobs(&jobs, &progress)?.into_iter().enumerate() {
            match said {
                Said::Done(fuse) => {
                    sum.add(fuse.clone());
                    if let Some(of_engine) = tallies.get_mut(nth / UNITS.len()) {
                        of_engine.add(fuse);
                    }
                }
                Said::Skipped(reason) => return Ok(Ran::Skipped(reason)),
                Said::Judged(_) => bail!("a process ended without its tally"),
            }
        }
        // What follows a finding says nothing new.
        if sum.violations() > 0 || started.elapsed() >= context.extra_time {
            break;
        }
    }
    progress.finish(&sum.summary());
    Ok(Ran::Ran(tallies))
}

/// The processes of one round, each with a directory to mount at.
fn jobs(
    scratch: &Scratch,
    engines: &[&str],
    command: Option<(&str, Shape)>,
    seed: u64,
    context: &Context<'_>,
) -> anyhow::Result<Vec<FuseChild>> {
    let (command, shape) = match command {
        Some((command, shape)) => (Some(command.to_owned()), shape),
        None => (None, Shape::default()),
    };
    let mut jobs = Vec::new();
    for engine in engines {
        for unit in UNITS {
            let place = scratch.path().join(format!("{engine}-{unit}"));
            durable_io::Disk::os().create_dir(&place)?;
            jobs.push(FuseChild {
                place,
                engine: (*engine).to_owned(),
                command: command.clone(),
                shape,
                conditions: context.conditions,
                unit,
                seed,
                full: context.full,
            });
        }
    }
    Ok(jobs)
}

/// Runs every job, as many at a time as this machine has cores; returns the last word of each.
fn run_jobs(jobs: &[FuseChild], progress: &Progress) -> anyhow::Result<Vec<Said>> {
    let judged = AtomicU64::new(0);
    let said = cores::each(jobs, |job| {
        let mut before = 0;
        run_job(job, &mut |states| {
            let sum = judged.fetch_add(states - before, Ordering::Relaxed);
            progress.set(sum + states - before);
            before = states;
        })
    });
    said.into_iter().collect()
}

/// Starts the process of one job and listens to its end.
fn run_job(job: &FuseChild, judged: &mut dyn FnMut(u64)) -> anyhow::Result<Said> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(job.words()).stdin(Stdio::null());
    let mut process =
        Process::start(&mut command).context("cannot start the process that mounts")?;
    let (engine, unit) = (&job.engine, job.unit);
    loop {
        // Twice as long as it waits for a store itself.
        match process.hear(2 * SILENCE) {
            Heard::Line(line) => match Said::parse(&line) {
                Some(Said::Judged(states)) => judged(states),
                Some(last) => {
                    process.wait()?;
                    return Ok(last);
                }
                None => bail!("{engine} at {unit} bytes: the process said {line:?}"),
            },
            Heard::End => {
                let status = process.wait()?;
                bail!("{engine} at {unit} bytes: the process ended without its tally: {status}");
            }
            Heard::Silence => {
                let seconds = 2 * SILENCE.as_secs();
                bail!("{engine} at {unit} bytes: the store hung for {seconds} s");
            }
        }
    }
}
