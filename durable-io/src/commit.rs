//! Group commit: many writers, one write and one sync. The first who finds nobody leading leads.
//!
//! Source: the leader/follower scheme of `LevelDB`'s and `RocksDB`'s write queue.

use std::panic::{self, AssertUnwindSafe, Location};
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
    /// Members of odd and of even groups wait apart, so that a finished group wakes only its own:
    /// when group `n` is finished, nobody waits but its members and those of `n + 1`.
    finished: [Condvar; 2],
    site: Site,
}

#[derive(Debug)]
struct State<T, R> {
    /// What the group that is filling holds.
    filling: Vec<T>,
    /// The number of the group that is filling.
    group: u64,
    /// True while a leader works, and for ever after one has panicked.
    leading: bool,
    /// A leader panicked: its group has no result.
    abandoned: bool,
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
                abandoned: false,
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
    /// most once per group, only one runs at a time, and groups are led in the order in which they
    /// filled.
    ///
    /// # Panics
    /// If a `lead` panicked, here or in another thread: the members of its group, and all who come
    /// later, panic too rather than wait for a result that never comes.
    pub fn commit(&self, item: T, lead: impl FnOnce(Vec<T>) -> R) -> (R, usize) {
        let mut state = self.lock();
        let group = state.group;
        let index = state.filling.len();
        state.filling.push(item);
        // The group that filled while another was committed is led by whichever of its members runs
        // first: the one that was woken, or a new one.
        while state.leading && state.group == group {
            state = self.wait(group, state);
        }
        let result = if state.group == group {
            self.lead(state, lead)
        } else {
            self.follow(group, state)
        };
        (result, index)
    }

    /// Commits the group that is filling, and hands its result to the other members.
    fn lead(&self, mut state: MutexGuard<'_, State<T, R>>, lead: impl FnOnce(Vec<T>) -> R) -> R {
        let group = state.group;
        let items = std::mem::take(&mut state.filling);
        let followers = items.len() - 1;
        state.group += 1;
        state.leading = true;
        drop(state);
        let result = panic::catch_unwind(AssertUnwindSafe(|| lead(items)));
        let mut state = self.lock();
        let result = match result {
            Ok(result) => result,
            Err(panic) => {
                state.abandoned = true;
                drop(state);
                self.finished.iter().for_each(Condvar::notify_all);
                panic::resume_unwind(panic)
            }
        };
        state.leading = false;
        if followers > 0 {
            state.results.push(Finished {
                group,
                result: result.clone(),
                unfetched: followers,
            });
            self.condvar(group).notify_all();
        }
        // All members of the next group sleep: one must come and lead it. It is enough to wake one,
        // since a new one that is faster leads it, and the woken one with it, and then wakes all.
        if !state.filling.is_empty() {
            self.condvar(group + 1).notify_one();
        }
        result
    }

    /// Waits for the result of `group`, which another thread leads.
    fn follow(&self, group: u64, mut state: MutexGuard<'_, State<T, R>>) -> R {
        loop {
            if let Some(result) = state.fetch(group) {
                return result;
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
        assert!(!state.abandoned, "the leader of a group commit panicked");
        self.condvar(group)
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
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
        let at = self
            .results
            .iter()
            .position(|finished| finished.group == group)?;
        let finished = self.results.get_mut(at)?;
        finished.unfetched -= 1;
        if finished.unfetched == 0 {
            return Some(self.results.swap_remove(at).result);
        }
        Some(finished.result.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ScopedJoinHandle};

    use super::*;

    type Queue = GroupCommit<u32, Vec<u32>>;

    /// Until `n` members are in the group that is filling.
    fn until_filled(queue: &Queue, n: usize) {
        while queue.lock().filling.len() < n {
            thread::yield_now();
        }
    }

    /// Joins all, and returns what was committed together with each.
    fn groups(threads: Vec<ScopedJoinHandle<'_, Vec<u32>>>) -> Vec<Vec<u32>> {
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect()
    }

    #[test]
    fn all_who_come_while_a_leader_works_form_the_next_group() {
        let queue = &Queue::new();
        let (work, leader_works) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let first = scope.spawn(move || {
                let wait = |items| {
                    leader_works.recv().unwrap();
                    items
                };
                queue.commit(0, wait).0
            });
            while !queue.lock().leading {
                thread::yield_now();
            }
            let mut others = Vec::new();
            for n in 1..=5 {
                others.push(scope.spawn(move || queue.commit(n, |items| items).0));
                until_filled(queue, n as usize);
            }
            work.send(()).unwrap();
            assert_eq!(first.join().unwrap(), [0]);
            assert_eq!(groups(others), vec![vec![1, 2, 3, 4, 5]; 5]);
        });
        assert!(queue.lock().results.is_empty(), "every result was fetched");
    }

    #[test]
    fn a_panic_of_the_leader_is_a_panic_of_its_followers_and_of_all_later_ones() {
        let queue = &Queue::new();
        let (work, leader_works) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let first = scope.spawn(move || {
                queue.commit(0, |_| {
                    leader_works.recv().unwrap();
                    panic!("planted");
                })
            });
            while !queue.lock().leading {
                thread::yield_now();
            }
            let waiting = scope.spawn(|| queue.commit(1, |items| items));
            until_filled(queue, 1);
            work.send(()).unwrap();
            assert!(first.join().is_err());
            assert!(waiting.join().is_err());
            let later = scope.spawn(|| queue.commit(2, |items| items));
            assert!(later.join().is_err());
        });
    }

    #[test]
    fn the_site_is_where_the_queue_was_made() {
        let (queue, line) = (Queue::default(), line!());
        assert_eq!((queue.site().file, queue.site().line), (file!(), line));
        assert_eq!(queue.site().barrier, Barrier::Data);
    }
}
