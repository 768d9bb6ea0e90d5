//! Who waits until something is durable: callers, and callbacks, which one thread calls.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use durable_io::engine::{Signal, Thread};
use durable_io::made_durable;
use wal::Lsn;

use crate::error::{Error, Result};
use crate::store::Store;

/// What is called when a change is durable, or will never be known to be.
pub(crate) type Done = Box<dyn FnOnce(Result<()>) + Send>;

/// Callbacks, in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: Mutex<VecDeque<Waiter>>,
    signal: Arc<Signal>,
    is_stopped: AtomicBool,
}

struct Waiter {
    lsn: Lsn,
    done: Done,
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiter").field(&self.lsn).finish()
    }
}

impl Store {
    /// Has `done` called when the record at `lsn` is durable. The state is held, so that callbacks are called in
    /// the order of the log.
    pub(crate) fn call_when_durable(&self, lsn: Lsn, done: Done) {
        let mut queue = self.health().lock(&self.waiting.queue);
        queue.push_back(Waiter { lsn, done });
        drop(queue);
        self.waiting.signal.wake();
    }

    /// Waits until the record at `lsn` is durable.
    pub(crate) fn wait_until_durable(&self, lsn: Lsn) -> Result<()> {
        if self.log.durable_lsn() >= lsn {
            return Ok(());
        }
        // Durable: the record, and all before it. Only now may the caller act on it.
        made_durable(|| self.log.sync())?;
        Ok(())
    }

    /// Makes durable what callbacks wait for, all of it at once, and calls them; false if none waits.
    pub(crate) fn answer_waiting(&self) -> bool {
        if self.health().lock(&self.waiting.queue).is_empty() {
            return false;
        }
        // Durable: everything that was written before. Only now may the callbacks be called.
        let synced = made_durable(|| self.log.sync());
        let failure = synced.err().map(Error::from);
        let durable = self.log.durable_lsn();
        while let Some(Waiter { lsn, done }) = self.next_waiter(durable, failure.is_some()) {
            let result = match &failure {
                Some(error) if lsn > durable => Err(error.clone()),
                _ => Ok(()),
            };
            self.call(done, result);
        }
        true
    }

    fn next_waiter(&self, durable: Lsn, failed: bool) -> Option<Waiter> {
        let mut queue = self.health().lock(&self.waiting.queue);
        let front = queue.front()?;
        (failed || front.lsn <= durable).then(|| queue.pop_front())?
    }

    /// No lock is held: `done` may use the store.
    fn call(&self, done: Done, result: Result<()>) {
        // A panic in it has poisoned the store, which is how everybody learns of it.
        drop(self.health().catch(|| done(result)));
    }

    /// Tells everybody who still waits that the store is gone.
    pub(crate) fn dismiss_waiting(&self) {
        while let Some(waiter) = self.next_waiter(Lsn(0), true) {
            self.call(waiter.done, Err(Error::Closed));
        }
    }

    fn serve(&self) {
        let waiting = &self.waiting;
        let is_stopped = || waiting.is_stopped.load(Ordering::SeqCst);
        let has_work = || !self.health().lock(&waiting.queue).is_empty();
        while !is_stopped() {
            if !self.answer_waiting() {
                waiting
                    .signal
                    .wait_until(|| is_stopped() || has_work(), None);
            }
        }
    }
}

/// The thread that calls back; stopped and joined when dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    store: Arc<Store>,
    _thread: Thread,
}

impl Caller {
    pub(crate) fn start(store: &Arc<Store>) -> Result<Self> {
        let shared = Arc::clone(store);
        let thread = Thread::spawn("raft-sync", store.health(), move || shared.serve())?;
        Ok(Self {
            store: Arc::clone(store),
            _thread: thread,
        })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.store.waiting.is_stopped.store(true, Ordering::SeqCst);
        self.store.waiting.signal.wake();
    }
}
