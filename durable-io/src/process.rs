//! [`Process`]: who holds something, when a fork has made copies of all there is.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Op, Result};

/// How many forks lie between the process that was started and this one. It only grows from parent to
/// child, so that no two processes which could have inherited the same value have the same number.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// The C library calls [`forked`] in each child.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);

/// A process, as opposed to the children that it forks.
///
/// A forked child has a copy of everything that its parent held: the same open files, the same lock,
/// mutexes in whatever state they were, and none of the other threads. It must use none of it. What
/// belongs to one process remembers it here, and asks first of all, before it takes any mutex:
///
/// ```
/// use durable_io::Process;
///
/// let owner = Process::current()?;
/// assert!(owner.is_current());
/// # Ok::<(), durable_io::Error>(())
/// ```
///
/// Seen is `fork` as the C library has it. A program that makes the bare system call goes unnoticed,
/// as it does by the C library itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    generation: u64,
}

impl Process {
    /// The process that asks.
    ///
    /// # Errors
    /// [`Error::Resource`] if there is no memory to be notified of forks with.
    pub fn current() -> Result<Self> {
        // Two threads may both come here first, and then each fork counts twice, which is as good. Were
        // one to wait for the other, a child forked meanwhile would wait for ever.
        if !IS_WATCHED.load(Ordering::Acquire) {
            watch_forks().map_err(|source| {
                let path = Path::new("this process");
                Error::refusal(Op::WatchForks, path, None, source)
            })?;
            IS_WATCHED.store(true, Ordering::Release);
        }
        Ok(Self::unwatched())
    }

    /// As [`current`](Process::current), where forks are watched already.
    fn unwatched() -> Self {
        Self {
            generation: GENERATION.load(Ordering::Relaxed),
        }
    }

    /// True in the process that this is, false in a child forked from it, and in that one's children.
    /// No system call: one load from memory.
    #[inline]
    pub fn is_current(self) -> bool {
        self == Self::unwatched()
    }
}

extern "C" fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

fn watch_forks() -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "the alternative is a system call (getpid) before each operation of every handle"
    )]
    // SAFETY: the handler may do in the child only what a signal handler may: it adds to an atomic
    // number. It is a function of the program, so it is there as long as a fork can be made.
    let failed = unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    match failed {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_makes_another_process_of_every_child_and_of_its_children() {
        // A count of its own, so that the locks of other tests stay theirs.
        let owner = Process { generation: 7 };
        let child = Process { generation: 8 };
        assert_ne!(owner, child);
        let ours = Process::current().expect("there is memory");
        assert!(ours.is_current());
        let parents = Process {
            generation: ours.generation.wrapping_sub(1),
        };
        assert!(!parents.is_current());
    }
}
