//! The command line of a process that is killed, whatever store it writes to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Mode;

#[derive(Debug, clap::Args)]
pub(crate) struct ChildArgs {
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
    /// The words of the command line that say this; `verb` says which process.
    pub(super) fn words(
        verb: &str,
        dir: &Path,
        mode: Mode,
        seed: u64,
        next: &[u64],
        plant: bool,
    ) -> Vec<OsString> {
        let next: Vec<String> = next.iter().map(u64::to_string).collect();
        let mut words = vec![
            verb.into(),
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
