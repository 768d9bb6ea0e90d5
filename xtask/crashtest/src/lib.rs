//! A judge of durable storage engines: it ends them everywhere, in every way, and looks at what survives.
//!
//! It knows no engine. An engine is shown to it by an implementation of [`Engine`], which says how to open,
//! write, read and close it; whatever else a layer asks of it has an answer that does for a plain key-value
//! store. What it can do beyond that is judged by subjects of its own, each a [`Trial`].
//!
//! | layer | what it does |
//! |---|---|
//! | `sim` | every crash state of recorded runs on the simulated disk, and every barrier left out |
//! | `faults` | errors of the simulated disk's calls, full disks, and sectors that cannot be read |
//! | `corruption` | bytes changed without the engine's knowledge |
//! | `life` | older files in the places of newer ones, and copies of a store that is open |
//! | `kill` | real processes, killed at random moments |
//! | `fuse` | power losses, failing syncs and full disks on a real file system, mounted through FUSE |
//! | `trace` | the operating system's calls against the simulator's |
//! | `litmus` | power losses on real file systems, against what the simulator allows them to leave |
//!
//! A program of the workspace's is `main` with three more verbs, for the processes that are killed, that
//! mount, and that are traced: [`KillChild`], [`FuseChild`] and [`TraceChild`].

#![cfg_attr(
    not(all(feature = "fuse", target_os = "linux")),
    allow(
        dead_code,
        reason = "the judge of any store is used by the layer fuse alone"
    )
)]

mod args;
mod audit;
mod barriers;
mod command;
mod conditions;
pub mod content;
mod controls;
mod cores;
mod corruption;
mod engine;
#[cfg(all(feature = "fuse", target_os = "linux"))]
mod fuse;
mod interrupt;
mod judged;
mod key_values;
mod kill;
mod life;
mod litmus;
mod model;
mod process;
mod progress;
mod report;
mod run;
mod scan;
mod scratch;
mod sim;
mod splitmix;
mod trace;
mod trial;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

pub use args::{Args, EXAMPLES};
pub use corruption::{Blocks, Held, PROBE, Piece, Root, Span, Specimen, Written, files, write};
pub use engine::{
    Change, Contents, Engine, Killing, Outcome, Place, Probe, Refusal, Repaired, Salvaged, Script,
    Setting, Store,
};
#[cfg(all(feature = "fuse", target_os = "linux"))]
pub use fuse::FuseChild;
pub use key_values::{KeyValues, Op as KeyValueOp};
pub use kill::KillChild;
pub use run::run;
pub use trace::TraceChild;
pub use trial::{AnyTrial, Trial};

/// What every layer is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The declared bound instead of the short one.
    full: bool,
    seed: u64,
    /// How long each layer that samples continues beyond its bound.
    extra_time: Duration,
    /// Under what the layer `fuse` judges.
    conditions: conditions::Conditions,
    /// The layers `kill` and `litmus` judge a planted bug instead.
    plant: bool,
    /// End a layer with the first trial that is red.
    first: bool,
    /// The trials that are run on the simulated disk; all, if none is named.
    trials: &'a [String],
    /// The root of the workspace whose engines are judged: sources below it, tapes below its `target`.
    workspace: &'a Path,
}

#[cfg(test)]
impl Context<'static> {
    /// That of a short run.
    pub(crate) fn short() -> Self {
        Self {
            full: false,
            seed: 1,
            extra_time: Duration::ZERO,
            conditions: conditions::Conditions::default(),
            plant: false,
            first: false,
            trials: &[],
            workspace: Path::new("."),
        }
    }
}

/// What became of a layer that cannot run everywhere.
#[derive(Debug)]
pub(crate) enum Ran<T> {
    Ran(T),
    /// With the reason.
    Skipped(String),
}

/// The engine called `name`.
fn find(engines: &[&'static dyn Engine], name: &str) -> anyhow::Result<&'static dyn Engine> {
    let found = engines.iter().find(|engine| engine.name() == name);
    found
        .copied()
        .with_context(|| format!("there is no engine called {name:?}"))
}

/// Where barriers stand in the sources of the crate in the workspace's `folder`, and in `files`: file and
/// line of each.
///
/// # Errors
/// Sources that cannot be read.
pub fn barriers(
    workspace: &Path,
    folder: &str,
    files: &[&str],
) -> anyhow::Result<Vec<(String, u32)>> {
    let mut sites = scan::sites(workspace, folder)?;
    sites.extend(scan::sites_in(workspace, files)?);
    Ok(sites
        .into_iter()
        .map(|site| (site.file, site.line))
        .collect())
}
