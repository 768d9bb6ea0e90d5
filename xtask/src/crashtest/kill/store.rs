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
use std::path::Path;

use bitcask::{Background, Bitcask, MergePolicy, Options};
use rand::RngExt;
use rand::rngs::StdRng;

pub(crate) use child::child;
use workload::{Model, WRITERS};

use super::line::{Line, Step};
use super::oracle::Phase;
use super::{Bound, Mode, Subject};
use crate::crashtest::Context;
use crate::crashtest::report::Kill;

/// Small, so that the store rotates by itself every few hundred writes.
const DATA_FILE_SIZE: u64 = 64 << 10;

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

/// Kills stores.
///
/// # Errors
/// The harness itself failed.
pub(crate) fn run(context: &Context) -> anyhow::Result<Kill> {
    let bound = Bound::of(context, 40, 12_000);
    super::run(context, &bound, Known::default())
}

/// What each writer's keys hold, and the number of its next operation.
#[derive(Debug, Default)]
struct Known {
    models: Vec<Model>,
    next: Vec<u64>,
}

/// What a process said before it was killed.
#[derive(Debug, Default)]
struct Heard {
    running: Vec<Step>,
    complaints: Vec<String>,
    acknowledged: u64,
}

impl Subject for Known {
    const ENGINE: &'static str = "bitcask";
    const PHASES: &'static [(Phase, &'static str)] = &[
        (Phase::Append, "write"),
        (Phase::Rotate, "rotate"),
        (Phase::Merge, "merge before its output"),
        (Phase::MergeOutput, "merge with an output"),
        (Phase::MergeManifest, "merge writing the manifest"),
        (Phase::MergeInputs, "merge giving up its inputs"),
        (Phase::Recovery, "recovery"),
    ];
    const ANYWHERE: f64 = 0.35;
    type Heard = Heard;

    fn begin_anew(&mut self) {
        self.models = vec![Model::new(); WRITERS];
        self.next = vec![1; WRITERS];
    }

    fn next(&self) -> &[u64] {
        &self.next
    }

    fn listen(&self) -> Heard {
        Heard::default()
    }

    fn hear(&mut self, heard: &mut Heard, said: Result<&Line, String>) {
        match said {
            Ok(Line::Begin(step)) => heard.running.push(*step),
            Ok(Line::End(step)) => heard.running.retain(|running| running != step),
            Ok(Line::Failed(why)) => heard.complaints.push(format!("the process failed: {why}")),
            Ok(Line::Ack { writer, n, .. }) => {
                heard.acknowledged += 1;
                let model = self.models.get_mut(*writer);
                if let Some((model, next)) = model.zip(self.next.get_mut(*writer)) {
                    workload::apply(model, *writer, *n);
                    *next = n + 1;
                }
            }
            Err(complaint) => heard.complaints.push(complaint),
        }
    }

    fn sees(&self, phase: Phase, dir: &Path) -> Option<bool> {
        match phase {
            Phase::MergeOutput | Phase::MergeManifest | Phase::MergeInputs => {
                // Files come and go meanwhile: an error is no sight.
                let seen = left::phase(dir, true).unwrap_or_default();
                Some(seen == Some(phase))
            }
            _ => None,
        }
    }

    fn phase(&self, heard: &Heard, dir: &Path) -> anyhow::Result<Phase> {
        let is_merging = heard.running.contains(&Step::Merge);
        let left = left::phase(dir, is_merging)?;
        Ok(left.unwrap_or_else(|| Phase::of(&heard.running)))
    }

    fn judge(
        &mut self,
        heard: Heard,
        dir: &Path,
        mode: Mode,
        rng: &mut StdRng,
        kill: &mut Kill,
    ) -> Vec<String> {
        kill.acknowledged += heard.acknowledged;
        let mut findings = heard.complaints;
        match recover(dir, mode, rng) {
            Ok(found) => {
                kill.recovered += found.contents.len() as u64;
                findings.extend(found.complaint);
                kill.lost += self.compare(&found.contents, &mut findings);
            }
            Err(error) => {
                findings.push(format!(
                    "the store did not open, or could not be read: {error:#}"
                ));
            }
        }
        findings
    }
}

impl Known {
    /// Compares what was found with what each writer was told, and learns what became of the operation
    /// in flight. Returns how many writers lost something.
    fn compare(&mut self, found: &Model, findings: &mut Vec<String>) -> u64 {
        let mut lost = 0;
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
        let known = self.models.iter_mut().zip(&mut self.next);
        for (writer, (model, next)) in known.enumerate() {
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
            lost += 1;
            findings.push(format!(
                "writer {writer}, acknowledged up to {}: key {:?} holds {:?}",
                *next - 1,
                wrong.map(|key| String::from_utf8_lossy(key).into_owned()),
                wrong
                    .and_then(|key| found.get(key))
                    .map(|value| super::workload::identify(value))
            ));
        }
        lost
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
