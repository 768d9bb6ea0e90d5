//! [`Health`]: whether a handle may still write, and why not.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::Signal;
use crate::error::Error;

/// What ended a handle's writing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A call to the disk failed, and nobody knows what of it is there.
    #[error(transparent)]
    Disk(#[from] Arc<Error>),
    /// A thread panicked in the middle of a change.
    #[error("a thread panicked in the middle of a change")]
    Panic,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Disk(Arc::new(error))
    }
}

impl From<Poisoned> for Failure {
    fn from(poisoned: Poisoned) -> Self {
        poisoned.source
    }
}

/// The answer of a poisoned handle: an earlier write or sync failed, or a thread panicked in the middle
/// of a change, so nobody knows what of it is on the disk. Reads of what is durable continue; opening again
/// recovers.
#[derive(Clone, Debug, thiserror::Error)]
#[error("poisoned by an earlier failed write or sync; reopen it to recover")]
pub struct Poisoned {
    /// What failed first.
    pub source: Failure,
}

/// Whether a handle may still write: it may until the first failure that poisons, which it keeps.
///
/// ```
/// use durable_io::engine::Health;
///
/// let health = Health::new();
/// health.check()?;
/// # let io = durable_io::Disk::os().open_dir("/there is no such directory").unwrap_err();
/// let error = health.poison(io); // What failed is returned to the one who met it,
/// let poisoned = health.check().unwrap_err(); // and that it did to all who come later.
/// assert_eq!(poisoned.source.to_string(), error.to_string());
/// # Ok::<(), durable_io::engine::Poisoned>(())
/// ```
#[derive(Debug, Default)]
pub struct Health {
    failure: OnceLock<Failure>,
    /// Where threads sleep that must learn of a failure.
    signals: Mutex<Vec<Arc<Signal>>>,
}

impl Health {
    /// That of a handle that was just opened, to be shared by its parts.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether writing may continue.
    ///
    /// # Errors
    /// [`Poisoned`] after a failure.
    #[inline]
    pub fn check(&self) -> Result<(), Poisoned> {
        match self.failure.get() {
            None => Ok(()),
            Some(failure) => Err(Poisoned {
                source: failure.clone(),
            }),
        }
    }

    /// True after a failure.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Notes that a call failed: unless it [changed nothing](Error::changed_nothing) that ends all
    /// writing. Returns the error. The one place that says which failures poison.
    pub fn note(&self, error: Error) -> Error {
        if error.changed_nothing() {
            return error;
        }
        self.poison(error)
    }

    /// Ends all writing, whatever the failure is: for what must not stop half-way. The first failure
    /// stays; everybody who waits at a signal [of this handle](Health::wakes) is woken. Returns the
    /// error.
    pub fn poison<E: Clone + Into<Failure>>(&self, error: E) -> E {
        self.failure.get_or_init(|| error.clone().into());
        for signal in self.signals().iter() {
            signal.wake();
        }
        error
    }

    /// Makes the first failure wake those who wait at `signal`.
    pub fn wakes(&self, signal: &Arc<Signal>) {
        self.signals().push(Arc::clone(signal));
    }

    /// Takes a lock of the handle. If a thread has panicked while it held it, what the lock protects may
    /// be half-changed: that poisons the handle. So [`check`](Health::check) after taking locks, and not
    /// before; what readers do with a lock must be safe however it was left.
    pub fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        let guard = mutex.lock().unwrap_or_else(|poisoned| {
            self.poison(Failure::Panic);
            poisoned.into_inner()
        });
        #[cfg(feature = "testing")]
        crate::testing::step();
        guard
    }

    /// Does `work`, and poisons the handle if that panics: for what one thread does for others, who must
    /// not wait for it in vain, as the leader of a group.
    ///
    /// # Errors
    /// [`Poisoned`] instead of the panic, which the panic hook has reported.
    pub fn catch<T>(&self, work: impl FnOnce() -> T) -> Result<T, Poisoned> {
        // What the panic left is protected by the locks of the handle, which is not written to any more.
        panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_panic| Poisoned {
            source: self.poison(Failure::Panic),
        })
    }

    fn signals(&self) -> MutexGuard<'_, Vec<Arc<Signal>>> {
        // Nothing under this lock can panic.
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::thread;

    use super::*;
    use crate::error::Op;

    fn failed(op: Op) -> Error {
        Error::io(op, Path::new("file"), None, io::Error::other("planted"))
    }

    #[test]
    fn the_first_failure_stays_and_all_who_wait_are_woken() {
        let health = &Health::new();
        let signals = [Arc::new(Signal::new()), Arc::new(Signal::new())];
        thread::scope(|scope| {
            for signal in &signals {
                health.wakes(signal);
                scope.spawn(move || signal.wait_until(|| health.is_poisoned(), None));
            }
            health.poison(failed(Op::Sync));
        });
        health.poison(failed(Op::Write));
        let poisoned = health.check().unwrap_err();
        assert_eq!(poisoned.source.to_string(), "cannot sync file");
    }

    #[test]
    fn a_full_disk_poisons_nothing_but_what_must_not_stop_half_way() {
        let health = Health::new();
        let full = Error::NoSpace {
            op: Op::Allocate,
            path: "file".into(),
            offset: None,
        };
        health.note(full.clone());
        health.check().unwrap();
        health.poison(full);
        health.check().unwrap_err();
    }

    #[test]
    fn a_panic_that_is_caught_is_an_error_and_a_failure() {
        let health = Health::new();
        assert_eq!(health.catch(|| 1).unwrap(), 1);
        health.check().unwrap();
        health.catch(|| panic!("planted")).unwrap_err();
        health.check().unwrap_err();
    }

    #[test]
    fn what_changed_nothing_poisons_nothing() {
        let health = Health::new();
        let refused = io::Error::from_raw_os_error(libc::EMFILE);
        let refused = Error::refusal(Op::Create, Path::new("file"), None, refused);
        health.note(refused);
        health.check().unwrap();
        health.note(failed(Op::Write));
        health.check().unwrap_err();
    }

    #[test]
    fn a_panic_under_a_lock_is_a_failure() {
        let health = Health::new();
        let lock = Mutex::new(1);
        thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _held = health.lock(&lock);
                panic!("planted");
            });
            panics.join().unwrap_err();
        });
        health.check().unwrap();
        assert_eq!(*health.lock(&lock), 1);
        let poisoned = health.check().unwrap_err();
        assert!(matches!(poisoned.source, Failure::Panic));
    }
}
