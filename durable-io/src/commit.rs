//! Group commit: many writers, one write and one sync. The first who finds nobody leading leads.
//!
//! Sources: the leader/follower scheme of `LevelDB`'s and `RocksDB`'s write queue; the gather step is
//! `PostgreSQL`'s `commit_delay`, ended by the last one who may come, who leads, and bounded by the
//! time that a commit takes.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::site::{Barrier, Site};
use group::Group;

mod group;

/// How many items a group may hold and leave its memory to a later one.
const KEPT: usize = 1024;
/// A group is waited for no longer once nobody came for this part of the time that the last commit
/// took, or after that time.
const GAP: u32 = 2;
/// Commits that take less are not waited for: a sleep takes longer.
const SHORT: Duration = Duration::from_micros(20);
/// After a group was waited for in vain it is not done for a while: for one group, two, four, up to
/// this many.
const MAX_SKIPPED: u32 = 64;

/// Collects what concurrent writers bring (`T`) into groups; one of them, the leader, commits the
/// whole group and gives every member the result (`R`).
///
/// While a leader works, the next group fills; one of its members leads it. A member that does not
/// wait ([`submit`](GroupCommit::submit)) is committed with the first one that does, or by a thread
/// that serves the queue ([`wait_for_group`](GroupCommit::wait_for_group)).
///
/// The barrier that the leader takes is counted at the place where the `GroupCommit` was made, so
/// that it does not depend on which thread happened to lead: pass [`site`](GroupCommit::site) to
/// [`File::sync_data_at`](crate::File::sync_data_at).
#[derive(Debug)]
pub struct GroupCommit<T, R> {
    state: Mutex<State<T, R>>,
    /// Where the thread that serves waits.
    wanted: Condvar,
    /// Where those wait who only want the leader to be done.
    led: Condvar,
    gathers: bool,
    site: Site,
}

#[derive(Debug)]
struct State<T, R> {
    /// What the group that is filling holds.
    filling: Vec<T>,
    /// How many of that need not be committed before something else is.
    lazy: usize,
    /// Memory for the next one.
    emptied: Vec<T>,
    /// The number of the group that is filling, and itself, once it has a member that does not lead.
    number: u64,
    group: Option<Arc<Group<R>>>,
    /// How many of its members wait.
    waiting: usize,
    /// How many wait for the leader to be done.
    outside: usize,
    /// How many may come into the group that is filling: as many as the last one let go, and those
    /// who had come by then.
    expected: usize,
    /// How long the last commit took.
    took: Duration,
    watch: Watch,
    /// How many groups are not waited for any more, and how many will not be after the next time that
    /// was in vain.
    skipping: u32,
    skip_next: u32,
    leader: Leader,
    /// A thread serves, and has nothing to do.
    idle: bool,
    stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    Free,
    Works,
    /// Its group has no result, and there will be no other one.
    Panicked,
}

/// Whether a member sees to it that the group that is filling is not waited for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Nobody,
    Somebody,
    /// It has been too long.
    Over,
}

/// The place of one item in its group, from [`GroupCommit::submit`].
#[derive(Debug)]
pub struct Member<R> {
    number: u64,
    index: usize,
    group: Arc<Group<R>>,
}

impl<R> Member<R> {
    /// The index of the item within its group.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The result of the group, if it has been committed.
    pub fn result(&self) -> Option<&R> {
        self.group.result()
    }
}

impl<T, R: Clone> GroupCommit<T, R> {
    /// An empty queue whose barrier is counted at the caller's line.
    #[track_caller]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                filling: Vec::new(),
                lazy: 0,
                emptied: Vec::new(),
                number: 0,
                group: None,
                waiting: 0,
                outside: 0,
                expected: 0,
                took: Duration::ZERO,
                watch: Watch::Nobody,
                skipping: 0,
                skip_next: 1,
                leader: Leader::Free,
                idle: false,
                stopped: false,
            }),
            wanted: Condvar::new(),
            led: Condvar::new(),
            gathers: true,
            site: Site::new(Location::caller(), Barrier::Data, "group commit"),
        }
    }

    /// Whether a group waits for company: nobody leads it before as many have come as the last group let
    /// go, beside those who had come by then; the last of them does. They are about to come back; without
    /// this, half of them come just too late. It waits no longer than the last commit took, and not when
    /// nobody came for half of that; if they do not come in time it is tried more rarely. Default:
    /// true.
    #[must_use]
    pub fn gather(mut self, gathers: bool) -> Self {
        self.gathers = gathers;
        self
    }

    /// The site of the group's barrier: where this queue was made.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Adds `item` to the group that is filling and returns when that group has been committed:
    /// its result, and the index of `item` within it.
    ///
    /// If no other thread leads, and the group waits for no more ([`gather`](GroupCommit::gather)), this
    /// one does: it calls `lead` with the whole group, in the order in which the items came, outside
    /// every lock of this queue. Otherwise it waits. Only one `lead` runs at a time, once per group, and
    /// groups are led in the order in which they filled.
    ///
    /// # Panics
    /// If a `lead` panicked, here or in another thread: the members of its group, and all who come
    /// later, panic too rather than wait for a result that never comes.
    pub fn commit(&self, item: T, lead: impl FnOnce(&mut [T]) -> R) -> (R, usize) {
        let mut state = self.lock();
        if state.leader == Leader::Free && !self.awaits(&state, 1) {
            let index = state.push(item);
            return (self.lead(state, lead), index);
        }
        let member = state.join(item);
        (self.finish(state, &member, lead), member.index)
    }

    /// Adds `item` to the group that is filling, and returns without waiting for it.
    pub fn submit(&self, item: T) -> Member<R> {
        let mut state = self.lock();
        let member = state.join(item);
        if state.watch == Watch::Somebody && !self.awaits(&state, 0) {
            // It was the last that those wait for who sleep.
            drop(state);
            member.group.call_leader();
        } else {
            self.call_server(state);
        }
        member
    }

    /// As [`submit`](GroupCommit::submit), for what waits until others come, or the queue is stopped.
    pub fn submit_lazily(&self, item: T) -> Member<R> {
        let mut state = self.lock();
        state.lazy += 1;
        state.join(item)
    }

    /// True if something was submitted lazily and is not being committed yet.
    pub fn has_lazy(&self) -> bool {
        self.lock().lazy > 0
    }

    /// Returns the result of `member`'s group when that has been committed; leads it if no other
    /// thread does, as [`commit`](GroupCommit::commit).
    ///
    /// # Panics
    /// As [`commit`](GroupCommit::commit).
    pub fn wait(&self, member: &Member<R>, lead: impl FnOnce(&mut [T]) -> R) -> R {
        match member.result() {
            Some(result) => result.clone(),
            None => self.finish(self.lock(), member, lead),
        }
    }

    /// Leads the group that is filling, if it has a member and no other thread leads; returns whether
    /// it did. For members that nobody waits for, unless all are lazy and the queue continues.
    ///
    /// # Panics
    /// As [`commit`](GroupCommit::commit).
    pub fn lead_once(&self, lead: impl FnOnce(&mut [T]) -> R) -> bool {
        let state = self.lock();
        let leads = state.leader == Leader::Free && state.is_wanted();
        if leads {
            self.lead(state, lead);
        }
        leads
    }

    /// Waits until no thread leads, for the end of a queue's life; returns false if none did. The
    /// group that fills may have members then: see [`lead_once`](GroupCommit::lead_once).
    pub fn wait_for_leader(&self) -> bool {
        let mut state = self.lock();
        let mut has_waited = false;
        while state.leader == Leader::Works {
            has_waited = true;
            state.outside += 1;
            let woken = self.led.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
            state.outside -= 1;
        }
        has_waited
    }

    /// Waits until there is a group to lead of which no member waits, or until
    /// [`stop`](GroupCommit::stop) is called and no member is left: then it returns false. For a
    /// thread of its own, one per queue, that calls [`lead_once`](GroupCommit::lead_once).
    ///
    /// # Panics
    /// As [`commit`](GroupCommit::commit).
    pub fn wait_for_group(&self) -> bool {
        let mut state = self.lock();
        loop {
            state.check();
            if state.needs_server() {
                return true;
            }
            if state.is_served() {
                return false;
            }
            state.idle = true;
            let woken = self.wanted.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
            state.idle = false;
        }
    }

    /// Makes [`wait_for_group`](GroupCommit::wait_for_group) return false when no member is left.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.wanted.notify_one();
    }

    /// Leads `member`'s group, or waits until another thread has.
    fn finish<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T, R>>,
        member: &Member<R>,
        lead: impl FnOnce(&mut [T]) -> R,
    ) -> R {
        loop {
            if let Some(result) = member.result() {
                return result.clone();
            }
            let is_filling = state.number == member.number;
            if state.leader == Leader::Free && is_filling {
                // The group that filled while another was committed is led by whichever of its members
                // runs first, the one that was woken or a new one, as soon as it waits for no more.
                if !self.awaits(&state, 0) {
                    return self.lead(state, lead);
                }
                if state.watch == Watch::Nobody {
                    state = self.watch(state, member);
                    continue;
                }
            }
            state.check();
            state.waiting += usize::from(is_filling);
            drop(state);
            member.group.sleep();
            if let Some(result) = member.result() {
                return result.clone();
            }
            state = self.lock();
            // Woken to lead; unless another thread was faster, and counts from 0 again.
            if state.number == member.number {
                state.waiting -= 1;
            }
        }
    }

    /// True if nobody is to lead the group that is filling yet, when `more` will have come.
    fn awaits(&self, state: &State<T, R>, more: usize) -> bool {
        self.gathers
            && state.filling.len() + more < state.expected
            && state.skipping == 0
            && state.watch != Watch::Over
            && state.took >= SHORT
    }

    /// Sleeps until the group that is filling, which is `member`'s, is led or need not be waited for.
    fn watch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T, R>>,
        member: &Member<R>,
    ) -> MutexGuard<'a, State<T, R>> {
        state.watch = Watch::Somebody;
        state.waiting += 1;
        let (took, missing) = (state.took, state.expected - state.filling.len());
        let begin = Instant::now();
        let (mut seen, mut last) = (state.filling.len(), begin);
        loop {
            drop(state);
            member
                .group
                .sleep_for((took / GAP).saturating_sub(last.elapsed()));
            state = self.lock();
            if state.number != member.number {
                return state;
            }
            if !self.awaits(&state, 0) {
                break;
            }
            if state.filling.len() > seen {
                (seen, last) = (state.filling.len(), Instant::now());
            }
            if last.elapsed() >= took / GAP || begin.elapsed() >= took {
                state.watch = Watch::Over;
                // Where there are more threads than the processors can bring back in time, it is
                // better to commit those who are there, and let the others come meanwhile.
                if (state.expected - seen) * 2 > missing {
                    state.skipping = state.skip_next;
                    state.skip_next = MAX_SKIPPED.min(state.skip_next * 2);
                }
                break;
            }
        }
        state.waiting -= 1;
        state
    }

    /// Commits the group that is filling, hands its result to all members, and wakes one of those who
    /// wait for the next group. Returns the result.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T, R>>,
        lead: impl FnOnce(&mut [T]) -> R,
    ) -> R {
        state.leader = Leader::Works;
        let emptied = std::mem::take(&mut state.emptied);
        let mut items = std::mem::replace(&mut state.filling, emptied);
        state.lazy = 0;
        let group = state.group.take();
        let members = items.len();
        match std::mem::replace(&mut state.watch, Watch::Nobody) {
            Watch::Nobody => state.skipping = state.skipping.saturating_sub(1),
            Watch::Somebody => state.skip_next = 1,
            Watch::Over => {}
        }
        state.waiting = 0;
        state.number += 1;
        // A thread that is alone waits for nobody, and need not ask the clock.
        let is_timed = self.gathers && members.max(state.expected) > 1;
        drop(state);
        let begin = is_timed.then(Instant::now);
        let result = panic::catch_unwind(AssertUnwindSafe(|| lead(&mut items)))
            .unwrap_or_else(|panic| self.fail(group.as_deref(), panic));
        let took = begin.map(|begin| begin.elapsed());
        items.clear();
        items.shrink_to(KEPT);
        // Before the next group can be led: so results come in the order of the groups.
        if let Some(group) = &group {
            group.set(result.clone());
        }
        let mut state = self.lock();
        state.emptied = items;
        state.took = took.unwrap_or(state.took);
        // Before they are answered, so that none of them is counted twice.
        state.expected = members + state.filling.len();
        state.leader = Leader::Free;
        if state.outside > 0 {
            self.led.notify_all();
        }
        // Those who wait for the next group all sleep: one must come and lead it, or watch it. It is
        // enough to wake one, since a new one that is faster leads it, and the woken one with it.
        let next = state.group.as_ref().filter(|_| state.waiting > 0);
        let next = next.map(Arc::clone);
        if next.is_none() {
            self.call_server(state);
        } else {
            drop(state);
        }
        if let Some(group) = group {
            group.wake();
        }
        if let Some(next) = next {
            next.call_leader();
        }
        result
    }

    /// Lets all who wait know that `group` has no result, and that there will be no other one.
    fn fail(&self, group: Option<&Group<R>>, panic: Box<dyn Any + Send>) -> ! {
        let mut state = self.lock();
        state.leader = Leader::Panicked;
        for group in group.into_iter().chain(state.group.as_deref()) {
            group.fail();
        }
        drop(state);
        self.led.notify_all();
        self.wanted.notify_one();
        panic::resume_unwind(panic)
    }

    /// Wakes the thread that serves, if it has something to do, or nothing any more.
    fn call_server(&self, state: MutexGuard<'_, State<T, R>>) {
        if state.idle && (state.needs_server() || state.is_served()) {
            drop(state);
            self.wanted.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        // A panic while the lock was held cannot have left the queue half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, R: Clone> Default for GroupCommit<T, R> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<T, R> State<T, R> {
    fn push(&mut self, item: T) -> usize {
        self.filling.push(item);
        self.filling.len() - 1
    }

    fn join(&mut self, item: T) -> Member<R> {
        Member {
            number: self.number,
            index: self.push(item),
            group: Arc::clone(self.group.get_or_insert_default()),
        }
    }

    /// No group is finished any more after a leader panicked.
    fn check(&self) {
        assert!(
            self.leader != Leader::Panicked,
            "the leader of a group commit panicked"
        );
    }

    /// True if there is something to lead, and nobody else will.
    fn needs_server(&self) -> bool {
        self.leader == Leader::Free && self.is_wanted() && self.waiting == 0
    }

    /// True if what fills is not only lazy, or will not wait for more.
    fn is_wanted(&self) -> bool {
        self.filling.len() > self.lazy || self.stopped && self.lazy > 0
    }

    /// True if nothing is left for the thread that serves, and nothing will come.
    fn is_served(&self) -> bool {
        self.stopped && self.filling.is_empty()
    }
}

#[cfg(test)]
mod tests;
