//! The hash-indexed store before the judge: which run each layer gets.

mod subject;

use std::path::Path;

use anyhow::bail;
use durable_io::SyncMode;
use durable_io::sim::Bound;

use crate::crashtest::barriers::Judge;
use crate::crashtest::engines::Simulated;
use crate::crashtest::report::{Faults, Sim};
use crate::crashtest::{Context, faults, sim};
use subject::{BATCH, BitcaskSubject, KEYS, Op};

const ALWAYS: BitcaskSubject = store(SyncMode::Always);
const MODES: [(&str, BitcaskSubject); 3] = [
    ("bitcask always", ALWAYS),
    ("bitcask batch", store(BATCH)),
    ("bitcask manual", store(SyncMode::Manual)),
];
const LARGE_SECTORS: &str = "bitcask 4 KiB";

const fn store(mode: SyncMode) -> BitcaskSubject {
    BitcaskSubject { mode, reserve: 0 }
}

/// Every sequence of up to this many operations is tried in each mode.
const LENGTH: usize = 2;
/// With `--full`; one less for `Batch` and `Manual`, which have more letters, starting states and
/// allowed answers: their sequences of four take six times as long as those of `Always`.
const FULL_LENGTH: usize = 4;

/// The longest bound of barrier removal.
const REMOVAL_LENGTH: usize = 1;

/// Everything once: the runs that faults are injected into.
const FAULTED: [Op; 14] = [
    Op::Put(KEYS[0]),
    Op::PutLarge(KEYS[1]),
    Op::Rotate,
    Op::Background,
    Op::Snapshot,
    Op::Batch,
    Op::Delete(KEYS[0]),
    Op::Put(KEYS[2]),
    Op::Rotate,
    Op::Merge,
    Op::CompareAndSet(KEYS[1]),
    Op::Close,
    Op::Put(KEYS[0]),
    Op::Sync,
];

/// The layer `sim`: crash states of every mode, and each barrier left out. Barriers are not judged if
/// the complete store breaks: then a removal would prove nothing.
pub(crate) fn simulate(context: &Context, workspace: &Path) -> anyhow::Result<Simulated> {
    let mut found = Sim::default();
    let mut judge = Judge::new("bitcask", context.full, workspace)?;
    for (name, subject) in MODES {
        let length = match (context.full, subject.mode) {
            (false, _) => LENGTH,
            (true, SyncMode::Always) => FULL_LENGTH,
            (true, _) => FULL_LENGTH - 1,
        };
        let explored = sim::explore(name, &subject, &sim::bound(length), &mut found)?;
        let bound = sim::bound(length.min(REMOVAL_LENGTH));
        judge.run(name, &subject, &bound, &explored);
    }
    let large_sectors = Bound {
        unit: 4096,
        ..sim::bound(if context.full { 3 } else { 1 })
    };
    sim::explore(LARGE_SECTORS, &ALWAYS, &large_sectors, &mut found)?;
    if !context.extra_time.is_zero() {
        let time = context.extra_time / 3;
        for (name, subject) in MODES {
            sim::soak(name, &subject, time, context.seed, &mut found)?;
        }
    }
    let barriers = found.findings.is_empty().then(|| judge.finish());
    Ok((found, barriers))
}

/// The layer `faults`, in every mode; with space held back, too.
pub(crate) fn inject() -> Faults {
    let mut faults = Faults::default();
    for (name, subject) in MODES {
        faults::run(&format!("{name} faults"), &subject, &FAULTED, &mut faults);
    }
    let subject = BitcaskSubject {
        reserve: 4096,
        ..ALWAYS
    };
    faults::run("bitcask reserve faults", &subject, &FAULTED, &mut faults);
    faults
}

/// Runs a tape of the subject called `name`; true if it breaks nothing.
pub(crate) fn replay(name: &str, tape: &str) -> anyhow::Result<bool> {
    match MODES.iter().find(|(mode, _)| *mode == name) {
        Some((_, subject)) => sim::replay(subject, tape),
        None if name == LARGE_SECTORS => sim::replay(&ALWAYS, tape),
        None => bail!("there is no subject called {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable_io::sim::Explorer;

    #[test]
    fn every_mode_survives_every_single_operation() {
        for (name, subject) in MODES {
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
}
