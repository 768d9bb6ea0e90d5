//! Sorted tables before the judge, as a set that a manifest names: which run each layer gets.

mod subject;

use std::path::Path;

use anyhow::bail;
use durable_io::sim::Bound;

use crate::crashtest::barriers::Judge;
use crate::crashtest::engines::Simulated;
use crate::crashtest::report::{Faults, Sim};
use crate::crashtest::{Context, faults, sim, table_set};
use subject::{Op, SetSubject};

const NAME: &str = "sstable";
const WARM: &str = "sstable warm";
const LARGE_SECTORS: &str = "sstable 4 KiB";

/// Power is lost, and lost again in the recovery, in every sequence of up to this many operations.
const LENGTH: usize = 2;
const FULL_LENGTH: usize = 4;
/// The process dies, and power is lost later, in every sequence of up to so many fewer operations: each
/// death leaves fifty moments at which power can be lost, and each of these forty states.
const FEWER: usize = 1;
const FULL_FEWER: usize = 2;
/// The longest bound of barrier removal.
const REMOVAL_LENGTH: usize = 1;

/// Everything once: the run that faults are injected into.
const FAULTED: [Op; 15] = [
    Op::PutTwo,
    Op::Put,
    Op::Scan,
    Op::Work,
    Op::DeleteRange,
    Op::Publish,
    Op::DropInputs,
    Op::Scan,
    Op::Delete,
    Op::MergeTwo,
    Op::Put,
    Op::Work,
    Op::Publish,
    Op::Reopen,
    Op::PutTwo,
];

/// The layer `sim`: crash states, and each barrier of the crate and of the set left out. Barriers are not
/// judged if the complete set breaks: then a removal would prove nothing.
pub(crate) fn simulate(context: &Context, workspace: &Path) -> anyhow::Result<Simulated> {
    let mut found = Sim::default();
    let judge = Judge::new("sstable", context.full, workspace)?;
    let mut judge = judge.and_files(&table_set::SOURCES, workspace)?;
    let (length, fewer) = if context.full {
        (FULL_LENGTH, FULL_FEWER)
    } else {
        (LENGTH, FEWER)
    };
    let power_losses = |length| Bound {
        process_deaths: false,
        ..sim::bound(length)
    };
    sim::explore(NAME, &SetSubject, &power_losses(length), &mut found)?;
    let large_sectors = Bound {
        unit: 4096,
        ..power_losses(length - 1)
    };
    sim::explore(LARGE_SECTORS, &SetSubject, &large_sectors, &mut found)?;
    let warm = sim::bound(length - fewer);
    let explored = sim::explore(WARM, &SetSubject, &warm, &mut found)?;
    judge.run(WARM, &SetSubject, &sim::bound(REMOVAL_LENGTH), &explored);
    if !context.extra_time.is_zero() {
        sim::soak(
            NAME,
            &SetSubject,
            context.extra_time,
            context.seed,
            &mut found,
        )?;
    }
    let barriers = found.findings.is_empty().then(|| judge.finish());
    Ok((found, barriers))
}

/// The layer `faults`.
pub(crate) fn inject() -> Faults {
    let mut faults = Faults::default();
    faults::run("sstable faults", &SetSubject, &FAULTED, &mut faults);
    faults
}

/// Runs a tape of the subject called `name`; true if it breaks nothing.
pub(crate) fn replay(name: &str, tape: &str) -> anyhow::Result<bool> {
    match name {
        NAME | WARM | LARGE_SECTORS => sim::replay(&SetSubject, tape),
        _ => bail!("there is no subject called {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable_io::sim::Explorer;

    #[test]
    fn a_set_of_tables_survives_every_single_operation() {
        let bound = Bound {
            process_deaths: false,
            ..Bound::of_length(1)
        };
        let explored = Explorer::new(&SetSubject).explore(&bound, &|_| {});
        if let Some(example) = explored.counterexample {
            panic!("{example}");
        }
        let counts = explored.counts;
        assert!(counts.unique_states > 1000, "{counts:?}");
        assert_eq!(counts.sampled_points, 0);
    }
}
