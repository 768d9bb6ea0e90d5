//! One store on the mounted machine: recorded once, then ended at every call, opened, and compared.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use durable_io::sim::Volume;

use super::call::Names;
use super::cause::{Missing, Moment, Witnesses};
use super::machine::{Event, Machine};
use super::wrong::{How, Wrong};
use crate::command::Silent;
use crate::conditions::{Conditions, Ending};
use crate::engine::{Outcome, Refusal};
use crate::judged::{Judged, Live};
use crate::model::{Model, Promised, Verdict, mix};
use crate::report::Fuse;

/// The directory that a store is given, below the mount: it exists and is durable.
pub(crate) const DISK: &str = "disk";
/// An operation beyond those of a workload is the one in flight, and two more are done after it.
const BEYOND: u64 = 3;
/// How many events before a crash are reported.
const SHOWN: usize = 4;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Operations of the recorded run.
    pub(crate) operations: u64,
    /// Crash states of one moment.
    pub(crate) per_moment: usize,
    /// About so many states in all; moments are left out, drawn by the seed, to get there.
    pub(crate) states: usize,
    /// After so many violations no more states are judged.
    pub(crate) violations: u64,
    /// Operations of a run in which something fails.
    pub(crate) failing_operations: u64,
    /// How many syncs fail, one in each run.
    pub(crate) failed_syncs: usize,
    /// How many sizes of disk are full.
    pub(crate) full_disks: u64,
}

/// Judges one engine at one unit of tearing.
pub(crate) struct Run<'a> {
    pub(crate) machine: Machine,
    pub(crate) store: &'a dyn Judged,
    /// The directory that the store is given.
    pub(crate) dir: PathBuf,
    pub(crate) unit: usize,
    pub(crate) seed: u64,
    pub(crate) bound: Bound,
    pub(crate) model: Model,
    pub(crate) tally: Fuse,
    pub(crate) conditions: Conditions,
    /// What was done before the store was judged, and is durable.
    creation: Vec<Event>,
    /// The moments at which each cause was seen.
    pub(super) witnesses: Witnesses,
    /// A store gave no answer: it would not to the next question either.
    is_silent: bool,
    /// Is given the number of states judged.
    pub(crate) progress: &'a mut dyn FnMut(u64),
}

/// How a run of operations ended.
pub(crate) struct Ended {
    /// Operations that the store acknowledged, and those of them that must survive.
    pub(crate) promised: Promised,
    /// The store, if it is still open, or why the run ended before its time.
    pub(crate) store: Outcome<Box<dyn Live>>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        machine: Machine,
        store: &'a dyn Judged,
        dir: PathBuf,
        (unit, seed): (usize, u64),
        conditions: Conditions,
        bound: Bound,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            machine,
            store,
            dir,
            unit,
            seed,
            bound,
            model: Model::new(store.shape(), bound.operations + BEYOND),
            tally: Fuse::default(),
            conditions,
            creation: Vec::new(),
            witnesses: Witnesses::default(),
            is_silent: false,
            progress,
        }
    }

    /// Everything: crash states of the recorded run, failing syncs, full disks.
    pub(crate) fn judge_all(&mut self) {
        if self.conditions.after_creation {
            self.create();
        }
        let events = self.record();
        if !self.tally.findings.is_empty() {
            return;
        }
        self.replay(&events);
        self.judge_causes(&events);
        self.fail_syncs(&events);
        self.fill_disks();
    }

    /// Opens the store for the first time, reads it and ends it: what that does is durable from then on.
    fn create(&mut self) {
        self.machine.boot(self.fresh());
        self.machine.record();
        let created = guarded(|| {
            let store = self.open()?;
            store.dump()?;
            store.close()
        });
        self.creation = self.machine.events();
        if let Err(error) = created {
            let how = self.refused("it fails", &*error);
            self.tally.refused += 1;
            let finding = self.describe(&how.at_once(), 0, &|| "its creation".to_owned());
            self.tally.find(|| finding);
        }
    }

    /// True if nothing more is to be learnt.
    pub(crate) fn is_over(&self) -> bool {
        self.is_silent || self.tally.violations() >= self.bound.violations
    }

    /// The disk on which a run begins.
    pub(crate) fn fresh(&self) -> Volume {
        self.fresh_for(self.conditions.ending)
    }

    /// The disk on which a run begins that ends so: empty, or with what the creation of the store left.
    pub(crate) fn fresh_for(&self, ending: Ending) -> Volume {
        let mut volume = fresh(ending, self.unit);
        if self.creation.is_empty() {
            return volume;
        }
        for event in &self.creation {
            if let Event::Call(call) = event {
                call.again(&mut volume);
            }
        }
        volume.keep_unsynced()
    }

    /// Opens the store, or creates it.
    fn open(&self) -> Outcome<Box<dyn Live>> {
        self.store.open(&self.dir)
    }

    /// Opens the store and does operations up to `last`, or until one fails.
    pub(crate) fn work(&self, last: u64) -> Ended {
        let shape = self.model.shape;
        let mut promised = Promised::default();
        let store = guarded(|| {
            let store = self.open()?;
            for n in 1..=last {
                store.perform(self.model.operation(n))?;
                // After the answer and before the next question: see `command.rs`.
                self.machine.note(Event::Acknowledged(n));
                promised.acked = n;
                if shape.syncs_after(n) {
                    store.sync()?;
                    self.machine.note(Event::Synced);
                }
                if !shape.unsynced || shape.syncs_after(n) {
                    promised.durable = n;
                }
            }
            Ok(store)
        });
        Ended { promised, store }
    }

    /// The events of a whole life of the store, from its creation to its end in good order.
    fn record(&mut self) -> Vec<Event> {
        self.machine.boot(self.fresh());
        self.machine.record();
        let ended = self.work(self.bound.operations);
        let acked = ended.promised.acked;
        self.tally.acknowledged = acked;
        let closed = ended.store.and_then(|store| guarded(|| store.close()));
        let events = self.machine.events();
        if let Err(error) = closed {
            let how = self.refused("it fails", &*error);
            self.tally.refused += 1;
            let place = || "a run without any crash".to_owned();
            let finding = self.describe(&how.at_once(), acked, &place);
            self.tally.find(|| finding);
        }
        let writes = |event: &&Event| matches!(event, Event::Call(call) if call.writes());
        self.tally.writes = events.iter().filter(writes).count() as u64;
        if self.tally.writes == 0 {
            self.tally.find(|| {
                format!("{acked} operations acknowledged, but not one write reached the device")
            });
        }
        events
    }

    /// Ends the recorded run at every moment in the ways of the bound.
    fn replay(&mut self, events: &[Event]) {
        let thinned = (events.len() * self.bound.per_moment).div_ceil(self.bound.states) as u64;
        let mut volume = self.fresh();
        let mut names = Names::of(&volume);
        let mut missing = Missing::default();
        let mut described = Vec::new();
        let mut promised = Promised::default();
        let mut seen = HashSet::new();
        for (at, event) in events.iter().enumerate() {
            if self.is_over() {
                return;
            }
            if let Event::Call(call) = event {
                let number = call.again(&mut volume);
                names.see(call, number, &volume);
                missing.see(at, call, &names);
            }
            promised.see(event, self.model.shape);
            described.push(event.describe(&names));
            let drawn = mix(self.seed, at as u64);
            if !drawn.is_multiple_of(thinned.max(1)) {
                continue;
            }
            self.tally.moments += 1;
            let ending = self.conditions.ending;
            for crashed in ending.states(&volume, self.bound.per_moment, drawn) {
                let known = mix(promised.acked, promised.durable);
                if !seen.insert(mix(crashed.contents_hash(), known)) {
                    continue;
                }
                let (_, last) = described.split_at(described.len().saturating_sub(SHOWN));
                let (last, what) = (last.join(", "), ending.what());
                let place = || format!("{what} after event {at} of {} ({last})", events.len());
                self.machine.boot(crashed);
                if let Err(wrong) = self.count(promised) {
                    let finding = self.describe(&wrong, promised.acked, &place);
                    let moment = Moment {
                        at,
                        promised,
                        seed: drawn,
                    };
                    if !self.explain(events, moment, &missing, &wrong, &finding) {
                        self.tally.find(|| finding);
                    }
                }
            }
        }
    }

    /// Judges what was left of a run that promised something.
    pub(crate) fn judge_loss(
        &mut self,
        left: Volume,
        promised: Promised,
        place: &dyn Fn() -> String,
    ) {
        self.machine.boot(left);
        self.judge(promised, place);
    }

    /// Judges the store on the machine as it is.
    pub(crate) fn judge(&mut self, promised: Promised, place: &dyn Fn() -> String) {
        if let Err(wrong) = self.count(promised) {
            let finding = self.describe(&wrong, promised.acked, place);
            self.tally.find(|| finding);
        }
    }

    /// Examines the store on the machine as it is, and counts that.
    fn count(&mut self, promised: Promised) -> Result<(), Wrong> {
        if self.is_over() {
            return Ok(());
        }
        self.tally.states += 1;
        let examined = self.examine(promised);
        match &examined {
            Ok(()) => self.tally.continued += 1,
            Err(wrong) => {
                self.tally.continued += u64::from(wrong.has_continued);
                match &wrong.how {
                    How::Lost(_) => self.tally.lost += 1,
                    How::Inconsistent(_) => self.tally.inconsistent += 1,
                    How::Refused(..) => self.tally.refused += 1,
                }
            }
        }
        examined
    }

    /// Opens the store on the machine as it is and compares. Then it must take one more operation
    /// and keep it over an ending that takes all it can.
    fn examine(&mut self, promised: Promised) -> Result<(), Wrong> {
        let (store, held) = self.open_and_compare(promised).map_err(How::at_once)?;
        let gone_on = guarded(|| {
            store.perform(self.model.operation(held + 1))?;
            if self.model.shape.unsynced {
                store.sync()?;
            }
            Ok(())
        });
        gone_on.map_err(|error| self.refused("it cannot go on", &*error).at_once())?;
        // The power fails with the acknowledgement: what the store does later is not there.
        let left = self.conditions.ending.least(&self.machine.volume());
        drop(store);
        self.machine.boot(left);
        let again = self.open_and_compare(Promised::all(held + 1));
        again.map(drop).map_err(|how| Wrong {
            how,
            has_continued: true,
        })
    }

    /// The store and how many operations it holds.
    pub(crate) fn open_and_compare(
        &mut self,
        promised: Promised,
    ) -> Result<(Box<dyn Live>, u64), How> {
        // Whoever waits for this process hears that it goes on.
        (self.progress)(self.tally.states);
        let opened = guarded(|| {
            let store = self.open()?;
            let contents = store.dump()?;
            Ok((store, contents))
        });
        let opened = opened.map_err(|error| self.refused("it does not open", &*error));
        let (store, contents) = opened?;
        match self.model.judge(promised, &contents) {
            Verdict::Holds(held) => Ok((store, held)),
            Verdict::Lost(lost) => Err(How::Lost(lost)),
            Verdict::Inconsistent(words) => Err(How::Inconsistent(words)),
        }
    }

    /// An error of the store where there must be none.
    fn refused(&mut self, what: &'static str, error: &Refusal) -> How {
        self.is_silent |= error.is::<Silent>();
        How::Refused(what, error.to_string())
    }

    /// What is wrong, in words.
    fn describe(&self, wrong: &Wrong, acked: u64, place: &dyn Fn() -> String) -> String {
        let (place, unit) = (place(), self.unit);
        let then = if wrong.has_continued {
            let what = self.conditions.ending.what();
            format!(", recovery, one more operation and {what}")
        } else {
            String::new()
        };
        let acked = acked + u64::from(wrong.has_continued);
        let words = wrong.words(self.model.shape.unsynced);
        format!("{place}{then}, {acked} operations acknowledged, torn at {unit} bytes: {words}")
    }
}

/// An empty disk for a machine that ends so; it tears at `unit` bytes.
pub(crate) fn fresh(ending: Ending, unit: usize) -> Volume {
    let mut volume = ending.disk(unit);
    volume
        .create_dir(Volume::ROOT, DISK)
        .expect("the first name on an empty disk");
    volume.sync(Volume::ROOT);
    volume
}

/// Runs `call` of a store; a panic is an error.
fn guarded<T>(call: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or(panic.downcast_ref::<&str>().copied());
        Err(format!("it panicked: {}", words.unwrap_or("without words")).into())
    })
}
