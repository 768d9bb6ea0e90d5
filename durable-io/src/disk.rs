//! [`Disk`]: where a store's directory comes from, and the clock and the ids of the machine.

use std::path::{Component, Path, PathBuf};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::DiskBackend;
use crate::dir::Dir;
use crate::error::{Error, Op, Result};
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
}

impl Default for Disk {
    fn default() -> Self {
        Self::os()
    }
}

impl Disk {
    /// The operating system's file systems.
    pub fn os() -> Self {
        Self { backend: Arc::new(os::OsDisk) }
    }

    #[cfg(feature = "sim")]
    pub(crate) fn from_backend(backend: Arc<dyn DiskBackend>) -> Self {
        Self { backend }
    }

    /// Opens the directory `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it does not exist, is no directory, or may not be read.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let path = path.as_ref();
        let backend = self
            .backend
            .open_dir(path)
            .map_err(|source| Error::io(Op::OpenDir, path, None, source))?;
        Ok(Dir::new(backend, path.to_owned()))
    }

    /// Opens the directory `path`, creating it and every missing parent, durably.
    ///
    /// # Durability
    /// When this returns, the name of `path` and of every directory it had to create survive power
    /// loss. The parent is synced also when `path` stood already: whoever made it may have died
    /// before syncing it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoSpace`]; directories made so far stay, empty and harmless.
    #[track_caller]
    pub fn create_dir(&self, path: impl AsRef<Path>) -> Result<Dir> {
        let site = Site::new(Location::caller(), Barrier::Dir, "create_dir");
        let path = path.as_ref();
        // Each missing directory is made in its parent, from the top. The parent of each is synced,
        // and that of the last one in any case.
        let mut missing: Vec<String> = Vec::new();
        let mut existing: PathBuf = path.to_owned();
        loop {
            let Some((parent, name)) = split(&existing) else { break };
            let absent = match self.open_dir(&existing) {
                Ok(_) => false,
                Err(error) if error.is_not_found() => true,
                Err(error) => return Err(error),
            };
            if !absent && !missing.is_empty() {
                break;
            }
            missing.push(name);
            existing = parent;
            if !absent {
                break;
            }
        }
        let mut dir = self.open_dir(&existing)?;
        for name in missing.iter().rev() {
            match dir.create_dir(name) {
                Ok(()) => {}
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error),
            }
            // Durable: the name of the directory. Only now may something below it be relied on.
            dir.sync_at(site)?;
            dir = dir.open_dir(name)?;
        }
        Ok(dir)
    }

    /// Monotonic time since an origin of the disk's own. Under the simulator it stands still unless
    /// the test moves it.
    pub fn now(&self) -> Duration {
        self.backend.now()
    }

    /// A random number that names a file or a store: two calls never give the same one, on any
    /// machine.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no randomness to give.
    pub fn unique_id(&self) -> Result<u64> {
        self.backend
            .unique_id()
            .map_err(|source| Error::io(Op::Open, Path::new("the system's random source"), None, source))
    }

    /// What this disk does when asked for durability, for reports.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }
}

/// `path` as parent directory and last name, or `None` if it has no name of its own (`/`, `.`, `..`).
fn split(path: &Path) -> Option<(PathBuf, String)> {
    let Some(Component::Normal(name)) = path.components().next_back() else { return None };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Some((parent, name.to_str()?.to_owned()))
}
