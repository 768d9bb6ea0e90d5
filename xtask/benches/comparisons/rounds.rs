//! The rounds of a benchmark: all contenders meet the same noise.

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressIterator as _;

use crate::contender::{Contender, Measured};
use crate::report;

/// Runs every contender once in each round, prints the table, and writes `comparisons.json` below `target/`. `temp` is
/// a directory below that; `seconds` is for how long one is measured, unless the environment says otherwise.
pub(crate) fn run(contenders: &[Contender], temp: &Path, seconds: f64) -> anyhow::Result<()> {
    let rounds = variable("BENCH_ROUNDS", 7_u32)?.max(1);
    let time = Duration::try_from_secs_f64(variable("BENCH_SECONDS", seconds)?)?;
    let parent = env::var_os("BENCH_DIR").map_or_else(|| temp.to_owned(), PathBuf::from);
    let mut measured = Vec::new();
    for round in (0..rounds).progress() {
        measured.push(run_round(contenders, round as usize, &parent, time)?);
    }
    report::print(contenders, &measured);
    let target = temp.parent().context("the target directory")?;
    report::write_json(target, contenders, &measured)
}

/// The value of an environment variable, or `default`.
pub(crate) fn variable<T: FromStr>(name: &str, default: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_unset) => Ok(default),
    }
}

/// Runs every contender once; returns what was measured in the order of `contenders`.
fn run_round(
    contenders: &[Contender],
    round: usize,
    parent: &Path,
    time: Duration,
) -> anyhow::Result<Vec<Measured>> {
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    // A step that has no simple relation to the number of contenders, so that neighbours change too.
    let start = round * 17 % contenders.len().max(1);
    order.rotate_left(start);
    if round % 2 == 1 {
        order.reverse();
    }
    let mut measured = vec![Measured::default(); contenders.len()];
    for at in order {
        if let (Some(contender), Some(place)) = (contenders.get(at), measured.get_mut(at)) {
            *place = contender
                .measure(parent, time)
                .with_context(|| format!("{}: {}", contender.workload, contender.name))?;
        }
    }
    Ok(measured)
}
