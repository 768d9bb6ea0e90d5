//! [`Snapshot`]: building one, and the one that there is.

use std::sync::atomic::Ordering;

use durable_io::made_durable;
use lsm::BackupOptions;

use super::applied::Applied;
use super::opening::remove;
use super::root::SnapshotEntry;
use super::state_machine::StateMachine;
use super::stream::{SnapshotData, Stored};
use super::{KEYSPACE, names};
use crate::error::Result;

/// A snapshot of a state machine.
#[derive(Debug)]
pub struct Snapshot {
    /// What it is called among nodes: no two that were built have the same id.
    pub id: String,
    /// Up to where entries are in it, and the membership; as read from the snapshot itself.
    pub state: Applied,
    /// Its content.
    pub data: SnapshotData,
}

impl StateMachine {
    /// Builds a snapshot of the store as it is at one moment during this call. It takes the place of the one that
    /// there is. Applying goes on meanwhile.
    ///
    /// # Durability
    /// When this returns, the snapshot survives power loss: entries up to its last one may be purged.
    ///
    /// # Cost
    /// A flush of the store, a link for each table, and some syncs.
    ///
    /// # Errors
    /// Those of [`lsm::Lsm::backup`]; [`Disk`](crate::Error::Disk), after which the snapshot that there was counts,
    /// or, if the state machine is poisoned, this one; [`Poisoned`](crate::Error::Poisoned),
    /// [`Closed`](crate::Error::Closed).
    pub fn build_snapshot(&self) -> Result<Snapshot> {
        let inner = &self.inner;
        let _alone = inner.health.lock(&inner.snapshots);
        self.check()?;
        let number = self.next_number();
        let built = self
            .back_up(number)
            .and_then(|state| self.count(number, state));
        let built = match built {
            Ok(snapshot) => snapshot,
            Err(error) => {
                // If it is not known what counts, the next opening removes what does not.
                if !inner.health.is_poisoned() {
                    self.give_up(&names::snapshot(number));
                }
                return Err(error);
            }
        };
        inner.built.fetch_add(1, Ordering::Relaxed);
        Ok(built)
    }

    /// Makes a backup of the store in directory `number`, and reads there what it holds.
    fn back_up(&self, number: u64) -> Result<Applied> {
        let path = self.inner.path.join(names::snapshot(number));
        // Durable: the backup, with its name. Only now may the root name it.
        made_durable(|| self.current().store.backup(&path, &BackupOptions::new()))?;
        let backup = self.inner.options.of_store().open_read_only(&path)?;
        Applied::read(&backup.keyspace(KEYSPACE)?, &path)
    }

    /// Makes snapshot `number`, which holds `state`, the one that counts.
    fn count(&self, number: u64, state: Applied) -> Result<Snapshot> {
        let inner = &self.inner;
        let entry = SnapshotEntry {
            number,
            id: self.new_id(&state)?,
            state,
        };
        let data = self.stored(&entry)?;
        let mut root = inner.health.lock(&inner.root);
        let next = root.next(root.store, entry.clone());
        // Durable: the root, which names the snapshot. Only now may the log be purged, and the old one go.
        let written = next.write(inner.dir.dir());
        written.map_err(|error| inner.health.note(error))?;
        let old = std::mem::replace(&mut *root, next).snapshot;
        drop(root);
        if let Some(old) = old {
            self.give_up(&names::snapshot(old.number));
        }
        Ok(Snapshot {
            id: entry.id,
            state: entry.state,
            data,
        })
    }

    /// The last snapshot that was built or installed; `None` if there is none.
    ///
    /// # Cost
    /// Opens its files.
    ///
    /// # Errors
    /// [`Disk`](crate::Error::Disk), also if it was removed by somebody; the next one that is built takes its
    /// place. [`Closed`](crate::Error::Closed).
    pub fn snapshot(&self) -> Result<Option<Snapshot>> {
        // Held until its files are open: then they may be removed.
        let root = self.inner.health.lock(&self.inner.root);
        self.check_open()?;
        let Some(entry) = root.snapshot.clone() else {
            return Ok(None);
        };
        let data = self.stored(&entry)?;
        Ok(Some(Snapshot {
            id: entry.id,
            state: entry.state,
            data,
        }))
    }

    fn stored(&self, entry: &SnapshotEntry) -> Result<SnapshotData> {
        let dir = self.inner.dir.dir();
        let dir = dir.open_dir(&names::snapshot(entry.number))?;
        let id = self.inner.options.disk.unique_id()?;
        Ok(SnapshotData::Stored(Stored::open(&dir, id)?))
    }

    fn new_id(&self, state: &Applied) -> Result<String> {
        let unique = self.inner.options.disk.unique_id()?;
        Ok(match &state.last {
            Some(point) => format!("{}-{}-{unique:016x}", point.term, point.index),
            None => format!("empty-{unique:016x}"),
        })
    }

    /// Removes what does not count, as far as the disk lets us: what is left is removed by the next opening.
    pub(super) fn give_up(&self, name: &str) {
        drop(remove(self.inner.dir.dir(), name));
    }
}
