//! The layer `kill`: a real process on the real disk, killed at random moments, again and again.
//!
//! The kernel survives, so this finds no missing sync; it finds what the simulator cannot: user-space
//! buffers, races between real threads, and a recovery that meets what a real kernel kept.
//!
//! The process tells its parent through a pipe what it begins, what has returned, and what was
//! acknowledged. The parent kills it after an acknowledgement, shortly after a phase began, or when it sees
//! one in the files; then it reopens the store in its own process and compares ([`Subject`]). The next
//! process goes on where it ended.

mod args;
mod child;
mod line;
pub(crate) mod log;
mod oracle;
pub(crate) mod store;
mod workload;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use durable_io::SyncMode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) use args::ChildArgs;
use line::{Line, Step};
use oracle::Phase;

use crate::crashtest::Context;
use crate::crashtest::process::{self, Process, SILENCE};
use crate::crashtest::progress::Progress;
use crate::crashtest::report::Kill;
use crate::crashtest::scratch::Scratch;

/// How many violations of one kill are shown.
const SHOWN: usize = 5;

/// How long one step is watched for a phase of it, and how many more steps before the kill falls anywhere.
const WATCHED: Duration = Duration::from_millis(50);
const PATIENCE: u64 = 20;

/// The [`SyncMode`] of one process, as a word. A kill loses nothing in any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Always,
    Batch,
    Manual,
}

impl Mode {
    /// One of them, mostly `Always`.
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0..7 => Self::Always,
            7 | 8 => Self::Batch,
            _ => Self::Manual,
        }
    }

    fn sync_mode(self) -> SyncMode {
        match self {
            Self::Always => SyncMode::Always,
            Self::Batch => SyncMode::Batch {
                writes: 50,
                interval: Duration::from_millis(5),
            },
            Self::Manual => SyncMode::Manual,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Batch => "batch",
            Self::Manual => "manual",
        }
    }
}

/// How many kills and acknowledgements make the layer done.
#[derive(Debug)]
struct Bound {
    kills: u64,
    acknowledged: u64,
}

impl Bound {
    /// That of `context`; the short one has so many `kills` and acknowledgements.
    fn of(context: &Context, kills: u64, acknowledged: u64) -> Self {
        if context.full {
            Self {
                kills: 240,
                acknowledged: 120_000,
            }
        } else {
            Self {
                kills,
                acknowledged,
            }
        }
    }

    /// False once it is reached, or three times the kills did not hit every phase, or something broke:
    /// what follows a broken store says nothing.
    fn wants_more(&self, kill: &Kill, time_left: bool) -> bool {
        let missed = kill.phases.iter().any(|&(_, kills)| kills == 0);
        let short = kill.kills < self.kills || kill.acknowledged < self.acknowledged;
        let hopeless = kill.kills >= 3 * self.kills;
        kill.findings.is_empty() && (short || time_left || missed && !hopeless)
    }
}

/// A store that is killed, and what is known of it.
trait Subject {
    /// What the command line calls it.
    const ENGINE: &'static str;
    /// The phases that must be hit.
    const PHASES: &'static [(Phase, &'static str)];
    /// Which part of the kills falls anywhere, the others into the phase that was hit least.
    const ANYWHERE: f64;
    /// What a process said before it was killed.
    type Heard;

    /// A new store: nothing is known any more.
    fn begin_anew(&mut self);

    /// The number each writer goes on with.
    fn next(&self) -> &[u64];

    /// Nothing yet of the next process.
    fn listen(&self) -> Self::Heard;

    /// Takes in what the process said, or what is wrong with it.
    fn hear(&mut self, heard: &mut Self::Heard, said: Result<&Line, String>);

    /// True if the process, which runs, seems to be in `phase`, as far as `dir` tells; `None` if `phase` cannot
    /// be seen there.
    fn sees(&self, phase: Phase, dir: &Path) -> Option<bool>;

    /// Where the kill fell, from what was said and from what it left in `dir`; which is not open yet.
    fn phase(&self, heard: &Self::Heard, dir: &Path) -> anyhow::Result<Phase>;

    /// Recovers the store in `dir`, compares, and learns what became of the operations in flight. Returns
    /// what is wrong.
    fn judge(
        &mut self,
        heard: Self::Heard,
        dir: &Path,
        mode: Mode,
        rng: &mut StdRng,
        kill: &mut Kill,
    ) -> Vec<String>;
}

/// Kills until the bound is reached and every phase was hit, or something broke.
///
/// # Errors
/// The harness itself failed: no process, no directory. What the store did wrong is in the result.
fn run<S: Subject>(context: &Context, bound: &Bound, subject: S) -> anyhow::Result<Kill> {
    let progress = Progress::new(&format!("{} kill", S::ENGINE), Some(bound.kills));
    let started = Instant::now();
    let mut judge = Judge::new(context, subject)?;
    while bound.wants_more(&judge.kill, started.elapsed() < context.extra_time) {
        judge.round()?;
        progress.set(judge.kill.kills.min(bound.kills));
    }
    progress.finish(&judge.kill.summary());
    Ok(judge.kill)
}

#[derive(Debug)]
struct Judge<S> {
    program: PathBuf,
    scratch: Scratch,
    rng: StdRng,
    seed: u64,
    plant: bool,
    /// Stores made so far; the current one's number.
    stores: u64,
    subject: S,
    kill: Kill,
}

impl<S: Subject> Judge<S> {
    fn new(context: &Context, subject: S) -> anyhow::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            scratch: Scratch::new()?,
            rng: StdRng::seed_from_u64(context.seed),
            seed: context.seed,
            plant: context.plant,
            stores: 0,
            subject,
            kill: Kill {
                phases: S::PHASES.iter().map(|&(_, name)| (name, 0)).collect(),
                ..Kill::default()
            },
        })
    }

    /// One process: started, killed, and its store judged.
    fn round(&mut self) -> anyhow::Result<()> {
        if self.stores == 0 || self.rng.random_bool(0.06) {
            self.fresh_store()?;
        }
        let dir = self.store();
        let mode = Mode::draw(&mut self.rng);
        let plan = self.plan();
        let heard = self.run_and_kill(mode, plan)?;
        let phase = self.subject.phase(&heard, &dir)?;
        for (count, (counted, _)) in self.kill.phases.iter_mut().zip(S::PHASES) {
            count.1 += u64::from(phase == *counted);
        }
        self.kill.kills += 1;
        let (rng, kill) = (&mut self.rng, &mut self.kill);
        let findings = self.subject.judge(heard, &dir, mode, rng, kill);
        if !findings.is_empty() {
            let (kills, seed, mode) = (self.kill.kills, self.seed, mode.word());
            let what = format!("kill {kills} of seed {seed} ({mode}, {plan}) fell into {phase:?}");
            show(&mut self.kill, what, findings);
        }
        Ok(())
    }

    fn fresh_store(&mut self) -> anyhow::Result<()> {
        if self.stores > 0 {
            std::fs::remove_dir_all(self.store())?;
        }
        self.stores += 1;
        self.subject.begin_anew();
        Ok(())
    }

    /// The current store's directory; its first process creates it.
    fn store(&self) -> PathBuf {
        self.scratch.path().join(format!("store-{}", self.stores))
    }

    fn plan(&mut self) -> Plan {
        if self.plant || self.rng.random_bool(S::ANYWHERE) {
            return Plan::anywhere(&mut self.rng);
        }
        Plan::into_rarest(S::PHASES, &self.kill, &mut self.rng)
    }

    fn run_and_kill(&mut self, mode: Mode, plan: Plan) -> anyhow::Result<S::Heard> {
        let seed = self.rng.random();
        let (dir, next) = (self.store(), self.subject.next());
        let words = ChildArgs::words(S::ENGINE, &dir, mode, seed, next, self.plant);
        let mut heard = self.subject.listen();
        let mut victim = Victim::start(&self.program, &words)?;
        let mut due = Due::new(plan);
        while let Some(line) = victim.next_line(&mut |said| self.subject.hear(&mut heard, said)) {
            self.subject.hear(&mut heard, Ok(&line));
            if due.is_now(&line, &|phase| self.subject.sees(phase, &dir)) {
                break;
            }
        }
        victim.kill()?;
        // What it said before it died is in the pipe.
        while let Some(line) = victim.next_line(&mut |said| self.subject.hear(&mut heard, said)) {
            self.subject.hear(&mut heard, Ok(&line));
        }
        Ok(heard)
    }
}

/// Notes what was wrong after a kill.
fn show(kill: &mut Kill, what: String, findings: Vec<String>) {
    kill.findings.push(what);
    // What follows from the first few says nothing new.
    let more = findings.len().saturating_sub(SHOWN);
    kill.findings.extend(findings.into_iter().take(SHOWN));
    if more > 0 {
        kill.findings.push(format!("and {more} more"));
    }
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// After this many acknowledged operations.
    Acknowledged(u64),
    /// When the step begins for the `nth` time, and a moment later.
    Begin {
        phase: Phase,
        nth: u64,
        moment: Duration,
    },
}

impl Plan {
    /// Anywhere.
    fn anywhere(rng: &mut StdRng) -> Self {
        Self::Acknowledged(rng.random_range(1..800))
    }

    /// Into the one of `phases` that was hit least by `kill`.
    fn into_rarest(phases: &[(Phase, &str)], kill: &Kill, rng: &mut StdRng) -> Self {
        let named = phases.iter().zip(&kill.phases);
        let aimed = named.filter(|((phase, _), _)| *phase != Phase::Append);
        // Of several any, so that none that is hard to hit takes all the kills of the others.
        let phase = aimed
            .min_by_key(|(_, count)| (count.1, rng.random::<u32>()))
            .map(|((phase, _), _)| *phase);
        // Moments are spread evenly over orders of magnitude: 1 us to 4 ms.
        let longest = 1 << rng.random_range(0..13);
        Self::Begin {
            phase: phase.unwrap_or(Phase::Recovery),
            nth: rng.random_range(1..4),
            moment: Duration::from_micros(rng.random_range(0..longest)),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged(operations) => {
                write!(f, "due after {operations} acknowledged operations")
            }
            Self::Begin { phase, nth, moment } => {
                write!(
                    f,
                    "due {moment:?} after {phase:?} began for the {nth}. time"
                )
            }
        }
    }
}

/// Whether a plan's moment has come, line by line of what the process says.
struct Due {
    plan: Plan,
    acknowledged: u64,
    begun: u64,
}

impl Due {
    fn new(plan: Plan) -> Self {
        Self {
            plan,
            acknowledged: 0,
            begun: 0,
        }
    }

    /// Returns at that moment if it is behind `line`.
    fn is_now(&mut self, line: &Line, sees: &dyn Fn(Phase) -> Option<bool>) -> bool {
        match self.plan {
            Plan::Acknowledged(wanted) => {
                self.acknowledged += u64::from(matches!(line, Line::Ack { .. }));
                self.acknowledged >= wanted
            }
            Plan::Begin { phase, nth, moment } if begins(line, phase) => {
                self.begun += 1;
                self.begun >= nth && (self.begun >= nth + PATIENCE || comes(phase, moment, sees))
            }
            Plan::Begin { .. } => false,
        }
    }
}

/// Waits for `phase` of a step that has begun: until it is seen, or for `moment` if it cannot be. False if it
/// does not come.
fn comes(phase: Phase, moment: Duration, sees: &dyn Fn(Phase) -> Option<bool>) -> bool {
    let started = Instant::now();
    loop {
        match sees(phase) {
            None => {
                spin(moment);
                return true;
            }
            Some(true) => return true,
            Some(false) if started.elapsed() > WATCHED => return false,
            Some(false) => {}
        }
    }
}

fn begins(line: &Line, phase: Phase) -> bool {
    match line {
        Line::Begin(Step::Open) => phase == Phase::Recovery,
        Line::Begin(Step::Rotate) => phase == Phase::Rotate,
        Line::Begin(Step::Truncate(_)) => phase == Phase::Truncate,
        Line::Begin(Step::Merge) => matches!(
            phase,
            Phase::Merge | Phase::MergeOutput | Phase::MergeManifest | Phase::MergeInputs
        ),
        Line::Begin(Step::Close) => phase == Phase::Close,
        Line::End(_) | Line::Ack { .. } | Line::Failed(_) => false,
    }
}

/// Waits for `moment` without giving up the processor: a moment is shorter than a time slice.
fn spin(moment: Duration) {
    let started = Instant::now();
    while started.elapsed() < moment {
        std::hint::spin_loop();
    }
}

/// The process, and whether it was killed: before that, it must not end.
struct Victim {
    process: Process,
    killed: bool,
    has_failed: bool,
}

impl Victim {
    fn start(program: &Path, words: &[std::ffi::OsString]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        let process = Process::start(command.args(words).stdin(Stdio::null()))
            .context("cannot start the process to be killed")?;
        Ok(Self {
            process,
            killed: false,
            has_failed: false,
        })
    }

    /// The next line, or `None` at the end of the pipe. Silence and nonsense are complaints.
    fn next_line(&mut self, hear: &mut dyn FnMut(Result<&Line, String>)) -> Option<Line> {
        let text = match self.process.hear(SILENCE) {
            process::Heard::Line(text) => text,
            process::Heard::End => {
                if !self.killed && !self.has_failed {
                    hear(Err("the process ended by itself".to_owned()));
                }
                return None;
            }
            process::Heard::Silence => {
                hear(Err(format!("the process hung for {} s", SILENCE.as_secs())));
                return None;
            }
        };
        let line = Line::parse(&text);
        match &line {
            // It has said why it ends.
            Some(Line::Failed(_)) => self.has_failed = true,
            Some(_) => {}
            None => hear(Err(format!("the process said {text:?}"))),
        }
        line
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.killed = true;
        Ok(self.process.kill()?)
    }
}
