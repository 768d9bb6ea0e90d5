//! Group commit: many writers, one write and one sync. The first who finds nobody leading leads.
//!
//! Source: the leader/follower scheme of LevelDB's and RocksDB's write queue.

use std::panic::Location;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::site::{Barrier, Site};

/// Collects what concurrent writers bring (`T`) into groups; one of them, the leader, commits the
/// whole group and gives every member the result (`R`).
///
/// While a leader works, the next group fills; its first member to wake leads it.
///
/// The barrier that the leader takes is counted at the place where the `GroupCommit` was made, so
/// that it does not depend on which thread happened to lead: pass [`site`](GroupCommit::site) to
/// [`File::sync_data_at`](crate::File::sync_data_at).
#[derive(Debug)]
pub struct GroupCommit<T, R> {
    state: Mutex<State<T, R>>,
    /// Members of odd and of even groups wait apart, so that a finished group wakes only its own.
    finished: [Condvar; 2],
    site: Site,
}

#[derive(Debug)]
struct State<T, R> {
    /// What the group that is filling holds.
    filling: Vec<T>,
    /// The number of the group that is filling.
    group: u64,
    leading: bool,
    /// Results of finished groups that members have still to fetch.
    results: Vec<Finished<R>>,
}

#[derive(Debug)]
struct Finished<R> {
    group: u64,
    result: R,
    unfetched: usize,
}

impl<T, R: Clone> GroupCommit<T, R> {
    /// An empty queue whose barrier is counted at the caller's line.
    #[track_caller]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                filling: Vec::new(),
                group: 0,
                leading: false,
                results: Vec::new(),
            }),
            finished: [Condvar::new(), Condvar::new()],
            site: Site::new(Location::caller(), Barrier::Data, "group commit"),
        }
    }

    /// The site of the group's barrier: where this queue was made.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Adds `item` to the group that is filling and returns when that group has been committed:
    /// its result, and the index of `item` within it.
    ///
    /// If no other thread leads, this one does: it calls `lead` with the whole group, in the order
    /// in which the items came, outside every lock of this queue. Otherwise it waits. `lead` runs at
    /// most once per group, and only one runs at a time.
    ///
    /// If `lead` panics, the members of its group wait for ever; it must not panic.
    pub fn commit(&self, item: T, lead: impl FnOnce(Vec<T>) -> R) -> (R, usize) {
        let mut state = self.lock();
        let group = state.group;
        let index = state.filling.len();
        state.filling.push(item);
        // The group filled while another was committed is led by its first member.
        while state.leading && state.group == group {
            state = self.wait(group, state);
        }
        if state.group == group {
            let items = std::mem::take(&mut state.filling);
            state.group += 1;
            state.leading = true;
            let followers = items.len() - 1;
            drop(state);
            let result = lead(items);
            let mut state = self.lock();
            state.leading = false;
            if followers > 0 {
                state.results.push(Finished { group, result: result.clone(), unfetched: followers });
                self.condvar(group).notify_all();
            }
            // The next group has nobody awake: one of its members must come and lead it.
            if !state.filling.is_empty() {
                self.condvar(group + 1).notify_one();
            }
            return (result, index);
        }
        loop {
            if let Some(result) = state.fetch(group) {
                return (result, index);
            }
            state = self.wait(group, state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        // A panic while the lock was held cannot have left the queue half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        group: u64,
        state: MutexGuard<'a, State<T, R>>,
    ) -> MutexGuard<'a, State<T, R>> {
        self.condvar(group).wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn condvar(&self, group: u64) -> &Condvar {
        let [even, odd] = &self.finished;
        if group.is_multiple_of(2) { even } else { odd }
    }
}

impl<T, R: Clone> Default for GroupCommit<T, R> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<T, R: Clone> State<T, R> {
    fn fetch(&mut self, group: u64) -> Option<R> {
        let at = self.results.iter().position(|finished| finished.group == group)?;
        let finished = self.results.get_mut(at)?;
        finished.unfetched -= 1;
        if finished.unfetched == 0 {
            return Some(self.results.swap_remove(at).result);
        }
        Some(finished.result.clone())
    }
}
