//! The layer `kill` on the log: writers, and a thread that rotates and truncates beside them.

use std::path::Path;

use durable_io::Background;
use rand::RngExt;
use rand::rngs::StdRng;
use wal::{Lsn, Options};

use super::line::Line;
use super::oracle::{self, Found, Heard, Known, Phase};
use super::{Bound, Mode, Subject};
use crate::crashtest::Context;
use crate::crashtest::report::Kill;

pub(crate) use super::child::child;

/// Small, so that the log rotates by itself every few hundred records.
pub(super) const SEGMENT_SIZE: u64 = 64 << 10;

/// Kills logs.
///
/// # Errors
/// The harness itself failed.
pub(crate) fn run(context: &Context) -> anyhow::Result<Kill> {
    let bound = Bound::of(context, 48, 15_000);
    super::run(context, &bound, Known::new())
}

impl Subject for Known {
    const ENGINE: &'static str = "wal";
    const PHASES: &'static [(Phase, &'static str)] = &[
        (Phase::Append, "append"),
        (Phase::Rotate, "rotate"),
        (Phase::Truncate, "truncate"),
        (Phase::Recovery, "recovery"),
    ];
    const ANYWHERE: f64 = 0.5;
    type Heard = Heard;

    fn begin_anew(&mut self) {
        *self = Self::new();
    }

    fn next(&self) -> &[u64] {
        &self.next
    }

    fn listen(&self) -> Heard {
        Heard::new(self)
    }

    fn hear(&mut self, heard: &mut Heard, said: Result<&Line, String>) {
        match said {
            Ok(line) => heard.hear(line),
            Err(complaint) => heard.complaints.push(complaint),
        }
    }

    fn sees(&self, _phase: Phase, _dir: &Path) -> Option<bool> {
        None
    }

    fn phase(&self, heard: &Heard, _dir: &Path) -> anyhow::Result<Phase> {
        Ok(heard.phase())
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
        match recover(dir, mode, rng.random_bool(0.2)) {
            Ok(found) => {
                let judgement = oracle::judge(&heard, &found);
                kill.recovered += found.records.len() as u64;
                kill.lost += judgement.lost;
                *self = judgement.known;
                judgement.findings
            }
            Err(error) => {
                let mut findings = heard.complaints;
                findings.push(format!(
                    "the log did not open, or could not be read: {error:#}"
                ));
                findings
            }
        }
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
