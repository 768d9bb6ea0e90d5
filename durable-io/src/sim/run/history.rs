//! What was done in a run, and so what may be found when it ends at a moment.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::sim::disk::{Point, PointKind};
use crate::sim::subject::{Subject, Survives};
use crate::sim::world::World;
use crate::site::Site;

/// How a run ends at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    PowerLoss,
    ProcessDeath,
}

/// One moment of a run: what the disk held, and what the store may answer if it ends there.
pub(crate) struct Moment<S: Subject> {
    pub(crate) world: World,
    pub(crate) until: Until,
    /// The states that may be found, oldest first.
    pub(super) allowed: Arc<Vec<S::State>>,
    /// The states that may be found after a power loss that follows later.
    pub(super) allowed_by_power_loss: Arc<Vec<S::State>>,
    /// With the disk, all that decides what follows; see [`Runner::key`].
    pub(super) key: OnceCell<u64>,
    pub(super) interrupted: S::Op,
    pub(super) next_n: u64,
    /// The barrier that was about to take effect, if the moment is of that kind.
    pub(crate) barrier: Option<Site>,
    /// What was going on.
    pub(crate) during: String,
}

impl<S: Subject> Moment<S> {
    /// A moment outside any exploration: `allowed` may be found if the process dies,
    /// `allowed_by_power_loss` if the power fails.
    pub(crate) fn after_fault(
        world: World,
        until: Until,
        allowed: &[S::State],
        interrupted: &S::Op,
        next_n: u64,
    ) -> Self {
        let mut history = History::<S>::of(allowed.to_vec(), next_n);
        history.acknowledged = 0;
        history.moment_of(world, until, None, interrupted, "a fault")
    }
}

/// The operations of a run, with the state after each.
pub(super) struct History<S: Subject> {
    states: Vec<S::State>,
    /// The last state that power loss may not take back.
    pub(super) floor: usize,
    /// `floor` as it was when the last operation began.
    floor_before: usize,
    pub(super) acknowledged: usize,
    pub(super) next_n: u64,
}

impl<S: Subject> History<S> {
    pub(super) fn new(state: S::State, next_n: u64) -> Self {
        Self::of(vec![state], next_n)
    }

    /// A history of which nothing is promised to survive.
    pub(super) fn of(states: Vec<S::State>, next_n: u64) -> Self {
        Self {
            states,
            floor: 0,
            floor_before: 0,
            acknowledged: 0,
            next_n,
        }
    }

    /// An operation that changes nothing takes no number: what is done after it then leaves the same
    /// bytes as without it, which need no second look.
    pub(super) fn begin(&mut self, subject: &S, op: &S::Op) -> u64 {
        let n = self.next_n;
        self.floor_before = self.floor;
        if let Some(last) = self.states.last() {
            let next = subject.model(last, op, n);
            self.next_n += u64::from(next != *last);
            self.states.push(next);
        }
        n
    }

    pub(super) fn acknowledge(&mut self, survives: Survives) {
        self.acknowledged = self.states.len() - 1;
        if survives == Survives::PowerLoss {
            self.floor = self.acknowledged;
        }
    }

    /// The same history as it stood just before the last operation was acknowledged.
    pub(super) fn before_acknowledgement(&self) -> Self {
        let mut before = Self::of(self.states.clone(), self.next_n);
        before.floor = self.floor_before;
        before.acknowledged = self.states.len().saturating_sub(2);
        before
    }

    pub(super) fn since(&self, index: usize) -> Arc<Vec<S::State>> {
        let (_, since) = self.states.split_at(index);
        let mut states = since.to_vec();
        states.dedup();
        Arc::new(states)
    }

    pub(super) fn moment(&self, point: Point, op: &S::Op, during: &str) -> Moment<S> {
        let (until, barrier) = match point.kind {
            PointKind::Barrier(site) => (Until::PowerLoss, Some(site)),
            PointKind::Call => (Until::ProcessDeath, None),
        };
        self.moment_of(point.world, until, barrier, op, during)
    }

    pub(super) fn moment_of(
        &self,
        world: World,
        until: Until,
        barrier: Option<Site>,
        op: &S::Op,
        during: &str,
    ) -> Moment<S> {
        let allowed_by_power_loss = self.since(self.floor);
        let allowed = match until {
            Until::PowerLoss => Arc::clone(&allowed_by_power_loss),
            Until::ProcessDeath => self.since(self.acknowledged),
        };
        Moment {
            world,
            until,
            allowed,
            allowed_by_power_loss,
            key: OnceCell::new(),
            interrupted: op.clone(),
            next_n: self.next_n,
            barrier,
            during: during.to_owned(),
        }
    }
}
