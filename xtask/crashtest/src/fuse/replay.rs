//! One store on the mounted machine: recorded once, then ended at every call, opened, and compared.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use durable_io::Disk;
use durable_io::sim::Volume;

use super::call::Names;
use super::cause::{Missing, Moment};
use super::machine::{Event, Machine};
use crate::command::Silent;
use crate::engine::{Engine, Outcome, Refusal, Setting, Store};
use crate::model::{Model, Operation, Verdict, mix, operation};
use crate::report::Fuse;

/// The directory that a store is given, below the mount: it exists and is durable.
pub(crate) const DISK: &str = "disk";
/// Small, so that the store continues elsewhere every dozen operations.
const SIZE: u64 = 16 << 10;
/// What is held back for a full disk.
const RESERVE: u64 = 64 << 10;
/// An operation beyond those of a workload is the one in flight, and two more are done after it.
const BEYOND: u64 = 3;
/// How many events before a crash are told.
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
    pub(crate) engine: &'a dyn Engine,
    /// The directory that the engine is given.
    pub(crate) dir: PathBuf,
    pub(crate) unit: usize,
    pub(crate) seed: u64,
    pub(crate) bound: Bound,
    pub(crate) model: Model,
    pub(crate) tally: Fuse,
    /// A store gave no answer: it would not to the next question either.
    is_silent: bool,
    /// Is told the number of states judged.
    pub(crate) progress: &'a mut dyn FnMut(u64),
}

/// How a run of operations ended.
pub(crate) struct Ended {
    /// Operations that the store acknowledged.
    pub(crate) acked: u64,
    /// The store, if it is still open, or why the run ended before its time.
    pub(crate) store: Outcome<Box<dyn Store>>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        machine: Machine,
        engine: &'a dyn Engine,
        dir: PathBuf,
        (unit, seed): (usize, u64),
        bound: Bound,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            machine,
            engine,
            dir,
            unit,
            seed,
            bound,
            model: Model::new(bound.operations + BEYOND),
            tally: Fuse::default(),
            is_silent: false,
            progress,
        }
    }

    /// Everything: crash states of the recorded run, failing syncs, full disks.
    pub(crate) fn judge_all(&mut self) {
        let events = self.record();
        if !self.tally.findings.is_empty() {
            return;
        }
        self.replay(&events);
        self.fail_syncs(&events);
        self.fill_disks();
    }

    /// True if nothing more is to be learnt.
    pub(crate) fn is_over(&self) -> bool {
        self.is_silent || self.tally.violations() >= self.bound.violations
    }

    /// An empty disk.
    pub(crate) fn fresh(&self) -> Volume {
        fresh(self.unit)
    }

    /// Opens the store, or creates it; inline: what is recorded is the same in every run.
    fn open(&self) -> Outcome<Box<dyn Store>> {
        // A program is given a directory that exists.
        let dir = if self.engine.is_process() {
            self.dir.clone()
        } else {
            self.dir.join("store")
        };
        let setting = Setting {
            reserve: RESERVE,
            ..Setting::new(Disk::os(), dir, SIZE)
        };
        self.engine.open(&setting)
    }

    /// Opens the store and does operations up to `last`, or until one fails.
    pub(crate) fn work(&self, last: u64) -> Ended {
        let mut acked = 0;
        let store = guarded(|| {
            let store = self.open()?;
            for n in 1..=last {
                apply(&*store, operation(n))?;
                // After the answer and before the next question: see `command.rs`.
                self.machine.acknowledged(n);
                acked = n;
            }
            Ok(store)
        });
        Ended { acked, store }
    }

    /// The events of a whole life of the store, from its creation to its end in good order.
    fn record(&mut self) -> Vec<Event> {
        self.machine.boot(self.fresh());
        self.machine.record();
        let ended = self.work(self.bound.operations);
        self.tally.acknowledged = ended.acked;
        let closed = ended.store.and_then(|store| guarded(|| store.close()));
        let events = self.machine.events();
        if let Err(error) = closed {
            let how = self.refused("it fails", &*error);
            self.tally.refused += 1;
            let place = || "a run without any crash".to_owned();
            let finding = self.describe(&how.at_once(), ended.acked, &place);
            self.tally.find(|| finding);
        }
        let writes = |event: &&Event| matches!(event, Event::Call(call) if call.writes());
        self.tally.writes = events.iter().filter(writes).count() as u64;
        if self.tally.writes == 0 {
            self.tally.find(|| {
                let acked = ended.acked;
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
        let mut acked = 0;
        let mut seen = HashSet::new();
        for (at, event) in events.iter().enumerate() {
            if self.is_over() {
                return;
            }
            match event {
                Event::Call(call) => {
                    let done = call.apply(&mut volume);
                    let number = done.expect("it succeeded on an equal volume");
                    names.see(call, number, &volume);
                    missing.see(at, call, &names);
                    described.push(names.describe(call));
                }
                Event::Acknowledged(n) => {
                    acked = *n;
                    described.push(format!("acknowledgement {n}"));
                }
            }
            let drawn = mix(self.seed, at as u64);
            if !drawn.is_multiple_of(thinned.max(1)) {
                continue;
            }
            self.tally.moments += 1;
            for crashed in volume.power_losses(self.bound.per_moment, drawn) {
                if !seen.insert(mix(crashed.contents_hash(), acked)) {
                    continue;
                }
                let (_, last) = described.split_at(described.len().saturating_sub(SHOWN));
                let last = last.join(", ");
                let place =
                    || format!("a power loss after event {at} of {} ({last})", events.len());
                self.machine.boot(crashed);
                if let Err(wrong) = self.count(acked) {
                    let finding = self.describe(&wrong, acked, &place);
                    let moment = Moment {
                        events,
                        at,
                        acked,
                        seed: drawn,
                    };
                    if !self.explain(moment, &missing, &wrong, &finding) {
                        self.tally.find(|| finding);
                    }
                }
            }
        }
    }

    /// Judges what the power loss left that comes after `acked` acknowledgements.
    pub(crate) fn judge_loss(&mut self, left: Volume, acked: u64, place: &dyn Fn() -> String) {
        self.machine.boot(left);
        self.judge(acked, place);
    }

    /// Judges the store on the machine as it is.
    pub(crate) fn judge(&mut self, acked: u64, place: &dyn Fn() -> String) {
        if let Err(wrong) = self.count(acked) {
            let finding = self.describe(&wrong, acked, place);
            self.tally.find(|| finding);
        }
    }

    /// Examines the store on the machine as it is, and counts that.
    fn count(&mut self, acked: u64) -> Result<(), Wrong> {
        if self.is_over() {
            return Ok(());
        }
        self.tally.states += 1;
        (self.progress)(self.tally.states);
        let examined = self.examine(acked);
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
    /// and keep it over a power loss that takes everything not synced.
    fn examine(&mut self, acked: u64) -> Result<(), Wrong> {
        let (store, held) = self.open_and_compare(acked).map_err(How::at_once)?;
        let next = operation(held + 1);
        let gone_on = guarded(move || {
            apply(&*store, next)?;
            Ok(store)
        });
        let gone_on = gone_on.map_err(|error| self.refused("it cannot go on", &*error));
        let store = gone_on.map_err(How::at_once)?;
        // The power fails with the acknowledgement: what the store does later is not there.
        let left = self.machine.volume().lose_unsynced();
        drop(store);
        self.machine.boot(left);
        let again = self.open_and_compare(held + 1);
        again.map(drop).map_err(|how| Wrong {
            how,
            has_continued: true,
        })
    }

    /// The store and how many operations it holds.
    pub(crate) fn open_and_compare(&mut self, acked: u64) -> Result<(Box<dyn Store>, u64), How> {
        let opened = guarded(|| {
            let store = self.open()?;
            let contents = store.dump()?;
            Ok((store, contents))
        });
        let opened = opened.map_err(|error| self.refused("it does not open", &*error));
        let (store, contents) = opened?;
        match self.model.judge(acked, &contents) {
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
        let place = place();
        let then = if wrong.has_continued {
            ", recovery, one more operation and a power loss"
        } else {
            ""
        };
        let (acked, unit) = (acked + u64::from(wrong.has_continued), self.unit);
        let words = match &wrong.how {
            How::Lost(lost) => format!("the last {lost} acknowledged operations are lost"),
            How::Inconsistent(words) => words.clone(),
            How::Refused(what, error) => format!("{what}: {error}"),
        };
        format!("{place}{then}, {acked} operations acknowledged, torn at {unit} bytes: {words}")
    }
}

/// What is wrong with a store after a crash.
#[derive(Debug)]
pub(crate) struct Wrong {
    how: How,
    /// Only after one more operation and a power loss.
    has_continued: bool,
}

#[derive(Debug)]
pub(crate) enum How {
    /// So many acknowledged operations are gone.
    Lost(u64),
    Inconsistent(String),
    /// It did not do something, and said why.
    Refused(&'static str, String),
}

impl How {
    fn at_once(self) -> Wrong {
        Wrong {
            how: self,
            has_continued: false,
        }
    }
}

impl Wrong {
    /// Only after one more operation and a power loss.
    pub(crate) fn has_continued(&self) -> bool {
        self.has_continued
    }

    /// Of which kind, in one word.
    pub(crate) fn kind(&self) -> &'static str {
        match self.how {
            How::Lost(_) => "lost",
            How::Inconsistent(_) => "inconsistent",
            How::Refused(..) => "refused",
        }
    }
}

/// Does `operation` to `store` and what is due in the background then; `Ok` acknowledges it.
fn apply(store: &dyn Store, operation: Operation) -> Outcome<()> {
    store.apply(&[operation.change()])?;
    while store.maintain()? {}
    Ok(())
}

/// An empty disk that tears at `unit` bytes.
pub(crate) fn fresh(unit: usize) -> Volume {
    let mut volume = Volume::new(unit);
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
