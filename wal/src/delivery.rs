//! Calling back: in the order of the log, one at a time, whoever committed.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::error::Result;
use crate::location::Appended;

/// What is called when an append is acknowledged or has failed.
pub(crate) struct Callback(Box<dyn FnOnce(Result<Appended>) + Send>);

impl Callback {
    pub(crate) fn new(call: impl FnOnce(Result<Appended>) + Send + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// A callback that is due.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) callback: Callback,
    pub(crate) result: Result<Appended>,
}

impl Due {
    /// Calls it; true if it panicked.
    fn call(self) -> bool {
        let call = self.callback.0;
        // It runs in a thread that has nothing to do with it, which must not die of it. The panic
        // hook has reported the panic.
        panic::catch_unwind(AssertUnwindSafe(|| call(self.result))).is_err()
    }
}

/// The callbacks that are due. One thread at a time calls them, so that they come in order whichever
/// threads commit; and a callback that appends is not called back inside of itself.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    state: Mutex<State>,
    is_done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    due: VecDeque<Due>,
    /// Who calls them.
    by: Option<ThreadId>,
    /// How many have panicked.
    panics: u64,
}

impl Delivery {
    /// Adds what has become due, in the order of the log: by whoever holds the writer.
    pub(crate) fn add(&self, due: impl IntoIterator<Item = Due>) {
        let mut due = due.into_iter().peekable();
        if due.peek().is_some() {
            self.state().due.extend(due);
        }
    }

    /// Calls everything that is due, and what becomes due meanwhile, unless somebody does already.
    pub(crate) fn call_all(&self) {
        let mut state = self.state();
        if state.by.is_some() || state.due.is_empty() {
            return;
        }
        state.by = Some(thread::current().id());
        while let Some(due) = state.due.pop_front() {
            drop(state);
            let panicked = due.call();
            state = self.state();
            state.panics += u64::from(panicked);
        }
        state.by = None;
        drop(state);
        self.is_done.notify_all();
    }

    /// How many callbacks have panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.state().panics
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing is due any more; in a callback, only until this thread would have to wait for
    /// itself.
    pub(crate) fn wait(&self) {
        let own = thread::current().id();
        let mut state = self.state();
        while state.by.is_some_and(|by| by != own) {
            let woken = self.is_done.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::lsn::Lsn;

    fn due(call: impl FnOnce() + Send + 'static) -> Due {
        Due {
            callback: Callback::new(|_result| call()),
            result: Ok(Appended::nothing(Lsn(1))),
        }
    }

    #[test]
    fn what_becomes_due_in_a_callback_is_called_after_all_that_is_due() {
        let delivery = Arc::new(Delivery::default());
        let called = Arc::new(Mutex::new(Vec::new()));
        let note = |n: u32| {
            let called = Arc::clone(&called);
            move || called.lock().unwrap().push(n)
        };
        let (one, inner, two) = (note(1), note(3), note(2));
        let own = Arc::clone(&delivery);
        let first = due(move || {
            own.add([due(inner)]);
            own.call_all();
            own.wait();
            one();
        });
        let planted = due(|| panic!("planted"));
        delivery.add([first, planted, due(two)]);
        delivery.call_all();
        assert_eq!(*called.lock().unwrap(), [1, 2, 3]);
        // And it is over: the next ones are called at once.
        delivery.add([due(note(4))]);
        delivery.call_all();
        assert_eq!(called.lock().unwrap().last(), Some(&4));
    }

    /// The thread that committed the second group was faster than the one that committed the first.
    #[test]
    fn another_thread_queues_what_is_due_after_a_callback_that_runs() {
        let delivery = &Delivery::default();
        let (go, may_go) = mpsc::channel::<()>();
        let (began, has_begun) = mpsc::channel();
        let (called, order) = mpsc::channel();
        let second = called.clone();
        delivery.add([due(move || {
            began.send(()).unwrap();
            assert!(may_go.recv().is_err());
            called.send(1).unwrap();
        })]);
        thread::scope(|scope| {
            scope.spawn(|| delivery.call_all());
            has_begun.recv().unwrap();
            delivery.add([due(move || second.send(2).unwrap())]);
            delivery.call_all();
            assert!(order.try_recv().is_err());
            drop(go);
            delivery.wait();
            assert_eq!(order.iter().collect::<Vec<_>>(), [1, 2]);
        });
    }
}
