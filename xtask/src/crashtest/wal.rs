//! The write-ahead log before the judge: which run each layer gets.

mod repair;
mod subject;

use std::path::Path;

use anyhow::bail;
use durable_io::SyncMode;
use durable_io::sim::{Bound, Subject};

use crate::crashtest::barriers::Judge;
use crate::crashtest::engines::Simulated;
use crate::crashtest::report::{Faults, Sim};
use crate::crashtest::{Context, faults, sim};
use repair::RepairSubject;
use subject::{Alphabet, BATCH, Op, WalSubject};

pub(crate) const ALWAYS: WalSubject = log(SyncMode::Always);
const MODES: [(&str, WalSubject); 3] = [
    ("wal always", ALWAYS),
    ("wal batch", log(BATCH)),
    ("wal manual", log(SyncMode::Manual)),
];
const CUTS: [(&str, WalSubject); 2] = [
    ("wal cut", cut(SyncMode::Always)),
    ("wal cut manual", cut(SyncMode::Manual)),
];
const REPAIR: &str = "wal repair";

const fn log(mode: SyncMode) -> WalSubject {
    WalSubject {
        mode,
        alphabet: Alphabet::Log,
    }
}

const fn cut(mode: SyncMode) -> WalSubject {
    WalSubject {
        mode,
        alphabet: Alphabet::Cut,
    }
}

/// The longest bound of barrier removal: two operations from each starting state reach every barrier.
const REMOVAL_LENGTH: usize = 2;

/// Everything once: the runs that faults are injected into.
const FAULTED: [Op; 10] = [
    Op::AppendSmall,
    Op::AppendLarge,
    Op::AppendBatch,
    Op::Background,
    Op::Rotate,
    Op::AppendSmall,
    Op::Truncate,
    Op::Close,
    Op::AppendSmall,
    Op::Sync,
];

const FAULTED_CUTS: [Op; 10] = [
    Op::AppendBatch,
    Op::Checkpoint,
    Op::CutNewest,
    Op::Rotate,
    Op::Submit,
    Op::AppendBatch,
    Op::Close,
    Op::CutNewest,
    Op::CutAll,
    Op::Submit,
];

/// The layer `sim`: crash states of every mode and of the repair, and each barrier left out. Barriers
/// are not judged if the complete log breaks: then a removal would prove nothing.
pub(crate) fn simulate(context: &Context, workspace: &Path) -> anyhow::Result<Simulated> {
    let longer = usize::from(context.full);
    let mut run = Run {
        sim: Sim::default(),
        judge: Judge::new("wal", context.full, workspace)?,
    };
    for (name, subject) in MODES {
        let shortest = if subject.mode == SyncMode::Always {
            3
        } else {
            2
        };
        run.explore(name, &subject, shortest + longer)?;
    }
    for (name, subject) in CUTS {
        run.explore(name, &subject, 2 + longer)?;
    }
    // One damage and its repair reach far: longer sequences would take most of an hour.
    run.explore(REPAIR, &RepairSubject, 1)?;
    let large_sectors = Bound {
        unit: 4096,
        ..sim::bound(2 + longer)
    };
    sim::explore("wal 4 KiB", &ALWAYS, &large_sectors, &mut run.sim)?;
    if !context.extra_time.is_zero() {
        let time = context.extra_time / 5;
        for (name, subject) in MODES.into_iter().chain(CUTS) {
            sim::soak(name, &subject, time, context.seed, &mut run.sim)?;
        }
    }
    let barriers = if run.sim.findings.is_empty() {
        Some(run.judge.finish())
    } else {
        None
    };
    Ok((run.sim, barriers))
}

struct Run {
    sim: Sim,
    judge: Judge,
}

impl Run {
    /// Explores, and leaves out what was reached.
    fn explore<S: Subject>(
        &mut self,
        name: &str,
        subject: &S,
        length: usize,
    ) -> anyhow::Result<()> {
        let explored = sim::explore(name, subject, &sim::bound(length), &mut self.sim)?;
        let bound = Bound {
            // A repair that is cut short is repaired again: very many states, and none needed here.
            nested: name != REPAIR,
            ..sim::bound(length.min(REMOVAL_LENGTH))
        };
        self.judge.run(name, subject, &bound, &explored);
        Ok(())
    }
}

/// The layer `faults`, in every mode.
pub(crate) fn inject() -> Faults {
    let mut faults = Faults::default();
    for (name, subject) in MODES {
        faults::run(&format!("{name} faults"), &subject, &FAULTED, &mut faults);
    }
    for (name, subject) in CUTS {
        let name = format!("{name} faults");
        faults::run(&name, &subject, &FAULTED_CUTS, &mut faults);
    }
    faults
}

/// Runs a tape of the subject called `name`; true if it breaks nothing.
pub(crate) fn replay(name: &str, tape: &str) -> anyhow::Result<bool> {
    if name == REPAIR {
        return sim::replay(&RepairSubject, tape);
    }
    match MODES.iter().chain(&CUTS).find(|(mode, _)| *mode == name) {
        Some((_, subject)) => sim::replay(subject, tape),
        None if name == "wal 4 KiB" => sim::replay(&ALWAYS, tape),
        None => bail!("there is no subject called {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable_io::sim::Explorer;

    #[test]
    fn every_mode_survives_every_single_operation() {
        for (name, subject) in MODES.into_iter().chain(CUTS) {
            let explored = Explorer::new(&subject).explore(&Bound::of_length(1), &|_| {});
            if let Some(example) = explored.counterexample {
                panic!("{name}:\n{example}");
            }
            assert!(
                explored.counts.unique_states > 1000,
                "{:?}",
                explored.counts
            );
            assert_eq!(explored.counts.sampled_points, 0);
        }
    }

    #[test]
    fn d30_every_failing_call_leaves_a_healthy_or_a_poisoned_log() {
        let faults = inject();
        assert_eq!(faults.findings, Vec::<String>::new());
        assert!(faults.injected > 1000, "{}", faults.injected);
    }
}
