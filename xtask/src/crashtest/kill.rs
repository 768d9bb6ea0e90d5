//! The layer `kill`: a real process on the real disk, killed at random moments, again and again.
//!
//! The kernel survives, so this finds no missing sync; it finds what the simulator cannot: user-space
//! buffers, races between real threads, and a recovery that meets what a real kernel kept.
//!
//! The process tells its parent through a pipe what it begins, what has returned, and what was
//! acknowledged. The parent kills it after an acknowledgement or shortly after a phase began, reopens
//! the log in its own process and compares ([`oracle`]). The next process goes on where it ended.

mod args;
mod child;
mod line;
mod oracle;
pub(crate) mod store;
mod workload;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use durable_io::{Background, SyncMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wal::{Lsn, Options};

pub(crate) use args::ChildArgs;
pub(crate) use child::child;
use line::{Line, Step};
use oracle::{Found, Heard, Known, Phase};

use crate::crashtest::Context;
use crate::crashtest::process::{self, Process, SILENCE};
use crate::crashtest::progress::Progress;
use crate::crashtest::report::Kill;
use crate::crashtest::scratch::Scratch;

/// Small, so that the log rotates by itself every few hundred records.
const SEGMENT_SIZE: u64 = 64 << 10;

/// How many violations of one kill are shown.
const SHOWN: usize = 5;

/// The phases that must be hit.
const PHASES: [(Phase, &str); 4] = [
    (Phase::Append, "append"),
    (Phase::Rotate, "rotate"),
    (Phase::Truncate, "truncate"),
    (Phase::Recovery, "recovery"),
];

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
    /// False once it is reached, or three times the kills did not hit every phase, or something broke:
    /// what follows a broken store says nothing.
    fn wants_more(&self, kill: &Kill, time_left: bool) -> bool {
        let missed = kill.phases.iter().any(|&(_, kills)| kills == 0);
        let short = kill.kills < self.kills || kill.acknowledged < self.acknowledged;
        let hopeless = kill.kills >= 3 * self.kills;
        kill.findings.is_empty() && (short || time_left || missed && !hopeless)
    }
}

/// Kills until the bound is reached and every phase was hit, or something broke.
///
/// # Errors
/// The harness itself failed: no process, no directory. What the log did wrong is in the result.
pub(crate) fn run(context: &Context) -> anyhow::Result<Kill> {
    let bound = if context.full {
        Bound {
            kills: 240,
            acknowledged: 120_000,
        }
    } else {
        Bound {
            kills: 48,
            acknowledged: 15_000,
        }
    };
    let progress = Progress::new("wal kill", Some(bound.kills));
    let started = Instant::now();
    let mut judge = Judge::new(context)?;
    while bound.wants_more(&judge.kill, started.elapsed() < context.extra_time) {
        judge.round()?;
        progress.set(judge.kill.kills.min(bound.kills));
    }
    progress.finish(&judge.kill.summary());
    Ok(judge.kill)
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
        let rarest = named.filter(|((phase, _), _)| *phase != Phase::Append);
        let phase = rarest
            .min_by_key(|(_, count)| count.1)
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

#[derive(Debug)]
struct Judge {
    program: PathBuf,
    scratch: Scratch,
    rng: StdRng,
    seed: u64,
    plant: bool,
    /// Logs made so far; the current one's number.
    logs: u64,
    known: Known,
    kill: Kill,
}

impl Judge {
    fn new(context: &Context) -> anyhow::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            scratch: Scratch::new()?,
            rng: StdRng::seed_from_u64(context.seed),
            seed: context.seed,
            plant: context.plant,
            logs: 0,
            known: Known::new(),
            kill: Kill {
                phases: PHASES.iter().map(|&(_, name)| (name, 0)).collect(),
                ..Kill::default()
            },
        })
    }

    /// One process: started, killed, and its log judged.
    fn round(&mut self) -> anyhow::Result<()> {
        if self.logs == 0 || self.rng.random_bool(0.06) {
            self.fresh_log()?;
        }
        let mode = Mode::draw(&mut self.rng);
        let plan = self.plan();
        let heard = self.run_and_kill(mode, plan)?;
        self.kill.acknowledged += heard.acknowledged;
        let phase = heard.phase();
        for (count, (counted, _)) in self.kill.phases.iter_mut().zip(PHASES) {
            count.1 += u64::from(phase == counted);
        }
        self.kill.kills += 1;
        let findings = match recover(&self.log(), mode, self.rng.random_bool(0.2)) {
            Ok(found) => {
                let judgement = oracle::judge(&heard, &found);
                self.kill.recovered += found.records.len() as u64;
                self.kill.lost += judgement.lost;
                self.known = judgement.known;
                judgement.findings
            }
            Err(error) => {
                let mut findings = heard.complaints;
                findings.push(format!(
                    "the log did not open, or could not be read: {error:#}"
                ));
                findings
            }
        };
        if !findings.is_empty() {
            let (kills, seed, mode) = (self.kill.kills, self.seed, mode.word());
            let what = format!("kill {kills} of seed {seed} ({mode}, {plan}) fell into {phase:?}");
            show(&mut self.kill, what, findings);
        }
        Ok(())
    }

    fn fresh_log(&mut self) -> anyhow::Result<()> {
        if self.logs > 0 {
            std::fs::remove_dir_all(self.log())?;
        }
        self.logs += 1;
        self.known = Known::new();
        Ok(())
    }

    /// The current log's directory; its first process creates it.
    fn log(&self) -> PathBuf {
        self.scratch.path().join(format!("log-{}", self.logs))
    }

    /// Half of the kills fall anywhere, the other half into the phase that was hit least.
    fn plan(&mut self) -> Plan {
        if self.plant || self.rng.random_bool(0.5) {
            return Plan::anywhere(&mut self.rng);
        }
        Plan::into_rarest(&PHASES, &self.kill, &mut self.rng)
    }

    fn run_and_kill(&mut self, mode: Mode, plan: Plan) -> anyhow::Result<Heard> {
        let seed = self.rng.random();
        let words = ChildArgs::words("wal", &self.log(), mode, seed, &self.known.next, self.plant);
        let mut heard = Heard::new(&self.known);
        run_and_kill(&self.program, &words, plan, &mut |said| match said {
            Ok(line) => heard.hear(line),
            Err(complaint) => heard.complaints.push(complaint),
        })?;
        Ok(heard)
    }
}

/// Runs a process until `plan` says to kill it; `hear` gets every line that it says, and complaints.
fn run_and_kill(
    program: &Path,
    words: &[std::ffi::OsString],
    plan: Plan,
    hear: &mut dyn FnMut(Result<&Line, String>),
) -> anyhow::Result<()> {
    let mut victim = Victim::start(program, words)?;
    let (mut operations, mut begun) = (0, 0);
    while let Some(line) = victim.next_line(hear) {
        hear(Ok(&line));
        operations += u64::from(matches!(line, Line::Ack { .. }));
        let due = match plan {
            Plan::Acknowledged(wanted) => operations >= wanted,
            Plan::Begin { phase, nth, moment } => {
                begun += u64::from(begins(&line, phase));
                let due = begun >= nth && begins(&line, phase);
                if due {
                    spin(moment);
                }
                due
            }
        };
        if due {
            break;
        }
    }
    victim.kill()?;
    // What it said before it died is in the pipe.
    while let Some(line) = victim.next_line(hear) {
        hear(Ok(&line));
    }
    Ok(())
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

/// Recovers the log at `dir` in this process and reads all of it.
fn recover(dir: &Path, mode: Mode, close: bool) -> Result<Found, wal::Error> {
    let wal = Options::new()
        .sync(mode.sync_mode())
        .segment_size(SEGMENT_SIZE)
        .background(Background::Inline)
        .open(dir)?;
    let bounds = wal.bounds();
    let mut records = Vec::new();
    for record in wal.records(Lsn(0)) {
        let record = record?;
        records.push((record.lsn.0, record.payload));
    }
    // Usually only dropped, so that the next process finds a log that nobody closed.
    if close {
        wal.close()?;
    }
    Ok(Found {
        start: bounds.start.0,
        next: bounds.end.0,
        records,
    })
}
