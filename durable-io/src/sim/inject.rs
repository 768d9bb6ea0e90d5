//! Faults at every call: a reference run is repeated once for each call and each way in which that
//! call can fail, and each time the store must end up healthy or poisoned, and recover.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::disk::SimDisk;
use super::fault::{CallClass, Fault, FaultKind, SyncFailure};
use super::run::{Broken, Moment, Passed, Runner, Until, guarded, whole};
use super::subject::{Subject, Survives};
use super::world::World;

/// After this many failed operations a run is ended: a poisoned store fails them all.
const FAILURES: usize = 3;

/// After this time whatever was put off is tried again.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// What an injection run found.
#[derive(Clone, Debug, Default)]
pub struct Injection {
    /// Calls of the reference run.
    pub calls: u64,
    /// Faults injected, one run each.
    pub injected: u64,
    /// Runs whose fault never struck, because the run ended before: they prove nothing.
    pub unstruck: u64,
    /// Each broken promise, with the fault that led to it.
    pub violations: Vec<String>,
}

impl Injection {
    /// Adds what another run found.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.injected += other.injected;
        self.unstruck += other.unstruck;
        self.violations.extend(other.violations);
    }
}

/// What may be found after a run in which operations failed: a failed one has happened or has not.
struct Candidates<State> {
    /// Now, through the page cache.
    now: Vec<State>,
    /// After a power loss: everything since the last operation that was promised to survive one.
    durable: Vec<State>,
}

/// How long a fault lasts: once, for a while, and for ever.
const STRIKES: [u64; 3] = [1, 4, u64::MAX];

/// Repeats `ops` on an empty disk with every legal fault at every call, and from there on once, for a while
/// and for ever.
///
/// What refuses a call and changes nothing may poison nothing: when it is over the store must continue.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prove_your_own_store/counter.rs"));
/// use durable_io::sim::inject_everywhere;
///
/// # fn main() {
/// let subject = CounterSubject { syncs_directory: true };
/// let injection = inject_everywhere(&subject, &[1, 10], &|_so_far| {});
/// assert!(injection.injected > 20);
/// for violation in &injection.violations {
///     println!("{violation}");
/// }
/// # }
/// ```
pub fn inject_everywhere<S: Subject>(
    subject: &S,
    ops: &[S::Op],
    progress: &(dyn Fn(&Injection) + Sync),
) -> Injection {
    let classes = match reference_run(subject, ops) {
        Ok(classes) => classes,
        Err(broken) => {
            let violation = format!("without any fault: {}: {}", broken.promise, broken.detail);
            return Injection {
                violations: vec![violation],
                ..Injection::default()
            };
        }
    };
    let mut faults = Vec::new();
    for (call, class) in classes.iter().enumerate() {
        for kind in class.faults() {
            // What is repeated by design is met once.
            let lasting = STRIKES
                .iter()
                .filter(|strikes| **strikes == 1 || kind.may_be_sticky());
            faults.extend(lasting.map(|&strikes| {
                let fault = Fault {
                    call: call as u64,
                    kind,
                    sticky: strikes > 1,
                };
                (fault, strikes, *class)
            }));
        }
    }
    let passed = Passed::default();
    let mut report = on_all_cores(&faults, progress, &|(fault, strikes, class)| {
        let sim = SimDisk::new();
        sim.inject_for(*fault, *strikes);
        let after = After {
            reverts: fault.kind == FaultKind::Sync(SyncFailure::CacheReverts),
            goes_on: class.is_refused_by(fault.kind, fault.sticky),
        };
        let name = format!("{fault:?} ({class:?}), {strikes} times");
        run_with(subject, ops, &sim, &passed, &name, after)
    });
    report.calls = classes.len() as u64;
    report
}

/// Repeats `ops` on a disk of every size, from nothing to more than enough, in steps of a sector: on one that
/// writes in place, and on one that [copies on write](SimDisk::copy_on_write). Nothing may be poisoned by
/// it: as soon as there is space the store must continue.
pub fn fill_the_disk<S: Subject>(
    subject: &S,
    ops: &[S::Op],
    progress: &(dyn Fn(&Injection) + Sync),
) -> Injection {
    const STEP: usize = 512;
    let mut report = Injection::default();
    for (copies, what) in [(false, "a disk"), (true, "a disk that copies on write")] {
        let disk = |budget| {
            let sim = SimDisk::new();
            if copies {
                sim.copy_on_write();
            }
            sim.set_budget(Some(budget));
            sim
        };
        let full = disk(u64::MAX);
        // What goes wrong in it goes wrong on the largest disk, too.
        drop(do_all(subject, ops, &full));
        let budgets: Vec<u64> = (0..=full.most_used_bytes()).step_by(STEP).collect();
        let passed = Passed::default();
        report.add(on_all_cores(&budgets, progress, &|budget| {
            let fault = format!("{what} of {budget} bytes");
            run_with(subject, ops, &disk(*budget), &passed, &fault, AFTER_FULL)
        }));
    }
    report.calls = report.injected;
    report
}

/// What is known of a store after a fault.
#[derive(Clone, Copy)]
struct After {
    /// The kernel itself has dropped what it had: no store can keep it.
    reverts: bool,
    /// Nothing is poisoned.
    goes_on: bool,
}

const AFTER_FULL: After = After {
    reverts: false,
    goes_on: true,
};

/// Does `run` with each of `jobs`, and adds up what was found, in their order.
fn on_all_cores<J: Sync>(
    jobs: &[J],
    progress: &(dyn Fn(&Injection) + Sync),
    run: &(dyn Fn(&J) -> Injection + Sync),
) -> Injection {
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Injection::default(), Vec::new()));
    let work = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(nth) else {
                return;
            };
            let mut one = run(job);
            let violations = std::mem::take(&mut one.violations);
            let mut found = found.lock().expect("nothing panics with it");
            found.0.add(one);
            found
                .1
                .extend(violations.into_iter().map(|text| (nth, text)));
            progress(&found.0);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (mut report, mut violations) = found.into_inner().expect("nothing panics with it");
    violations.sort();
    report.violations = violations.into_iter().map(|(_, text)| text).collect();
    report
}

/// The class of each call of a run without faults.
fn reference_run<S: Subject>(subject: &S, ops: &[S::Op]) -> Result<Vec<CallClass>, Broken> {
    let sim = SimDisk::new();
    sim.classify_calls();
    do_all(subject, ops, &sim)?;
    Ok(sim.take_classes())
}

/// Opens a store, does `ops`, and reads it; its errors are nothing here.
fn do_all<S: Subject>(subject: &S, ops: &[S::Op], sim: &SimDisk) -> Result<(), Broken> {
    guarded(&"a run without faults", || {
        if let Ok(mut store) = subject.open(&sim.disk()) {
            for (n, op) in ops.iter().enumerate() {
                drop(subject.apply(&mut store, op, n as u64));
            }
            drop(subject.observe(&mut store));
        }
    })
}

fn run_with<S: Subject>(
    subject: &S,
    ops: &[S::Op],
    sim: &SimDisk,
    passed: &Passed,
    fault: &str,
    after: After,
) -> Injection {
    let mut report = Injection {
        injected: 1,
        ..Injection::default()
    };
    if let Err(broken) = whole(|| one_run(subject, ops, sim, passed, &mut report, after)) {
        let violation = format!("{fault}: {}: {}", broken.promise, broken.detail);
        report.violations.push(violation);
    }
    report
}

fn one_run<S: Subject>(
    subject: &S,
    ops: &[S::Op],
    sim: &SimDisk,
    passed: &Passed,
    report: &mut Injection,
    after: After,
) -> Result<(), Broken> {
    let empty = vec![subject.empty()];
    let mut candidates = Candidates {
        now: empty.clone(),
        durable: empty,
    };
    let mut interrupted = ops.first();
    let mut next_n = 0;
    let opened = guarded(&"opening the store", || subject.open(&sim.disk()))?;
    if let Ok(mut store) = opened {
        let (mut failures, mut goes_on) = (0, after.goes_on);
        for op in ops {
            interrupted = Some(op);
            let doing = format_args!("{op:?}");
            let applied = guarded(&doing, || subject.apply(&mut store, op, next_n))?;
            let failed = applied.is_err();
            failures += usize::from(failed);
            goes_on &= !(failed && subject.may_poison(op));
            candidates.after(subject, op, next_n, applied.ok());
            if failed && after.reverts {
                candidates.now.clone_from(&candidates.durable);
            }
            next_n += 1;
            if failures == FAILURES {
                break;
            }
        }
        let seen = guarded(&"reading", || subject.observe(&mut store))?;
        if let Ok(seen) = seen {
            candidates.must_explain(
                subject,
                &mut store,
                &seen,
                (interrupted, next_n),
                "a store that met a fault shows no wrong data",
            )?;
        }
        report.unstruck += u64::from(failures == 0 && sim.clear_fault() == 0);
        sim.clear_fault();
        sim.set_budget(None);
        let seen = guarded(&"reading", || subject.observe(&mut store))?;
        let seen = seen.map_err(|error| Broken {
            promise: "reads go on after a failed write or sync",
            detail: format!("reading answered: {error}"),
        })?;
        candidates.must_explain(
            subject,
            &mut store,
            &seen,
            (interrupted, next_n),
            "a poisoned store shows no wrong data",
        )?;
        if goes_on && let Some(op) = ops.first() {
            // What is put off after a failure is due by then.
            sim.advance(LONG);
            let doing = format_args!("{op:?}");
            let applied = guarded(&doing, || subject.apply(&mut store, op, next_n))?;
            candidates.after(subject, op, next_n, applied.as_ref().ok().copied());
            next_n += 1;
            applied.map_err(|error| Broken {
                promise: "a store continues when what was refused is over",
                detail: format!("it answered: {error}"),
            })?;
        }
    } else {
        sim.clear_fault();
        sim.set_budget(None);
    }
    let Some(interrupted) = interrupted else {
        return Ok(());
    };
    let mut runner = Runner::new(subject, &[], sim.world().unit).pass_over(passed);
    endings(&mut runner, &sim.world(), &candidates, interrupted, next_n)
}

/// Reopens on the same boot, and after the loss of power with nothing and with everything kept.
fn endings<S: Subject>(
    runner: &mut Runner<'_, S>,
    world: &World,
    candidates: &Candidates<S::State>,
    interrupted: &S::Op,
    next_n: u64,
) -> Result<(), Broken> {
    let mut end = |until: Until, allowed: &[S::State], image: World| {
        let moment = Moment::<S>::after_fault(image.clone(), until, allowed, interrupted, next_n);
        runner.restart_once(&moment, image)
    };
    end(Until::ProcessDeath, &candidates.now, world.clone())?;
    end(Until::PowerLoss, &candidates.durable, world.lose_unsynced())?;
    end(Until::PowerLoss, &candidates.durable, world.keep_unsynced())
}

impl<State: Clone + PartialEq> Candidates<State> {
    /// Operation `n` was acknowledged, or failed: then it may have happened or not.
    fn after<S: Subject<State = State>>(
        &mut self,
        subject: &S,
        op: &S::Op,
        n: u64,
        survives: Option<Survives>,
    ) {
        let then: Vec<State> = self
            .now
            .iter()
            .map(|state| subject.model(state, op, n))
            .collect();
        let refused = self.now.iter().filter(|_| survives.is_none());
        let partly: Vec<State> = refused
            .flat_map(|state| subject.partly(state, op, n))
            .collect();
        if survives.is_some() {
            self.now.clear();
        }
        for state in then.into_iter().chain(partly) {
            if !self.now.contains(&state) {
                self.now.push(state);
            }
        }
        if survives == Some(Survives::PowerLoss) {
            self.durable.clear();
        }
        for state in &self.now {
            if !self.durable.contains(state) {
                self.durable.push(state.clone());
            }
        }
    }

    /// What is seen is one of the states now; or, if the store refuses all further writes, one that
    /// is durable: a poisoned store need not show what it cannot vouch for.
    fn must_explain<S: Subject<State = State>>(
        &self,
        subject: &S,
        store: &mut S::Store,
        seen: &State,
        (op, n): (Option<&S::Op>, u64),
        promise: &'static str,
    ) -> Result<(), Broken>
    where
        State: std::fmt::Debug,
    {
        let among = |states: &[State]| states.iter().any(|state| subject.matches(state, seen));
        if among(&self.now) {
            return Ok(());
        }
        if among(&self.durable) && op.is_some_and(|op| subject.apply(store, op, n).is_err()) {
            return Ok(());
        }
        Err(Broken {
            promise,
            detail: super::run::expected(&self.now, seen),
        })
    }
}
