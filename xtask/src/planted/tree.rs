//! [`Tree`]: a copy of the workspace, in which bugs are planted, with a build of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::patch::Patch;

/// Where the copy is, and its build, from the root of the workspace.
const TREE: &str = "target/planted/tree";
const BUILD: &str = "target/planted/build";
/// What git is asked for: what it tracks, and what it would.
const TRACKED: [&str; 5] = [
    "ls-files",
    "-z",
    "--cached",
    "--others",
    "--exclude-standard",
];

/// The list of the engines that are judged, a line for each.
const ENGINES: &str = "xtask/src/engines.rs";

#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    pub(crate) path: PathBuf,
    pub(crate) build: PathBuf,
}

/// A bug that is in the tree.
#[must_use = "the next one would be planted on top"]
pub(crate) struct Planted<'a> {
    tree: &'a Tree,
    patch: &'a Path,
}

impl Tree {
    /// Copies what is no product of a build from the workspace at `root`, as it is now. What is there already and the
    /// same is left alone, so that it is not built again.
    ///
    /// # Errors
    /// Those of git, and of the file system.
    pub(crate) fn copy(root: &Path) -> anyhow::Result<Self> {
        let tree = Self {
            root: root.to_owned(),
            path: root.join(TREE),
            build: root.join(BUILD),
        };
        let tracked = names(Command::new("git").current_dir(root).args(TRACKED))?;
        let there = tracked
            .iter()
            .filter(|name| *name != ENGINES && root.join(name).is_file());
        for name in there {
            copy(&root.join(name), &tree.path.join(name))
                .with_context(|| format!("cannot copy {name}"))?;
        }
        Ok(tree)
    }

    /// Leaves only `engine` on the list of those that are judged: the judge is generic, and is built for each
    /// of them.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn judge_only(&self, engine: &str) -> anyhow::Result<()> {
        let list = std::fs::read_to_string(self.root.join(ENGINES))?;
        let entry = format!("    &{}::", engine.replace('-', "_"));
        let stays = |line: &&str| !line.starts_with("    &") || line.starts_with(&entry);
        let lines = list.split_inclusive('\n').filter(stays);
        write(
            &self.path.join(ENGINES),
            lines.collect::<String>().as_bytes(),
        )
    }

    /// Plants a bug.
    ///
    /// # Errors
    /// The patch does not apply.
    pub(crate) fn plant<'a>(&'a self, patch: &'a Patch) -> anyhow::Result<Planted<'a>> {
        self.git_apply(&[], &patch.path)?;
        Ok(Planted {
            tree: self,
            patch: &patch.path,
        })
    }

    fn git_apply(&self, flags: &[&str], patch: &Path) -> anyhow::Result<()> {
        let mut git = Command::new("git");
        // The tree is inside of a repository, but no part of it.
        git.env(
            "GIT_CEILING_DIRECTORIES",
            self.path.parent().unwrap_or(&self.path),
        );
        git.current_dir(&self.path)
            .arg("apply")
            .args(flags)
            .arg(patch);
        let output = git.output().context("git")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", patch.display());
        Ok(())
    }
}

impl Planted<'_> {
    /// Takes it out again.
    ///
    /// # Errors
    /// As [`Tree::plant`].
    pub(crate) fn revert(self) -> anyhow::Result<()> {
        self.tree.git_apply(&["--reverse"], self.patch)
    }
}

/// The names that `command` prints, each with a zero behind it.
fn names(command: &mut Command) -> anyhow::Result<Vec<String>> {
    let output = command.output().context("git")?;
    ensure!(
        output.status.success(),
        "git cannot list the workspace's files"
    );
    let text = String::from_utf8(output.stdout)?;
    let names = text.split('\0').filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

#[expect(clippy::disallowed_methods, reason = "sources, which no engine reads")]
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    write(to, &std::fs::read(from)?)
}

/// Makes `bytes` what is in the file `to`, which stays as it is if that is so.
#[expect(clippy::disallowed_methods, reason = "sources, which no engine reads")]
fn write(to: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    std::fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
    Ok(std::fs::write(to, bytes)?)
}
