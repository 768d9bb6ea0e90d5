//! The lock of a directory: `flock`, on the directory and on a file in it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{DIRECTORY, READ_ONLY, READ_WRITE};
use crate::backend::LockAttempt;
use crate::process::Process;

/// Both locks. The file's goes first: whoever then has the directory's finds the file free.
#[derive(Debug)]
struct Locks {
    /// `None` if a reader has found none.
    _file: Option<Flock<File>>,
    /// `None` where the file system cannot lock directories.
    _dir: Option<Flock<OwnedFd>>,
}

/// A held `flock`.
#[derive(Debug)]
struct Flock<F: AsFd> {
    held: F,
    owner: Process,
}

impl<F: AsFd> Flock<F> {
    /// Takes the lock, or gives the file back: [`Errno::WOULDBLOCK`] if somebody has the lock.
    fn take(held: F, owner: Process, how: FlockOperation) -> Result<Self, (F, Errno)> {
        match rustix::fs::flock(&held, how) {
            Ok(()) => Ok(Self { held, owner }),
            Err(errno) => Err((held, errno)),
        }
    }
}

impl<F: AsFd> Drop for Flock<F> {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked and has not come to its exec yet shares the open
        // file, and would keep the lock. And the child's copy only closes: its unlocking would be the
        // parent's. An error is ignored: closing comes next.
        if self.owner.is_current() {
            let unlocked = rustix::fs::flock(&self.held, FlockOperation::Unlock);
            drop(unlocked.map_err(io::Error::from));
        }
    }
}

const EXCLUSIVE: FlockOperation = FlockOperation::NonBlockingLockExclusive;
const SHARED: FlockOperation = FlockOperation::NonBlockingLockShared;

/// The directory is what is locked; the file says by whom, and is what other machines see.
pub(super) fn take(
    dir: &OwnedFd,
    name: &str,
    owner: Process,
    mode: Mode,
) -> io::Result<LockAttempt> {
    let Ok(of_dir) = lock_dir(dir, owner, EXCLUSIVE)? else {
        let pid = open_existing(dir, name).and_then(|file| read_pid(&file));
        return Ok(LockAttempt::Held { pid });
    };
    // A planted link is not followed: what it leads to would be written to.
    let flags = READ_WRITE | OFlags::CREATE | OFlags::NOFOLLOW;
    let file = File::from(rustix::fs::openat(dir, name, flags, mode)?);
    let of_file = match Flock::take(file, owner, EXCLUSIVE) {
        Ok(held) => held,
        Err((file, Errno::WOULDBLOCK)) => {
            let pid = read_pid(&file);
            return Ok(LockAttempt::Held { pid });
        }
        Err((_, errno)) => return Err(errno.into()),
    };
    // The pid only serves an error text, so an error here is ignored: a store must open on a full disk
    // too. One width for every pid, so that it covers what the last holder wrote.
    let pid = format!("{:<10}\n", std::process::id());
    drop(of_file.held.write_at(pid.as_bytes(), 0));
    Ok(LockAttempt::Taken(Box::new(Locks {
        _file: Some(of_file),
        _dir: of_dir,
    })))
}

/// As [`take`], beside others who share, and with what is there.
pub(super) fn share(dir: &OwnedFd, name: &str, owner: Process) -> io::Result<LockAttempt> {
    // Without the right to read it, or without the file, the directory's lock is the only one.
    let file = open_existing(dir, name);
    let Ok(of_dir) = lock_dir(dir, owner, SHARED)? else {
        let pid = file.as_ref().and_then(read_pid);
        return Ok(LockAttempt::Held { pid });
    };
    let of_file = match file.map(|file| Flock::take(file, owner, SHARED)) {
        None => None,
        Some(Ok(held)) => Some(held),
        Some(Err((file, Errno::WOULDBLOCK))) => {
            let pid = read_pid(&file);
            return Ok(LockAttempt::Held { pid });
        }
        Some(Err((_, errno))) => return Err(errno.into()),
    };
    Ok(LockAttempt::Taken(Box::new(Locks {
        _file: of_file,
        _dir: of_dir,
    })))
}

/// Somebody else has the lock.
struct IsHeld;

/// The lock of the directory; `None` on a file system that locks no directories, or nothing that is
/// not open for writing.
fn lock_dir(
    dir: &OwnedFd,
    owner: Process,
    how: FlockOperation,
) -> io::Result<Result<Option<Flock<OwnedFd>>, IsHeld>> {
    // Opened anew: a lock belongs to an opening, and clones of the handle share one. (NOFOLLOW means
    // nothing here, and tells this opening from others in a trace.)
    let opened = rustix::fs::openat(dir, ".", DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    match Flock::take(opened, owner, how) {
        Ok(held) => Ok(Ok(Some(held))),
        Err((_, Errno::WOULDBLOCK)) => Ok(Err(IsHeld)),
        Err((_, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::BADF)) => Ok(Ok(None)),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// The lock file, if there is one and it may be read.
fn open_existing(dir: &OwnedFd, name: &str) -> Option<File> {
    let flags = READ_ONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::openat(dir, name, flags, Mode::empty())
        .ok()
        .map(File::from)
}

/// The pid in a lock file. The holder may be about to write it: whatever is no number is no pid.
fn read_pid(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.lines().next()?.trim().parse().ok()
}
