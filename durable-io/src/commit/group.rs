//! One group: where its members sleep, and find its result.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Each group has a lock of its own, so that those who wake do not meet those who join the next one.
#[derive(Debug)]
pub(super) struct Group<R> {
    result: OnceLock<R>,
    gate: Mutex<Gate>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    /// How many members sleep.
    asleep: usize,
    /// One of them is to lead.
    leads: bool,
    /// There will be no result.
    has_failed: bool,
}

impl<R> Default for Group<R> {
    fn default() -> Self {
        Self {
            result: OnceLock::new(),
            gate: Mutex::default(),
            woken: Condvar::new(),
        }
    }
}

impl<R> Group<R> {
    pub(super) fn result(&self) -> Option<&R> {
        self.result.get()
    }

    /// Sets the result, for whoever looks.
    pub(super) fn set(&self, result: R) {
        // Nobody else sets it: a group is led once.
        self.result.get_or_init(|| result);
    }

    /// Wakes all members, who find the result, with one call to the kernel: were one to wake the others,
    /// they would wait for one more idle processor to come to life.
    pub(super) fn wake(&self) {
        if self.gate().asleep > 0 {
            self.woken.notify_all();
        }
    }

    /// Says that there will be no result.
    pub(super) fn fail(&self) {
        self.gate().has_failed = true;
        self.woken.notify_all();
    }

    /// Wakes one member, to lead the group, or whoever is about to sleep.
    pub(super) fn call_leader(&self) {
        self.gate().leads = true;
        self.woken.notify_one();
    }

    /// Returns when there is a result, or will be none, or when the caller is to lead.
    pub(super) fn sleep(&self) {
        let mut gate = self.gate();
        while self.is_open(&gate) {
            if std::mem::take(&mut gate.leads) {
                return;
            }
            gate.asleep += 1;
            let woken = self.woken.wait(gate);
            gate = woken.unwrap_or_else(PoisonError::into_inner);
            gate.asleep -= 1;
        }
    }

    /// As [`sleep`](Group::sleep), but also returns after `time` at the latest, or a little sooner.
    pub(super) fn sleep_for(&self, time: Duration) {
        let mut gate = self.gate();
        if self.is_open(&gate) && !std::mem::take(&mut gate.leads) {
            gate.asleep += 1;
            let woken = self.woken.wait_timeout(gate, time);
            gate = woken.unwrap_or_else(PoisonError::into_inner).0;
            gate.asleep -= 1;
        }
    }

    fn is_open(&self, gate: &Gate) -> bool {
        self.result.get().is_none() && !gate.has_failed
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
