//! [`Options`]: how a state machine is opened.

use std::collections::BTreeMap;
use std::path::Path;

use durable_io::{Background, Disk, SyncMode};
use lsm::KeyspaceOptions;

use super::state_machine::StateMachine;
use crate::error::Result;

/// How a state machine is opened: `Options::new().keyspace(..).open("machine")`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    store: lsm::Options,
    pub(super) keyspaces: BTreeMap<String, KeyspaceOptions>,
    pub(super) background: Background,
    pub(super) disk: Disk,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the store is opened: memory and sizes. Its sync mode, its background work and its disk are set by the
    /// state machine. A segment size of the log must be the same on all nodes: a snapshot brings that of its node.
    #[must_use]
    pub fn store(mut self, options: lsm::Options) -> Self {
        self.store = options;
        self
    }

    /// A keyspace that entries may change beside the default one. It is created if it is missing; it must be given
    /// on every node.
    #[must_use]
    pub fn keyspace(mut self, name: &str, options: KeyspaceOptions) -> Self {
        self.keyspaces.insert(name.to_owned(), options);
        self
    }

    /// Who does the background work. Default: [`Background::Threads`]: those of the store, and, for openraft, one named
    /// `raft-snapshot` for each snapshot that is built or installed. With [`Background::Inline`] whoever calls does it,
    /// and that of the store is done by [`run_background`](StateMachine::run_background).
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// The disk that the state machine is on. Default: [`Disk::os`].
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// What a store in the state machine's directory is opened with: what is applied is in the log of the group, so
    /// that a write need not be synced.
    pub(super) fn of_store(&self) -> lsm::Options {
        let store = self.store.clone();
        let store = store.sync(SyncMode::Manual).disk(self.disk.clone());
        store.background(self.background)
    }

    /// Opens the state machine in the directory `dir`; creates both if they are missing. Removes what a crash has
    /// left. Installs the snapshot if the store is older than that, or is not there.
    ///
    /// # Durability
    /// When this returns, the state machine and everything in it survive power loss.
    ///
    /// # Cost
    /// That of opening the store; if a snapshot is installed, of reading all of it.
    ///
    /// # Errors
    /// [`Corrupt`](crate::Error::Corrupt) if what was durable is lost or damaged, [`State`](crate::Error::State) if
    /// the store says so. [`Disk`](crate::Error::Disk) with [`Locked`](durable_io::Error::Locked) if it is open
    /// already, in any process. [`UnsupportedVersion`](crate::Error::UnsupportedVersion),
    /// [`InvalidOption`](crate::Error::InvalidOption), [`Disk`](crate::Error::Disk),
    /// [`Thread`](crate::Error::Thread). After an error it can be opened again.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<StateMachine> {
        StateMachine::open(self, dir.as_ref())
    }
}
