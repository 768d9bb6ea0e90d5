//! When a process is killed: anywhere, or in the phase that was hit least.

use std::fmt;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::line::{Line, OPEN};

/// The phases of every engine: nothing but writes is in progress; the store is being opened.
pub(super) const WRITE: &str = "write";
pub(super) const RECOVERY: &str = "recovery";

/// Which part of the kills falls anywhere.
pub(super) const ANYWHERE: f64 = 0.4;

/// How long one step is watched for a phase of it, and how many more steps before the kill falls anywhere.
const WATCHED: Duration = Duration::from_millis(50);
const PATIENCE: u64 = 20;

/// The chore that `phase` is one of: that of its first words.
pub(super) fn chore_of(phase: &str, chores: &[&'static str]) -> Option<&'static str> {
    let mut chores = chores.iter().copied();
    chores.find(|chore| is_of(phase, chore))
}

/// True if `phase` is the step `step`, or a part of it.
fn is_of(phase: &str, step: &str) -> bool {
    let rest = phase.strip_prefix(step);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    /// After this many acknowledged operations.
    Acknowledged(u64),
    /// When the step begins for the `nth` time, and a moment later.
    Begin {
        phase: &'static str,
        nth: u64,
        moment: Duration,
    },
}

impl Plan {
    /// Anywhere.
    pub(super) fn anywhere(rng: &mut StdRng) -> Self {
        Self::Acknowledged(rng.random_range(1..800))
    }

    /// Into the one of `phases`, each with its kills so far, that was hit least.
    pub(super) fn into_rarest(phases: &[(&'static str, u64)], rng: &mut StdRng) -> Self {
        let aimed = phases.iter().filter(|(phase, _)| *phase != WRITE);
        // Of several any, so that none that is hard to hit takes all the kills of the others.
        let rarest = aimed.min_by_key(|(_, kills)| (*kills, rng.random::<u32>()));
        // Moments are spread evenly over orders of magnitude: 1 us to 4 ms.
        let longest = 1 << rng.random_range(0..13);
        Self::Begin {
            phase: rarest.map_or(RECOVERY, |(phase, _)| phase),
            nth: rng.random_range(1..4),
            moment: Duration::from_micros(rng.random_range(0..longest)),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged(operations) => {
                write!(f, "due after {operations} acknowledged operations")
            }
            Self::Begin { phase, nth, moment } => {
                write!(f, "due {moment:?} after {phase} began for the {nth}. time")
            }
        }
    }
}

/// Whether a plan's moment has come, line by line of what the process says.
pub(super) struct Due {
    plan: Plan,
    acknowledged: u64,
    begun: u64,
}

impl Due {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            acknowledged: 0,
            begun: 0,
        }
    }

    /// Returns at that moment if it is behind `line`.
    pub(super) fn is_now(&mut self, line: &Line, sees: &dyn Fn(&str) -> bool) -> bool {
        match self.plan {
            Plan::Acknowledged(wanted) => {
                self.acknowledged += u64::from(matches!(line, Line::Ack { .. }));
                self.acknowledged >= wanted
            }
            Plan::Begin { phase, nth, moment } => {
                let Some(is_part) = begins(line, phase) else {
                    return false;
                };
                self.begun += 1;
                let is_late = self.begun >= nth + PATIENCE;
                self.begun >= nth && (is_late || comes(phase, moment, is_part, sees))
            }
        }
    }
}

/// Waits for `phase` of a step that has begun: for `moment` if it is the step itself, else until it is seen in
/// the files. False if it does not come.
fn comes(phase: &str, moment: Duration, is_part: bool, sees: &dyn Fn(&str) -> bool) -> bool {
    if !is_part {
        spin(moment);
        return true;
    }
    let started = Instant::now();
    while started.elapsed() <= WATCHED {
        if sees(phase) {
            return true;
        }
    }
    false
}

/// Where `line` says that the step of `phase` begins: whether the phase is only a part of it.
fn begins(line: &Line, phase: &str) -> Option<bool> {
    match line {
        Line::Begin(step) if step == OPEN => (phase == RECOVERY).then_some(false),
        Line::Begin(step) => is_of(phase, step).then_some(phase != step),
        Line::End(_) | Line::Ack { .. } | Line::Failed(_) => None,
    }
}

/// Waits for `moment` without giving up the processor: a moment is shorter than a time slice.
fn spin(moment: Duration) {
    let started = Instant::now();
    while started.elapsed() < moment {
        std::hint::spin_loop();
    }
}
