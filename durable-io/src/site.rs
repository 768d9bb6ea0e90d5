//! Where in the sources a barrier is: the name by which the simulator lists it and switches it off.

use std::fmt;
use std::panic::Location;

/// What a barrier makes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Barrier {
    /// A file's bytes and the length needed to read them ([`File::sync_data`](crate::File::sync_data)).
    Data,
    /// A file's bytes and all its metadata ([`File::sync_all`](crate::File::sync_all)).
    All,
    /// A directory's names ([`Dir::sync`](crate::Dir::sync)).
    Dir,
    /// One written range ([`File::write_durable_at`](crate::File::write_durable_at)).
    Write,
}

/// One barrier in the sources: file, line, *column* and kind, and the step within a procedure
/// that holds more than one.
///
/// Two barriers on one line differ by column, two inside one procedure
/// ([`replace_file`](crate::replace_file), say) by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// Source file, as the compiler names it.
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What the barrier makes durable.
    pub barrier: Barrier,
    /// The step inside a procedure of this crate, or `""` for a plain sync.
    pub step: &'static str,
}

impl Site {
    /// The site at `location`; take `Location::caller()` first and pass it on by hand, since closures,
    /// function pointers, macros and a tracked `Drop` lose it.
    pub fn new(location: &'static Location<'static>, barrier: Barrier, step: &'static str) -> Self {
        Self {
            file: location.file(),
            line: location.line(),
            column: location.column(),
            barrier,
            step,
        }
    }

    /// The same as `==`, and faster: what differs first are the numbers.
    #[cfg(feature = "sim")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.line, self.column) == (other.line, other.column) && self == other
    }

    /// As [`made_durable`], for work whose barrier is here: where the store makes its
    /// [group commit](crate::GroupCommit::site), say.
    #[inline]
    pub fn within<T>(self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "sim")]
        let _within = within::enter(self);
        work()
    }
}

/// Does `work`, which syncs inside another crate: a commit to a log, say, that this line waits for.
///
/// For the simulator all of its syncs are here, too, as one barrier that it lists and switches off; so it
/// says what this line needs them for, and not only what that crate does. So does each line that calls this one
/// inside of such work. Only those of the calling thread.
///
/// # Cost
/// None without the feature `sim`.
#[track_caller]
#[inline]
pub fn made_durable<T>(work: impl FnOnce() -> T) -> T {
    Site::new(Location::caller(), Barrier::All, "within").within(work)
}

#[cfg(feature = "sim")]
pub(crate) mod within {
    //! What the current thread is inside of.

    use std::cell::RefCell;

    use super::Site;

    thread_local! {
        static SITES: RefCell<Vec<Site>> = const { RefCell::new(Vec::new()) };
    }

    /// Leaves the innermost site when dropped.
    pub(super) struct Within(());

    impl Drop for Within {
        fn drop(&mut self) {
            SITES.with_borrow_mut(Vec::pop);
        }
    }

    pub(super) fn enter(site: Site) -> Within {
        SITES.with_borrow_mut(|sites| sites.push(site));
        Within(())
    }

    /// The sites that this thread's work is at, the outermost first: each waits for the same sync.
    pub(crate) fn sites() -> Vec<Site> {
        SITES.with_borrow(Vec::clone)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)?;
        if !self.step.is_empty() {
            write!(f, " {}", self.step)?;
        }
        write!(
            f,
            " ({})",
            match self.barrier {
                Barrier::Data => "file data",
                Barrier::All => "file data and metadata",
                Barrier::Dir => "directory",
                Barrier::Write => "written range",
            }
        )
    }
}
