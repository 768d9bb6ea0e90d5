//! The process that mounts: it judges one engine at one unit of tearing, and tells its parent line by
//! line, each a JSON object: how far it is, and at the end its tally or why it cannot run here.

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use super::machine::Machine;
use super::mount::{Device, Mounted};
use super::replay::{Bound, DISK, Run, fresh};
use crate::crashtest::progress::print;
use crate::crashtest::report::Fuse;
use crate::crashtest::stores::{self, Engine};

/// The command line of the process that mounts.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChildArgs {
    /// An empty directory to mount at.
    pub(super) place: PathBuf,
    #[arg(long)]
    pub(super) engine: String,
    #[arg(long)]
    pub(super) command: Option<String>,
    #[arg(long)]
    pub(super) unit: usize,
    #[arg(long)]
    pub(super) seed: u64,
    #[arg(long)]
    pub(super) full: bool,
}

impl ChildArgs {
    /// The words of the command line that say this.
    pub(super) fn words(&self) -> Vec<std::ffi::OsString> {
        let mut words = vec!["fuse-child".into(), self.place.clone().into_os_string()];
        words.push(format!("--engine={}", self.engine).into());
        words.push(format!("--unit={}", self.unit).into());
        words.push(format!("--seed={}", self.seed).into());
        words.extend(
            self.command
                .iter()
                .map(|command| format!("--command={command}").into()),
        );
        words.extend(self.full.then(|| "--full".into()));
        words
    }
}

/// What the process says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// So many states have been judged.
    Judged(u64),
    Done(Fuse),
    /// It cannot run on this machine: why.
    Skipped(String),
}

impl Said {
    fn say(&self) {
        let line = match self {
            Self::Judged(states) => json!({"judged": states}),
            Self::Done(tally) => json!({"done": tally.json()}),
            Self::Skipped(reason) => json!({"skipped": reason}),
        };
        print(&line.to_string());
    }

    /// What `line` says, or `None` if that is nothing.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let (verb, object) = line.as_object()?.iter().next()?;
        match verb.as_str() {
            "judged" => object.as_u64().map(Self::Judged),
            "done" => Fuse::from_json(object).map(Self::Done),
            "skipped" => Some(Self::Skipped(object.as_str()?.to_owned())),
            _ => None,
        }
    }
}

/// Mounts, judges, and says what was found.
///
/// # Errors
/// There is no such engine, or this system does not give a thread its own files.
pub(crate) fn child(args: &ChildArgs) -> anyhow::Result<()> {
    let mounted = match Mounted::new(&args.place, fresh(args.unit)) {
        Ok(mounted) => mounted,
        Err(reason) => {
            Said::Skipped(reason).say();
            return Ok(());
        }
    };
    let judge = || judge(args, mounted.machine.clone(), mounted.device);
    let judged = thread::scope(|scope| scope.spawn(judge).join());
    let fuse = judged.map_err(|_panic| anyhow!("the judge panicked"))??;
    Said::Done(fuse).say();
    Ok(())
}

/// Judges on the mounted `machine`, in a thread of its own: see [`super::mount`].
fn judge(args: &ChildArgs, machine: Machine, device: Device) -> anyhow::Result<Fuse> {
    device.let_go()?;
    let engine = stores::engine(&args.engine, args.command.as_deref());
    let engine = engine.with_context(|| format!("no engine {:?}", args.engine))?;
    let started = Instant::now();
    let every = if engine.is_process() { 1 } else { 64 };
    let mut progress = |states: u64| {
        if states.is_multiple_of(every) {
            Said::Judged(states).say();
        }
    };
    let mut run = Run::new(
        machine,
        engine.as_ref(),
        args.place.join(DISK),
        (args.unit, args.seed),
        bound(engine.as_ref(), args.full),
        &mut progress,
    );
    run.judge_all();
    let mut fuse = run.tally;
    fuse.seconds = started.elapsed().as_secs_f64();
    Ok(fuse)
}

fn bound(engine: &dyn Engine, full: bool) -> Bound {
    let (is_process, weight) = (engine.is_process(), engine.weight());
    let (operations, per_moment, states) = match (is_process, full) {
        (false, false) => (220, 7, usize::MAX),
        (false, true) => (600, 24, usize::MAX),
        (true, false) => (160, 3, 120),
        (true, true) => (400, 6, 4000),
    };
    let (failing_operations, failed_syncs, full_disks) = match (is_process, full) {
        (false, false) => (45, 12, 6),
        (true, false) => (12, 4, 2),
        (_, true) => (45, 60, 24),
    };
    Bound {
        operations: operations / weight,
        per_moment,
        states,
        // A control engine's sensitivity is a figure of the report.
        violations: if is_process { 20 } else { u64::MAX },
        failing_operations: failing_operations / weight,
        failed_syncs,
        full_disks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        assert_eq!(Said::parse("{\"judged\":7}"), Some(Said::Judged(7)));
        let tally = Fuse::default();
        let done = json!({"done": tally.json()}).to_string();
        assert_eq!(Said::parse(&done), Some(Said::Done(tally)));
        let skipped = json!({"skipped": "why"}).to_string();
        assert_eq!(Said::parse(&skipped), Some(Said::Skipped("why".to_owned())));
        for nonsense in ["", "7", "{}", "{\"else\":1}", "{\"judged\":-1}"] {
            assert_eq!(Said::parse(nonsense), None, "{nonsense}");
        }
    }
}
