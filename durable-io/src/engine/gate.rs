//! [`SyncGate`]: whose turn it is to sync, how far everything is durable, and when the next sync is due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::{Health, Poisoned, Signal, Step, Work};
use crate::disk::Disk;
use crate::error::Error;
use crate::file::File;
use crate::site::Site;
use crate::sync_mode::SyncMode;

/// What had been written when a sync was about to begin: captured before the call, because what is
/// written while it runs is not covered.
pub trait Written {
    /// The file to sync; what was written to others was synced when they were left.
    fn file(&self) -> &File;

    /// How far the engine had written, by a number that grows with every write.
    fn position(&self) -> u64;

    /// How many whole calls of this handle had been written.
    fn writes(&self) -> u64;

    /// True if something else is to be made durable with it: then it is synced although the position is
    /// durable.
    fn has_more(&self) -> bool {
        false
    }
}

/// Syncs one file after the other, one at a time, and knows how far they are durable: the watermark,
/// which only a sync that returned moves up.
///
/// The watermark is two numbers: a position, which means to the engine what it likes as long as it grows
/// with every write (an LSN, a count), and the number of calls, which [`SyncMode::Batch`] counts.
#[derive(Debug)]
pub struct SyncGate {
    mode: SyncMode,
    disk: Disk,
    health: Arc<Health>,
    turn: Mutex<()>,
    position: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
    moved: Arc<Signal>,
    /// When the oldest write was acknowledged that no sync has begun to cover; only in
    /// [`SyncMode::Batch`].
    waiting_since: Mutex<Option<Duration>>,
    interval: Arc<Work>,
}

impl SyncGate {
    /// The gate of a handle that was just opened, with everything up to `position` durable.
    pub fn new(mode: SyncMode, disk: &Disk, health: &Arc<Health>, position: u64) -> Self {
        let moved = Arc::new(Signal::new());
        health.wakes(&moved);
        Self {
            mode,
            disk: disk.clone(),
            health: Arc::clone(health),
            turn: Mutex::new(()),
            position: AtomicU64::new(position),
            writes: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            moved,
            waiting_since: Mutex::new(None),
            interval: Work::new(disk, health),
        }
    }

    /// When a write is acknowledged.
    pub fn mode(&self) -> SyncMode {
        self.mode
    }

    /// The watermark: everything up to this position is durable.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    /// How many calls of this handle are durable.
    #[inline]
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// How many syncs were begun.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Where those wait who wait for the watermark, or for what the engine wakes them for. They are woken
    /// too when the handle is poisoned, which ends the watermark's way.
    pub fn moved(&self) -> &Arc<Signal> {
        &self.moved
    }

    /// True if the watermark will not reach `position` any more.
    pub fn ends_before(&self, position: u64) -> bool {
        self.health.is_poisoned() && self.position() < position
    }

    /// True if the mode promises a sync before the last of `writes` calls is acknowledged.
    pub fn must_sync(&self, writes: u64) -> bool {
        match self.mode {
            SyncMode::Always => true,
            SyncMode::Batch { writes: limit, .. } => {
                writes.saturating_sub(self.writes()) >= u64::from(limit)
            }
            SyncMode::Manual => false,
        }
    }

    /// Syncs what `capture` says was written, counted at `site`, unless it is durable already; then moves
    /// the watermark, and calls `covered` before anybody else's turn. `capture` is called when the turn
    /// has come, so that it covers what came meanwhile.
    ///
    /// # Errors
    /// [`Poisoned`]: nothing was done. The disk's error: the handle is poisoned.
    pub fn sync_written<W: Written, E: From<Poisoned> + From<Error>>(
        &self,
        site: Site,
        capture: impl FnOnce() -> W,
        covered: impl FnOnce(&W),
    ) -> Result<(), E> {
        // Held across the sync: a failed one is reported to one caller only, so nobody may be in another
        // one that would then succeed without the pages.
        let _turn = self.turn();
        self.health.check()?;
        let written = {
            let mut since = self.health.lock(&self.waiting_since);
            // What is acknowledged from now on waits for the next sync.
            *since = None;
            capture()
        };
        if written.position() <= self.position() && !written.has_more() {
            return Ok(());
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        // Durable: everything up to `written`. Only now may it be acknowledged as durable, or stated so
        // anywhere, or be followed by another file.
        let proof = written.file().sync_data_at(site);
        let proof = proof.map_err(|error| self.health.poison(error))?;
        assert!(
            proof.is_of(written.file()),
            "the proof is of what was written"
        );
        self.writes.fetch_max(written.writes(), Ordering::SeqCst);
        self.position
            .fetch_max(written.position(), Ordering::SeqCst);
        covered(&written);
        self.moved.wake();
        Ok(())
    }

    /// Says that everything up to `position` is acknowledged; the interval of [`SyncMode::Batch`] begins
    /// with it, if it is not durable and nothing waits already. Not to be called with a lock held that
    /// `capture` takes.
    pub fn acknowledged(&self, position: u64) {
        if !matches!(self.mode, SyncMode::Batch { .. }) {
            return;
        }
        let mut since = self.health.lock(&self.waiting_since);
        if position <= self.position() {
            *since = None;
        } else if since.is_none() {
            *since = Some(self.disk.now());
            drop(since);
            self.interval.notify();
        }
    }

    /// How long until a sync is due by the interval of [`SyncMode::Batch`]; `None` if nothing waits for
    /// one.
    pub fn due_in(&self) -> Option<Duration> {
        let SyncMode::Batch { interval, .. } = self.mode else {
            return None;
        };
        let since = (*self.health.lock(&self.waiting_since))?;
        let due = since.saturating_add(interval);
        Some(due.saturating_sub(self.disk.now()))
    }

    /// Calls `sync` if the interval is over: one step of the work that keeps it.
    ///
    /// # Errors
    /// Those of `sync`.
    pub fn keep_interval<E>(&self, sync: impl FnOnce() -> Result<(), E>) -> Result<Step, E> {
        match self.due_in() {
            Some(wait) if wait.is_zero() => sync().map(|()| Step::Done),
            Some(wait) => Ok(Step::Wait(wait)),
            None => Ok(Step::Idle),
        }
    }

    /// The work that keeps the interval, to be given a thread of its own in [`SyncMode::Batch`]: so a
    /// deadline never waits for other work.
    pub fn interval(&self) -> &Arc<Work> {
        &self.interval
    }

    /// Holds the turn: no sync runs, and the watermark stays where it is.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.health.lock(&self.turn)
    }

    /// Moves the watermark back: what was after `position` was truncated, durably, and the caller holds
    /// the [`turn`](SyncGate::turn). Wake those who wait when the truncation can be seen.
    pub fn truncate(&self, position: u64) {
        self.position.store(position, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
