//! [`Repaired`]: what is left of a damaged store, as a store of its own.

use std::io;
use std::panic::Location;
use std::path::Path;

use super::progress::Progress;
use crate::dir::Dir;
use crate::disk::{Disk, split};
use crate::error::{Error, Op, Result};
use crate::site::{Barrier, Site};

/// So many errors of a damaged store are kept; all are counted.
const MAX_ERRORS: usize = 1000;

/// How a store is repaired.
#[derive(Clone, Debug, Default)]
pub struct RepairOptions {
    takes_older: bool,
    progress: Progress<u64>,
}

impl RepairOptions {
    /// The defaults: only what is certain is taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes values also that may be older than what was lost, or of keys that were deleted. The new store does
    /// not tell them from the others any more.
    #[must_use]
    pub fn take_older(mut self) -> Self {
        self.takes_older = true;
        self
    }

    /// Calls `report` now and then with the number of keys or events that were read so far. It must not panic.
    /// Default: nobody is told.
    #[must_use]
    pub fn progress(mut self, report: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.progress = Progress::new(report);
        self
    }
}

/// What became of a damaged store in a new one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repaired<E> {
    /// Keys or events that are in the new store.
    pub taken: u64,
    /// Of these, how many may be older than what was lost, or may have been deleted; 0 unless
    /// [`RepairOptions::take_older`] asks for them.
    pub older: u64,
    /// Keys that are not in the new store although a value of each was found, since that may be older than what
    /// was lost, or the key may have been deleted.
    pub left_out: u64,
    /// What is wrong with the damaged store, in the order in which it was found: the first 1000.
    pub errors: Vec<E>,
    /// How many errors there were.
    pub error_count: u64,
}

impl<E> Default for Repaired<E> {
    fn default() -> Self {
        Self {
            taken: 0,
            older: 0,
            left_out: 0,
            errors: Vec::new(),
            error_count: 0,
        }
    }
}

impl<E> Repaired<E> {
    /// Counts a key or an event that was read, and whether it may be older; true if it is to be taken.
    pub fn takes(&mut self, how: &RepairOptions, may_be_older: bool) -> bool {
        let is_taken = !may_be_older || how.takes_older;
        if is_taken {
            self.taken += 1;
            self.older += u64::from(may_be_older);
        } else {
            self.left_out += 1;
        }
        let read = self.taken + self.left_out;
        if read.is_multiple_of(1024) {
            how.progress.report(read);
        }
        is_taken
    }

    /// Notes something that is wrong with the damaged store.
    pub fn note(&mut self, error: E) {
        self.error_count += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }
}

/// Makes the directory `path` with everything that `make` puts into it, or not at all: that is made beside it,
/// under the name of `path` with `.unfinished` behind it, and gets its own name when it is whole. `path` must not
/// exist, or be an empty directory, and not the root of a file system.
///
/// # Durability
/// What `make` makes must be durable when it returns. When this returns, the name survives power loss, too. A
/// crash before that leaves nothing at `path`, or all; and perhaps the unfinished directory, which can be
/// removed.
///
/// # Errors
/// [`Error::Io`] of kind `DirectoryNotEmpty` if there is something in `path`, or an unfinished directory; of kind
/// `InvalidInput` if `path` does not end in a name. Those of `make`, of [`Dir::rename`] and [`Dir::sync`]; what was
/// made is removed then, as far as the disk lets us.
#[track_caller]
pub fn create_whole<T, E: From<Error>>(
    disk: &Disk,
    path: &Path,
    make: impl FnOnce(&Path) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let site = Site::new(Location::caller(), Barrier::Dir, "name");
    let refused =
        |path: &Path, kind: io::ErrorKind| Error::io(Op::CreateDir, path, None, kind.into());
    let names = split(path).and_then(|(parent, name)| Some((parent, name.to_str()?)));
    let (parent, name) = names.ok_or_else(|| refused(path, io::ErrorKind::InvalidInput))?;
    let unfinished = format!("{name}.unfinished");
    let at = parent.join(&unfinished);
    let stands = is_there(disk, path)?;
    if stands && !disk.open_dir(path)?.list()?.is_empty() {
        return Err(refused(path, io::ErrorKind::DirectoryNotEmpty).into());
    }
    if is_there(disk, &at)? {
        return Err(refused(&at, io::ErrorKind::DirectoryNotEmpty).into());
    }
    let finish = |made| {
        let parent = disk.open_dir(&parent)?;
        if stands {
            parent.remove_dir(name)?;
        }
        parent.rename(&unfinished, name)?;
        // Durable: the name of what is whole. Only now may the caller rely on it.
        parent.sync_at(site)?;
        Ok(made)
    };
    let made = make(&at).and_then(|made| finish(made).map_err(|error: Error| error.into()));
    if made.is_err() {
        // Best effort: it counts for nothing, and the error that is returned matters more.
        drop(
            disk.open_dir(&parent)
                .and_then(|parent| remove_all(&parent, &unfinished)),
        );
    }
    made
}

fn is_there(disk: &Disk, path: &Path) -> Result<bool> {
    match disk.open_dir(path) {
        Err(error) if error.is_not_found() => Ok(false),
        opened => opened.map(|_| true),
    }
}

/// Removes the directory `name` of `parent` and all below it.
fn remove_all(parent: &Dir, name: &str) -> Result<()> {
    let dir = parent.open_dir(name)?;
    for entry in dir.list()? {
        if entry.is_dir {
            remove_all(&dir, &entry.name)?;
        } else {
            dir.remove(&entry.name)?;
        }
    }
    parent.remove_dir(name)
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    const PATH: &str = "/stores/new";

    fn make(disk: &Disk, at: &Path) -> Result<()> {
        let dir = disk.create_dir(at)?.open_or_make("below")?;
        let file = dir.create_new("file")?;
        file.write_all_at(b"whole", 0)?;
        drop(file.sync_all()?);
        dir.sync()
    }

    impl Dir {
        fn open_or_make(&self, name: &str) -> Result<Self> {
            self.create_dir(name)?;
            self.sync()?;
            self.open_dir(name)
        }
    }

    fn kind(error: Error) -> Option<io::ErrorKind> {
        match error {
            Error::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    fn names(disk: &SimDisk) -> Vec<String> {
        let mut names: Vec<_> = disk.files().into_iter().map(|(path, _)| path).collect();
        names.sort();
        names
    }

    #[test]
    fn it_appears_whole_also_where_an_empty_directory_was() -> Result<()> {
        for stands in [false, true] {
            let sim = SimDisk::new();
            let disk = sim.disk();
            disk.create_dir(if stands { PATH } else { "/stores" })?;
            create_whole(&disk, Path::new(PATH), |at| make(&disk, at))?;
            assert_eq!(names(&sim), ["/stores/new/below/file"]);
            let after = SimDisk::boot(sim.world().lose_unsynced());
            assert_eq!(names(&after), ["/stores/new/below/file"]);
        }
        Ok(())
    }

    #[test]
    fn what_is_there_is_never_replaced() -> Result<()> {
        let sim = SimDisk::new();
        let disk = sim.disk();
        for at in [PATH, "/stores/other.unfinished"] {
            disk.create_dir(at)?.create_new("file")?;
        }
        for path in [PATH, "/stores/other"] {
            let refused = create_whole(&disk, Path::new(path), |at| make(&disk, at));
            let error = refused.expect_err("there is something");
            assert_eq!(
                kind(error),
                Some(io::ErrorKind::DirectoryNotEmpty),
                "{path}"
            );
        }
        let refused = create_whole(&disk, Path::new("/stores/.."), |at| make(&disk, at));
        let error = refused.expect_err("that is no name");
        assert_eq!(kind(error), Some(io::ErrorKind::InvalidInput));
        assert_eq!(
            names(&sim),
            ["/stores/new/file", "/stores/other.unfinished/file"]
        );
        Ok(())
    }

    #[test]
    fn what_could_not_be_finished_is_removed() -> Result<()> {
        let sim = SimDisk::new();
        let disk = sim.disk();
        let made = create_whole(&disk, Path::new(PATH), |at| {
            make(&disk, at)?;
            Err::<(), _>(Error::io(Op::Write, at, None, io::ErrorKind::Other.into()))
        });
        assert!(made.is_err());
        assert_eq!(names(&sim), Vec::<String>::new());
        create_whole(&disk, Path::new(PATH), |at| make(&disk, at))
    }

    #[test]
    fn errors_are_counted_beyond_those_that_are_kept() {
        let mut repaired = Repaired::default();
        (0..1500).for_each(|n| repaired.note(n));
        assert_eq!((repaired.errors.len(), repaired.error_count), (1000, 1500));
        assert_eq!(repaired.errors.last(), Some(&999));
    }
}
