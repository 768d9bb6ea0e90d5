//! The explorer: runs every short sequence of operations, ends each at every moment, in every way,
//! and asks the store what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::crash::{Choice, States, Visited};
use super::doubt::Doubt;
use super::hash::mix;
use super::report::Counterexample;
use super::run::{Broken, Moment, Runner, Until, whole};
use super::subject::Subject;
use super::tape::{CrashPoint, Tape};
use super::world::{World, to_index};
use crate::site::Site;

mod shared;

use shared::{Freshness, Shared};

/// How far an exploration goes.
///
/// Every further operation multiplies the work by the number of [`Subject::operations`]: begin with 2 or 3. What a
/// bound leaves out is named in [`Counts`] and [`Exploration`]: instants that were sampled, time that ran out.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prove_your_own_store/counter.rs"));
/// use std::time::Duration;
/// use durable_io::sim::{Bound, Explorer};
///
/// # fn main() {
/// // Power loss alone, on disks that tear at 4096 bytes, for at most a minute.
/// let bound = Bound {
///     unit: 4096,
///     process_deaths: false,
///     nested: false,
///     time: Some(Duration::from_secs(60)),
///     ..Bound::of_length(3)
/// };
/// let subject = CounterSubject { syncs_directory: true };
/// let explored = Explorer::new(&subject).explore(&bound, &|_counts| {});
/// assert!(explored.counterexample.is_none() && explored.doubts.is_empty());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bound {
    /// Every sequence of at most this many operations, from every starting state.
    pub length: usize,
    /// The unit of tearing: 512 or 4096 bytes.
    pub unit: usize,
    /// An instant with more crash states than this is sampled, and counted as sampled.
    pub states_per_point: u64,
    /// Also kill the process at every call, reopen, continue, and then lose power.
    pub process_deaths: bool,
    /// Also crash during recovery.
    pub nested: bool,
    /// How many threads explore.
    pub threads: usize,
    /// Stop after this long; the report then says how far it came.
    pub time: Option<Duration>,
}

impl Bound {
    /// Everything on, up to `length` operations, on two threads, without a limit of time.
    pub fn of_length(length: usize) -> Self {
        Self {
            length,
            unit: 512,
            states_per_point: 1 << 16,
            process_deaths: true,
            nested: true,
            threads: 2,
            time: None,
        }
    }
}

/// What an exploration has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequences of operations run.
    pub workloads: u64,
    /// Instants at which a crash was looked at.
    pub crash_points: u64,
    /// Of these, how many had more states than the bound.
    pub sampled_points: u64,
    /// Crash states generated.
    pub states: u64,
    /// Distinct ones (image, allowed answers, what is done afterwards), each checked in full.
    pub unique_states: u64,
    /// Distinct images of the disk among them.
    pub images: u64,
    /// Of these, how many came from a crash during recovery or after a process death.
    pub nested_states: u64,
    /// Opens of the store.
    pub opens: u64,
}

/// What an exploration found.
#[derive(Debug)]
pub struct Exploration {
    /// What was done.
    pub counts: Counts,
    /// Every barrier reached, with the operations during which it was.
    pub sites: BTreeMap<Site, BTreeSet<String>>,
    /// Distinct states checked for each starting state.
    pub by_start: BTreeMap<&'static str, u64>,
    /// The first violation, shrunk; `None` if there was none.
    pub counterexample: Option<Counterexample>,
    /// True if the time ran out first.
    pub timed_out: bool,
    /// Why this may prove nothing, if nothing was found; empty if it proves what it says.
    pub doubts: Vec<Doubt>,
}

/// Judges a store under crashes. See [`Subject`].
#[derive(Debug)]
pub struct Explorer<'s, S> {
    subject: &'s S,
    ignored: Vec<Site>,
}

impl<'s, S: Subject> Explorer<'s, S> {
    /// A judge of `subject`.
    pub fn new(subject: &'s S) -> Self {
        Self {
            subject,
            ignored: Vec::new(),
        }
    }

    /// The same judge, with these barriers switched off: they return success and do nothing.
    #[must_use]
    pub fn without(mut self, sites: &[Site]) -> Self {
        self.ignored.extend_from_slice(sites);
        self
    }

    /// Tries every sequence within `bound` and reports to `progress` now and then.
    pub fn explore(&self, bound: &Bound, progress: &(dyn Fn(&Counts) + Sync)) -> Exploration {
        let starts = Runner::new(self.subject, &self.ignored, bound.unit)
            .starts()
            .len();
        let letters = self.subject.operations().len();
        let workloads = all_workloads(starts, letters, bound.length);
        let explored = self.run(bound, progress, &|nth| workloads.get(nth).cloned());
        if explored.counterexample.is_none() || bound.threads == 1 {
            return explored;
        }
        // Which thread was first decides what several threads find. One thread finds the first and
        // shortest sequence, always the same.
        let alone = Bound {
            threads: 1,
            ..bound.clone()
        };
        self.run(&alone, progress, &|nth| workloads.get(nth).cloned())
    }

    /// Tries random sequences of 5 to 12 operations, from random starting states, until the time of
    /// `bound` is over. The same seed tries the same sequences.
    pub fn soak(
        &self,
        bound: &Bound,
        seed: u64,
        progress: &(dyn Fn(&Counts) + Sync),
    ) -> Exploration {
        let starts = Runner::new(self.subject, &self.ignored, bound.unit)
            .starts()
            .len();
        let letters = self.subject.operations().len();
        self.run(bound, progress, &|nth| {
            Some(random_workload(seed, nth as u64, starts, letters))
        })
    }

    /// Runs the state that `tape` describes, and returns what breaks, if anything does. A tape that ends at a moment
    /// which the run does not have breaks something too: it is of another store, or of another version of it.
    pub fn replay(&self, tape: &Tape) -> Option<Counterexample> {
        super::report::replay_whole(self.subject, &self.ignored, tape)
    }

    fn run(
        &self,
        bound: &Bound,
        progress: &(dyn Fn(&Counts) + Sync),
        workload: &(dyn Fn(usize) -> Option<Workload> + Sync),
    ) -> Exploration {
        let shared = Shared::new(bound);
        std::thread::scope(|scope| {
            for _ in 0..bound.threads.max(1) {
                scope.spawn(|| self.work(bound, &shared, progress, workload));
            }
        });
        let doubts = shared.doubts(self.subject.operations().is_empty());
        let found = shared
            .found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let counterexample = found
            .map(|found| super::shrink::shrink(self.subject, &self.ignored, bound, found.tape));
        Exploration {
            counts: shared.totals.counts(),
            sites: shared
                .sites
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
            by_start: shared
                .by_start
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
            counterexample,
            timed_out: shared.timed_out.into_inner(),
            doubts,
        }
    }

    fn work(
        &self,
        bound: &Bound,
        shared: &Shared,
        progress: &(dyn Fn(&Counts) + Sync),
        workload: &(dyn Fn(usize) -> Option<Workload> + Sync),
    ) {
        let runner = Runner::new(self.subject, &self.ignored, bound.unit).pass_over(&shared.passed);
        let mut search = Search {
            runner,
            bound,
            shared,
            unique: 0,
        };
        loop {
            let nth = shared.next.fetch_add(1, Ordering::Relaxed);
            if nth >= shared.stop_at.load(Ordering::Relaxed) || shared.out_of_time() {
                return;
            }
            let Some(workload) = workload(nth) else {
                return;
            };
            search.unique = 0;
            if let Err(tape) = search.workload(&workload) {
                shared.report(nth, tape);
            }
            shared.learn(&mut search.runner);
            let start = search.runner.start_name(workload.start);
            *shared.lock_by_start().entry(start).or_default() += search.unique;
            if nth.is_multiple_of(16) {
                progress(&shared.totals.counts());
            }
        }
    }

    /// One workload, alone, with everything that is within `bound`; for shrinking.
    pub(crate) fn try_workload(
        subject: &S,
        ignored: &[Site],
        bound: &Bound,
        workload: &Workload,
    ) -> Option<Tape> {
        let shared = Shared::new(bound);
        let runner = Runner::new(subject, ignored, bound.unit).pass_over(&shared.passed);
        let mut search = Search {
            runner,
            bound,
            shared: &shared,
            unique: 0,
        };
        search.workload(workload).err()
    }
}

/// A starting state and the letters that follow, both by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) start: usize,
    pub(crate) ops: Vec<usize>,
}

/// Every workload, the shorter ones first.
fn all_workloads(starts: usize, letters: usize, length: usize) -> Vec<Workload> {
    let mut all = Vec::new();
    let mut level: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..=length {
        for start in 0..starts {
            all.extend(level.iter().map(|ops| Workload {
                start,
                ops: ops.clone(),
            }));
        }
        level = level
            .iter()
            .flat_map(|ops| (0..letters).map(|letter| [ops.as_slice(), &[letter]].concat()))
            .collect();
    }
    all
}

fn random_workload(seed: u64, nth: u64, starts: usize, letters: usize) -> Workload {
    let mut word = mix(seed, nth);
    let mut draw = |below: usize| {
        word = mix(word, 3);
        to_index((word >> 16) % below.max(1) as u64)
    };
    let start = draw(starts);
    let length = 5 + draw(8);
    Workload {
        start,
        ops: (0..length).map(|_| draw(letters)).collect(),
    }
}

/// One thread's part of an exploration.
struct Search<'a, S: Subject> {
    runner: Runner<'a, S>,
    bound: &'a Bound,
    shared: &'a Shared,
    /// New states of the current workload.
    unique: u64,
}

impl<S: Subject> Search<'_, S> {
    /// Runs `workload` and crashes at every moment of its last operation; the moments before were
    /// those of a shorter workload.
    fn workload(&mut self, workload: &Workload) -> Result<(), Tape> {
        let tape = Tape::new(self.bound.unit, workload.start, &workload.ops);
        let run = whole(|| self.runner.workload(workload));
        self.learn_sites();
        self.count_opens();
        let moments = match run {
            Ok(moments) => moments,
            Err(_broken) => return Err(tape),
        };
        self.shared.totals.workloads.fetch_add(1, Ordering::Relaxed);
        let mut states = States::new(self.bound.states_per_point);
        // Power losses first: what one of them shows is reported with a single crash.
        for (index, moment) in of_kind(&moments, Until::PowerLoss) {
            let depth = u8::from(self.bound.nested);
            self.power_loss(&mut states, moment, index, &tape, depth)?;
        }
        if self.bound.process_deaths {
            for (index, moment) in of_kind(&moments, Until::ProcessDeath) {
                self.process_death(&mut states, moment, &tape.then(CrashPoint::kill(index)))?;
            }
        }
        Ok(())
    }

    /// The process dies, the kernel lives, the store is reopened and used, and then the power fails.
    fn process_death(
        &mut self,
        states: &mut States,
        moment: &Moment<S>,
        tape: &Tape,
    ) -> Result<(), Tape> {
        let image = mix(moment.world.full_hash(), 0xDEAD);
        let key = self.runner.key(moment);
        match self.shared.freshness(image, key, 0) {
            Freshness::Checked => return Ok(()),
            Freshness::Deeper => {}
            Freshness::New => self.unique += 1,
        }
        self.shared.totals.points.fetch_add(1, Ordering::Relaxed);
        self.shared.totals.states.fetch_add(1, Ordering::Relaxed);
        let moments = self.restart(moment, moment.world.clone(), true, tape)?;
        for (index, moment) in moments.iter().enumerate() {
            self.power_loss(states, moment, index, tape, 0)?;
        }
        Ok(())
    }

    /// The power fails at `moment`, in every way, with `depth` more crashes to follow in recovery.
    fn power_loss(
        &mut self,
        states: &mut States,
        moment: &Moment<S>,
        index: usize,
        tape: &Tape,
        depth: u8,
    ) -> Result<(), Tape> {
        let mut work = Vec::new();
        let mut unique = 0;
        let key = self.runner.key(moment);
        let mut queue = |image: u64, choice: &dyn Fn() -> Choice| {
            let freshness = self.shared.freshness(image, key, depth);
            if freshness != Freshness::Checked {
                work.push(choice());
            }
            unique += u64::from(freshness == Freshness::New);
            Ok::<(), Tape>(())
        };
        let Visited {
            states: generated,
            sampled,
        } = states.visit(&moment.world, &mut queue)?;
        self.unique += unique;
        let totals = &self.shared.totals;
        totals.points.fetch_add(1, Ordering::Relaxed);
        totals
            .sampled
            .fetch_add(u64::from(sampled), Ordering::Relaxed);
        totals.states.fetch_add(generated, Ordering::Relaxed);
        if depth == 0 && self.bound.nested || !tape.crash_points.is_empty() {
            totals
                .nested
                .fetch_add(work.len() as u64, Ordering::Relaxed);
        }
        for choice in work {
            let image = moment.world.crash(&choice);
            let tape = tape.then(CrashPoint::power(index, choice));
            let moments = self.restart(moment, image, depth > 0, &tape)?;
            if depth > 0 {
                for (index, moment) in moments.iter().enumerate() {
                    self.power_loss(states, moment, index, &tape, depth - 1)?;
                }
            }
        }
        Ok(())
    }

    /// Opens the store on `image` and does everything that is checked after a crash.
    fn restart(
        &mut self,
        moment: &Moment<S>,
        image: World,
        record: bool,
        tape: &Tape,
    ) -> Result<Vec<Moment<S>>, Tape> {
        let result = whole(|| self.runner.restart(moment, image, record));
        self.learn_sites();
        self.count_opens();
        result.map_err(|_broken: Broken| tape.clone())
    }

    fn count_opens(&mut self) {
        let opens = std::mem::take(&mut self.runner.opens);
        self.shared.totals.opens.fetch_add(opens, Ordering::Relaxed);
    }

    fn learn_sites(&mut self) {
        for (site, label) in self.runner.newly_reached.drain(..) {
            let sites = self.shared.sites.lock();
            let mut sites = sites.unwrap_or_else(PoisonError::into_inner);
            sites.entry(site).or_default().insert(label);
        }
    }
}

fn of_kind<S: Subject>(
    moments: &[Moment<S>],
    kind: Until,
) -> impl Iterator<Item = (usize, &Moment<S>)> {
    let all = moments.iter().enumerate();
    all.filter(move |(_, moment)| moment.until == kind)
}
