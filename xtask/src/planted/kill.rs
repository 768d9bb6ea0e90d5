//! Who kills a bug: the judge, or tests, built with the bug in.

use std::fmt;
use std::process::{Command, Output};

use anyhow::{Context as _, bail};

use super::patch::Killer;
use super::tree::Tree;

/// The profile of the builds.
const PROFILE: &str = "planted";
/// Whoever takes longer than this, in seconds, hangs: the judge takes a fifth of it for an engine without bugs.
const PATIENCE: u32 = 300;
/// What `timeout` ends with when the time is over.
const OVER: i32 = 124;

/// What became of a bug.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// And what the killer said.
    Killed(String),
    Survived,
    /// And what the compiler said.
    NotBuilt(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(said) => write!(f, "killed: {said}"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::NotBuilt(said) => write!(f, "NOT BUILT: {said}"),
        }
    }
}

/// Builds `tree` as it is, and runs `killer` there, for the engine called `engine`.
///
/// # Errors
/// A program cannot be run.
pub(crate) fn run(tree: &Tree, engine: &str, killer: &Killer) -> anyhow::Result<Verdict> {
    let built = match killer {
        Killer::Crashtest(_) => cargo(tree, "build").args(["--package", "xtask"]).output(),
        Killer::Tests(args) => cargo(tree, "test")
            .arg("--no-run")
            .args(args_of(args).0)
            .output(),
        Killer::Nobody(_) => return Ok(Verdict::Survived),
    };
    let built = built.context("cargo")?;
    if !built.status.success() {
        return Ok(Verdict::NotBuilt(line_with(&built, &["error"])));
    }
    let mut timeout = Command::new("timeout");
    timeout
        .current_dir(&tree.path)
        .args(["--kill-after=5", &PATIENCE.to_string()]);
    match killer {
        Killer::Crashtest(layers) => {
            timeout.arg(tree.build.join(PROFILE).join("xtask"));
            timeout.args(["crashtest", engine, "--first"]);
            timeout.args(layers.iter().flat_map(|layer| ["--layer", layer]));
        }
        Killer::Tests(args) => {
            let (args, filter) = args_of(args);
            let cargo = cargo(tree, "test");
            timeout.arg(cargo.get_program()).args(cargo.get_args());
            timeout.args(args).arg("--").args(filter);
        }
        Killer::Nobody(_) => bail!("nobody is to be run"),
    }
    let output = timeout.output().context("timeout")?;
    Ok(match output.status.code() {
        Some(0) => Verdict::Survived,
        Some(OVER) => Verdict::Killed(format!("it hangs for {PATIENCE} s")),
        _ => Verdict::Killed(line_with(&output, &["broken:", "panicked at", "RED ("])),
    })
}

/// The arguments for cargo, and those for the tests: filters of their names.
fn args_of(args: &[String]) -> (&[String], &[String]) {
    let at = args
        .iter()
        .position(|arg| arg == "--")
        .unwrap_or(args.len());
    let (args, filter) = args.split_at(at);
    (args, filter.get(1..).unwrap_or(&[]))
}

fn cargo(tree: &Tree, verb: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&tree.path)
        .args([verb, "--quiet", "--profile", PROFILE]);
    cargo.arg("--target-dir").arg(&tree.build);
    cargo
}

/// The first line of `output` that has the first of `words` that is there, and the one behind it; the last line
/// if none is.
fn line_with(output: &Output, words: &[&str]) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let found = lines
        .clone()
        .position(|line| words.iter().any(|word| line.contains(word)));
    match found {
        Some(at) => lines.skip(at).take(2).collect::<Vec<_>>().join(" "),
        None => lines.next_back().unwrap_or("nothing").to_owned(),
    }
}
