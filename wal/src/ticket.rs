//! [`Ticket`]: an append that is not waited for yet.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Weak;

use durable_io::Member;

use crate::error::Result;
use crate::log::Log;
use crate::lsn::Lsn;
use crate::results::Results;

/// An append in flight, from [`Wal::submit`](crate::Wal::submit). Dropping it changes nothing: the
/// append goes on.
#[derive(Debug)]
#[must_use = "without waiting nobody knows whether the append succeeded"]
pub struct Ticket(State);

#[derive(Debug)]
enum State {
    /// A batch of no records, and where they are.
    Empty(Lsn),
    InFlight {
        log: Weak<Log>,
        member: Member<Results>,
        /// Its records.
        count: u64,
    },
}

impl Ticket {
    pub(crate) fn empty(next: Lsn) -> Self {
        Self(State::Empty(next))
    }

    pub(crate) fn new(log: Weak<Log>, member: Member<Results>, count: u64) -> Self {
        Self(State::InFlight { log, member, count })
    }

    /// The positions of the records if the append has been acknowledged, its error if it failed, and
    /// `None` if it is still in flight. Cheap: no lock, no system call.
    ///
    /// # Errors
    /// As [`Wal::append`](crate::Wal::append).
    pub fn poll(&self) -> Option<Result<Range<Lsn>>> {
        match &self.0 {
            State::Empty(next) => Some(Ok(*next..*next)),
            State::InFlight { member, count, .. } => {
                Some(member.result()?.range(member.index(), *count))
            }
        }
    }

    /// Waits until the append is acknowledged, as the [`SyncMode`](crate::SyncMode) says, and
    /// returns the positions of the records. If nobody commits the group that it is in, this thread
    /// does.
    ///
    /// # Errors
    /// As [`Wal::append`](crate::Wal::append).
    pub fn wait(self) -> Result<Range<Lsn>> {
        if let State::InFlight { log, member, count } = &self.0
            && let Some(log) = log.upgrade()
        {
            return log.wait(member).range(member.index(), *count);
        }
        self.poll()
            .expect("a log commits what is in flight before it goes")
    }
}

/// What is called when an append is acknowledged or has failed.
pub(crate) struct Callback(Box<dyn FnOnce(Result<Range<Lsn>>) + Send>);

impl Callback {
    pub(crate) fn new(call: impl FnOnce(Result<Range<Lsn>>) + Send + 'static) -> Self {
        Self(Box::new(call))
    }
}

/// A callback that is due.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) callback: Callback,
    pub(crate) result: Result<Range<Lsn>>,
}

thread_local! {
    /// What is due in this thread while it runs a callback.
    static DUE: RefCell<Option<VecDeque<Acknowledged>>> = const { RefCell::new(None) };
}

impl Acknowledged {
    /// Calls all of `callbacks`, in their order. If a callback appends and so comes here, those that it
    /// made due are called when it has returned: else they would be called inside of each other,
    /// without a bound.
    pub(crate) fn call_all(callbacks: Vec<Self>) {
        if callbacks.is_empty() {
            return;
        }
        let is_inside = DUE.with_borrow_mut(|due| {
            let is_inside = due.is_some();
            due.get_or_insert_default().extend(callbacks);
            is_inside
        });
        if is_inside {
            return;
        }
        let next = || DUE.with_borrow_mut(|due| due.as_mut()?.pop_front());
        while let Some(acknowledged) = next() {
            acknowledged.call();
        }
        DUE.set(None);
    }

    fn call(self) {
        let call = self.callback.0;
        // It runs in a thread that has nothing to do with it, which must not die of it. The panic
        // hook has reported the panic.
        drop(panic::catch_unwind(AssertUnwindSafe(|| call(self.result))));
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn due(call: impl FnOnce() + Send + 'static) -> Acknowledged {
        Acknowledged {
            callback: Callback::new(|_result| call()),
            result: Ok(Lsn(1)..Lsn(2)),
        }
    }

    #[test]
    fn what_becomes_due_in_a_callback_is_called_behind_all_that_is_due() {
        let called = Arc::new(Mutex::new(Vec::new()));
        let note = |n: u32| {
            let called = Arc::clone(&called);
            move || called.lock().unwrap().push(n)
        };
        let (one, inner, two) = (note(1), note(3), note(2));
        let first = due(move || {
            Acknowledged::call_all(vec![due(inner)]);
            one();
        });
        let planted = due(|| panic!("planted"));
        Acknowledged::call_all(vec![first, planted, due(two)]);
        assert_eq!(*called.lock().unwrap(), [1, 2, 3]);
        // And it is over: the next ones are called at once.
        Acknowledged::call_all(vec![due(note(4))]);
        assert_eq!(called.lock().unwrap().last(), Some(&4));
    }
}
