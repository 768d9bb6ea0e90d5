//! Receiving a snapshot of another node, and making it the state machine's own.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::made_durable;
use lsm::BackupOptions;

use super::applied::Applied;
use super::changes::Open;
use super::incoming::Incoming;
use super::names;
use super::opening::{check_whole, open_machine};
use super::root::SnapshotEntry;
use super::state_machine::StateMachine;
use super::stream::SnapshotData;
use super::unpack::unpack;
use crate::error::{Corruption, Error, Result};
use crate::limits::MAX_SNAPSHOT_ID_SIZE;

impl StateMachine {
    /// A place for a snapshot that another node sends: it is written there, and then
    /// [installed](StateMachine::install) or dropped.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn receive(&self) -> Result<Incoming> {
        self.check()?;
        let name = names::incoming(self.next_number());
        Incoming::create(self.inner.dir.dir(), name)
    }

    /// Installs the snapshot `data`, which is called `id`: it becomes the store, and the snapshot that there is.
    /// Before that everything is checked: each file as it comes, then every byte of the store that they are, and
    /// that `is_expected` says so of what the store holds. Readers go on reading the old store.
    ///
    /// # Durability
    /// When this returns, the new store survives power loss. A crash before that leaves the old one or the new
    /// one, whole.
    ///
    /// # Cost
    /// Reads the snapshot twice, and writes it once. Applying goes on meanwhile, up to the switch.
    ///
    /// # Errors
    /// The old store stands after each of them, unless the state machine is poisoned: [`Error::Corrupt`] with
    /// [`Corruption::Received`] if a byte is not the one that was sent, with [`Corruption::OtherSnapshot`] if it is
    /// not what was expected, [`Error::State`] if the node that sent it has a damaged one;
    /// [`Error::OldSnapshot`] if entries were applied that it does not have; [`Error::UnsupportedVersion`];
    /// [`Error::TooLarge`] for the id; those of [`lsm::Options::open`]; [`Error::Disk`], [`Error::Poisoned`],
    /// [`Error::Closed`].
    pub fn install(
        &self,
        id: &str,
        mut data: SnapshotData,
        is_expected: impl FnOnce(&Applied) -> bool,
    ) -> Result<()> {
        Error::unless_within("the id of a snapshot", id.len(), MAX_SNAPSHOT_ID_SIZE)?;
        let inner = &self.inner;
        let _alone = inner.health.lock(&inner.snapshots);
        self.check()?;
        let (store, snapshot) = (self.next_number(), self.next_number());
        let installed = self
            .prepare(&mut data, store, snapshot, is_expected)
            .and_then(|(open, state)| {
                let entry = SnapshotEntry {
                    number: snapshot,
                    id: id.to_owned(),
                    state,
                };
                self.switch(open, entry)
            });
        if installed.is_err() && !inner.health.is_poisoned() {
            self.give_up(&names::store(store));
            self.give_up(&names::snapshot(snapshot));
        }
        installed?;
        inner.installed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes store number `store` of `data`, and a snapshot of it. Neither counts.
    fn prepare(
        &self,
        data: &mut SnapshotData,
        store: u64,
        snapshot: u64,
        is_expected: impl FnOnce(&Applied) -> bool,
    ) -> Result<(Open, Applied)> {
        let inner = &self.inner;
        let path = inner.path.join(names::store(store));
        unpack(data, &inner.options.disk, &path)?;
        let (open, state) = open_machine(&inner.options, &inner.path, store)?;
        check_whole(&open.store)?;
        if !is_expected(&state) {
            return Err(Error::corrupt(&path, Corruption::OtherSnapshot));
        }
        let path = inner.path.join(names::snapshot(snapshot));
        // Durable: the snapshot, which stays as it is while the store goes on. Only now may the root name it.
        made_durable(|| open.store.backup(path, &BackupOptions::new()))?;
        Ok((open, state))
    }

    /// Makes `open` the store, and `entry` the snapshot.
    fn switch(&self, open: Open, entry: SnapshotEntry) -> Result<()> {
        let inner = &self.inner;
        let mut applied = inner.health.lock(&inner.applied);
        self.check()?;
        let (index, last) = (entry.state.index(), applied.index());
        if index < last {
            return Err(Error::OldSnapshot { index, last });
        }
        let mut root = inner.health.lock(&inner.root);
        let next = root.next(open.number, entry.clone());
        // Durable: the root, which names store and snapshot. Only now may the log be purged, and the old ones go.
        let written = next.write(inner.dir.dir());
        written.map_err(|error| inner.health.note(error))?;
        let old = mem::replace(&mut *root, next);
        *applied = entry.state;
        let old_store = mem::replace(&mut *inner.health.lock(&inner.current), Arc::new(open));
        drop((applied, root));
        // Its threads end before its files go; readers have them open.
        drop(old_store);
        self.give_up(&names::store(old.store));
        if let Some(old) = old.snapshot {
            self.give_up(&names::snapshot(old.number));
        }
        Ok(())
    }
}
