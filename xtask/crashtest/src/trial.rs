//! A subject before the judge, as data: how long its sequences are, which of its barriers are left out,
//! which run is broken by faults.

use std::fmt;

use durable_io::Site;
use durable_io::sim::{
    Bound, Explorer, Injection, Subject, Tape, fill_the_disk, inject_everywhere, spoil_everywhere,
};

use crate::Context;
use crate::barriers::Removals;
use crate::progress::{Progress, print};
use crate::report::{Faults, Sim};
use crate::sim;

/// One subject of an engine, and what the layers `sim`, `barriers` and `faults` do with it. A new one is
/// left out of all of them.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something else of an exploration"
)]
#[derive(Debug)]
pub struct Trial<S: Subject<Op: 'static>> {
    /// The engine's name and what is special: the name of its runs and tapes.
    name: &'static str,
    subject: S,
    /// The longest sequences of the short run and of the full one.
    lengths: Option<[usize; 2]>,
    unit: usize,
    /// In the short run.
    states_per_point: Option<u64>,
    whole_up_to: Option<u64>,
    process_deaths: bool,
    nested: bool,
    /// The longest sequences without a barrier, and whether recoveries are interrupted, too.
    removal: Option<(usize, bool)>,
    soaks: bool,
    only_with_full: bool,
    faulted: &'static [S::Op],
}

impl<S: Subject<Op: 'static>> Trial<S> {
    /// `subject`, called `name` in reports and tapes: the engine's name, then what is special.
    pub const fn new(name: &'static str, subject: S) -> Self {
        Self {
            name,
            subject,
            lengths: None,
            unit: 512,
            states_per_point: None,
            whole_up_to: None,
            process_deaths: true,
            nested: true,
            removal: None,
            soaks: false,
            only_with_full: false,
            faulted: &[],
        }
    }

    /// Every sequence of up to `short` operations is run, with `--full` of up to `full`.
    #[must_use]
    pub const fn lengths(mut self, short: usize, full: usize) -> Self {
        self.lengths = Some([short, full]);
        self
    }

    /// The disk tears at `unit` bytes, not at 512.
    #[must_use]
    pub const fn unit(mut self, unit: usize) -> Self {
        self.unit = unit;
        self
    }

    /// In the short run, an instant with more crash states than `states` is sampled, and counted so.
    #[must_use]
    pub const fn sampled_above(mut self, states: u64) -> Self {
        self.states_per_point = Some(states);
        self
    }

    /// An instant with up to `states` crash states is looked at in all of them, in place of the usual bound.
    #[must_use]
    pub const fn whole_up_to(mut self, states: u64) -> Self {
        self.whole_up_to = Some(states);
        self
    }

    /// Power is lost, and lost again in the recovery; but no process dies before that. Each death leaves
    /// very many moments at which power can be lost: so the longer sequences of a large store go without.
    #[must_use]
    pub const fn without_process_deaths(mut self) -> Self {
        self.process_deaths = false;
        self
    }

    /// No crashes in recoveries: what tears at 512 bytes in a store of many files has very many of them.
    #[must_use]
    pub const fn without_nested(mut self) -> Self {
        self.nested = false;
        self
    }

    /// Each barrier that the exploration reaches is left out of every sequence of up to `length`
    /// operations.
    #[must_use]
    pub const fn removal(mut self, length: usize) -> Self {
        self.removal = Some((length, true));
        self
    }

    /// As [`removal`](Self::removal), without crashes in recoveries: where a recovery is long, those are
    /// very many states.
    #[must_use]
    pub const fn shallow_removal(mut self, length: usize) -> Self {
        self.removal = Some((length, false));
        self
    }

    /// Nothing is explored without `--full`: for what takes minutes at any length.
    #[must_use]
    pub const fn only_with_full(mut self) -> Self {
        self.only_with_full = true;
        self
    }

    /// With `--minutes`, longer sequences are drawn.
    #[must_use]
    pub const fn soaks(mut self) -> Self {
        self.soaks = true;
        self
    }

    /// Every call of the run of `ops` fails in every way, once and from then on, and the disk is full at
    /// every size.
    #[must_use]
    pub const fn faulted(mut self, ops: &'static [S::Op]) -> Self {
        self.faulted = ops;
        self
    }

    /// The same as one of many.
    pub fn boxed(self) -> AnyTrial
    where
        S: 'static,
    {
        AnyTrial(Box::new(self))
    }
}

/// A [`Trial`] of whatever subject.
pub struct AnyTrial(pub(crate) Box<dyn Judged>);

impl fmt::Debug for AnyTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyTrial").field(&self.0.name()).finish()
    }
}

/// What the layers do with a trial.
pub(crate) trait Judged {
    /// The subject's name.
    fn name(&self) -> &'static str;

    /// True if longer sequences are to be drawn.
    fn soaks(&self) -> bool;

    /// Explores, and leaves out barriers.
    ///
    /// # Errors
    /// A tape that cannot be kept.
    fn explore(
        &self,
        context: &Context<'_>,
        sim: &mut Sim,
        removals: &mut Removals,
    ) -> anyhow::Result<()>;

    /// Draws longer sequences for `context.extra_time` divided by `share`.
    ///
    /// # Errors
    /// A tape that cannot be kept.
    fn soak(&self, context: &Context<'_>, share: u32, sim: &mut Sim) -> anyhow::Result<()>;

    /// Injects faults, fills disks and spoils sectors.
    fn inject(&self, faults: &mut Faults);

    /// Runs a tape and prints what it breaks; true if it breaks nothing.
    ///
    /// # Errors
    /// What is no tape of this subject.
    fn replay(&self, tape: &str) -> anyhow::Result<bool>;
}

impl<S: Subject<Op: 'static>> Judged for Trial<S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn soaks(&self) -> bool {
        self.soaks
    }

    fn explore(
        &self,
        context: &Context<'_>,
        sim: &mut Sim,
        removals: &mut Removals,
    ) -> anyhow::Result<()> {
        let Some([short, full]) = self.lengths else {
            return Ok(());
        };
        if self.only_with_full && !context.full {
            return Ok(());
        }
        let length = if context.full { full } else { short };
        let whole = sim::bound(length);
        let most = self.whole_up_to.unwrap_or(whole.states_per_point);
        let sampled = self.states_per_point.filter(|_| !context.full);
        let bound = Bound {
            unit: self.unit,
            process_deaths: self.process_deaths,
            nested: self.nested,
            states_per_point: sampled.unwrap_or(most),
            ..whole
        };
        let explored = sim::explore(context, self.name, &self.subject, &bound, sim)?;
        if let Some((longest, nested)) = self.removal {
            // Within what the complete store has just passed.
            let bound = Bound {
                length: length.min(longest),
                nested,
                ..bound
            };
            removals.run(self.name, &self.subject, &bound, &explored);
        }
        Ok(())
    }

    fn soak(&self, context: &Context<'_>, share: u32, sim: &mut Sim) -> anyhow::Result<()> {
        let time = context.extra_time / share;
        sim::soak(context, self.name, &self.subject, time, sim)
    }

    fn inject(&self, faults: &mut Faults) {
        if !self.faulted.is_empty() {
            let name = format!("{} faults", self.name);
            inject(&name, &self.subject, self.faulted, faults);
        }
    }

    fn replay(&self, tape: &str) -> anyhow::Result<bool> {
        let (tape, without): (Tape, Vec<Site>) =
            Tape::from_text(&self.subject, tape).map_err(anyhow::Error::msg)?;
        let explorer = Explorer::new(&self.subject).without(&without);
        let broken = explorer.replay(&tape);
        match &broken {
            Some(example) => print(&example.to_string()),
            None => print("the tape breaks nothing"),
        }
        Ok(broken.is_none())
    }
}

/// The layer `faults`: injects everything into the run of `ops`. After each fault the store must be healthy
/// or poisoned, and nothing acknowledged may be lost, whether it continues, is opened again, or loses power.
fn inject<S: Subject>(name: &str, subject: &S, ops: &[S::Op], faults: &mut Faults) {
    let progress = Progress::new(name, None);
    let show = |injection: &Injection| progress.set(injection.injected);
    let everywhere = inject_everywhere(subject, ops, &show);
    let full = fill_the_disk(subject, ops, &show);
    let spoilt = spoil_everywhere(subject, ops, &show);
    let summary = format!(
        "{} calls, {} faults, {} sizes of a full disk, {} sectors: {} violations",
        everywhere.calls,
        everywhere.injected,
        full.injected,
        spoilt.injected,
        everywhere.violations.len() + full.violations.len() + spoilt.violations.len()
    );
    if everywhere.unstruck > 0 {
        let unstruck = everywhere.unstruck;
        let finding = format!("{name}: {unstruck} faults struck no call, and prove nothing");
        faults.findings.push(finding);
    }
    for injection in [everywhere, full, spoilt] {
        faults.injected += injection.injected;
        faults.violations += injection.violations.len() as u64;
        let findings = injection.violations.into_iter();
        faults
            .findings
            .extend(findings.map(|finding| format!("{name}: {finding}")));
    }
    progress.finish(&summary);
}
