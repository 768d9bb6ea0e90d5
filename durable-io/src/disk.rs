//! [`Disk`]: where a store's directory comes from, and the clock and the ids of the machine.

use std::ffi::OsStr;
use std::io;
use std::panic::Location;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::DiskBackend;
use crate::dir::{Dir, Modes};
use crate::error::{Error, Op, Result};
use crate::file::retry_interrupted;
use crate::os;
use crate::platform::Capabilities;
use crate::site::{Barrier, Site};

/// A disk: the operating system's, or a simulated one.
///
/// Cheap to clone; clones are the same disk. Engines take one in their options
/// (`Options::disk(Disk)`) and reach every file through it, so whatever they do to a disk the
/// simulator sees.
#[derive(Clone, Debug)]
pub struct Disk {
    backend: Arc<dyn DiskBackend>,
    modes: Modes,
}

impl Default for Disk {
    fn default() -> Self {
        Self::os()
    }
}

impl Disk {
    /// The operating system's file systems.
    pub fn os() -> Self {
        Self {
            backend: Arc::new(os::OsDisk),
            modes: Modes::default(),
        }
    }

    /// The mode of files that are created below directories opened through this handle, those of locks
    /// included: nine bits, as `chmod` has them, of which the process' umask takes off. A file that
    /// replaces another has the mode of that one. Default: `0o644`.
    ///
    /// ```
    /// // For its owner alone, whatever the umask is.
    /// let disk = durable_io::Disk::os().file_mode(0o600).dir_mode(0o700);
    /// ```
    #[must_use]
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.modes.file = mode & 0o777;
        self
    }

    /// The mode of directories that are created through this handle. Default: `0o755`.
    #[must_use]
    pub fn dir_mode(mut self, mode: u32) -> Self {
        self.modes.dir = mode & 0o777;
        self
    }

    #[cfg(feature = "sim")]
    pub(crate) fn from_backend(backend: Arc<dyn DiskBackend>) -> Self {
        let modes = Modes::default();
        Self { backend, modes }
    }

    /// Opens the directory `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it does not exist or is no directory; [`Error::Resource`] if it may not be read.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let path = path.as_ref();
        let backend = retry_interrupted(|| self.backend.open_dir(path))
            .map_err(|source| Error::refusal(Op::OpenDir, path, None, source))?;
        Ok(Dir::new(backend, path.to_owned(), self.modes))
    }

    /// Opens the directory `path`, creating it and every missing parent, durably.
    ///
    /// # Durability
    /// When this returns, the name of `path` and of every directory it had to create survive power
    /// loss. The parent of the deepest directory that existed already is synced too: whoever made that
    /// may have died before syncing it. Unless that parent may not be read by this user, who then has
    /// not made it this way. The names *in* `path` are not synced.
    ///
    /// # Errors
    /// [`Error::Io`], of kind `InvalidInput` if a name that is missing is not UTF-8;
    /// [`Error::NoSpace`]; [`Error::Resource`], which says what could not be opened or made for want
    /// of a permission. Directories made so far stay, empty and harmless.
    ///
    /// # Cost
    /// One directory sync, and one more for each directory that is missing.
    #[track_caller]
    pub fn create_dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let site = Site::new(Location::caller(), Barrier::Dir, "create_dir");
        let path = path.as_ref();
        let (mut dir, missing) = self.deepest_existing(path)?;
        if let Some((parent, _)) = split(dir.path()) {
            match self.open_dir(parent) {
                // Durable: the name of the deepest directory that existed already. Whoever made it
                // may have died before the sync; those above it were synced before it was made.
                Ok(parent) => parent.sync_at(site)?,
                // Not ours to sync: who may pass the parent but not list it has not made this
                // directory by this procedure, and whoever made it promised that it stays.
                Err(error) if error.is_permission_denied() => {}
                Err(error) => return Err(error),
            }
        }
        for name in missing.iter().rev() {
            match dir.create_dir(name) {
                Ok(()) => {}
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error),
            }
            // Durable: the name of the directory. Only now may something be made below it.
            dir.sync_at(site)?;
            dir = dir.open_dir(name)?;
        }
        Ok(dir)
    }

    /// The deepest directory on the way to `path` that exists, and the names that are missing below
    /// it, the last one first.
    fn deepest_existing(&self, path: &Path) -> Result<(Dir, Vec<String>)> {
        let mut missing = Vec::new();
        let mut path = path.to_owned();
        loop {
            let error = match self.open_dir(&path) {
                Ok(dir) => return Ok((dir, missing)),
                Err(error) if error.is_not_found() => error,
                Err(error) => return Err(error),
            };
            let Some((parent, name)) = split(&path) else {
                return Err(error);
            };
            let Some(name) = name.to_str() else {
                let source = io::ErrorKind::InvalidInput.into();
                return Err(Error::io(Op::CreateDir, &path, None, source));
            };
            missing.push(name.to_owned());
            path = parent;
        }
    }

    /// Monotonic time since an origin of the disk's own. Under the simulator it stands still unless
    /// the test moves it.
    pub fn now(&self) -> Duration {
        self.backend.now()
    }

    /// The machine's time of day, since the Unix epoch: it may jump, also back. Zero on a machine whose time is
    /// before that. Under the simulator it stands still unless the test moves it.
    pub fn unix_time(&self) -> Duration {
        self.backend.unix_time()
    }

    /// 64 random bits that name a file or a store. Two calls, on any two machines, give the same
    /// number with a probability of 1 in 2^64.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no randomness to give.
    pub fn unique_id(&self) -> Result<u64> {
        self.backend.unique_id().map_err(no_randomness)
    }

    /// What this disk does when asked for durability, for reports.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }
}

pub(crate) fn no_randomness(source: io::Error) -> Error {
    let path = Path::new("the system's random source");
    Error::io(Op::Open, path, None, source)
}

/// `path` as parent directory and last name, or `None` if it has no name of its own (`/`, `.`,
/// `..`).
pub(crate) fn split(path: &Path) -> Option<(PathBuf, &OsStr)> {
    let Some(Component::Normal(name)) = path.components().next_back() else {
        return None;
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Some((parent, name))
}
