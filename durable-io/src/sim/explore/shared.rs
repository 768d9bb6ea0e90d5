//! What the threads of an exploration share: the next workload, what was checked already, what was found.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{Bound, Counts};
use crate::sim::disk::Used;
use crate::sim::doubt::Doubt;
use crate::sim::hash::{MixedMap, MixedSet, mix};
use crate::sim::run::{Passed, Runner};
use crate::sim::subject::Subject;
use crate::sim::tape::Tape;
use crate::sim::world::to_index;
use crate::site::Site;

pub(super) struct Found {
    nth: usize,
    pub(super) tape: Tape,
}

/// What the exploring threads share.
pub(super) struct Shared {
    pub(super) next: AtomicUsize,
    /// Workloads from this one on need not be tried any more.
    pub(super) stop_at: AtomicUsize,
    pub(super) found: Mutex<Option<Found>>,
    seen: Vec<Mutex<Seen>>,
    pub(super) passed: Passed,
    pub(super) sites: Mutex<BTreeMap<Site, BTreeSet<String>>>,
    pub(super) by_start: Mutex<BTreeMap<&'static str, u64>>,
    pub(super) totals: Totals,
    deadline: Option<Instant>,
    pub(super) timed_out: AtomicBool,
    doubts: Mutex<(BTreeSet<Doubt>, Used)>,
}

/// What was checked already; a part of it, by hash.
#[derive(Default)]
struct Seen {
    /// How deep each state was checked: the number of further crashes that were tried, plus one.
    states: MixedMap<u64, u8>,
    images: MixedSet<u64>,
}

/// Whether a state must be checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It was, with as many further crashes or more.
    Checked,
    /// It was, but with fewer further crashes.
    Deeper,
    New,
}

#[derive(Default)]
pub(super) struct Totals {
    pub(super) workloads: AtomicU64,
    pub(super) points: AtomicU64,
    pub(super) sampled: AtomicU64,
    pub(super) states: AtomicU64,
    unique: AtomicU64,
    images: AtomicU64,
    pub(super) nested: AtomicU64,
    pub(super) opens: AtomicU64,
}

impl Totals {
    pub(super) fn counts(&self) -> Counts {
        let get = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Counts {
            workloads: get(&self.workloads),
            crash_points: get(&self.points),
            sampled_points: get(&self.sampled),
            states: get(&self.states),
            unique_states: get(&self.unique),
            images: get(&self.images),
            nested_states: get(&self.nested),
            opens: get(&self.opens),
        }
    }
}

const SEEN_SHARDS: usize = 16;

impl Shared {
    pub(super) fn new(bound: &Bound) -> Self {
        Self {
            next: AtomicUsize::new(0),
            stop_at: AtomicUsize::new(usize::MAX),
            found: Mutex::new(None),
            seen: (0..SEEN_SHARDS).map(|_| Mutex::default()).collect(),
            passed: Passed::default(),
            sites: Mutex::default(),
            by_start: Mutex::default(),
            totals: Totals::default(),
            deadline: bound.time.map(|time| Instant::now() + time),
            timed_out: AtomicBool::new(false),
            doubts: Mutex::default(),
        }
    }

    pub(super) fn lock_by_start(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.by_start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn out_of_time(&self) -> bool {
        let over = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if over {
            self.timed_out.store(true, Ordering::Relaxed);
        }
        over
    }

    /// Takes from `runner` what makes a result doubtful, and what takes the doubt.
    pub(super) fn learn<S: Subject>(&self, runner: &mut Runner<'_, S>) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        doubts.0.append(&mut runner.doubts);
        doubts.1.add(runner.used);
    }

    /// Why all this may prove nothing.
    pub(super) fn doubts(&self, has_no_operations: bool) -> Vec<Doubt> {
        let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut all, used) = (doubts.0.clone(), doubts.1);
        let has_run = self.totals.opens.load(Ordering::Relaxed) > 0;
        let mut add = |is_so: bool, doubt: Doubt| all.extend(is_so.then_some(doubt));
        add(has_run && !used.is_called, Doubt::NoCalls);
        add(used.is_called && !used.is_written, Doubt::NoWrites);
        add(has_no_operations, Doubt::NoOperations);
        add(self.timed_out.load(Ordering::Relaxed), Doubt::OutOfTime);
        all.into_iter().collect()
    }

    /// Keeps the violation of the earliest workload, so that the report does not depend on which
    /// thread was faster.
    pub(super) fn report(&self, nth: usize, tape: Tape) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.as_ref().is_none_or(|found| nth < found.nth) {
            *found = Some(Found { nth, tape });
            self.stop_at.fetch_min(nth, Ordering::Relaxed);
        }
    }

    /// Whether the state of `image` and `key` was checked before with `depth` further crashes.
    pub(super) fn freshness(&self, image: u64, key: u64, depth: u8) -> Freshness {
        let shard = to_index(image >> 32) % SEEN_SHARDS;
        let Some(shard) = self.seen.get(shard) else {
            return Freshness::New;
        };
        let mut seen = shard.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.states.entry(mix(image, key)) {
            Entry::Occupied(checked) if *checked.get() > depth => Freshness::Checked,
            Entry::Occupied(mut checked) => {
                checked.insert(depth + 1);
                Freshness::Deeper
            }
            Entry::Vacant(state) => {
                state.insert(depth + 1);
                let image = u64::from(seen.images.insert(image));
                self.totals.images.fetch_add(image, Ordering::Relaxed);
                self.totals.unique.fetch_add(1, Ordering::Relaxed);
                Freshness::New
            }
        }
    }
}
