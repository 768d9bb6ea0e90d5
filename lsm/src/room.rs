//! Room for a write: how much memory there is, how far writers are from the bounds of memory and replay, and
//! what happens there.
//!
//! Everything that is kept counts: memtables, the cache of blocks at its largest, what is known of open tables,
//! and what only readers still hold. Below half of the bound nobody is held up; above, a writer is delayed. At
//! the bound it waits for the flush that makes room, or does it itself where there is no thread that would. If
//! it is not the memtables that take the room, no flush makes any, and the write is refused.

use std::time::Duration;

use crate::cause::Cause;
use crate::error::{Error, Result};
use crate::store::{Catalog, Store};
use crate::tree::Tree;

/// So many runs of new tables are no debt yet; at twice as many, writers go as slowly as they ever do.
const DEBT_RUNS: u64 = 12;

/// Bytes of memory that are in use, without the cache of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Memtables that are written to.
    pub(crate) active: u64,
    /// Those that wait for their flush.
    pub(crate) frozen: u64,
    /// What is known of open tables.
    pub(crate) tables: u64,
    /// Memtables and tables that only readers hold.
    pub(crate) pinned: u64,
}

impl Used {
    /// What no flush gives back.
    fn fixed(self) -> u64 {
        self.tables + self.pinned
    }

    fn all(self) -> u64 {
        self.active + self.frozen + self.fixed()
    }
}

impl Store {
    /// The memory that is in use.
    pub(crate) fn used(&self, catalog: &Catalog) -> Used {
        let mut used = Used {
            pinned: self.pinned.bytes(),
            ..Used::default()
        };
        for tree in &catalog.trees {
            let (active, frozen) = tree.memtable_bytes();
            used.active += active;
            used.frozen += frozen;
            used.tables += tree.peek().levels.memory;
        }
        used
    }

    /// What may be in use, without the cache of blocks.
    fn memory_bound(&self) -> u64 {
        self.options.memory - self.options.block_cache
    }

    /// The keyspace whose memtable is to be flushed although it is not full: the one that holds the log
    /// back, if that is too long; the largest, if all together take too much memory.
    pub(crate) fn most_due<'a>(&self, catalog: &'a Catalog) -> Option<&'a Tree> {
        let trees = || catalog.trees.iter().map(|tree| &**tree);
        if self.throttle.is_replay_long() {
            let frozen = trees().any(|tree| !tree.peek().frozen.is_empty());
            let oldest = trees()
                .filter_map(|tree| Some((tree.peek().active.first_version()?, tree)))
                .min_by_key(|(first, _)| *first);
            // One that waits for its flush already may be what holds it back.
            if !frozen {
                return oldest.map(|(_, tree)| tree);
            }
        }
        let used = self.used(catalog);
        let is_near = used.all() + self.options.memtable_size > self.memory_bound();
        if is_near && used.active > used.frozen && self.is_worth_a_flush(used) {
            return largest(catalog);
        }
        None
    }

    /// A flush gives back less than half a memtable otherwise, and costs a table.
    fn is_worth_a_flush(&self, used: Used) -> bool {
        used.active + used.frozen >= self.options.memtable_size / 2
    }

    /// Waits until there is room for a write of `bytes`, if it has to.
    pub(crate) fn make_room(&self, bytes: u64) -> Result<()> {
        let catalog = self.catalog_full();
        let mut used = self.used(&catalog);
        while let Some(cause) = self.at_bound(used, bytes) {
            if used.frozen == 0 {
                if cause == Cause::Replay {
                    // Whatever is written next makes the memtable due that holds the log back.
                    break;
                }
                let catalog = self.catalog_full();
                self.freeze(self.worth_a_flush(&catalog, used)?);
            }
            self.wait_for_flush(bytes)?;
            used = self.used(&self.catalog());
        }
        if self.is_inline() {
            return Ok(());
        }
        if let Some((cause, delay)) = self.delay(&catalog, used, bytes) {
            // Nobody wakes it but a failure or room.
            let is_over = || self.health.is_poisoned();
            self.throttle.room.wait_until(is_over, Some(delay));
            self.throttle.count(cause, delay);
        }
        Ok(())
    }

    /// Whether there is room for a write of `bytes` now. Nobody waits; what the write would wait for is begun.
    ///
    /// # Errors
    /// [`Error::WouldDelay`], [`Error::MemoryFull`].
    pub(crate) fn check_room(&self, bytes: u64) -> Result<()> {
        let catalog = self.catalog_full();
        let used = self.used(&catalog);
        if let Some(cause) = self.at_bound(used, bytes) {
            if used.frozen == 0 {
                self.freeze(self.worth_a_flush(&catalog, used)?);
            }
            self.flushes.notify();
            return Err(Error::WouldDelay { cause, delay: None });
        }
        if self.is_inline() {
            return Ok(());
        }
        let Some((cause, pressure)) = self.pressure(&catalog, used) else {
            return Ok(());
        };
        let delay = self
            .throttle
            .delay_if_written(self.disk.now(), bytes, pressure);
        if delay.is_zero() {
            return Ok(());
        }
        let delay = Some(delay);
        Err(Error::WouldDelay { cause, delay })
    }

    /// The keyspace whose flush gives the most memory back.
    fn worth_a_flush<'a>(&self, catalog: &'a Catalog, used: Used) -> Result<&'a Tree> {
        let tree = largest(catalog).filter(|_| self.is_worth_a_flush(used));
        tree.ok_or_else(|| Error::MemoryFull {
            used: used.fixed(),
            limit: self.memory_bound(),
        })
    }

    /// Why a write of `bytes` cannot go on, if it cannot.
    fn at_bound(&self, used: Used, bytes: u64) -> Option<Cause> {
        if used.all().saturating_add(bytes) > self.memory_bound() {
            return Some(Cause::Memory);
        }
        let is_over = used.frozen > 0 && self.throttle.is_replay_over(bytes);
        is_over.then_some(Cause::Replay)
    }

    /// How long a write of `bytes` is to be delayed, and why, below the bounds.
    fn delay(&self, catalog: &Catalog, used: Used, bytes: u64) -> Option<(Cause, Duration)> {
        let (cause, pressure) = self.pressure(catalog, used)?;
        let now = self.disk.now();
        let delay = self.throttle.delay(now, bytes, pressure);
        (!delay.is_zero()).then_some((cause, delay))
    }

    /// How near writers are to the bounds, from 0 to 1, and to which, if they are to be held up.
    fn pressure(&self, catalog: &Catalog, used: Used) -> Option<(Cause, f64)> {
        // What no flush gives back leaves less room, and is no reason to wait.
        let room = self.memory_bound().saturating_sub(used.fixed());
        let (memory, debt) = (share(used.frozen, room), self.debt(catalog));
        let (pressure, cause) = if memory >= debt {
            (memory, Cause::Memory)
        } else {
            (debt, Cause::Debt)
        };
        if pressure <= 0.5 {
            return None;
        }
        Some((cause, (pressure * 2.0 - 1.0).min(1.0)))
    }

    /// How much of what may wait to be merged does: from 0 to 1, or more.
    fn debt(&self, catalog: &Catalog) -> f64 {
        if !self.options.auto_compact {
            return 0.0;
        }
        let runs = catalog.trees.iter().map(|tree| {
            let state = tree.peek();
            let new = state.levels.runs.iter();
            new.filter(|run| run.tables.first().is_some_and(|live| live.meta.level == 0))
                .count()
        });
        share(runs.max().unwrap_or(0) as u64, DEBT_RUNS * 2)
    }

    /// At a bound, with memtables that wait for their flush: waits for that, or does it.
    fn wait_for_flush(&self, bytes: u64) -> Result<()> {
        let begin = self.disk.now();
        let cause = || self.at_bound(self.used(&self.catalog()), bytes);
        let is_over = || {
            let catalog = self.catalog();
            cause().is_none() || self.used(&catalog).frozen == 0
        };
        if self.is_inline() {
            while !is_over() && self.flush_one()? {}
        } else {
            let held_up = cause();
            self.flushes.notify();
            let stuck = || self.flushes.trouble().is_some();
            let ended = || is_over() || self.health.is_poisoned() || stuck();
            self.throttle.room.wait_until(ended, None);
            if let Some(cause) = held_up {
                let time = self.disk.now().saturating_sub(begin);
                self.throttle.count(cause, time);
            }
            if !is_over() && stuck() {
                // What keeps the flush from getting on, a full disk, say, is what keeps this from it.
                self.flush_one()?;
            }
        }
        self.check_healthy()
    }
}

/// The keyspace with the largest memtable that is written to.
fn largest(catalog: &Catalog) -> Option<&Tree> {
    let trees = catalog.trees.iter().map(|tree| &**tree);
    trees.max_by_key(|tree| tree.peek().active.bytes())
}

fn share(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    let share = part as f64 / whole.max(1) as f64;
    share
}

#[cfg(test)]
mod tests {
    use durable_io::Background;
    use durable_io::sim::SimDisk;

    use super::*;
    use crate::options::Options;
    use crate::throttle::LONGEST;

    /// A store of so many runs that nobody merges.
    fn store(sim: &SimDisk, runs: u8) -> crate::Lsm {
        let options = Options::new()
            .background(Background::Inline)
            .disk(sim.disk())
            .reserve(0);
        let db = options.open("/store").unwrap();
        for run in 0..runs {
            db.put(&[run], b"value").unwrap();
            db.flush().unwrap();
            // Another range of the same keys, so that it is a run of its own.
            db.put(&[0], &[run]).unwrap();
            db.put(&[255], &[run]).unwrap();
        }
        db.flush().unwrap();
        db
    }

    /// Why a large write to `db` would be delayed now, if it would.
    fn cause(db: &crate::Lsm) -> Option<Cause> {
        let store = db.store();
        let catalog = store.catalog_full();
        let used = store.used(&catalog);
        store
            .delay(&catalog, used, 10_000_000)
            .map(|(cause, _)| cause)
    }

    #[test]
    fn the_debt_of_any_keyspace_counts() {
        let sim = SimDisk::new();
        let db = store(&sim, 0);
        let other = db
            .create_keyspace("other", &crate::KeyspaceOptions::new())
            .unwrap();
        for run in 0..20_u8 {
            assert_eq!(cause(&db), (run > 12).then_some(Cause::Debt), "{run} runs");
            other.put(&[0], &[run]).unwrap();
            other.put(&[255], &[run]).unwrap();
            db.flush_all().unwrap();
        }
        other.compact(..).unwrap();
        assert_eq!(cause(&db), None, "all is merged");
    }

    #[test]
    fn memtables_that_wait_for_their_flush_delay_a_put() {
        let sim = SimDisk::new();
        let options = Options::new()
            .background(Background::Inline)
            .disk(sim.disk())
            .memtable_size(100_000)
            .memory(300_000)
            .block_cache(4096)
            .reserve(0);
        let db = options.open("/store").unwrap();
        for n in 0..4_u8 {
            assert_eq!(cause(&db), None, "one memtable is not half of the room");
            db.put(&[n], &vec![n; 50_000]).unwrap();
        }
        assert_eq!(cause(&db), Some(Cause::Memory));
        db.flush().unwrap();
        assert_eq!(cause(&db), None);
    }

    #[test]
    fn a_put_is_delayed_by_the_debt_and_never_for_long() {
        let mut last = Duration::ZERO;
        for runs in [8, 16, 20, 24, 40] {
            let sim = SimDisk::new();
            let db = store(&sim, runs);
            let store = db.store();
            let catalog = store.catalog_full();
            let begin = sim.disk().now();
            for _ in 0..2000 {
                let used = store.used(&catalog);
                if let Some((cause, delay)) = store.delay(&catalog, used, 100_000) {
                    assert_eq!(cause, Cause::Debt);
                    assert!(delay <= LONGEST);
                    sim.advance(delay);
                }
            }
            let took = sim.disk().now().saturating_sub(begin);
            assert_eq!(took.is_zero(), runs == 8, "{runs} runs: {took:?}");
            assert!(took >= last, "{runs} runs: {took:?}, fewer: {last:?}");
            last = took;
        }
        // Twice as much is no cliff.
        assert!(last < Duration::from_secs(60), "{last:?}");
    }
}
