//! The open store behind the handles: what is shared between callers and the background threads.
//!
//! Locks, in the order in which they may be taken: `mover`, then `state`, then any other. Whoever holds `state`
//! is the only one who writes to the log: the order of the log is that of all decisions. It is held while a
//! record is handed to the kernel, and never across a sync, but where the log continues in its next segment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use durable_io::engine::{Health, Reserve, StoreDir, Work};
use wal::{Batch, Lsn, Wal};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::record::{Event, Record};
use crate::state::State;
use crate::waiting::Waiting;

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) dir: StoreDir,
    /// Nothing in it is synced but by this store, which says for whom.
    pub(crate) log: Wal,
    pub(crate) state: Mutex<State>,
    pub(crate) cache: Mutex<Cache>,
    /// Who waits for a change to be durable.
    pub(crate) waiting: Waiting,
    /// Held across I/O: one at a time moves what counts out of the log's front.
    pub(crate) mover: Mutex<()>,
    pub(crate) mover_work: Arc<Work>,
    pub(crate) reserve: Mutex<Reserve>,
    pub(crate) is_closed: AtomicBool,
    pub(crate) counters: Counters,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) moved_records: AtomicU64,
    pub(crate) moved_bytes: AtomicU64,
}

/// Records that go into the log as one, each with the length of its payload.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    batch: Batch,
    records: Vec<(Record<'a>, usize)>,
}

impl<'a> Prepared<'a> {
    fn new() -> Self {
        Self {
            batch: Batch::new(),
            records: Vec::new(),
        }
    }

    pub(crate) fn one(record: Record<'a>) -> Self {
        let mut one = Self::new();
        one.push(record);
        one
    }

    fn push(&mut self, record: Record<'a>) {
        self.push_encoded(&record.header(), record);
    }

    fn push_encoded(&mut self, header: &[u8], record: Record<'a>) {
        let tail = record.tail();
        self.batch.push_parts(&[header, tail]);
        self.records.push((record, header.len() + tail.len()));
    }

    /// `records`, in as few batches as hold them.
    pub(crate) fn all(records: impl IntoIterator<Item = Record<'a>>, limit: u64) -> Vec<Self> {
        let mut all = vec![Self::new()];
        for record in records {
            let header = record.header();
            let size = RECORD_HEADER + (header.len() + record.tail().len()) as u64;
            let last = all.last_mut().expect("there is one from the beginning");
            if last.batch.size() + size <= limit {
                last.push_encoded(&header, record);
                continue;
            }
            let mut next = Self::new();
            next.push_encoded(&header, record);
            all.push(next);
        }
        all
    }
}

/// Bytes of a record before its payload, in a batch.
pub(crate) const RECORD_HEADER: u64 = 8;

impl Store {
    pub(crate) fn health(&self) -> &Arc<Health> {
        self.log.health()
    }

    /// Whether writing may continue.
    ///
    /// # Errors
    /// [`Error::Poisoned`] after a failure, [`Error::Closed`] after the end.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_open()?;
        Ok(self.health().check()?)
    }

    /// [`Error::Closed`] after the end.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// The state, to change it.
    ///
    /// # Errors
    /// As [`check`](Store::check).
    pub(crate) fn state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.health().lock(&self.state);
        self.check()?;
        Ok(state)
    }

    /// The state, to look at it. After a failure it is that of what is durable: of the rest nobody knows.
    ///
    /// # Errors
    /// [`Error::Closed`]; after a failure, as reading the log.
    pub(crate) fn view(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.health().lock(&self.state);
        self.check_open()?;
        if self.health().is_poisoned() && !state.only_durable {
            *state = self.durable_state()?;
        }
        Ok(state)
    }

    fn durable_state(&self) -> Result<State> {
        let mut state = State::default();
        state.only_durable = true;
        // After a failure the log gives out durable records alone.
        state.read(self.log.records(Lsn(1)), self.dir.dir().path())?;
        Ok(state)
    }

    /// Writes what was `prepared` after everything else, and applies it.
    ///
    /// # Errors
    /// Of the disk; if it is full nothing has changed.
    pub(crate) fn put(&self, state: &mut State, prepared: Prepared<'_>) -> Result<()> {
        let Prepared { batch, records } = prepared;
        let appended = self.log.write(batch)?;
        let locations = appended.locations(records.iter().map(|(_, len)| *len));
        let mut cache = self.health().lock(&self.cache);
        for ((record, _), at) in records.iter().zip(locations) {
            if let Event::Entry { data, .. } = record.event {
                cache.put(at.lsn(), data);
            }
            let applied = state.apply(record, at);
            applied.expect("what is written is checked before, under the same lock");
        }
        Ok(())
    }

    /// Writes `records`, which one batch holds, and applies them: also on a full disk, as far as the reserve
    /// reaches.
    ///
    /// # Errors
    /// As [`put`](Store::put).
    pub(crate) fn put_for_sure(&self, state: &mut State, records: &[Record<'_>]) -> Result<()> {
        loop {
            let mut prepared = Prepared::new();
            for record in records {
                prepared.push(*record);
            }
            match self.put(state, prepared) {
                Err(error) if error.is_no_space() && self.release_reserve()? => {}
                other => return other,
            }
        }
    }

    /// Gives back some of what is held for a full disk; false if nothing is left.
    fn release_reserve(&self) -> Result<bool> {
        let mut reserve = self.health().lock(&self.reserve);
        let released = reserve.release(0);
        Ok(released.map_err(|error| self.health().note(error))?)
    }

    /// Holds the space back again, if it can be had by now.
    pub(crate) fn hold_reserve(&self) -> Result<()> {
        let held = self.health().lock(&self.reserve).hold();
        Ok(held.map_err(|error| self.health().note(error))?)
    }

    /// The last record that was written.
    pub(crate) fn written(&self) -> Lsn {
        self.log.bounds().end.previous()
    }
}
