//! The layer `sim`: every short sequence of operations on the simulated disk, ended at every moment
//! in every way, and what a finding leaves to replay.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use durable_io::sim::{Bound, Counterexample, Counts, Doubt, Exploration, Explorer, Subject, Tape};
use durable_io::{Disk, Site};

use crate::barriers::Removals;
use crate::engine::{Engine, Probe};
use crate::progress::Progress;
use crate::report::{Barriers, Faults, Sim, SimRun};
use crate::trial::AnyTrial;
use crate::{Context, cores};

/// Where the tapes of violations are kept, from the root of the workspace.
const TAPES: &str = "target/crashtest";
/// The first word of a tape file; the subject's name follows, and the tape from the next line on.
const SUBJECT: &str = "subject";
/// What the name of a run with drawn sequences ends with.
const SOAK: &str = " soak";

/// The layers `sim` and `barriers`: crash states of every trial of `engine`, and each barrier left out.
/// Barriers are not judged if the complete engine breaks: then a removal would prove nothing; nor if no trial
/// of this run leaves any out.
///
/// # Errors
/// Sources that cannot be read, tapes that cannot be kept.
pub(crate) fn simulate(
    engine: &dyn Engine,
    context: &Context<'_>,
) -> anyhow::Result<(Sim, Option<Barriers>)> {
    let mut found = Sim::default();
    let mut removals = Removals::new(engine, context)?;
    let trials = wanted(engine, context);
    for AnyTrial(trial) in &trials {
        trial.explore(context, &mut found, &mut removals)?;
        if context.first && !found.findings.is_empty() {
            return Ok((found, None));
        }
    }
    let soaking: Vec<_> = trials.iter().filter(|trial| trial.0.soaks()).collect();
    if !context.extra_time.is_zero() {
        for AnyTrial(trial) in &soaking {
            let share = u32::try_from(soaking.len()).expect("few subjects");
            trial.soak(context, share, &mut found)?;
        }
    }
    if !context.trials.is_empty() {
        // What some of the trials have not reached, another may.
        return Ok((found, None));
    }
    let is_proof = found.findings.is_empty() && removals.has_run();
    let barriers = is_proof.then(|| removals.finish());
    let untaken = engine.probes().iter().filter_map(Probe::untaken);
    found.findings.extend(untaken);
    Ok((found, barriers))
}

/// The trials of `engine` that are asked for.
fn wanted(engine: &dyn Engine, context: &Context<'_>) -> Vec<AnyTrial> {
    let mut trials = engine.trials();
    trials.retain(|AnyTrial(trial)| {
        context.trials.is_empty() || context.trials.iter().any(|name| name == trial.name())
    });
    trials
}

/// Checks that each of `names` is a trial of one of `engines`.
///
/// # Errors
/// There is none of that name.
pub(crate) fn check_names(names: &[String], engines: &[&dyn Engine]) -> anyhow::Result<()> {
    for name in names {
        find_trial(name, engines)?;
    }
    Ok(())
}

/// The trial called `name`.
///
/// # Errors
/// There is none of that name.
fn find_trial(name: &str, engines: &[&dyn Engine]) -> anyhow::Result<AnyTrial> {
    let mut trials = engines.iter().flat_map(|engine| engine.trials());
    let trial = trials.find(|AnyTrial(trial)| trial.name() == name);
    trial.with_context(|| format!("no engine is judged as {name:?}"))
}

/// The layer `faults` of every trial of `engine`.
pub(crate) fn inject(engine: &dyn Engine, context: &Context<'_>) -> Faults {
    let mut faults = Faults::default();
    for AnyTrial(trial) in wanted(engine, context) {
        trial.inject(&mut faults);
        if context.first && !faults.findings.is_empty() {
            break;
        }
    }
    faults
}

/// Runs the tape in the file at `path`, of a trial of one of `engines`; true if it breaks nothing.
///
/// # Errors
/// No tape, or of no subject that there is.
pub(crate) fn replay(path: &Path, engines: &[&dyn Engine]) -> anyhow::Result<bool> {
    let (subject, tape) = read_tape(path)?;
    let AnyTrial(trial) = find_trial(&subject, engines)?;
    trial.replay(&tape)
}

/// A bound on all of this machine's cores.
pub(crate) fn bound(length: usize) -> Bound {
    Bound {
        threads: cores::count(),
        ..Bound::of_length(length)
    }
}

/// Explores `subject`, called `name` in reports and tapes, and adds what was found to `sim`.
pub(crate) fn explore<S: Subject>(
    context: &Context<'_>,
    name: &str,
    subject: &S,
    bound: &Bound,
    sim: &mut Sim,
) -> anyhow::Result<Exploration> {
    run(context, name, subject, bound, sim, |explorer, progress| {
        explorer.explore(bound, progress)
    })
}

/// Tries random longer sequences for `time`.
pub(crate) fn soak<S: Subject>(
    context: &Context<'_>,
    name: &str,
    subject: &S,
    time: Duration,
    sim: &mut Sim,
) -> anyhow::Result<()> {
    let bound = Bound {
        time: Some(time),
        ..bound(0)
    };
    let label = format!("{name}{SOAK}");
    run(
        context,
        &label,
        subject,
        &bound,
        sim,
        |explorer, progress| explorer.soak(&bound, context.seed, progress),
    )?;
    Ok(())
}

fn run<S: Subject>(
    context: &Context<'_>,
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
    let run = SimRun::new(name, bound, started.elapsed(), &explored);
    progress.finish(&run.summary());
    if let Some(example) = &explored.counterexample {
        sim.findings
            .push(keep(context.workspace, name, subject, example)?);
    }
    // That time is out is what a soak is for; and in a mode without barriers, a cut has none.
    let is_empty = |doubt: &&Doubt| {
        matches!(
            doubt,
            Doubt::NoCalls | Doubt::NoWrites | Doubt::NoOperations
        )
    };
    let doubts = explored.doubts.iter().filter(is_empty);
    sim.findings
        .extend(doubts.map(|doubt| format!("{name}: {doubt}")));
    sim.add(run);
    Ok(explored)
}

/// Writes the tape of `example` to a file, and reports it with the command that replays it.
fn keep<S: Subject>(
    workspace: &Path,
    name: &str,
    subject: &S,
    example: &Counterexample,
) -> anyhow::Result<String> {
    let file = format!("{}.tape", name.replace(' ', "-"));
    let text = tape_file(name.trim_end_matches(SOAK), subject, &example.tape, &[]);
    let dir = Disk::os().create_dir(workspace.join(TAPES))?;
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
fn read_tape(path: &Path) -> anyhow::Result<(String, String)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the tape {}", path.display()))?;
    let (first, tape) = text.split_once('\n').unwrap_or((&text, ""));
    match first.split_once(' ') {
        Some((SUBJECT, name)) => Ok((name.to_owned(), tape.to_owned())),
        _ => bail!("{}: line 1 names no subject", path.display()),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a file of a test")]
mod tests {
    use super::*;
    use crate::controls::Control;
    use crate::trial::{Judged, Trial};

    #[test]
    fn a_tape_file_is_replayed() {
        let control = Control::new(None);
        let trial = Trial::new("control", control);
        let bound = Bound::of_length(1);
        let explored = Explorer::new(&control).explore(&bound, &|_| {});
        assert!(explored.counterexample.is_none());
        let caught = explored.sites.into_keys().find_map(|site| {
            let removal = Explorer::remove(&control, &bound, &[site]);
            Some((site, removal.counterexample?))
        });
        let (site, example) = caught.expect("a control has a barrier");
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tape");
        for (without, passes) in [(&[site][..], false), (&[], true)] {
            let text = tape_file("control", &control, &example.tape, without);
            std::fs::write(&path, text).unwrap();
            let (name, tape) = read_tape(&path).unwrap();
            assert_eq!(name, "control");
            assert_eq!(trial.replay(&tape).unwrap(), passes);
        }
        std::fs::write(&path, "nothing of the kind").unwrap();
        assert!(read_tape(&path).is_err());
    }

    /// A store that does nothing at all.
    struct Nothing;

    impl Subject for Nothing {
        type Op = u8;
        type State = u8;
        type Store = ();

        fn operations(&self) -> Vec<u8> {
            Vec::new()
        }
        fn empty(&self) -> u8 {
            0
        }
        fn open(&self, _disk: &Disk) -> durable_io::sim::Outcome<()> {
            Ok(())
        }
        fn apply(
            &self,
            (): &mut (),
            _op: &u8,
            _n: u64,
        ) -> durable_io::sim::Outcome<durable_io::sim::Survives> {
            Ok(durable_io::sim::Survives::PowerLoss)
        }
        fn observe(&self, (): &mut ()) -> durable_io::sim::Outcome<u8> {
            Ok(0)
        }
        fn model(&self, before: &u8, _op: &u8, _n: u64) -> u8 {
            *before
        }
    }

    #[test]
    fn a_trial_of_a_store_that_does_nothing_is_red() {
        let context = Context::short();
        let mut sim = Sim::default();
        explore(
            &context,
            "nothing",
            &Nothing,
            &Bound::of_length(1),
            &mut sim,
        )
        .unwrap();
        let findings = sim.findings.join("\n");
        let expected = ["no call to the simulated disk", "operations is empty"];
        assert!(
            expected.iter().all(|expected| findings.contains(expected)),
            "{findings}"
        );
    }
}
