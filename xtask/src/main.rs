//! The developer's verbs. `cargo xtask crashtest` judges the engines; `cargo xtask dump` shows what
//! stands in a table, or in the files of a log or a store.

#![cfg_attr(
    not(all(feature = "fuse", target_os = "linux")),
    allow(
        dead_code,
        reason = "the judge of any store is used by the layer fuse alone"
    )
)]

mod crashtest;
mod dump;

use std::process::ExitCode;

use clap::Parser;

/// The developer's verbs of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Crash the engines everywhere, on a simulated disk and on this one, and check what survives.
    Crashtest(crashtest::Args),
    /// Print what stands in a sorted table, or in the files of a write-ahead log or a hash-indexed
    /// store, damage included, as text.
    ///
    /// Lines that begin with `!` are what is wrong. Nothing is changed and no lock is taken: if it
    /// is open elsewhere, what is printed may be in motion.
    Dump(dump::Args),
    /// The process that the layer `kill` kills.
    #[command(hide = true)]
    KillChild(crashtest::kill::ChildArgs),
    /// The process in which the layer `fuse` mounts.
    #[cfg(all(feature = "fuse", target_os = "linux"))]
    #[command(hide = true)]
    FuseChild(crashtest::fuse::ChildArgs),
    /// The process whose system calls the layer `trace` reads.
    #[command(hide = true)]
    TraceChild(crashtest::trace::ChildArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let passed = match Verb::parse() {
        Verb::Crashtest(args) => crashtest::run(&args)?,
        Verb::Dump(args) => dump::run(&args).map(|()| true)?,
        Verb::KillChild(args) => {
            args.work()?;
            false
        }
        #[cfg(all(feature = "fuse", target_os = "linux"))]
        Verb::FuseChild(args) => crashtest::fuse::child(&args).map(|()| true)?,
        Verb::TraceChild(args) => crashtest::trace::child(&args).map(|()| true)?,
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
