//! The process that mounts: it judges one engine at one unit of tearing, and tells its parent line by
//! line, each a JSON object: how far it is, and at the end its tally or why it cannot run here.

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::mount::{Device, Mounted};
use super::replay::{Bound, DISK, Run, fresh};
use crate::command::Program;
use crate::conditions::Conditions;
use crate::engine::Engine;
use crate::judged::{Judged, Library};
use crate::model::Shape;
use crate::progress::print;
use crate::report::Fuse;
use crate::{controls, find};

/// The command line of the process that mounts.
#[derive(Clone, Debug, clap::Args)]
pub struct FuseChild {
    /// An empty directory to mount at.
    pub(super) place: PathBuf,
    #[arg(long)]
    pub(super) engine: String,
    #[arg(long)]
    pub(super) command: Option<String>,
    #[command(flatten)]
    pub(super) shape: Shape,
    #[command(flatten)]
    pub(super) conditions: Conditions,
    #[arg(long)]
    pub(super) unit: usize,
    #[arg(long)]
    pub(super) seed: u64,
    #[arg(long)]
    pub(super) full: bool,
}

impl FuseChild {
    /// The words of the command line that say this.
    pub(super) fn words(&self) -> Vec<std::ffi::OsString> {
        let mut words = vec!["fuse-child".into(), self.place.clone().into_os_string()];
        words.push(format!("--engine={}", self.engine).into());
        words.push(format!("--unit={}", self.unit).into());
        words.push(format!("--seed={}", self.seed).into());
        words.extend(self.conditions.words().into_iter().map(Into::into));
        if let Some(command) = &self.command {
            words.push(format!("--command={command}").into());
            words.extend(self.shape.words().into_iter().map(Into::into));
        }
        words.extend(self.full.then(|| "--full".into()));
        words
    }
}

/// What the process says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Said {
    /// So many states have been judged.
    Judged(u64),
    Done(Fuse),
    /// It cannot run on this machine: why.
    Skipped(String),
}

impl Said {
    fn say(&self) {
        print(&serde_json::to_string(self).expect("plain numbers and text"));
    }

    /// What `line` says, or `None` if that is nothing.
    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

impl FuseChild {
    /// Mounts, judges one of `engines`, and says what was found.
    ///
    /// # Errors
    /// There is no such engine, or this system does not give a thread its own files.
    pub fn work(&self, engines: &[&'static dyn Engine]) -> anyhow::Result<()> {
        let mounted = match Mounted::new(&self.place, fresh(self.conditions.ending, self.unit)) {
            Ok(mounted) => mounted,
            Err(reason) => {
                Said::Skipped(reason).say();
                return Ok(());
            }
        };
        let judge = || self.judge(engines, mounted.machine.clone(), mounted.device);
        let judged = thread::scope(|scope| scope.spawn(judge).join());
        let fuse = judged.map_err(|_panic| anyhow!("the judge panicked"))??;
        Said::Done(fuse).say();
        Ok(())
    }

    /// Judges on the mounted `machine`, in a thread of its own: see [`super::mount`].
    fn judge(
        &self,
        engines: &[&'static dyn Engine],
        machine: Machine,
        device: Device,
    ) -> anyhow::Result<Fuse> {
        device.let_go()?;
        let (program, library);
        let mut controls = controls::key_value::ALL.into_iter();
        let store: &dyn Judged = match (
            &self.command,
            controls.find(|control| control.name() == self.engine),
        ) {
            (Some(command), _) => {
                program = Program::new(command, self.shape);
                &program
            }
            (None, Some(control)) => {
                library = Library(control);
                &library
            }
            (None, None) => {
                library = Library(find(engines, &self.engine)?);
                &library
            }
        };
        let started = Instant::now();
        let every = if store.is_process() { 1 } else { 64 };
        let mut progress = |states: u64| {
            if states.is_multiple_of(every) {
                Said::Judged(states).say();
            }
        };
        let mut run = Run::new(
            machine,
            store,
            self.place.join(DISK),
            (self.unit, self.seed),
            self.conditions,
            bound(store, self.full),
            &mut progress,
        );
        run.judge_all();
        let mut fuse = run.tally;
        fuse.took(started.elapsed().as_secs_f64());
        Ok(fuse)
    }
}

fn bound(store: &dyn Judged, full: bool) -> Bound {
    let (is_process, weight) = (store.is_process(), store.weight());
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
        for said in [Said::Done(tally), Said::Skipped("why".to_owned())] {
            let line = serde_json::to_string(&said).unwrap();
            assert_eq!(Said::parse(&line), Some(said));
        }
        for nonsense in ["", "7", "{}", "{\"else\":1}", "{\"judged\":-1}"] {
            assert_eq!(Said::parse(nonsense), None, "{nonsense}");
        }
    }
}
