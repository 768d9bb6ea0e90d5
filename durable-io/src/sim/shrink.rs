//! Makes a counterexample smaller: fewer operations, then fewer crash points, then fewer lost effects.

use super::crash::{EVERYTHING, Fill};
use super::explore::{Bound, Explorer, Workload};
use super::report::{Counterexample, replay};
use super::subject::Subject;
use super::tape::Tape;
use crate::site::Site;

/// The smallest counterexample found from `tape`, which breaks a promise.
pub(crate) fn shrink<S: Subject>(
    subject: &S,
    ignored: &[Site],
    bound: &Bound,
    tape: Tape,
) -> Counterexample {
    let tape = fewer_operations(subject, ignored, bound, tape);
    let tape = fewer_crash_points(subject, ignored, tape);
    let tape = fewer_lost_effects(subject, ignored, tape);
    replay(subject, ignored, &tape).unwrap_or_else(|| Counterexample::unrepeatable(tape))
}

/// Leaves out one operation at a time, and searches what remains for any violation.
fn fewer_operations<S: Subject>(
    subject: &S,
    ignored: &[Site],
    bound: &Bound,
    mut tape: Tape,
) -> Tape {
    // An exhaustive search has already tried every shorter sequence.
    if tape.ops.len() <= bound.length {
        return tape;
    }
    let mut at = 0;
    while at < tape.ops.len() {
        let mut ops = tape.ops.clone();
        ops.remove(at);
        let workload = Workload {
            start: tape.start,
            ops,
        };
        match Explorer::try_workload(subject, ignored, bound, &workload) {
            Some(shorter) => tape = shorter,
            None => at += 1,
        }
    }
    tape
}

/// A crash that breaks the promise by itself needs no second one before it.
fn fewer_crash_points<S: Subject>(subject: &S, ignored: &[Site], mut tape: Tape) -> Tape {
    while tape.crash_points.len() > 1 {
        let mut shorter = tape.clone();
        shorter.crash_points.pop();
        if replay(subject, ignored, &shorter).is_none() {
            break;
        }
        tape = shorter;
    }
    tape
}

/// Keeps every effect whose loss does not matter, and leaves holes empty where that does not.
fn fewer_lost_effects<S: Subject>(subject: &S, ignored: &[Site], mut tape: Tape) -> Tape {
    for crash_point in 0..tape.crash_points.len() {
        let chains = choice(&tape, crash_point).map_or(0, |choice| choice.kept.len());
        for chain in 0..chains {
            tape = attempt(subject, ignored, tape, |tape| {
                if let Some(kept) =
                    choice_mut(tape, crash_point).and_then(|c| c.kept.get_mut(chain))
                {
                    *kept = EVERYTHING;
                }
            });
        }
        tape = attempt(subject, ignored, tape, |tape| {
            for (_, fill) in choice_mut(tape, crash_point)
                .into_iter()
                .flat_map(|c| &mut c.fills)
            {
                *fill = Fill::Zero;
            }
        });
    }
    tape
}

fn attempt<S: Subject>(
    subject: &S,
    ignored: &[Site],
    tape: Tape,
    change: impl Fn(&mut Tape),
) -> Tape {
    let mut smaller = tape.clone();
    change(&mut smaller);
    if replay(subject, ignored, &smaller).is_some() {
        smaller
    } else {
        tape
    }
}

fn choice(tape: &Tape, crash_point: usize) -> Option<&super::crash::Choice> {
    tape.crash_points.get(crash_point)?.power_loss.as_ref()
}

fn choice_mut(tape: &mut Tape, crash_point: usize) -> Option<&mut super::crash::Choice> {
    tape.crash_points.get_mut(crash_point)?.power_loss.as_mut()
}
