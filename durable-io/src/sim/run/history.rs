//! What was done in a run, and so what may be found when it ends at a moment.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::sim::disk::{Point, PointKind};
use crate::sim::hash::{fixed_hash, mix};
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
    pub(super) prospect: Rc<Prospect<S>>,
    /// The barrier that was about to take effect, if the moment is of that kind.
    pub(crate) barrier: Option<Site>,
}

/// What may be found when a run ends in an operation: the same at all moments of it.
pub(crate) struct Prospect<S: Subject> {
    /// The states that may be found after a power loss, at once or later, oldest first.
    pub(super) by_power_loss: Rc<Vec<S::State>>,
    /// Those that may be found after the death of the process alone.
    pub(super) by_process_death: Rc<Vec<S::State>>,
    pub(super) interrupted: S::Op,
    pub(super) next_n: u64,
    /// What was going on.
    pub(crate) during: String,
    /// With the disk, all that decides what follows, by [`Until`]; see [`Moment::key`].
    pub(super) keys: [OnceCell<u64>; 2],
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
        let history = History::<S>::of(allowed.to_vec(), next_n);
        Self {
            world,
            until,
            prospect: history.prospect(interrupted, "a fault"),
            barrier: None,
        }
    }

    /// The states that may be found.
    pub(super) fn allowed(&self) -> &Rc<Vec<S::State>> {
        match self.until {
            Until::PowerLoss => &self.prospect.by_power_loss,
            Until::ProcessDeath => &self.prospect.by_process_death,
        }
    }

    pub(crate) fn during(&self) -> &str {
        &self.prospect.during
    }

    /// Two moments with the same disk and the same key have the same future, but for the former
    /// contents that a hole may show after yet another crash: with these in the key, there were a
    /// hundred times as many states, of the same images.
    pub(super) fn key(&self, subject: &S) -> u64 {
        let prospect = &*self.prospect;
        let [by_power_loss, by_process_death] = &prospect.keys;
        let known = match self.until {
            Until::PowerLoss => by_power_loss,
            Until::ProcessDeath => by_process_death,
        };
        *known.get_or_init(|| {
            let allowed = fixed_hash(&**self.allowed());
            let allowed = mix(allowed, fixed_hash(&*prospect.by_power_loss));
            let continuation = subject.continuation(&prospect.interrupted);
            mix(allowed, fixed_hash(&format!("{continuation:?}")))
        })
    }
}

impl<S: Subject> Prospect<S> {
    /// The run ends at `point`.
    pub(super) fn moment(self: &Rc<Self>, point: Point) -> Moment<S> {
        let (until, barrier) = match point.kind {
            PointKind::Barrier(site) => (Until::PowerLoss, Some(site)),
            PointKind::Call => (Until::ProcessDeath, None),
        };
        Moment {
            barrier,
            ..self.end(point.world, until)
        }
    }

    /// The run ends with `world`, at no barrier.
    pub(super) fn end(self: &Rc<Self>, world: World, until: Until) -> Moment<S> {
        Moment {
            world,
            until,
            prospect: Rc::clone(self),
            barrier: None,
        }
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
    /// `acknowledged` as it was when the last operation began.
    acknowledged_before: usize,
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
            acknowledged_before: 0,
            next_n,
        }
    }

    /// An operation that changes nothing takes no number: what is done after it then leaves the same
    /// bytes as without it, which need no second look.
    pub(super) fn begin(&mut self, subject: &S, op: &S::Op) -> u64 {
        let n = self.next_n;
        self.floor_before = self.floor;
        self.acknowledged_before = self.acknowledged;
        if let Some(last) = self.states.last() {
            let next = subject.model(last, op, n);
            self.next_n += u64::from(next != *last);
            let halfway = subject.partly(last, op, n);
            self.states.extend(halfway.into_iter().chain([next]));
        }
        n
    }

    pub(super) fn acknowledge(&mut self, survives: Survives) {
        self.acknowledged = self.states.len() - 1;
        if survives == Survives::PowerLoss {
            self.floor = self.acknowledged;
        }
    }

    /// The same history as it was just before the last operation was acknowledged.
    pub(super) fn before_acknowledgement(&self) -> Self {
        let mut before = Self::of(self.states.clone(), self.next_n);
        before.floor = self.floor_before;
        before.acknowledged = self.acknowledged_before;
        before
    }

    pub(super) fn since(&self, index: usize) -> Vec<S::State> {
        let (_, since) = self.states.split_at(index);
        let mut states = since.to_vec();
        states.dedup();
        states
    }

    /// What may be found if the run ends now, in `op`, which is called `during`.
    pub(super) fn prospect(&self, op: &S::Op, during: &str) -> Rc<Prospect<S>> {
        let by_power_loss = Rc::new(self.since(self.floor));
        let by_process_death = if self.floor == self.acknowledged {
            Rc::clone(&by_power_loss)
        } else {
            Rc::new(self.since(self.acknowledged))
        };
        Rc::new(Prospect {
            by_power_loss,
            by_process_death,
            interrupted: op.clone(),
            next_n: self.next_n,
            during: during.to_owned(),
            keys: [OnceCell::new(), OnceCell::new()],
        })
    }
}
