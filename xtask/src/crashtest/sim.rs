//! The layer `sim`: every short sequence of operations on the simulated disk, ended at every moment
//! in every way, and what a finding leaves to replay.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use durable_io::sim::{Bound, Counterexample, Counts, Exploration, Explorer, Subject, Tape};
use durable_io::{Disk, Site};

use crate::crashtest::progress::{Progress, print};
use crate::crashtest::report::{Sim, SimRun};

/// Where the tapes of violations are kept, from the root of the workspace.
const TAPES: &str = "target/crashtest";
/// The first word of a tape file; the subject's name follows, and the tape from the next line on.
const SUBJECT: &str = "subject";
/// What the name of a run with drawn sequences ends with.
const SOAK: &str = " soak";

/// A bound on all of this machine's cores.
pub(crate) fn bound(length: usize) -> Bound {
    Bound {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        ..Bound::of_length(length)
    }
}

/// Explores `subject`, called `name` in reports and tapes, and adds what was found to `sim`.
pub(crate) fn explore<S: Subject>(
    name: &str,
    subject: &S,
    bound: &Bound,
    sim: &mut Sim,
) -> anyhow::Result<Exploration> {
    run(name, subject, bound, sim, |explorer, progress| {
        explorer.explore(bound, progress)
    })
}

/// Tries random longer sequences for `time`.
pub(crate) fn soak<S: Subject>(
    name: &str,
    subject: &S,
    time: Duration,
    seed: u64,
    sim: &mut Sim,
) -> anyhow::Result<()> {
    let bound = Bound {
        time: Some(time),
        ..bound(0)
    };
    let label = format!("{name}{SOAK}");
    run(&label, subject, &bound, sim, |explorer, progress| {
        explorer.soak(&bound, seed, progress)
    })?;
    Ok(())
}

fn run<S: Subject>(
    name: &str,
    subject: &S,
    bound: &Bound,
    sim: &mut Sim,
    explore: impl FnOnce(&Explorer<'_, S>, &(dyn Fn(&Counts) + Sync)) -> Exploration,
) -> anyhow::Result<Exploration> {
    let started = Instant::now();
    let progress = Progress::new(name, None);
    let explored = explore(&Explorer::new(subject), &|counts| {
        progress.set(counts.unique_states);
    });
    let run = SimRun {
        name: name.to_owned(),
        length: bound.length as u64,
        unit: bound.unit as u64,
        threads: bound.threads as u64,
        seconds: started.elapsed().as_secs_f64(),
        counts: explored.counts,
        by_start: explored.by_start.clone().into_iter().collect(),
    };
    progress.finish(&run.summary());
    if let Some(example) = &explored.counterexample {
        sim.findings.push(keep(name, subject, example)?);
    }
    sim.runs.push(run);
    Ok(explored)
}

/// Writes the tape of `example` to a file, and tells its story with the command that replays it.
fn keep<S: Subject>(name: &str, subject: &S, example: &Counterexample) -> anyhow::Result<String> {
    let file = format!("{}.tape", name.replace(' ', "-"));
    let text = tape_file(name.trim_end_matches(SOAK), subject, &example.tape, &[]);
    let dir = Disk::os().create_dir(crate::crashtest::workspace()?.join(TAPES))?;
    durable_io::replace_file(&dir, &file, text.as_bytes())?;
    Ok(format!(
        "{name}:\n{example}replay: cargo xtask crashtest --replay {TAPES}/{file}"
    ))
}

/// The text of a tape file.
fn tape_file<S: Subject>(name: &str, subject: &S, tape: &Tape, without: &[Site]) -> String {
    format!("{SUBJECT} {name}\n{}", tape.to_text(subject, without))
}

/// Reads a tape file: the subject's name, and the text of the tape.
pub(crate) fn read_tape(path: &Path) -> anyhow::Result<(String, String)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the tape {}", path.display()))?;
    let (first, tape) = text.split_once('\n').unwrap_or((&text, ""));
    match first.split_once(' ') {
        Some((SUBJECT, name)) => Ok((name.to_owned(), tape.to_owned())),
        _ => bail!("{}: line 1 names no subject", path.display()),
    }
}

/// Runs `tape` on `subject` and prints what it breaks; true if it breaks nothing.
pub(crate) fn replay<S: Subject>(subject: &S, tape: &str) -> anyhow::Result<bool> {
    let (tape, without): (Tape, Vec<Site>) =
        Tape::from_text(subject, tape).map_err(anyhow::Error::msg)?;
    let broken = Explorer::new(subject).without(&without).replay(&tape);
    match &broken {
        Some(example) => print(&example.to_string()),
        None => print("the tape breaks nothing"),
    }
    Ok(broken.is_none())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a file of a test")]
mod tests {
    use super::*;
    use crate::crashtest::wal::{self, ALWAYS};

    #[test]
    fn a_tape_file_is_replayed() {
        let explored = Explorer::new(&ALWAYS).explore(&Bound::of_length(0), &|_| {});
        assert!(explored.counterexample.is_none());
        let mut sites = explored.sites.into_keys();
        let acknowledgement = sites.find(|site| site.step == "group commit").unwrap();
        let removal = Explorer::remove(&ALWAYS, &Bound::of_length(0), &[acknowledgement]);
        let tape = removal.counterexample.unwrap().tape;
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tape");
        for (without, passes) in [(&[acknowledgement][..], false), (&[], true)] {
            std::fs::write(&path, tape_file("wal always", &ALWAYS, &tape, without)).unwrap();
            let (name, tape) = read_tape(&path).unwrap();
            assert_eq!(wal::replay(&name, &tape).unwrap(), passes);
        }
        std::fs::write(&path, "nothing of the kind").unwrap();
        assert!(read_tape(&path).is_err());
    }
}
