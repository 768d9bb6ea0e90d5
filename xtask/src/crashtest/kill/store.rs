//! The layer `kill` on the hash-indexed store: writers, each with keys of its own, and a merge beside
//! them.
//!
//! Since every writer does one operation at a time, and each operation is a function of its number,
//! what its keys hold after a kill must be what they held after the last acknowledged operation, or
//! after the one in flight.

mod child;
mod left;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bitcask::{Background, Bitcask, MergePolicy, Options};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) use child::child;
use workload::{Model, WRITERS};

use super::line::{Line, Step};
use super::oracle::Phase;
use super::{Bound, ChildArgs, Mode, Plan, run_and_kill, show};
use crate::crashtest::Context;
use crate::crashtest::progress::Progress;
use crate::crashtest::report::Kill;
use crate::crashtest::scratch::Scratch;

/// Small, so that the store rotates by itself every few hundred writes.
const DATA_FILE_SIZE: u64 = 64 << 10;

/// The phases that must be hit.
const PHASES: [(Phase, &str); 7] = [
    (Phase::Append, "write"),
    (Phase::Rotate, "rotate"),
    (Phase::Merge, "merge before its output"),
    (Phase::MergeOutput, "merge with an output"),
    (Phase::MergeManifest, "merge writing the manifest"),
    (Phase::MergeInputs, "merge giving up its inputs"),
    (Phase::Recovery, "recovery"),
];

/// The options of every open of the layer.
fn options(mode: Mode) -> Options {
    let policy = MergePolicy::new()
        .trigger_dead_percent(40)
        .threshold_dead_percent(20);
    Options::new()
        .sync(mode.sync_mode())
        .data_file_size(DATA_FILE_SIZE)
        .reserve(64 << 10)
        .merge_policy(policy)
}

/// Kills until the bound is reached and every phase was hit, or something broke.
///
/// # Errors
/// The harness itself failed: no process, no directory. What the store did wrong is in the result.
pub(crate) fn run(context: &Context) -> anyhow::Result<Kill> {
    let bound = if context.full {
        Bound {
            kills: 240,
            acknowledged: 120_000,
        }
    } else {
        Bound {
            kills: 40,
            acknowledged: 12_000,
        }
    };
    let progress = Progress::new("bitcask kill", Some(bound.kills));
    let started = Instant::now();
    let mut judge = Judge::new(context)?;
    while bound.wants_more(&judge.kill, started.elapsed() < context.extra_time) {
        judge.round()?;
        progress.set(judge.kill.kills.min(bound.kills));
    }
    progress.finish(&judge.kill.summary());
    Ok(judge.kill)
}

#[derive(Debug)]
struct Judge {
    program: PathBuf,
    scratch: Scratch,
    rng: StdRng,
    seed: u64,
    plant: bool,
    /// Stores made so far; the current one's number.
    stores: u64,
    /// What each writer's keys hold, and the number of its next operation.
    known: Vec<(Model, u64)>,
    kill: Kill,
}

/// What a process said before it was killed.
#[derive(Debug, Default)]
struct Heard {
    running: Vec<Step>,
    complaints: Vec<String>,
    acknowledged: u64,
}

impl Judge {
    fn new(context: &Context) -> anyhow::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            scratch: Scratch::new()?,
            rng: StdRng::seed_from_u64(context.seed),
            seed: context.seed,
            plant: context.plant,
            stores: 0,
            known: Vec::new(),
            kill: Kill {
                phases: PHASES.iter().map(|&(_, name)| (name, 0)).collect(),
                ..Kill::default()
            },
        })
    }

    /// One process: started, killed, and its store judged.
    fn round(&mut self) -> anyhow::Result<()> {
        if self.stores == 0 || self.rng.random_bool(0.06) {
            self.fresh_store()?;
        }
        let mode = Mode::draw(&mut self.rng);
        let plan = self.plan();
        let heard = self.run_and_kill(mode, plan)?;
        self.kill.acknowledged += heard.acknowledged;
        let is_merging = heard.running.contains(&Step::Merge);
        let left = left::phase(&self.store(), is_merging)?;
        let phase = left.unwrap_or_else(|| Phase::of(&heard.running));
        for (count, (counted, _)) in self.kill.phases.iter_mut().zip(PHASES) {
            count.1 += u64::from(phase == counted);
        }
        self.kill.kills += 1;
        let mut findings = heard.complaints;
        match recover(&self.store(), mode, &mut self.rng) {
            Ok(found) => {
                self.kill.recovered += found.contents.len() as u64;
                findings.extend(found.complaint);
                self.compare(&found.contents, &mut findings);
            }
            Err(error) => {
                findings.push(format!(
                    "the store did not open, or could not be read: {error:#}"
                ));
            }
        }
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
        self.known = vec![(Model::new(), 1); WRITERS];
        Ok(())
    }

    /// The current store's directory; its first process creates it.
    fn store(&self) -> PathBuf {
        self.scratch.path().join(format!("store-{}", self.stores))
    }

    /// A third of the kills fall anywhere, the others into the phase that was hit least.
    fn plan(&mut self) -> Plan {
        if self.plant || self.rng.random_bool(0.35) {
            return Plan::anywhere(&mut self.rng);
        }
        Plan::into_rarest(&PHASES, &self.kill, &mut self.rng)
    }

    fn run_and_kill(&mut self, mode: Mode, plan: Plan) -> anyhow::Result<Heard> {
        let seed = self.rng.random();
        let next: Vec<u64> = self.known.iter().map(|(_, next)| *next).collect();
        let words = ChildArgs::words("bitcask", &self.store(), mode, seed, &next, self.plant);
        let mut heard = Heard::default();
        let known = &mut self.known;
        run_and_kill(&self.program, &words, plan, &mut |said| match said {
            Ok(Line::Begin(step)) => heard.running.push(*step),
            Ok(Line::End(step)) => heard.running.retain(|running| running != step),
            Ok(Line::Failed(why)) => heard.complaints.push(format!("the process failed: {why}")),
            Ok(Line::Ack { writer, n, .. }) => {
                heard.acknowledged += 1;
                if let Some((model, next)) = known.get_mut(*writer) {
                    workload::apply(model, *writer, *n);
                    *next = n + 1;
                }
            }
            Err(complaint) => heard.complaints.push(complaint),
        })?;
        Ok(heard)
    }

    /// Compares what was found with what each writer was told, and learns what became of the operation
    /// in flight.
    fn compare(&mut self, found: &Model, findings: &mut Vec<String>) {
        let mut theirs: BTreeMap<usize, Model> = BTreeMap::new();
        for (key, value) in found {
            match workload::writer_of(key) {
                Some(writer) => drop(
                    theirs
                        .entry(writer)
                        .or_default()
                        .insert(key.clone(), value.clone()),
                ),
                None => findings.push(format!("nobody writes the key {key:?}")),
            }
        }
        for (writer, (model, next)) in self.known.iter_mut().enumerate() {
            let found = theirs.remove(&writer).unwrap_or_default();
            if found == *model {
                continue;
            }
            let mut with_next = model.clone();
            workload::apply(&mut with_next, writer, *next);
            if found == with_next {
                *model = with_next;
                *next += 1;
                continue;
            }
            let wrong: Vec<_> = model.keys().chain(found.keys()).collect();
            let wrong = wrong
                .into_iter()
                .find(|key| found.get(*key) != model.get(*key));
            self.kill.lost += 1;
            findings.push(format!(
                "writer {writer}, acknowledged up to {}: key {:?} holds {:?}",
                *next - 1,
                wrong.map(|key| String::from_utf8_lossy(key).into_owned()),
                wrong
                    .and_then(|key| found.get(key))
                    .map(|value| super::workload::identify(value))
            ));
        }
    }
}

/// What the store holds after recovery.
#[derive(Debug)]
struct Found {
    contents: Model,
    /// What a merge changed.
    complaint: Option<String>,
}

/// Recovers the store at `dir` in this process and reads all of it.
fn recover(dir: &Path, mode: Mode, rng: &mut StdRng) -> bitcask::Result<Found> {
    let store = options(mode)
        .auto_merge(false)
        .background(Background::Inline)
        .open(dir)?;
    let contents = read(&store)?;
    let mut complaint = None;
    if rng.random_bool(0.2) {
        store.merge()?;
        if read(&store)? != contents {
            complaint = Some("a merge after recovery changed what is there".to_owned());
        }
    }
    // Usually only dropped, so that the next process finds a store that nobody closed.
    if rng.random_bool(0.2) {
        store.close()?;
    }
    Ok(Found {
        contents,
        complaint,
    })
}

fn read(store: &Bitcask) -> bitcask::Result<Model> {
    store.fold(Model::new(), |mut model, key, value| {
        model.insert(key.to_vec(), value.to_vec());
        model
    })
}
