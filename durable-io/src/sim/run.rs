//! One run of a store on a simulated machine: the moments at which it can end, and what must hold
//! when it is opened again.

use std::collections::BTreeSet;

use super::crash::Choice;
use super::disk::{EffectNote, SimDisk, Used};
use super::doubt::Doubt;
use super::explore::Workload;
use super::hash::mix;
use super::subject::{Keep, Start, StartStep, Subject};
use super::world::World;
use crate::site::Site;

mod detail;
mod expected;
mod guarded;
mod harshest;
mod history;
mod passed;

pub(crate) use expected::expected;
pub(crate) use guarded::{guarded, whole};
use history::History;
pub(crate) use history::{Moment, Until};
pub(crate) use passed::Passed;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// Which promise, in one line.
    pub(crate) promise: &'static str,
    /// What was expected and what was found.
    pub(crate) detail: String,
}

/// A store that runs: the machine, the open store, and its history.
struct Live<S: Subject> {
    sim: SimDisk,
    store: S::Store,
    history: History<S>,
}

/// Runs one subject on simulated machines.
pub(crate) struct Runner<'s, S: Subject> {
    subject: &'s S,
    ignored: &'s [Site],
    /// What need not be checked again; `None` if everything must be.
    passed: Option<&'s Passed>,
    unit: usize,
    starts: Vec<Start<S::Op>>,
    letters: Vec<S::Op>,
    /// Opens of the store so far.
    pub(crate) opens: u64,
    /// Barriers reached, each with all that was in progress then.
    reached: Vec<(Site, Vec<String>)>,
    /// What of that is new since this was last taken.
    pub(crate) newly_reached: Vec<(Site, String)>,
    /// Why what was run may prove nothing.
    pub(crate) doubts: BTreeSet<Doubt>,
    /// Whether a machine was called, and written to.
    pub(crate) used: Used,
    /// Every machine booted, when a run is to be reported.
    machines: Option<Vec<SimDisk>>,
}

const OPEN: &str = "open";
const A_START: &str = "a workload begins at a start that there is";

impl<'s, S: Subject> Runner<'s, S> {
    pub(crate) fn new(subject: &'s S, ignored: &'s [Site], unit: usize) -> Self {
        let mut starts = vec![Start {
            name: "empty",
            script: Vec::new(),
        }];
        starts.extend(subject.starts());
        Self {
            subject,
            ignored,
            passed: None,
            unit,
            starts,
            letters: subject.operations(),
            opens: 0,
            reached: Vec::new(),
            newly_reached: Vec::new(),
            doubts: BTreeSet::new(),
            used: Used::default(),
            machines: None,
        }
    }

    /// The same runner, which passes over what was `passed`, and adds to it.
    pub(crate) fn pass_over(mut self, passed: &'s Passed) -> Self {
        self.passed = Some(passed);
        self
    }

    pub(crate) fn starts(&self) -> &[Start<S::Op>] {
        &self.starts
    }

    pub(crate) fn letters(&self) -> &[S::Op] {
        &self.letters
    }

    pub(crate) fn start_name(&self, start: usize) -> &'static str {
        self.starts.get(start).expect(A_START).name
    }

    /// From now on, remember what every effect was.
    pub(crate) fn keep_notes(&mut self) {
        self.machines = Some(Vec::new());
    }

    pub(crate) fn notes(&self) -> Vec<EffectNote> {
        self.machines
            .iter()
            .flatten()
            .flat_map(SimDisk::take_notes)
            .collect()
    }

    /// See [`Moment::key`].
    pub(crate) fn key(&self, moment: &Moment<S>) -> u64 {
        moment.key(self.subject)
    }

    fn boot(&mut self, world: World) -> SimDisk {
        let sim = SimDisk::boot(world);
        for site in self.ignored {
            sim.ignore(*site);
        }
        if let Some(machines) = &mut self.machines {
            sim.note_effects();
            machines.push(sim.clone());
        }
        sim
    }

    fn note_sites(&mut self, sim: &SimDisk, during: impl Fn() -> String) {
        self.used.add(sim.used());
        let sites = sim.take_sites();
        if sites.is_empty() {
            return;
        }
        let during = during();
        for site in sites {
            let known = self.reached.iter_mut().find(|(known, _)| known.is(&site));
            match known {
                Some((_, known)) if known.contains(&during) => continue,
                Some((_, known)) => known.push(during.clone()),
                None => self.reached.push((site, vec![during.clone()])),
            }
            self.newly_reached.push((site, during.clone()));
        }
    }

    fn open(&mut self, sim: &SimDisk) -> Result<S::Store, Broken> {
        self.opens += 1;
        let opened = guarded(&"opening the store", || self.subject.open(&sim.disk()));
        self.note_sites(sim, || OPEN.to_owned());
        opened?.map_err(|error| Broken {
            promise: "open succeeds on every state a crash can leave",
            detail: format!("open answered: {error}"),
        })
    }

    /// The newest allowed state that is observed.
    fn observe(
        &self,
        store: &mut S::Store,
        allowed: &[S::State],
        promise: &'static str,
    ) -> Result<S::State, Broken> {
        let seen = guarded(&"reading", || self.subject.observe(store))?;
        let seen = seen.map_err(|error| Broken {
            promise: "every read after recovery succeeds",
            detail: format!("reading answered: {error}"),
        })?;
        let found = allowed
            .iter()
            .rev()
            .find(|state| self.subject.matches(state, &seen));
        found.cloned().ok_or_else(|| Broken {
            promise,
            detail: expected(allowed, &seen),
        })
    }

    fn apply(&mut self, live: &mut Live<S>, op: &S::Op) -> Result<(), Broken> {
        let n = live.history.begin(self.subject, op);
        let subject = self.subject;
        let doing = format_args!("{op:?}");
        let applied = guarded(&doing, || subject.apply(&mut live.store, op, n));
        self.note_sites(&live.sim, || subject.label(op));
        let survives = applied?.map_err(|error| Broken {
            promise: "an operation succeeds when nothing goes wrong",
            detail: format!("{op:?} answered: {error}"),
        })?;
        live.history.acknowledge(survives);
        Ok(())
    }

    /// Runs a workload from an empty disk and returns the moments of its last operation, or of its
    /// starting script if there is no operation.
    pub(crate) fn workload(&mut self, workload: &Workload) -> Result<Vec<Moment<S>>, Broken> {
        let mut moments = Vec::new();
        let mut live = self.start(workload, &mut moments)?;
        let ops: Vec<S::Op> = workload
            .ops
            .iter()
            .filter_map(|letter| self.letters.get(*letter).cloned())
            .collect();
        for (nth, op) in ops.iter().enumerate() {
            let last = nth + 1 == ops.len();
            if last {
                live.sim.record(true);
            }
            self.apply(&mut live, op)?;
            if last {
                self.collect(&live, op, &mut moments);
                self.collect_death(&live, op, &mut moments);
                let newest = live.history.since(live.history.acknowledged);
                self.observe(
                    &mut live.store,
                    &newest,
                    "a store shows what was done to it",
                )?;
            }
        }
        Ok(moments)
    }

    /// Takes the recorded moments of the operation just done, and the one after its acknowledgement.
    fn collect(&self, live: &Live<S>, op: &S::Op, moments: &mut Vec<Moment<S>>) {
        let during = self.subject.label(op);
        // Until the acknowledgement, the operation before was the last acknowledged one.
        let before = live.history.before_acknowledgement().prospect(op, &during);
        let points = live.sim.take_points().into_iter();
        moments.extend(points.map(|point| before.moment(point)));
        let after = live.history.prospect(op, &during);
        moments.push(after.end(live.sim.world(), Until::PowerLoss));
    }

    /// The process dies just after the acknowledgement.
    fn collect_death(&self, live: &Live<S>, op: &S::Op, moments: &mut Vec<Moment<S>>) {
        let after = live.history.prospect(op, &self.subject.label(op));
        moments.push(after.end(live.sim.world(), Until::ProcessDeath));
    }

    /// Goes the way of a starting state's script. Its own moments count where no operation follows.
    fn start(
        &mut self,
        workload: &Workload,
        moments: &mut Vec<Moment<S>>,
    ) -> Result<Live<S>, Broken> {
        let start = self.starts.get(workload.start).expect(A_START);
        let (name, script) = (start.name, start.script.clone());
        let record = workload.ops.is_empty();
        let sim = self.boot(World::empty(self.unit));
        if record {
            sim.record(true);
        }
        let store = self.open(&sim)?;
        let mut live = Live {
            sim,
            store,
            history: History::new(self.subject.empty(), 0),
        };
        if record && let Some(first) = self.letters.first().cloned() {
            let prospect = live.history.prospect(&first, OPEN);
            let points = live.sim.take_points().into_iter();
            moments.extend(points.map(|point| prospect.moment(point)));
        }
        for step in script {
            live = match step {
                StartStep::Do(op) => {
                    self.apply(&mut live, &op)?;
                    if record {
                        self.collect(&live, &op, moments);
                    }
                    live
                }
                StartStep::CrashDuring(op, keep) => self.crash_in(name, live, &op, keep)?,
                StartStep::Kill => {
                    let world = live.sim.world();
                    let allowed = live.history.since(live.history.acknowledged);
                    self.reopen(live, world, &allowed)?
                }
            };
            if record {
                live.sim.record(true);
            }
        }
        Ok(live)
    }

    fn crash_in(
        &mut self,
        start: &'static str,
        mut live: Live<S>,
        op: &S::Op,
        keep: Keep,
    ) -> Result<Live<S>, Broken> {
        live.sim.record(false);
        let floor = live.history.floor;
        self.apply(&mut live, op)?;
        let point = live.sim.take_points().into_iter().next();
        if point.is_none() {
            self.doubts.insert(Doubt::CrashWithoutBarrier(start));
        }
        let world = point.map_or_else(|| live.sim.world(), |point| point.world);
        let chains = world.pending_chains();
        let kept = chains.iter().enumerate().map(|(nth, chain)| match keep {
            Keep::Nothing => 0,
            Keep::Everything => chain.effects.len(),
            Keep::AllBut(lost) => {
                if nth == lost {
                    0
                } else {
                    chain.effects.len()
                }
            }
        });
        let image = world.crash(&Choice {
            kept: kept.collect(),
            fills: Vec::new(),
        });
        let allowed = live.history.since(floor);
        self.reopen(live, image, &allowed)
    }

    fn reopen(
        &mut self,
        live: Live<S>,
        world: World,
        allowed: &[S::State],
    ) -> Result<Live<S>, Broken> {
        let next_n = live.history.next_n;
        drop(live.store);
        let sim = self.boot(world);
        let mut store = self.open(&sim)?;
        let state = self.observe(&mut store, allowed, RECOVERED)?;
        Ok(Live {
            sim,
            store,
            history: History::new(state, next_n),
        })
    }

    /// Opens the store on `image`, which a crash at `moment` left, and checks everything that must
    /// hold then. Returns the moments of the recovery if `record`, and after a process death also
    /// those of what followed.
    pub(crate) fn restart(
        &mut self,
        moment: &Moment<S>,
        image: World,
        record: bool,
    ) -> Result<Vec<Moment<S>>, Broken> {
        let mut moments = Vec::new();
        let sim = self.boot(image);
        if record {
            sim.record(false);
        }
        let mut store = self.open(&sim)?;
        let opened = sim.world();
        let state = self.observe(&mut store, moment.allowed(), RECOVERED)?;
        let mut live = Live {
            sim,
            store,
            history: History::new(state, moment.prospect.next_n),
        };
        if record {
            Self::recovery_moments(moment, &live, &mut moments);
        }
        let record_on = record && moment.until == Until::ProcessDeath;
        self.go_on(&mut live, moment, record_on.then_some(&mut moments))?;
        self.harshest_crash(live)
            .map_err(|broken| self.with_continuation(broken, moment, "opened"))?;
        self.second_handle(moment, opened)?;
        Ok(moments)
    }

    /// [`restart`](Self::restart), unless the same was passed.
    pub(crate) fn restart_once(&mut self, moment: &Moment<S>, image: World) -> Result<(), Broken> {
        let until = moment.until as u64;
        let check = mix(self.key(moment), mix(moment.prospect.next_n, until));
        let check = mix(image.full_hash(), mix(check, 0x4E57));
        if self.passed.is_some_and(|passed| passed.contains(check)) {
            return Ok(());
        }
        self.restart(moment, image, false)?;
        if let Some(passed) = self.passed {
            passed.insert(check);
        }
        Ok(())
    }

    /// The same on a second handle, on the disk that the first one `opened`: that may have synced what
    /// the second relies on, or have left undone what the second must not need.
    fn second_handle(&mut self, moment: &Moment<S>, opened: World) -> Result<(), Broken> {
        let check = mix(
            opened.full_hash(),
            mix(self.key(moment), moment.prospect.next_n),
        );
        if self.passed.is_some_and(|passed| passed.contains(check)) {
            return Ok(());
        }
        let sim = self.boot(opened);
        let mut store = self.open(&sim)?;
        let state = self.observe(&mut store, moment.allowed(), RECOVERED)?;
        let mut live = Live {
            sim,
            store,
            history: History::new(state, moment.prospect.next_n),
        };
        self.go_on(&mut live, moment, None)?;
        self.harshest_crash(live)
            .map_err(|broken| self.with_continuation(broken, moment, "opened twice"))?;
        if let Some(passed) = self.passed {
            passed.insert(check);
        }
        Ok(())
    }

    fn recovery_moments(moment: &Moment<S>, live: &Live<S>, moments: &mut Vec<Moment<S>>) {
        let prospect = &moment.prospect;
        let before = History::<S>::of(prospect.by_power_loss.to_vec(), prospect.next_n);
        let before = before.prospect(&prospect.interrupted, OPEN);
        let points = live.sim.take_points().into_iter();
        moments.extend(points.map(|point| before.moment(point)));
        // Opened: what was seen has been answered from, so it must not be lost any more.
        let after = live.history.prospect(&prospect.interrupted, OPEN);
        moments.push(after.end(live.sim.world(), Until::PowerLoss));
    }

    /// Uses the recovered store: it must accept and show what it is then given.
    fn go_on(
        &mut self,
        live: &mut Live<S>,
        moment: &Moment<S>,
        mut moments: Option<&mut Vec<Moment<S>>>,
    ) -> Result<(), Broken> {
        for op in self.subject.continuation(&moment.prospect.interrupted) {
            self.apply(live, &op)?;
            if let Some(moments) = moments.as_deref_mut() {
                self.collect(live, &op, moments);
            }
        }
        let newest = live.history.since(live.history.acknowledged);
        self.observe(
            &mut live.store,
            &newest,
            "a store shows what was done to it",
        )?;
        Ok(())
    }
}

const RECOVERED: &str = "what was acknowledged is there, whole, and nothing else";
