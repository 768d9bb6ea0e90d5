//! [`History`]: what the index was before, as far as somebody may still ask: snapshots, and readers after a
//! failure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use durable_io::engine::Health;

use crate::keydir::{Change, Keydir};

/// Versions count published records.
#[derive(Debug)]
pub(crate) struct History {
    health: Arc<Health>,
    /// Changes that are published and not durable, oldest first: with them, what was durable can be
    /// shown after a failure.
    undo: Mutex<VecDeque<Undo>>,
    snapshots: Mutex<Snapshots>,
    /// After a failure: the last durable version, which is what readers get.
    last_good: OnceLock<u64>,
}

#[derive(Debug, Default)]
struct Snapshots {
    /// By version.
    open: BTreeMap<u64, Open>,
    /// Changes that were noted for snapshots that are closed by now, since what nobody needs was last
    /// forgotten.
    stale: u64,
}

impl Snapshots {
    fn hold(&mut self, version: u64, now: Duration) {
        let first = || Open {
            since: now,
            ..Open::default()
        };
        self.open.entry(version).or_insert_with(first).count += 1;
    }
}

/// The snapshots of one version.
#[derive(Debug, Default)]
struct Open {
    count: usize,
    /// Changes that were noted while they were the newest ones.
    changes: u64,
    /// When the first one was taken.
    since: Duration,
}

/// What nobody needs is forgotten when it is perhaps this part of all: so it costs little for each change.
const STALE_PART: u64 = 4;

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

    fn snapshots(&self) -> MutexGuard<'_, Snapshots> {
        self.health.lock(&self.snapshots)
    }

    /// The version of the newest snapshot.
    pub(crate) fn newest_snapshot(&self) -> Option<u64> {
        self.snapshots().open.keys().next_back().copied()
    }

    /// The version of the oldest snapshot, and when it was taken.
    pub(crate) fn oldest_snapshot(&self) -> Option<(u64, Duration)> {
        let snapshots = self.snapshots();
        let (version, open) = snapshots.open.first_key_value()?;
        Some((*version, open.since))
    }

    /// So many changes were noted while the snapshots of version `newest` were the newest ones.
    pub(crate) fn count_changes(&self, newest: u64, changes: u64) {
        let mut snapshots = self.snapshots();
        match snapshots.open.get_mut(&newest) {
            Some(open) => open.changes += changes,
            None => snapshots.stale += changes,
        }
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
    pub(crate) fn go_back(&self, newest: u64, now: Duration, keydir: &Keydir) {
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
        self.snapshots().hold(oldest, now);
        self.last_good.get_or_init(|| oldest);
    }

    /// Holds the version that readers see, which is `newest` but after a failure; returns it.
    pub(crate) fn hold(&self, newest: u64, now: Duration) -> u64 {
        let version = self.last_good().unwrap_or(newest);
        self.snapshots().hold(version, now);
        version
    }

    /// Lets go of a version that was held; changes that nobody asks for any more are forgotten.
    pub(crate) fn release(&self, version: u64, keydir: &Keydir) {
        let mut snapshots = self.snapshots();
        let Snapshots { open, stale } = &mut *snapshots;
        if let Some(held) = open.get_mut(&version) {
            held.count -= 1;
            if held.count == 0 {
                *stale += held.changes;
                open.remove(&version);
            }
        }
        if open.is_empty() || *stale > 0 && *stale >= keydir.change_count() / STALE_PART {
            // Under the lock, so that no snapshot of an older version comes in between.
            keydir.forget(|previous, at| open.range(previous..at).next().is_some());
            *stale = 0;
        }
    }
}
