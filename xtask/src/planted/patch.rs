//! [`Patch`]: a bug, as a file: lines that say what it is, then a diff.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use durable_io::Disk;

/// Where the patches are, from the root of the workspace: a folder for each engine.
const PATCHES: &str = "xtask/planted";
const SUFFIX: &str = ".patch";

/// A bug to be planted.
#[derive(Clone, Debug)]
pub(crate) struct Patch {
    pub(crate) engine: String,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Its id in the catalogue of bugs of this kind of engine, if it has one.
    id: Option<String>,
    pub(crate) area: String,
    pub(crate) killer: Killer,
}

/// Who must kill a bug.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Killer {
    /// These layers of the judge.
    Crashtest(Vec<String>),
    /// The tests that `cargo test` runs with these arguments.
    Tests(Vec<String>),
    /// Why nobody does.
    Nobody(String),
}

impl fmt::Display for Killer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashtest(layers) => write!(f, "crashtest {}", layers.join(" ")),
            Self::Tests(args) => write!(f, "tests {}", args.join(" ")),
            Self::Nobody(reason) => write!(f, "survives: {reason}"),
        }
    }
}

impl Patch {
    /// The bug in `text`, the lines of which before the diff are `word: what it says`.
    fn parse(engine: &str, name: &str, path: PathBuf, text: &str) -> anyhow::Result<Self> {
        let head: Vec<&str> = text.lines().take_while(|line| !is_diff(line)).collect();
        let find = |word: &str| {
            let said = |line: &&&str| line.split_once(": ").is_some_and(|(key, _)| key == word);
            let line = head.iter().find(said)?;
            Some(line.split_once(": ")?.1.trim())
        };
        let need = |word: &str| find(word).with_context(|| format!("no line says `{word}: …`"));
        need("bug")?;
        let killer = match (find("killer"), find("survives")) {
            (Some(killer), None) => killer_of(killer)?,
            (None, Some(reason)) => Killer::Nobody(reason.to_owned()),
            _ => bail!("one line says either `killer: …` or `survives: …`"),
        };
        ensure!(head.len() < text.lines().count(), "there is no diff");
        Ok(Self {
            engine: engine.to_owned(),
            name: name.to_owned(),
            path,
            id: find("id").map(str::to_owned),
            area: need("area")?.to_owned(),
            killer,
        })
    }

    pub(crate) fn id_in_brackets(&self) -> String {
        let id = self.id.as_ref();
        id.map_or_else(String::new, |id| format!(", {id}"))
    }
}

fn is_diff(line: &str) -> bool {
    line.starts_with("diff ") || line.starts_with("--- ")
}

fn killer_of(text: &str) -> anyhow::Result<Killer> {
    let mut words = text.split_whitespace().map(str::to_owned);
    let first = words.next();
    let rest: Vec<String> = words.collect();
    ensure!(
        !rest.is_empty(),
        "`killer: {text}` names no layer and no test"
    );
    match first.as_deref() {
        Some("crashtest") => Ok(Killer::Crashtest(rest)),
        Some("tests") => Ok(Killer::Tests(rest)),
        _ => {
            bail!("`killer: {text}`: it is `crashtest LAYER …` or `tests ARGUMENTS OF CARGO TEST`")
        }
    }
}

/// All bugs in the workspace at `root`, by engine and name.
///
/// # Errors
/// What cannot be read, or is no patch.
pub(crate) fn all(root: &Path) -> anyhow::Result<Vec<Patch>> {
    let mut patches = Vec::new();
    let list = |path: &Path| -> anyhow::Result<_> { Ok(Disk::os().open_dir(path)?.list()?) };
    let folder = root.join(PATCHES);
    for engine in list(&folder)?.into_iter().filter(|entry| entry.is_dir) {
        for file in list(&folder.join(&engine.name))? {
            let Some(name) = file.name.strip_suffix(SUFFIX) else {
                continue;
            };
            let path = folder.join(&engine.name).join(&file.name);
            let text = std::fs::read_to_string(&path)?;
            let patch = Patch::parse(&engine.name, name, path.clone(), &text);
            patches.push(patch.with_context(|| path.display().to_string())?);
        }
    }
    patches.sort_by(|a, b| (&a.engine, &a.name).cmp(&(&b.engine, &b.name)));
    Ok(patches)
}

/// Those of all bugs that cannot be planted in the workspace at `root` any more, by their paths from there.
///
/// # Errors
/// As [`all`]; `git` cannot be run.
pub(crate) fn stale(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut stale = Vec::new();
    for patch in all(root)? {
        let mut git = std::process::Command::new("git");
        git.current_dir(root)
            .args(["apply", "--check"])
            .arg(&patch.path);
        if !git.output().context("git")?.status.success() {
            let path = patch.path.strip_prefix(root).unwrap_or(&patch.path);
            stale.push(path.display().to_string());
        }
    }
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Patch> {
        Patch::parse("lsm", "name", PathBuf::new(), text)
    }

    #[test]
    fn a_patch_says_what_it_is_and_who_kills_it() {
        let text =
            "bug: a: b\nid: LSM-07\narea: flush\nkiller: crashtest sim faults\ndiff a\n--- a\n";
        let patch = parse(text).unwrap();
        assert_eq!(patch.id_in_brackets(), ", LSM-07");
        let layers = ["sim", "faults"].map(str::to_owned).to_vec();
        assert_eq!(patch.killer, Killer::Crashtest(layers));
        let patch = parse("bug: a\narea: b\nsurvives: for now\n--- a\n").unwrap();
        assert_eq!(patch.killer, Killer::Nobody("for now".to_owned()));
    }

    #[test]
    fn what_says_too_little_is_no_patch() {
        for text in [
            "area: a\nkiller: crashtest sim\n--- a\n",
            "bug: a\nkiller: crashtest sim\n--- a\n",
            "bug: a\narea: a\n--- a\n",
            "bug: a\narea: a\nkiller: nobody knows\n--- a\n",
            "bug: a\narea: a\nkiller: tests\n--- a\n",
            "bug: a\narea: a\nkiller: crashtest sim\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
