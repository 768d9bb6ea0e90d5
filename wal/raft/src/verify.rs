//! Reading and checking everything, and the numbers of a store.

use std::sync::atomic::Ordering;

use wal::Lsn;

use crate::error::{Error, Result};
use crate::state::State;
use crate::stats::{Stats, Verified};
use crate::store::Store;
use crate::write::Name;

/// So many entries are read at once, in bytes.
const CHUNK: u64 = 1 << 20;

impl Store {
    pub(crate) fn verify(&self) -> Result<Verified> {
        self.check_open()?;
        let mut verified = Verified::default();
        match self.log.verify() {
            Ok(log) => (verified.bytes, verified.records) = (log.bytes, log.records),
            Err(error) => damaged(&mut verified, error.into())?,
        }
        // Held, so that the front does not go meanwhile.
        let _mover = self.health().lock(&self.mover);
        let mut fresh = State::default();
        let read = fresh.read(self.log.records(Lsn(1)), self.dir.dir().path());
        if let Err(error) = read {
            damaged(&mut verified, error)?;
        }
        let groups: Vec<Name> = {
            let state = self.view()?;
            let name = |(&group, state): (&u64, &crate::group_state::GroupState)| Name {
                group,
                incarnation: state.incarnation,
            };
            state.groups.iter().map(name).collect()
        };
        for name in groups {
            match self.verify_entries(name, &mut verified.entries) {
                // It was destroyed meanwhile.
                Ok(()) | Err(Error::NoGroup { .. }) => {}
                Err(error) => damaged(&mut verified, error)?,
            }
        }
        Ok(verified)
    }

    /// Reads the entries of one group, as users read them.
    fn verify_entries(&self, name: Name, count: &mut u64) -> Result<()> {
        let mut next = 0;
        loop {
            let entries = self.entries(name, next..u64::MAX, CHUNK)?;
            let Some(last) = entries.last() else {
                return Ok(());
            };
            *count += entries.len() as u64;
            next = last.index + 1;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let log = self.log.stats();
        let counters = &self.counters;
        let mut stats = Stats {
            disk_bytes: log.disk_bytes,
            segments: log.segment_count,
            syncs: log.sync_count,
            durable_record: log.durable_lsn.0,
            last_record: log.last_lsn.0,
            reserve_bytes: self.health().lock(&self.reserve).held(),
            cache_bytes: self.health().lock(&self.cache).bytes(),
            moved_records: counters.moved_records.load(Ordering::Relaxed),
            moved_bytes: counters.moved_bytes.load(Ordering::Relaxed),
            trouble: self.mover_work.trouble(),
            ..Stats::default()
        };
        let state = self.health().lock(&self.state);
        stats.groups = state.groups.len() as u64;
        let entries = state
            .groups
            .values()
            .map(|group| group.entries.len() as u64);
        stats.entries = entries.sum();
        (stats.live_bytes, stats.held_bytes) = (state.live, state.held);
        stats
    }
}

/// Notes `error` as damage, if it is that.
fn damaged(verified: &mut Verified, error: Error) -> Result<()> {
    match error {
        Error::Corrupt { .. } | Error::UnsupportedVersion(_) => {
            verified.damage.push(error);
            Ok(())
        }
        other => Err(other),
    }
}
