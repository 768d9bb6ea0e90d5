//! `cargo xtask planted`: bugs that are planted on purpose, each as a patch, and killed by the judge or by the
//! tests. One that survives shows what those do not look at.
//!
//! The bugs are in `xtask/planted/ENGINE/NAME.patch`; the read-me there says how they are written.

mod kill;
mod patch;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;

use kill::Verdict;
use patch::{Killer, Patch};
use tree::Tree;

pub(crate) use patch::stale;

/// The command line of `planted`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The engine the bugs are planted in; all engines if none is named.
    #[arg(value_name = "ENGINE")]
    engine: Option<String>,
    /// The bugs; all of the engine's if none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Args {
    fn wants(&self, patch: &Patch) -> bool {
        self.engine
            .as_ref()
            .is_none_or(|engine| *engine == patch.engine)
            && (self.names.is_empty() || self.names.contains(&patch.name))
    }
}

/// Plants each bug that is asked for in a copy of the workspace at `root`, and prints who killed it; true if all
/// are dead.
///
/// # Errors
/// The workspace cannot be copied, or does not build or pass as it is: then no kill proves anything.
pub(crate) fn run(args: &Args, root: &Path) -> anyhow::Result<bool> {
    let mut patches = patch::all(root)?;
    patches.retain(|patch| args.wants(patch));
    ensure!(!patches.is_empty(), "no bug is called so");
    let tree = Tree::copy(root)?;
    let mut alive = Vec::new();
    for patches in patches.chunk_by(|a, b| a.engine == b.engine) {
        alive.extend(plant_all(&tree, patches)?);
    }
    say(&format!(
        "{} bugs, {} killed",
        patches.len(),
        patches.len() - alive.len()
    ));
    for alive in &alive {
        say(&format!("ALIVE: {alive}"));
    }
    Ok(alive.is_empty())
}

/// Plants `patches`, which are of one engine, one after the other; those that survive.
fn plant_all(tree: &Tree, patches: &[Patch]) -> anyhow::Result<Vec<String>> {
    let mut alive = Vec::new();
    let Some(Patch { engine, .. }) = patches.first() else {
        return Ok(alive);
    };
    tree.judge_only(engine)?;
    let killers: BTreeSet<&Killer> = patches.iter().map(|patch| &patch.killer).collect();
    for killer in killers {
        let begun = Instant::now();
        let verdict = kill::run(tree, engine, killer)?;
        ensure!(
            matches!(verdict, Verdict::Survived),
            "{killer} is red for {engine} without any bug: {verdict}"
        );
        let seconds = begun.elapsed().as_secs();
        say(&format!(
            "{engine} without any bug: {killer}: green, {seconds} s"
        ));
    }
    for patch in patches {
        let begun = Instant::now();
        let verdict = judge(tree, patch)?;
        let (name, area, seconds) = (&patch.name, &patch.area, begun.elapsed().as_secs());
        let head = format!("{engine}/{name} ({area}{})", patch.id_in_brackets());
        say(&format!("{head}: {}: {verdict}, {seconds} s", patch.killer));
        if !matches!(verdict, Verdict::Killed(_)) {
            alive.push(head);
        }
    }
    Ok(alive)
}

/// Plants one bug, and runs its killer.
fn judge(tree: &Tree, patch: &Patch) -> anyhow::Result<Verdict> {
    if let Killer::Nobody(_) = patch.killer {
        return Ok(Verdict::Survived);
    }
    let planted = tree.plant(patch)?;
    let verdict = kill::run(tree, &patch.engine, &patch.killer);
    planted.revert()?;
    verdict
}

#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
fn say(line: &str) {
    println!("{line}");
}
