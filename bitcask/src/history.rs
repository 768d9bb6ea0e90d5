//! [`History`]: what the index was before, as far as somebody may still ask: snapshots, and readers after a
//! failure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use durable_io::engine::Health;

use crate::keydir::{Change, Keydir};

/// Versions count published records.
#[derive(Debug)]
pub(crate) struct History {
    health: Arc<Health>,
    /// Changes that are published and not durable, oldest first: with them, what was durable can be
    /// shown after a failure.
    undo: Mutex<VecDeque<Undo>>,
    /// The versions at which snapshots are open, and how many of each.
    snapshots: Mutex<BTreeMap<u64, usize>>,
    /// After a failure: the last durable version, which is what readers get.
    last_good: OnceLock<u64>,
}

/// The change of a version.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) hash: u64,
    pub(crate) version: u64,
    pub(crate) change: Change,
}

impl History {
    pub(crate) fn new(health: &Arc<Health>) -> Self {
        Self {
            health: Arc::clone(health),
            undo: Mutex::default(),
            snapshots: Mutex::default(),
            last_good: OnceLock::new(),
        }
    }

    fn undo(&self) -> MutexGuard<'_, VecDeque<Undo>> {
        self.health.lock(&self.undo)
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.health.lock(&self.snapshots)
    }

    pub(crate) fn has_snapshots(&self) -> bool {
        !self.snapshots().is_empty()
    }

    /// After a failure: the last durable version.
    pub(crate) fn last_good(&self) -> Option<u64> {
        self.last_good.get().copied()
    }

    /// Keeps the change of a version that is published and not durable.
    pub(crate) fn keep(&self, undo: Undo) {
        self.undo().push_back(undo);
    }

    /// Changes that are kept until they are durable.
    pub(crate) fn unsynced_records(&self) -> usize {
        self.undo().len()
    }

    /// Everything up to `version` is durable.
    pub(crate) fn note_durable(&self, version: u64) {
        let mut undo = self.undo();
        while undo.front().is_some_and(|undo| undo.version <= version) {
            undo.pop_front();
        }
        if undo.is_empty() {
            undo.shrink_to(64);
        }
    }

    /// After a failure: from now on readers get what is durable, since the kernel may have dropped the
    /// rest. `newest` is the version that is published, and nothing is published meanwhile.
    pub(crate) fn go_back(&self, newest: u64, keydir: &Keydir) {
        let mut undo = self.undo();
        if self.last_good.get().is_some() {
            return;
        }
        let oldest = undo.front().map_or(newest, |undo| undo.version - 1);
        for Undo {
            hash,
            version,
            change,
        } in undo.drain(..)
        {
            keydir.note(hash, version, change);
        }
        // The changes are kept for it as long as the store is open.
        *self.snapshots().entry(oldest).or_default() += 1;
        self.last_good.get_or_init(|| oldest);
    }

    /// Holds the version that readers see, which is `newest` but after a failure; returns it.
    pub(crate) fn hold(&self, newest: u64) -> u64 {
        let version = self.last_good().unwrap_or(newest);
        *self.snapshots().entry(version).or_default() += 1;
        version
    }

    /// Lets go of a version that was held; changes that nobody asks for any more are forgotten.
    pub(crate) fn release(&self, version: u64, keydir: &Keydir) {
        let mut snapshots = self.snapshots();
        if let Some(count) = snapshots.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                snapshots.remove(&version);
            }
        }
        let oldest = snapshots.keys().next().copied();
        // Under the lock, so that no snapshot of an older version comes in between.
        match oldest {
            Some(oldest) if oldest > version => keydir.forget(|at| at <= oldest),
            Some(_) => {}
            None => keydir.forget(|_| true),
        }
    }
}
