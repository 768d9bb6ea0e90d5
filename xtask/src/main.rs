//! The developer's verbs. `cargo xtask crashtest` judges the engines.

mod crashtest;

use std::process::ExitCode;

use clap::Parser;

/// The developer's verbs of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Crash the engines everywhere, on a simulated disk and on this one, and check what survives.
    Crashtest(crashtest::Args),
    /// The process that the layer `kill` kills.
    #[command(hide = true)]
    KillChild(crashtest::kill::ChildArgs),
    /// The process whose system calls the layer `trace` reads.
    #[command(hide = true)]
    TraceChild(crashtest::trace::ChildArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let passed = match Verb::parse() {
        Verb::Crashtest(args) => crashtest::run(&args)?,
        Verb::KillChild(args) => {
            crashtest::kill::child(&args);
            false
        }
        Verb::TraceChild(args) => crashtest::trace::child(&args).map(|()| true)?,
    };
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
