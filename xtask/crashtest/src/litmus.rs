//! The layer `litmus`: the simulated disk against the file systems of the running kernel.
//!
//! Small programs run with real system calls on ext4, XFS and btrfs, the power is cut, and what is
//! then to be seen must be among what the simulated disk can show under that file system's
//! [`Profile`]. Every state of a profile is in turn one of `strict` ([`inclusion`]), by which the
//! engines are judged. A failure here is one of the simulator, and nothing it says counts.

mod inclusion;
mod program;
mod rig;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use anyhow::{Context as _, anyhow};
use durable_io::sim::Profile;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::{self, Litmus, Skipped};
use crate::{Context, Ran};
use program::Program;
use rig::{FILE_SYSTEMS, FileSystem, Rig};

/// How often every program runs on every file system.
const REPETITIONS: (u64, u64) = (1, 20);
/// Random programs beside them, each time.
const RANDOM: usize = 40;
/// Calls in a sequence, for the inclusion in `strict`.
const LENGTH: (usize, usize) = (3, 4);
/// Shows at most this many outcomes of one file system that must not be.
const SHOWN: usize = 5;

/// A file system, and a profile that promises what it does not keep: its outcomes must show that.
const WRONG: [(Profile, Profile); 3] = [
    (Profile::EXT4_NOAUTO_DA_ALLOC, Profile::EXT4),
    (Profile::XFS, Profile::EXT4),
    (Profile::BTRFS, Profile::XFS),
];

/// Holds the profiles against `strict` and the file systems against the profiles; with the
/// configurations that could not be tried.
///
/// # Errors
/// A command failed that must not, or a signal came. Nothing stays mounted.
pub(crate) fn run(context: &Context<'_>) -> anyhow::Result<(Litmus, Vec<Skipped>)> {
    let progress = Progress::new("litmus strict", None);
    let length = if context.full { LENGTH.1 } else { LENGTH.0 };
    let inclusion = inclusion::check(length, &Profile::REAL);
    progress.finish(&inclusion.summary());

    let repetitions = if context.full {
        REPETITIONS.1
    } else {
        REPETITIONS.0
    };
    let progress = Progress::new("litmus", Some(repetitions * FILE_SYSTEMS.len() as u64));
    let interrupt = Interrupt::catch()?;
    let trials: Vec<anyhow::Result<Ran<Trial>>> = thread::scope(|scope| {
        let (interrupt, progress) = (&interrupt, &progress);
        let threads: Vec<_> = FILE_SYSTEMS
            .iter()
            .map(|file_system| {
                scope.spawn(move || {
                    Trial::run(
                        file_system,
                        interrupt,
                        (context.seed, repetitions),
                        progress,
                    )
                })
            })
            .collect();
        let panicked = |_payload| Err(anyhow!("a thread of the layer panicked"));
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|ended| ended.unwrap_or_else(panicked)).collect()
    });

    let mut litmus = Litmus {
        programs: program::programs().len() as u64,
        repetitions,
        inclusion,
        ..Litmus::default()
    };
    let (mut skipped, mut ran) = (Vec::new(), Vec::new());
    for (trial, file_system) in trials.into_iter().zip(&FILE_SYSTEMS) {
        let name = file_system.profile.name;
        match trial.with_context(|| format!("litmus on {name}"))? {
            Ran::Ran(trial) => ran.push(trial),
            Ran::Skipped(reason) => skipped.push(Skipped {
                layer: format!("litmus {name}"),
                reason,
            }),
        }
    }
    for trial in &ran {
        let planted = Profile {
            data_before_size: true,
            flush_on_replace: true,
            ..trial.profile
        };
        let profile = if context.plant {
            planted
        } else {
            trial.profile
        };
        litmus.add(trial.profile.name, trial.judge(profile)?);
    }
    for (real, promised) in WRONG {
        let Some(trial) = ran.iter().find(|trial| trial.profile == real) else {
            continue;
        };
        litmus.wrong_profiles += 1;
        if trial.judge(promised)?.outside > 0 {
            litmus.wrong_caught += 1;
        } else {
            litmus.findings.push(format!(
                "everything that {} showed is also allowed by the profile {}, which promises more",
                real.name, promised.name
            ));
        }
    }
    progress.finish(&litmus.summary());
    Ok((litmus, skipped))
}

/// What one file system showed.
struct Trial {
    profile: Profile,
    /// By program: each outcome, and how often.
    shown: Vec<(Program, BTreeMap<String, u64>)>,
}

impl Trial {
    fn run(
        file_system: &'static FileSystem,
        interrupt: &Interrupt,
        (seed, repetitions): (u64, u64),
        progress: &Progress,
    ) -> anyhow::Result<Ran<Self>> {
        let rig = match Rig::new(file_system, interrupt)? {
            Ran::Ran(rig) => rig,
            Ran::Skipped(reason) => return Ok(Ran::Skipped(reason)),
        };
        let mut rng = StdRng::seed_from_u64(seed);
        let fixed = program::programs();
        let mut shown: Vec<(Program, BTreeMap<String, u64>)> = fixed
            .iter()
            .map(|program| (program.clone(), BTreeMap::new()))
            .collect();
        for _ in 0..repetitions {
            let random: Vec<Program> = (0..RANDOM).map(|_| Program::random(&mut rng)).collect();
            let programs = [fixed.as_slice(), &random].concat();
            let outcomes = rig.lose_power_after(&programs)?;
            shown.extend(random.into_iter().map(|program| (program, BTreeMap::new())));
            for (program, outcome) in programs.iter().zip(outcomes) {
                let counts = shown.iter_mut().find(|(of, _)| of.name == program.name);
                let (_, counts) = counts.context("every program has its counts")?;
                *counts.entry(outcome).or_default() += 1;
            }
            progress.inc(1);
        }
        Ok(Ran::Ran(Self {
            profile: file_system.profile,
            shown,
        }))
    }

    /// Holds the outcomes against what `profile` allows.
    fn judge(&self, profile: Profile) -> anyhow::Result<report::FileSystem> {
        let mut judged = report::FileSystem::default();
        for (program, shown) in &self.shown {
            let allowed = program.outcomes(profile)?;
            judged.power_losses += shown.values().sum::<u64>();
            judged.allowed += allowed.len() as u64;
            for (outcome, times) in shown {
                if allowed.contains(outcome) {
                    judged.seen += 1;
                    continue;
                }
                judged.outside += times;
                if judged.findings.len() < SHOWN {
                    let finding = self.describe(program, outcome, &allowed);
                    judged.findings.push(finding?);
                }
            }
        }
        Ok(judged)
    }

    fn describe(
        &self,
        program: &Program,
        outcome: &str,
        allowed: &BTreeSet<String>,
    ) -> anyhow::Result<String> {
        let quoted = |text: &str| if text.is_empty() { "nothing" } else { text }.to_owned();
        let allowed: Vec<String> = allowed.iter().map(|text| quoted(text)).collect();
        let strict = if program.outcomes(Profile::STRICT)?.contains(outcome) {
            "strict allows it"
        } else {
            "NOT EVEN STRICT allows it: no verdict of the simulator counts"
        };
        Ok(format!(
            "{} on {} showed\n{}\nallowed are\n{}\n({strict}; the program: {})",
            program.name,
            self.profile.name,
            quoted(outcome),
            allowed.join("\n"),
            program.describe()
        ))
    }
}

#[cfg(test)]
mod tests;
