//! The layer `kill`: a real process on the real disk, killed at random moments, again and again.
//!
//! The kernel survives, so this finds no missing sync; it finds what the simulator cannot: user-space
//! buffers, races between real threads, and a recovery that meets what a real kernel kept.
//!
//! The process ([`child`]) tells its parent through a pipe what it begins, what has returned, and what was
//! acknowledged ([`line`]). The parent kills it after an acknowledgement, shortly after a phase began, or when it
//! sees one in the files ([`plan`]); then it reopens the store in its own process and compares ([`writers`]). The
//! next process continues where it ended.

mod child;
mod line;
mod plan;
mod writers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use durable_io::{Background, Disk, SyncMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use child::KillChild;
use line::Line;
use plan::{Due, Plan, RECOVERY, WRITE};
use writers::Known;

use crate::Context;
use crate::engine::{Contents, Engine, Killing, Outcome, Setting};
use crate::process::{self, Process, SILENCE};
use crate::progress::Progress;
use crate::report::Kill;
use crate::scratch::Scratch;

/// Small, so that the store continues elsewhere every few hundred writes.
const SIZE: u64 = 64 << 10;

/// How many violations of one kill are shown.
const SHOWN: usize = 5;

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

/// How the store in `dir` is opened, by the process and by its judge.
fn setting(dir: &Path, mode: Mode, background: Background) -> Setting {
    Setting {
        sync: mode.sync_mode(),
        background,
        reserve: SIZE,
        ..Setting::new(Disk::os(), dir, SIZE)
    }
}

/// How many kills and acknowledgements make the layer done.
#[derive(Debug)]
struct Bound {
    kills: u64,
    acknowledged: u64,
}

impl Bound {
    fn of(context: &Context<'_>, killing: &Killing) -> Self {
        if context.full {
            Self {
                kills: 240,
                acknowledged: 120_000,
            }
        } else {
            Self {
                kills: killing.kills,
                acknowledged: killing.acknowledged,
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

/// Kills until the bound is reached and every phase was hit, or something broke.
///
/// # Errors
/// The harness itself failed: no process, no directory. What the store did wrong is in the result.
pub(crate) fn run(
    engine: &'static dyn Engine,
    killing: &Killing,
    context: &Context<'_>,
) -> anyhow::Result<Kill> {
    let bound = Bound::of(context, killing);
    let progress = Progress::new(&format!("{} kill", engine.name()), Some(bound.kills));
    let started = Instant::now();
    let mut judge = Judge::new(engine, killing, context)?;
    while bound.wants_more(&judge.kill, started.elapsed() < context.extra_time) {
        judge.round()?;
        progress.set(judge.kill.kills.min(bound.kills));
    }
    progress.finish(&judge.kill.summary());
    Ok(judge.kill)
}

#[derive(Debug)]
struct Judge {
    engine: &'static dyn Engine,
    chores: &'static [&'static str],
    program: PathBuf,
    scratch: Scratch,
    rng: StdRng,
    seed: u64,
    plant: bool,
    /// Stores made so far; the current one's number.
    stores: u64,
    known: Known,
    kill: Kill,
}

/// What a process said before it was killed.
#[derive(Debug, Default)]
struct Heard {
    /// The steps that have begun and not ended.
    running: Vec<String>,
    acknowledged: u64,
    complaints: Vec<String>,
}

impl Judge {
    fn new(
        engine: &'static dyn Engine,
        killing: &Killing,
        context: &Context<'_>,
    ) -> anyhow::Result<Self> {
        let mut phases = vec![(WRITE, 0)];
        phases.extend(killing.phases.iter().map(|&phase| (phase, 0)));
        phases.push((RECOVERY, 0));
        Ok(Self {
            engine,
            chores: killing.chores,
            program: std::env::current_exe()?,
            scratch: Scratch::new()?,
            rng: StdRng::seed_from_u64(context.seed),
            seed: context.seed,
            plant: context.plant,
            stores: 0,
            known: Known::new(),
            kill: Kill {
                phases,
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
        let phase = self.phase(&heard, &dir)?;
        if let Some((_, kills)) = self.kill.phases.iter_mut().find(|(name, _)| *name == phase) {
            *kills += 1;
        }
        self.kill.kills += 1;
        self.kill.acknowledged += heard.acknowledged;
        let mut findings = heard.complaints;
        match self.recover(&dir, mode, &mut findings) {
            Ok(found) => {
                self.kill.recovered += found.len() as u64;
                self.kill.lost += self.known.compare(&found, &mut findings);
            }
            Err(error) => findings.push(format!(
                "the store did not open, or could not be read: {error}"
            )),
        }
        if !findings.is_empty() {
            let (kills, seed, mode) = (self.kill.kills, self.seed, mode.word());
            let what = format!("kill {kills} of seed {seed} ({mode}, {plan}) fell into {phase}");
            show(&mut self.kill, what, findings);
        }
        Ok(())
    }

    fn fresh_store(&mut self) -> anyhow::Result<()> {
        if self.stores > 0 {
            std::fs::remove_dir_all(self.store())?;
        }
        self.stores += 1;
        self.known = Known::new();
        Ok(())
    }

    /// The current store's directory; its first process creates it.
    fn store(&self) -> PathBuf {
        self.scratch.path().join(format!("store-{}", self.stores))
    }

    fn plan(&mut self) -> Plan {
        if self.plant || self.rng.random_bool(plan::ANYWHERE) {
            return Plan::anywhere(&mut self.rng);
        }
        Plan::into_rarest(&self.kill.phases, &mut self.rng)
    }

    /// Which of the chores a process is doing.
    fn chore(&self, running: &[String]) -> Option<&'static str> {
        let mut chores = self.chores.iter().copied();
        chores.find(|chore| running.iter().any(|step| step == chore))
    }

    /// Where the kill fell, from what was said and from what it left in `dir`; which is not open yet.
    fn phase(&self, heard: &Heard, dir: &Path) -> anyhow::Result<&'static str> {
        let chore = self.chore(&heard.running);
        let left = self
            .engine
            .phase(dir, chore)
            .map_err(anyhow::Error::from_boxed)?;
        let is_running = |step: &str| heard.running.iter().any(|running| running == step);
        Ok(match left {
            Some(phase) => phase,
            None if is_running(line::OPEN) => RECOVERY,
            None if is_running(line::CLOSE) => line::CLOSE,
            None => chore.unwrap_or(WRITE),
        })
    }

    fn run_and_kill(&mut self, mode: Mode, plan: Plan) -> anyhow::Result<Heard> {
        let (seed, dir, next) = (self.rng.random(), self.store(), self.known.next());
        let words = KillChild::words(self.engine, &dir, mode, seed, &next, self.plant);
        let mut heard = Heard::default();
        let mut victim = Victim::start(&self.program, &words)?;
        let mut due = Due::new(plan);
        let (engine, chores) = (self.engine, self.chores);
        let sees = |phase: &str| {
            // Files come and go meanwhile: an error is no sight.
            let seen = engine.phase(&dir, plan::chore_of(phase, chores));
            matches!(seen, Ok(Some(seen)) if seen == phase)
        };
        while let Some(line) = victim.next_line(&mut heard) {
            heard.hear(&line, &mut self.known);
            if due.is_now(&line, &sees) {
                break;
            }
        }
        victim.kill()?;
        // What it said before it died is in the pipe.
        while let Some(line) = victim.next_line(&mut heard) {
            heard.hear(&line, &mut self.known);
        }
        Ok(heard)
    }

    /// Recovers the store in `dir` in this process and reads all of it.
    fn recover(&mut self, dir: &Path, mode: Mode, findings: &mut Vec<String>) -> Outcome<Contents> {
        let store = self.engine.open(&setting(dir, mode, Background::Inline))?;
        let contents = store.dump()?;
        if self.rng.random_bool(0.2) {
            for chore in self.chores {
                store.chore(chore, self.rng.random())?;
                if store.dump()? != contents {
                    findings.push(format!("a {chore} after recovery changed what is there"));
                }
            }
        }
        // Usually only dropped, so that the next process finds a store that nobody closed.
        if self.rng.random_bool(0.2) {
            store.close()?;
        }
        Ok(contents)
    }
}

impl Heard {
    /// Takes in the next line.
    fn hear(&mut self, line: &Line, known: &mut Known) {
        match line {
            Line::Begin(step) => self.running.push(step.clone()),
            Line::End(step) => self.running.retain(|running| running != step),
            Line::Failed(error) => self.complaints.push(format!("the process failed: {error}")),
            Line::Ack { writer, n } => {
                self.acknowledged += 1;
                known.acknowledged(*writer, *n);
            }
        }
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
    fn next_line(&mut self, heard: &mut Heard) -> Option<Line> {
        let text = match self.process.hear(SILENCE) {
            process::Heard::Line(text) => text,
            process::Heard::End => {
                if !self.killed && !self.has_failed {
                    heard
                        .complaints
                        .push("the process ended by itself".to_owned());
                }
                return None;
            }
            process::Heard::Silence => {
                heard
                    .complaints
                    .push(format!("the process hung for {} s", SILENCE.as_secs()));
                return None;
            }
        };
        let line = Line::parse(&text);
        match &line {
            // It has said why it ends.
            Some(Line::Failed(_)) => self.has_failed = true,
            Some(_) => {}
            None => heard.complaints.push(format!("the process said {text:?}")),
        }
        line
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.killed = true;
        Ok(self.process.kill()?)
    }
}
