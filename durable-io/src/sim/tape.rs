//! [`Tape`]: one crash, as data. What the explorer tries, the shrinker changes, and `replay` repeats.

use std::fmt::{Debug, Write as _};

use super::crash::{Choice, EVERYTHING, Fill};
use super::run::Runner;
use super::subject::Subject;
use crate::site::{Barrier, Site};

/// One run and the way it ends: starting state, operations, and one crash after the other.
///
/// As text ([`Tape::to_text`]) it is a file to keep: `replay` gives the same run, byte for byte, as
/// long as the store issues the same calls.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prove_your_own_store/counter.rs"));
/// use durable_io::sim::{Bound, Explorer, Tape};
///
/// # fn main() {
/// let wrong = CounterSubject { syncs_directory: false };
/// let explored = Explorer::new(&wrong).explore(&Bound::of_length(2), &|_counts| {});
/// let example = explored.counterexample.expect("its directory is never synced");
/// // A file to keep, and what it says when it is read again.
/// let text = example.tape.to_text(&wrong, &[]);
/// let (tape, without) = Tape::from_text(&wrong, &text).unwrap();
/// let again = Explorer::new(&wrong).without(&without).replay(&tape).unwrap();
/// assert_eq!(again.promise, example.promise);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tape {
    pub(crate) unit: usize,
    pub(crate) start: usize,
    pub(crate) ops: Vec<usize>,
    pub(crate) crash_points: Vec<CrashPoint>,
}

/// One end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CrashPoint {
    /// The moment, as an index into the moments of the run it ends.
    pub(crate) moment: usize,
    /// What the power loss left; `None` if only the process died.
    pub(crate) power_loss: Option<Choice>,
}

impl CrashPoint {
    pub(crate) fn kill(moment: usize) -> Self {
        Self {
            moment,
            power_loss: None,
        }
    }

    pub(crate) fn power(moment: usize, choice: Choice) -> Self {
        Self {
            moment,
            power_loss: Some(choice),
        }
    }
}

const HEADER: &str = "durable-io tape 1";

impl Tape {
    pub(crate) fn new(unit: usize, start: usize, ops: &[usize]) -> Self {
        Self {
            unit,
            start,
            ops: ops.to_vec(),
            crash_points: Vec::new(),
        }
    }

    pub(crate) fn then(&self, crash_point: CrashPoint) -> Self {
        let mut tape = self.clone();
        tape.crash_points.push(crash_point);
        tape
    }

    /// How many operations follow the starting state.
    pub fn operations(&self) -> usize {
        self.ops.len()
    }

    /// The tape as text: one line for each thing that happens, operations by their `Debug` names,
    /// and the barriers that were switched off.
    pub fn to_text<S: Subject>(&self, subject: &S, without: &[Site]) -> String {
        let runner = Runner::new(subject, &[], self.unit);
        let mut text = format!("{HEADER}\nunit {}\n", self.unit);
        for site in without {
            line(&mut text, "without", &site_to_text(site));
        }
        line(&mut text, "start", runner.start_name(self.start));
        for op in &self.ops {
            let name = runner
                .letters()
                .get(*op)
                .map_or_else(String::new, |op| format!("{op:?}"));
            line(&mut text, "do", &name);
        }
        for crash_point in &self.crash_points {
            line(&mut text, "cut", &crash_point.to_text());
        }
        text
    }

    /// Reads what [`to_text`](Tape::to_text) wrote: the tape, and the barriers to switch off.
    ///
    /// # Errors
    /// A sentence that names the first line that makes no sense for this subject.
    pub fn from_text<S: Subject>(subject: &S, text: &str) -> Result<(Self, Vec<Site>), String> {
        let runner = Runner::new(subject, &[], 512);
        let mut tape = Self::new(512, 0, &[]);
        let mut without = Vec::new();
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(format!("the first line is not {HEADER:?}"));
        }
        for line in lines {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let understood = match word {
                "unit" => rest
                    .parse()
                    .ok()
                    .filter(|unit| [512, 4096].contains(unit))
                    .map(|unit| {
                        tape.unit = unit;
                    }),
                "without" => site_from_text(rest).map(|site| without.push(site)),
                "start" => {
                    let found = runner.starts().iter().position(|start| start.name == rest);
                    found.map(|start| tape.start = start)
                }
                "do" => position(runner.letters(), rest).map(|op| tape.ops.push(op)),
                "cut" => CrashPoint::from_text(rest)
                    .map(|crash_point| tape.crash_points.push(crash_point)),
                // A harness may put lines of its own in front.
                _ => Some(()),
            };
            understood.ok_or_else(|| format!("cannot read the line {line:?}"))?;
        }
        Ok((tape, without))
    }
}

fn line(text: &mut String, word: &str, rest: &str) {
    text.push_str(word);
    text.push(' ');
    text.push_str(rest);
    text.push('\n');
}

fn position(letters: &[impl Debug], name: &str) -> Option<usize> {
    letters
        .iter()
        .position(|letter| format!("{letter:?}") == name)
}

impl CrashPoint {
    fn to_text(&self) -> String {
        let Some(choice) = &self.power_loss else {
            return format!("kill {}", self.moment);
        };
        let mut text = format!("power {} kept", self.moment);
        for kept in &choice.kept {
            let kept = if *kept == EVERYTHING {
                "all".to_owned()
            } else {
                kept.to_string()
            };
            text.push(' ');
            text.push_str(&kept);
        }
        for (ino, fill) in &choice.fills {
            let fill = match fill {
                Fill::Zero => "zero".to_owned(),
                Fill::Garbage => "garbage".to_owned(),
                Fill::Stale(source) => format!("stale{source}"),
            };
            write!(text, " {ino}={fill}").expect("a string takes all");
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let kind = words.next()?;
        let moment = words.next()?.parse().ok()?;
        if kind == "kill" {
            return Some(Self::kill(moment));
        }
        if kind != "power" || words.next() != Some("kept") {
            return None;
        }
        let mut choice = Choice::default();
        for word in words {
            match word.split_once('=') {
                None if word == "all" => choice.kept.push(EVERYTHING),
                None => choice.kept.push(word.parse().ok()?),
                Some((ino, fill)) => choice
                    .fills
                    .push((ino.parse().ok()?, fill_from_text(fill)?)),
            }
        }
        Some(Self::power(moment, choice))
    }
}

fn fill_from_text(text: &str) -> Option<Fill> {
    match text {
        "zero" => Some(Fill::Zero),
        "garbage" => Some(Fill::Garbage),
        _ => text.strip_prefix("stale")?.parse().ok().map(Fill::Stale),
    }
}

fn site_to_text(site: &Site) -> String {
    let Site {
        file,
        line,
        column,
        barrier,
        step,
    } = site;
    format!("{file}|{line}|{column}|{barrier:?}|{step}")
}

fn site_from_text(text: &str) -> Option<Site> {
    let mut parts = text.split('|');
    // A site names its file for the life of the program; a replay reads a handful of them.
    let file: &'static str = Box::leak(parts.next()?.to_owned().into_boxed_str());
    let line = parts.next()?.parse().ok()?;
    let column = parts.next()?.parse().ok()?;
    let barrier = match parts.next()? {
        "Data" => Barrier::Data,
        "All" => Barrier::All,
        "Dir" => Barrier::Dir,
        "Write" => Barrier::Write,
        _ => return None,
    };
    let step: &'static str = Box::leak(parts.next()?.to_owned().into_boxed_str());
    Some(Site {
        file,
        line,
        column,
        barrier,
        step,
    })
}
