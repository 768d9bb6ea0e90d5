//! The engines of the workspace: for each, what the layers run on it. Another engine is another entry,
//! and a variant of [`EngineName`].

use std::path::Path;

use super::kill::ChildArgs;
use super::report::{Barriers, Corruption, Faults, Kill, Sim, Trace};
use super::stores::{self, bitcask::BitcaskStore, sstable::SstableStore, wal::WalStore};
use super::{Context, EngineName, Outcome, bitcask, corruption, kill, sstable, trace, wal};

/// The layer `sim`, and the barriers, which are judged only if the complete engine breaks nowhere.
pub(crate) type Simulated = (Sim, Option<Barriers>);

/// The layer `kill`, and the process that it kills.
pub(crate) type Killed = (fn(&Context) -> anyhow::Result<Kill>, fn(&ChildArgs));

/// One engine before the judge.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) which: EngineName,
    /// The crate's folder, the first word of its subjects' names, and its name in reports.
    pub(crate) name: &'static str,
    pub(crate) simulate: fn(&Context, &Path) -> anyhow::Result<Simulated>,
    pub(crate) inject: fn() -> Faults,
    pub(crate) corrupt: fn(&Context) -> Corruption,
    /// The layer `kill`, and the process that it kills.
    pub(crate) kill: Option<Killed>,
    /// What the layer `fuse` opens on the mounted file system.
    pub(crate) store: fn() -> Box<dyn stores::Engine>,
    /// The layer `trace`: what it shows of one engine's calls, it shows of all.
    pub(crate) trace: Option<fn() -> anyhow::Result<Outcome<Trace>>>,
    /// Runs a tape, the second argument, of the subject called the first; true if it breaks nothing.
    pub(crate) replay: fn(&str, &str) -> anyhow::Result<bool>,
}

/// All of them, in the order in which they are judged.
pub(crate) const ENGINES: &[Judged] = &[
    Judged {
        which: EngineName::Wal,
        name: "wal",
        simulate: wal::simulate,
        inject: wal::inject,
        corrupt: corruption::run,
        kill: Some((kill::log::run, kill::log::child)),
        store: || Box::new(WalStore),
        trace: Some(trace::run),
        replay: wal::replay,
    },
    Judged {
        which: EngineName::Bitcask,
        name: "bitcask",
        simulate: bitcask::simulate,
        inject: bitcask::inject,
        corrupt: corruption::run_bitcask,
        kill: Some((kill::store::run, kill::store::child)),
        store: || Box::new(BitcaskStore),
        trace: None,
        replay: bitcask::replay,
    },
    Judged {
        which: EngineName::Sstable,
        name: "sstable",
        simulate: sstable::simulate,
        inject: sstable::inject,
        corrupt: corruption::run_sstable,
        kill: None,
        store: || Box::new(SstableStore),
        trace: None,
        replay: sstable::replay,
    },
];

/// The engine called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Judged> {
    ENGINES.iter().find(|engine| engine.name == name)
}
