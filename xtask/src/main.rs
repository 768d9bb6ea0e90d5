//! The developer's verbs. `cargo xtask crashtest` judges the engines; `cargo xtask dump` shows what
//! stands in a table, or in the files of a log or a store; `cargo xtask tidy` looks for what no compiler
//! does; `cargo xtask planted` plants bugs, which the judge or the tests must find.

mod dump;
mod engines;
mod planted;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use engines::ENGINES;

/// Each crash state is a store of its own, made and dropped: a quarter of the time went into allocating.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The developer's verbs of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Crash the engines everywhere, on a simulated disk and on this one, and check what survives.
    #[command(after_help = crashtest::EXAMPLES)]
    Crashtest(crashtest::Args),
    /// Print what stands in a sorted table, or in the files of a write-ahead log or a hash-indexed
    /// store, damage included, as text.
    ///
    /// Lines that begin with `!` are what is wrong. Nothing is changed and no lock is taken: if it
    /// is open elsewhere, what is printed may be in motion.
    Dump(dump::Args),
    /// Look for what no compiler looks for: long files and adapters, made-up values, unexplained barriers.
    Tidy(tidy::Args),
    /// Plant the bugs of `xtask/planted` one by one in a copy of the workspace: the judge or the tests must
    /// find each.
    Planted(planted::Args),
    /// The process that the layer `kill` kills.
    #[command(hide = true)]
    KillChild(crashtest::KillChild),
    /// The process in which the layer `fuse` mounts.
    #[cfg(all(feature = "fuse", target_os = "linux"))]
    #[command(hide = true)]
    FuseChild(crashtest::FuseChild),
    /// The process whose system calls the layer `trace` reads.
    #[command(hide = true)]
    TraceChild(crashtest::TraceChild),
}

fn main() -> anyhow::Result<ExitCode> {
    let passed = match Verb::parse() {
        Verb::Crashtest(args) => crashtest::run(&args, ENGINES, &workspace()?)?,
        Verb::Dump(args) => dump::run(&args).map(|()| true)?,
        Verb::Tidy(args) => tidy::run(&args, &workspace()?)?,
        Verb::Planted(args) => planted::run(&args, &workspace()?)?,
        Verb::KillChild(child) => {
            child.work(ENGINES)?;
            false
        }
        #[cfg(all(feature = "fuse", target_os = "linux"))]
        Verb::FuseChild(child) => child.work(ENGINES).map(|()| true)?,
        Verb::TraceChild(child) => child.work(ENGINES).map(|()| true)?,
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The root of the workspace that this program was built from.
fn workspace() -> anyhow::Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let root = built_from.context("the crate is in the workspace's root")?;
    Ok(root.to_owned())
}
