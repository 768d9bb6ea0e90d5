//! The command line of `crashtest`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::conditions::Conditions;
use crate::model::Shape;
use crate::report::Skipped;

/// The seed of a run that asks for none: two such runs draw the same.
const DEFAULT_SEED: u64 = 1;

/// What can be judged beside the engines: the control engines (a correct one, and ones with a planted bug
/// that must be found), and the simulated disk itself, against the file systems of this kernel.
pub(crate) const CONTROLS: &str = "controls";
pub(crate) const DISK: &str = "disk";

/// What to type, for those who ask for help.
pub const EXAMPLES: &str = "Examples:
  cargo xtask crashtest                       judge everything, in some minutes
  cargo xtask crashtest wal --details         one engine, and every sync of it
  cargo xtask crashtest lsm --layer kill      one layer of one engine
  cargo xtask crashtest lsm --layer sim --trial 'lsm always'
                                              one alphabet of one engine
  cargo xtask crashtest --full --json F       the declared bounds, and all figures
  cargo xtask crashtest --replay TAPE         once more what a violation left
  cargo xtask crashtest btree --profile ext4  by what is lost on ext4 alone

A program of yours, in any language (its protocol: xtask/crashtest/README.md):
  cargo xtask crashtest --command 'python3 xtask/examples/sqlite_store.py {dir} WAL'
  cargo xtask crashtest --kind log --batches \\
    --command 'python3 xtask/examples/log_store.py {dir}'
  cargo xtask crashtest --kind raft \\
    --command 'python3 xtask/examples/raft_store.py {dir}'
  cargo xtask crashtest --unsynced --batches \\
    --command 'python3 xtask/examples/sqlite_store.py {dir} WAL NORMAL'
  cargo xtask crashtest --after-creation --command '...'
                                              judge from the second start on";

/// The command line of `crashtest`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Args {
    /// What to judge: engines, `controls` (control engines: a correct one, and ones with a planted bug that
    /// must be found), `disk` (the simulated disk against this kernel's file systems); everything if
    /// nothing is named.
    #[arg(value_name = "ENGINE")]
    pub(crate) engines: Vec<String>,
    /// The declared bound instead of the short one.
    #[arg(long)]
    pub(crate) full: bool,
    /// Run only this layer; may be given more than once.
    #[arg(long = "layer", value_enum, value_name = "LAYER")]
    layers: Vec<LayerName>,
    /// On the simulated disk, run only the trial of this name, as reports call it; may be given more than once.
    #[arg(long = "trial", value_name = "NAME")]
    pub(crate) trials: Vec<String>,
    /// End a layer with the first trial that is red: for who wants to know no more than that.
    #[arg(long, hide = true)]
    pub(crate) first: bool,
    /// The seed of everything that is drawn.
    #[arg(long, default_value_t = DEFAULT_SEED)]
    pub(crate) seed: u64,
    /// Run only the recorded run of this file and say what it breaks.
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,
    /// Go on sampling for this long, shared by the layers that sample.
    #[arg(long, value_name = "MINUTES")]
    pub(crate) minutes: Option<u64>,
    /// Also write the report to this file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also print what each sync protects, one by one, with the crash that shows it.
    #[arg(long)]
    pub(crate) details: bool,
    /// Judge a program of yours instead, which speaks the protocol of the read-me: this command runs it,
    /// with the store's directory for `{dir}`.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["engines", "replay"])]
    pub(crate) command: Option<String>,
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) conditions: Conditions,
    /// Judge a process that acknowledges before it appends, and profiles of file systems that promise
    /// too much: the layers `kill` and `litmus` must be red.
    #[arg(long, hide = true)]
    pub(crate) plant: bool,
}

/// The layers, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerName {
    /// Every crash state of recorded runs on the simulated disk, and every barrier left out.
    Sim,
    /// Errors of the simulated disk's calls.
    Faults,
    /// Bytes changed behind the engine's back.
    Corruption,
    /// Older files in the places of newer ones, and copies of a store that is open.
    Life,
    /// Real processes, killed at random moments.
    Kill,
    /// Power losses, failing syncs and full disks on a real file system, mounted through FUSE.
    Fuse,
    /// The operating system's calls against the simulator's.
    Trace,
    /// Power cuts on real file systems, against what the simulator allows them to leave.
    Litmus,
}

impl LayerName {
    /// Its word on the command line and in reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Faults => "faults",
            Self::Corruption => "corruption",
            Self::Life => "life",
            Self::Kill => "kill",
            Self::Fuse => "fuse",
            Self::Trace => "trace",
            Self::Litmus => "litmus",
        }
    }
}

impl Args {
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.engines.is_empty() || self.engines.iter().any(|wanted| wanted == name)
    }

    /// True if `layer` is to run; notes in `skipped` why it does not otherwise.
    pub(crate) fn runs(&self, layer: LayerName, engine: &str, skipped: &mut Vec<Skipped>) -> bool {
        let is_asked_for = self.layers.is_empty() || self.layers.contains(&layer);
        let knows = layer == LayerName::Fuse || self.conditions == Conditions::default();
        let reason = match (is_asked_for, knows) {
            (false, _) => "not asked for",
            (true, false) => "knows neither --profile nor --after-creation",
            (true, true) => return true,
        };
        skipped.push(Skipped {
            layer: format!("{engine} {}", layer.word()),
            reason: reason.to_owned(),
        });
        false
    }
}
