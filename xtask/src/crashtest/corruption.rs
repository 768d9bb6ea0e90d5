//! The layer `corruption`: bytes that change behind the engine's back, on the simulated disk.
//!
//! Small logs are written by the engine ([`logs`]). Then one thing is changed ([`changes`]), the log
//! is opened and asked everything ([`ask`]), and the answer is compared with what the bytes of the
//! undamaged log allow ([`facts`], [`judge`]): the same answer, an error that names the place, or,
//! only where every witness is gone too, a shorter log. The same is done to small stores ([`stores`]) and
//! to sorted tables ([`tables`]).

mod ask;
mod changes;
mod facts;
mod judge;
mod logs;
mod stores;
mod tables;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::AddAssign;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ask::Seen;
use changes::{Change, FileFacts, Kind, Target};
use durable_io::sim::World;
use judge::{Case, Verdict};
use logs::Log;
use stores::Stored;

use crate::crashtest::Context;
use crate::crashtest::progress::Progress;
use crate::crashtest::report::Corruption;

/// The log's directory on the simulated disk.
const DIR: &str = "/wal";

/// How many findings are told; all are counted.
const SHOWN: usize = 20;

const THREADS: usize = 2;
/// How many changes a thread takes at once.
const PORTION: usize = 64;

/// What became of some changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) changes: u64,
    /// Answered by a typed error.
    pub(crate) detected: u64,
    /// Answered exactly as before.
    pub(crate) harmless: u64,
    /// Silent losses in the window of `wal/FORMAT.md`, section 8: where no witness of what is gone can
    /// be left.
    pub(crate) in_window: u64,
    /// Answered wrongly.
    pub(crate) wrong: u64,
    pub(crate) panics: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.changes += other.changes;
        self.detected += other.detected;
        self.harmless += other.harmless;
        self.in_window += other.in_window;
        self.wrong += other.wrong;
        self.panics += other.panics;
    }
}

/// What became of the changes to one log.
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

impl Counted {
    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in self.kinds.values() {
            total += *tally;
        }
        total
    }

    /// The findings as text, in the order of their first cases.
    fn told(self) -> impl Iterator<Item = String> {
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
}

/// Damages every log in every way.
pub(crate) fn run(context: &Context) -> Corruption {
    let logs = match logs::all() {
        Ok(logs) => logs,
        Err(error) => return broken(format!("a log cannot be made: {error}")),
    };
    let plan = |log: &Log| log.target(|target| changes::all(target, context.full));
    let plans: Vec<_> = logs.iter().map(|log| (log, plan(log))).collect();
    let steps: usize = plans.iter().map(|(_, changes)| changes.len()).sum();
    let progress = Progress::new("wal corruption", Some(steps as u64));
    let mut corruption = Corruption::default();
    for (log, changes) in plans {
        let counted = match damage(log, &changes, &ask::see) {
            Ok(counted) => counted,
            Err(error) => return broken(format!("{}: undamaged: {error}", log.facts.name)),
        };
        corruption.add(counted);
        progress.inc(changes.len() as u64);
    }
    progress.finish(&corruption.summary());
    corruption
}

/// Damages every store of the hash-indexed kind in every way.
pub(crate) fn run_bitcask(context: &Context) -> Corruption {
    let stores = match stores::all() {
        Ok(stores) => stores,
        Err(error) => return broken(format!("a store cannot be made: {error}")),
    };
    let plan = |store: &Stored| store.target(|target| changes::all(target, context.full));
    let plans: Vec<_> = stores.iter().map(|store| (store, plan(store))).collect();
    let steps: usize = plans.iter().map(|(_, changes)| changes.len()).sum();
    let progress = Progress::new("bitcask corruption", Some(steps as u64));
    let mut corruption = Corruption::default();
    for (store, changes) in plans {
        let judge = |change: &Change, world: &World| store.judge(change, world);
        corruption.add(store.target(|target| damage_target(target, &changes, &judge)));
        progress.inc(changes.len() as u64);
    }
    progress.finish(&corruption.summary());
    corruption
}

/// Damages every sorted table in every way.
pub(crate) fn run_sstable(context: &Context) -> Corruption {
    let all = match tables::all() {
        Ok(all) => all,
        Err(error) => return broken(format!("a table cannot be made: {error}")),
    };
    let plans = all
        .iter()
        .map(|tables| (tables, tables.changes(context.full)));
    let plans: Vec<_> = plans.collect();
    let steps: usize = plans.iter().map(|(_, changes)| changes.len()).sum();
    let progress = Progress::new("sstable corruption", Some(steps as u64));
    let mut corruption = Corruption::default();
    for (tables, changes) in plans {
        let judge = |change: &Change, world: &World| tables.judge(change, world);
        corruption.add(tables.target(|target| damage_target(target, &changes, &judge)));
        progress.inc(changes.len() as u64);
    }
    progress.finish(&corruption.summary());
    corruption
}

impl Corruption {
    fn add(&mut self, counted: Counted) {
        self.tally += counted.total();
        let room = SHOWN - self.findings.len();
        self.findings.extend(counted.told().take(room));
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

/// Makes each of `changes` to `log` and judges what `see` sees then.
fn damage(
    log: &Log,
    changes: &[Change],
    see: &(dyn Fn(&World) -> Seen + Sync),
) -> wal::Result<Counted> {
    let undamaged = ask::undamaged(&log.world)?;
    let judge = |change: &Change, world: &World| {
        let facts = &log.facts;
        let now = facts.files.get(change.file).map(FileFacts::path);
        let now = now.and_then(|path| world.file_bytes(&path));
        let case = Case {
            facts,
            left: &facts.left(change.file, now.as_deref()),
            undamaged: &undamaged,
        };
        case.judge(&see(world))
    };
    Ok(log.target(|target| damage_target(target, changes, &judge)))
}

/// What says of a change and the disk after it what became of it.
type Judge<'a> = &'a (dyn Fn(&Change, &World) -> Verdict + Sync);

/// Makes each of `changes` to `target`.
fn damage_target(target: &Target<'_>, changes: &[Change], judge: Judge<'_>) -> Counted {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut counted = Counted::default();
        loop {
            let start = next.fetch_add(PORTION, Ordering::Relaxed);
            let portion = changes.iter().enumerate().skip(start).take(PORTION);
            if portion.len() == 0 {
                return counted;
            }
            for (index, change) in portion {
                counted.one(target, change, index, judge);
            }
        }
    };
    let mut counted = Counted::default();
    with_quiet_panics(|| {
        thread::scope(|scope| {
            let workers = [(); THREADS].map(|()| scope.spawn(work));
            for worker in workers {
                match worker.join() {
                    Ok(found) => counted.add(found),
                    // Not the engine: its panics do not come so far.
                    Err(payload) => panic::resume_unwind(payload),
                }
            }
        });
    });
    counted
}

impl Counted {
    /// Makes one change, and counts what became of it.
    fn one(&mut self, target: &Target<'_>, change: &Change, index: usize, judge: Judge<'_>) {
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

#[cfg(test)]
mod tests;
