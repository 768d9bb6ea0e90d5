//! The command line of a process that is killed, whatever store it writes to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Mode;
use crate::crashtest::engines;

#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
    /// What is killed.
    engine: String,
    /// The directory of the log or the store.
    pub(super) dir: PathBuf,
    #[arg(long, value_enum)]
    pub(super) mode: Mode,
    #[arg(long)]
    pub(super) seed: u64,
    /// The number each writer goes on with.
    #[arg(long, value_delimiter = ',')]
    pub(super) next: Vec<u64>,
    /// Acknowledge each operation before it is done.
    #[arg(long)]
    pub(super) plant: bool,
}

impl ChildArgs {
    /// Works until it is killed.
    ///
    /// # Errors
    /// There is no such engine.
    pub(crate) fn work(&self) -> anyhow::Result<()> {
        let engine = engines::find(&self.engine);
        let killed = engine.and_then(|engine| engine.kill);
        let (_, child) = killed.with_context(|| format!("no engine {:?}", self.engine))?;
        child(self);
        Ok(())
    }

    /// The words of the command line that say this.
    pub(super) fn words(
        engine: &str,
        dir: &Path,
        mode: Mode,
        seed: u64,
        next: &[u64],
        plant: bool,
    ) -> Vec<OsString> {
        let next: Vec<String> = next.iter().map(u64::to_string).collect();
        let mut words = vec![
            "kill-child".into(),
            engine.into(),
            dir.into(),
            "--mode".into(),
            mode.word().into(),
            format!("--seed={seed}").into(),
            format!("--next={}", next.join(",")).into(),
        ];
        if plant {
            words.push("--plant".into());
        }
        words
    }
}
