//! The disk of the operating system: `std` and `rustix`, one system call per function.

#[cfg(not(unix))]
compile_error!(
    "durable-io needs openat, flock and a directory that can be synced; it supports Unix systems only"
);

use std::any::Any;
use std::collections::HashMap;
use std::fs;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::backend::{DirBackend, DiskBackend, FileBackend, LockAttempt, MapBytes};
use crate::dir::Entry;
use crate::file::Advice;
use crate::latch::Syncs;
use crate::mapped::Ranges;
use crate::platform::{self, Capabilities};
use crate::process::Process;
use crate::site::{Barrier, Site};

mod lock;

/// How many slices one vectored write may take: the smallest `IOV_MAX` of the supported systems.
const SLICES_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) struct OsDisk;

const READ_WRITE: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC);
const READ_ONLY: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl DiskBackend for OsDisk {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn DirBackend>> {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        Ok(Arc::new(OsDir::new(fd)))
    }

    fn now(&self) -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        ORIGIN.get_or_init(Instant::now).elapsed()
    }

    fn unix_time(&self) -> Duration {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A machine whose clock was never set.
        since_epoch.unwrap_or(Duration::ZERO)
    }

    fn unique_id(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::from)
    }

    fn capabilities(&self) -> Capabilities {
        platform::capabilities(std::env::consts::OS)
    }
}

/// The permission bits; the others (set-user-id and such) are nothing to pass on.
fn bits_of(mode: Mode) -> u32 {
    #[allow(
        clippy::useless_conversion,
        reason = "the type of the bits differs from system to system"
    )]
    u32::from(mode.as_raw_mode() & 0o777)
}

fn mode_from(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits as _)
}

#[derive(Debug)]
struct OsDir {
    fd: OwnedFd,
    syncs: Syncs,
}

impl OsDir {
    fn new(fd: OwnedFd) -> Self {
        let syncs = Syncs::default();
        Self { fd, syncs }
    }

    fn open_file(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<Arc<dyn FileBackend>> {
        let fd = rustix::fs::openat(&self.fd, name, flags, mode)?;
        let (file, syncs) = (fs::File::from(fd), Syncs::default());
        Ok(Arc::new(OsFile { file, syncs }))
    }
}

impl DirBackend for OsDir {
    fn open(&self, name: &str) -> io::Result<Arc<dyn FileBackend>> {
        self.open_file(name, READ_WRITE, Mode::empty())
    }

    fn open_read_only(&self, name: &str) -> io::Result<Arc<dyn FileBackend>> {
        self.open_file(name, READ_ONLY, Mode::empty())
    }

    fn create_new(&self, name: &str, mode: u32) -> io::Result<Arc<dyn FileBackend>> {
        let flags = READ_WRITE | OFlags::CREATE | OFlags::EXCL;
        self.open_file(name, flags, mode_from(mode))
    }

    fn mode_of(&self, name: &str) -> io::Result<Option<u32>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::empty()) {
            Ok(stat) => Ok(Some(bits_of(Mode::from_raw_mode(stat.st_mode)))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn temp_number(&self, _attempt: u64) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::from)
    }

    fn unique_id(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::from)
    }

    fn open_dir(&self, name: &str) -> io::Result<Arc<dyn DirBackend>> {
        let fd = rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty())?;
        Ok(Arc::new(Self::new(fd)))
    }

    fn create_dir(&self, name: &str, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, name, mode_from(mode))?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    fn link(&self, from: &str, dir: &dyn DirBackend, to: &str) -> io::Result<()> {
        let dir: &dyn Any = dir;
        let dir: &Self = dir.downcast_ref().ok_or(rustix::io::Errno::XDEV)?;
        Ok(rustix::fs::linkat(
            &self.fd,
            from,
            &dir.fd,
            to,
            AtFlags::empty(),
        )?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            let is_dir = match entry.file_type() {
                // Some file systems leave the type out of the listing.
                FileType::Unknown => {
                    match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
                        // Removed since it was listed.
                        Err(rustix::io::Errno::NOENT) => continue,
                        Err(errno) => return Err(errno.into()),
                    }
                }
                kind => kind == FileType::Directory,
            };
            let name = name.to_string_lossy().into_owned();
            entries.push(Entry { name, is_dir });
        }
        Ok(entries)
    }

    fn sync(&self, _site: &Site) -> io::Result<()> {
        // On Apple's systems a directory's names reach the drive with fsync and the platter with
        // the next full fsync; asking for the full one here keeps the promise.
        self.syncs.run(|| full_sync(&self.fd))
    }

    fn free_space(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn try_lock(&self, name: &str, owner: Process, mode: u32) -> io::Result<LockAttempt> {
        lock::take(&self.fd, name, owner, mode_from(mode))
    }

    fn try_lock_shared(&self, name: &str, owner: Process) -> io::Result<LockAttempt> {
        lock::share(&self.fd, name, owner)
    }
}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
    syncs: Syncs,
}

impl FileBackend for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match bufs {
            [one] => Ok(rustix::io::pwrite(&self.file, one, offset)?),
            // More than the kernel takes at once: a short write, and the handle's loop continues.
            many => {
                let some = many.get(..SLICES_MAX).unwrap_or(many);
                Ok(rustix::io::pwritev(&self.file, some, offset)?)
            }
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn write_durable_at(&self, buf: &[u8], offset: u64, site: &Site) -> io::Result<usize> {
        use rustix::io::Errno;

        let flags = rustix::io::ReadWriteFlags::DSYNC;
        let bufs = [IoSlice::new(buf)];
        // `None`: a kernel before 4.7, or a file system without the flag. Nothing was written.
        let written =
            self.syncs.run(
                || match rustix::io::pwritev2(&self.file, &bufs, offset, flags) {
                    Ok(n) => Ok(Some(n)),
                    Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
                    Err(errno) => Err(errno.into()),
                },
            )?;
        match written {
            Some(n) => Ok(n),
            None => self.write_then_sync(buf, offset, site),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn write_durable_at(&self, buf: &[u8], offset: u64, site: &Site) -> io::Result<usize> {
        self.write_then_sync(buf, offset, site)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        use rustix::io::Errno;

        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), offset, len) {
            Ok(()) => Ok(()),
            // A file system that cannot reserve (FreeBSD says so by INVAL): the length is set, and
            // a full disk is met later.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.lengthen(offset, len),
            Err(errno) => Err(errno.into()),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.lengthen(offset, len)
    }

    fn sync(&self, site: &Site) -> io::Result<()> {
        self.syncs.run(|| match site.barrier {
            Barrier::All => full_sync(&self.file),
            Barrier::Data | Barrier::Write | Barrier::Dir => data_sync(&self.file),
        })
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        // DONTNEED on a dirty range makes Linux begin to write it back, without waiting. It also
        // drops what was clean already; sync_file_range, which would not, is not to be had without
        // unsafe code.
        self.advise(offset, len, Advice::DontNeed)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn start_writeback(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    fn advise(&self, offset: u64, len: u64, advice: Advice) -> io::Result<()> {
        let advice = match advice {
            Advice::Sequential => rustix::fs::Advice::Sequential,
            Advice::DontNeed => rustix::fs::Advice::DontNeed,
        };
        Ok(rustix::fs::fadvise(
            &self.file,
            offset,
            std::num::NonZeroU64::new(len),
            advice,
        )?)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    fn advise(&self, _offset: u64, _len: u64, _advice: Advice) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, range: Range<u64>) -> io::Result<MapBytes> {
        let len = usize::try_from(range.end - range.start)
            .map_err(|_too_large| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut options = memmap2::MmapOptions::new();
        options.offset(range.start).len(len);
        #[expect(
            unsafe_code,
            reason = "a map is 3 to 13 times cheaper than pread of hot bytes"
        )]
        // The bytes after the slice must not change or vanish while it lives. Whoever comes to the file on
        // another way than this crate is kept out by the store's lock.
        // SAFETY: `File::map` has entered the range; until the map ends no handle writes to it or truncates it.
        let map = unsafe { options.map(&self.file) }?;
        Ok(MapBytes::Os(map))
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.file, mode_from(mode))?)
    }

    fn ranges(&self) -> io::Result<Arc<Ranges>> {
        /// The files with handles, by process, device and inode. A file that is open or mapped keeps
        /// its inode, so that no other file gets the number.
        type Files = HashMap<(Process, u64, u64), Weak<Ranges>>;
        static FILES: Mutex<Option<Files>> = Mutex::new(None);

        let process = Process::current().map_err(io::Error::other)?;
        let stat = self.file.metadata()?;
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let files = files.get_or_insert_default();
        let key = (process, stat.dev(), stat.ino());
        if let Some(known) = files.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let new = Arc::default();
        files.insert(key, Arc::downgrade(&new));
        // Those of closed files go when there may be as many of them as of the others.
        if files.len().is_power_of_two() {
            files.retain(|_, ranges| ranges.strong_count() > 0);
        }
        Ok(new)
    }
}

impl OsFile {
    fn write_then_sync(&self, buf: &[u8], offset: u64, site: &Site) -> io::Result<usize> {
        let n = self.file.write_at(buf, offset)?;
        self.sync(site)?;
        Ok(n)
    }

    fn lengthen(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.saturating_add(len);
        if self.len()? < end {
            self.file.set_len(end)?;
        }
        Ok(())
    }
}

// The choice of [`platform::capabilities`], carried out.

#[cfg(target_vendor = "apple")]
fn data_sync(fd: impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(fd)?)
}

#[cfg(target_vendor = "apple")]
fn full_sync(fd: impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_fullfsync(fd)?)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn data_sync(fd: impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(fd)?)
}

#[cfg(not(any(
    target_vendor = "apple",
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd"
)))]
fn data_sync(fd: impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(fd)?)
}

#[cfg(not(target_vendor = "apple"))]
fn full_sync(fd: impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(fd)?)
}
