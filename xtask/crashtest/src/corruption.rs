//! The layer `corruption`: bytes that change without the engine's knowledge, on the simulated disk.
//!
//! An engine gives small stores, and says what their bytes mean ([`specimen`]). Then one thing is changed
//! ([`changes`]), the store is opened and asked everything, and the answer is compared with what the bytes of the
//! undamaged store allow ([`judge`]): the same answer, an error that names the place, or, only where every
//! witness is gone too, an earlier one. A salvage is asked first, if there is one: what it gives out without a warning
//! must be right, and so must a new store be that is made of it ([`salvage`]).

mod changes;
mod judge;
mod salvage;
mod script;
mod specimen;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Arc;

use changes::{Change, Kind};
use durable_io::sim::World;
use judge::{Case, Verdict};
pub use script::{Written, write};
pub use specimen::{Blocks, Held, PROBE, Piece, Root, Span, Specimen, files};

use crate::engine::Engine;
use crate::progress::Progress;
use crate::report::{Corruption, Tally};
use crate::{Context, cores};

/// How many findings are told; all are counted.
const SHOWN: usize = 20;

/// How many changes a thread takes at once.
const PORTION: usize = 64;

/// What became of the changes to one store.
#[derive(Debug, Default)]
struct Counted {
    kinds: BTreeMap<Kind, Tally>,
    /// By what is wrong, without its numbers: one bug is told once.
    findings: BTreeMap<String, Finding>,
}

/// All cases that are wrong in one way.
#[derive(Debug)]
struct Finding {
    cases: u64,
    /// The index of the first one's change.
    index: usize,
    /// The first one.
    text: String,
}

/// Damages every specimen of `engine` in every way; `None` if it has none.
pub(crate) fn run(engine: &dyn Engine, context: &Context<'_>) -> Option<Corruption> {
    let specimens = match engine.specimens() {
        Ok(specimens) if specimens.is_empty() => return None,
        Ok(specimens) => specimens,
        Err(error) => return Some(broken(format!("a store cannot be made: {error}"))),
    };
    let plans = specimens
        .iter()
        .map(|specimen| (specimen, changes::all(specimen, context.full)));
    let plans: Vec<_> = plans.collect();
    let steps: usize = plans.iter().map(|(_, changes)| changes.len()).sum();
    let progress = Progress::new(&format!("{} corruption", engine.name()), Some(steps as u64));
    let mut corruption = Corruption::default();
    for (specimen, changes) in plans {
        let judge = |change: &Change, world: &World| {
            Case::new(engine, specimen, change, world).judge(world)
        };
        corruption.add(damage(specimen, &changes, &judge));
        progress.inc(changes.len() as u64);
    }
    progress.finish(&corruption.summary());
    Some(corruption)
}

impl Corruption {
    fn add(&mut self, counted: Counted) {
        self.tally += counted.total();
        let room = SHOWN - self.findings.len();
        self.findings.extend(counted.descriptions().take(room));
    }
}

/// A run that could not begin: red.
fn broken(finding: String) -> Corruption {
    Corruption {
        tally: Tally {
            wrong: 1,
            ..Tally::default()
        },
        findings: vec![finding],
    }
}

/// What says of a change and the disk after it what became of it.
type Judge<'a> = &'a (dyn Fn(&Change, &World) -> Verdict + Sync);

/// Makes each of `changes` to `target`.
fn damage(target: &Specimen, changes: &[Change], judge: Judge<'_>) -> Counted {
    let portions: Vec<_> = changes
        .chunks(PORTION)
        .zip((0..).step_by(PORTION))
        .collect();
    let mut counted = Counted::default();
    with_quiet_panics(|| {
        let done = cores::each(&portions, |(portion, first)| {
            let mut counted = Counted::default();
            for (nth, change) in portion.iter().enumerate() {
                counted.one(target, change, first + nth, judge);
            }
            counted
        });
        for found in done {
            counted.add(found);
        }
    });
    counted
}

impl Counted {
    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in self.kinds.values() {
            total += *tally;
        }
        total
    }

    /// The findings as text, in the order of their first cases.
    fn descriptions(self) -> impl Iterator<Item = String> {
        let mut findings: Vec<Finding> = self.findings.into_values().collect();
        findings.sort_by_key(|finding| finding.index);
        findings.into_iter().map(|finding| match finding.cases {
            1 => finding.text,
            cases => format!("{} (the first of {cases} such cases)", finding.text),
        })
    }

    fn find(&mut self, way: String, finding: Finding) {
        match self.findings.entry(way) {
            Entry::Vacant(entry) => {
                entry.insert(finding);
            }
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.cases += finding.cases;
                // The first one, however the threads shared the work.
                if finding.index < known.index {
                    known.index = finding.index;
                    known.text = finding.text;
                }
            }
        }
    }

    fn add(&mut self, other: Self) {
        for (kind, tally) in other.kinds {
            *self.kinds.entry(kind).or_default() += tally;
        }
        for (way, finding) in other.findings {
            self.find(way, finding);
        }
    }

    /// Makes one change, and counts what became of it.
    fn one(&mut self, target: &Specimen, change: &Change, index: usize, judge: Judge<'_>) {
        // A change that changes nothing is none.
        let Some(world) = change.apply(target) else {
            return;
        };
        let tally = self.kinds.entry(change.kind).or_default();
        tally.changes += 1;
        let (count, finding) = match caught(|| judge(change, &world)) {
            Ok(Verdict::Detected) => (&mut tally.detected, None),
            Ok(Verdict::Harmless) => (&mut tally.harmless, None),
            Ok(Verdict::InWindow) => (&mut tally.in_window, None),
            Ok(Verdict::Wrong(what)) => (&mut tally.wrong, Some(what)),
            Err(what) => (&mut tally.panics, Some(format!("it panics: {what}"))),
        };
        *count += 1;
        if let Some(wrong) = finding {
            let what = change.describe(target);
            let way = wrong.replace(|c: char| c.is_ascii_digit(), "");
            let text = format!("store \"{}\", {what}\n{wrong}", target.name);
            let cases = 1;
            self.find(way, Finding { cases, index, text });
        }
    }
}

thread_local! {
    /// A panic of this thread is caught and counted, and not printed.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `ask`; what it panics with, if it does.
fn caught<T>(ask: impl FnOnce() -> T) -> Result<T, String> {
    IS_QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(ask));
    IS_QUIET.set(false);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied());
        text.unwrap_or("something that is no text").to_owned()
    })
}

/// Runs `work`, in which panics inside [`caught`] print nothing.
fn with_quiet_panics(work: impl FnOnce()) {
    let before: Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> = Arc::from(panic::take_hook());
    let loud = Arc::clone(&before);
    panic::set_hook(Box::new(move |info| {
        if !IS_QUIET.get() {
            loud(info);
        }
    }));
    work();
    panic::set_hook(Box::new(move |info| before(info)));
}
