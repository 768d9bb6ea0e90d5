//! What a disk must do for the handles: the operating system and the simulator both do it.
//!
//! One call here is one system call. Loops over short reads and writes, the failure latch and the
//! error's path and offset live above it, in the handles, so that the simulator exercises them.

use std::any::Any;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::dir::Entry;
use crate::file::Advice;
use crate::mapped::Ranges;
use crate::platform::Capabilities;
use crate::process::Process;
use crate::site::Site;

pub(crate) trait DiskBackend: Debug + Send + Sync {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn DirBackend>>;
    /// Monotonic time since some origin.
    fn now(&self) -> Duration;
    /// Time since the Unix epoch, as the machine has it.
    fn unix_time(&self) -> Duration;
    /// A number nobody else has drawn.
    fn unique_id(&self) -> io::Result<u64>;
    fn capabilities(&self) -> Capabilities;
}

pub(crate) trait DirBackend: Any + Debug + Send + Sync {
    fn open(&self, name: &str) -> io::Result<Arc<dyn FileBackend>>;
    /// As `open`, without the right to write.
    fn open_read_only(&self, name: &str) -> io::Result<Arc<dyn FileBackend>>;
    fn create_new(&self, name: &str, mode: u32) -> io::Result<Arc<dyn FileBackend>>;
    /// The permission bits of what `name` leads to; `None` if there is nothing, or no such bits.
    fn mode_of(&self, name: &str) -> io::Result<Option<u32>>;
    /// A number that no other temporary file has, unless it is used up: then another `attempt` follows.
    fn temp_number(&self, attempt: u64) -> io::Result<u64>;
    /// As that of the disk.
    fn unique_id(&self) -> io::Result<u64>;
    fn open_dir(&self, name: &str) -> io::Result<Arc<dyn DirBackend>>;
    fn create_dir(&self, name: &str, mode: u32) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Gives `from` the name `to` in `dir`; `CrossesDevices` if that is on another disk.
    fn link(&self, from: &str, dir: &dyn DirBackend, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn remove_dir(&self, name: &str) -> io::Result<()>;
    fn list(&self) -> io::Result<Vec<Entry>>;
    fn sync(&self, site: &Site) -> io::Result<()>;
    /// Bytes a user may still write.
    fn free_space(&self) -> io::Result<u64>;
    /// Locks the directory and its file `name`, made with `mode`; only `owner` lets go.
    fn try_lock(&self, name: &str, owner: Process, mode: u32) -> io::Result<LockAttempt>;
    /// Locks both against `try_lock` alone, and makes and writes nothing.
    fn try_lock_shared(&self, name: &str, owner: Process) -> io::Result<LockAttempt>;
}

/// The answer to [`DirBackend::try_lock`]: the lock, freed when dropped, or who has it.
pub(crate) enum LockAttempt {
    Taken(Box<dyn Debug + Send + Sync>),
    Held { pid: Option<u32> },
}

pub(crate) trait FileBackend: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// As `write_at`, and the written range is durable when it returns.
    fn write_durable_at(&self, buf: &[u8], offset: u64, site: &Site) -> io::Result<usize>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    fn sync(&self, site: &Site) -> io::Result<()>;
    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()>;
    fn advise(&self, offset: u64, len: u64, advice: Advice) -> io::Result<()>;
    fn map(&self, range: Range<u64>) -> io::Result<MapBytes>;
    /// Sets the permission bits, where there are any.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// What is mapped of the file, whatever handle or name it was opened by. Never the disk's concern.
    fn ranges(&self) -> io::Result<Arc<Ranges>>;
}

/// Bytes after a [`Map`](crate::Map).
pub(crate) enum MapBytes {
    Os(memmap2::Mmap),
    /// The simulator copies: its maps are of bytes that never change.
    #[cfg(feature = "sim")]
    Copied(Box<[u8]>),
}
