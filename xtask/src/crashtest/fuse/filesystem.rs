//! The file system: each request of the kernel is one call on a [`Volume`], under one lock, and
//! what changes something is recorded in the order in which it happened.
//!
//! - Nothing is cached by the kernel beyond a call (time to live 0), and a [`boot`](Machine::boot)
//!   gives every file a new number: what the kernel still knows of the disk before the crash is out
//!   of reach, so nothing is mounted again.
//! - The page cache is the kernel's own, written through: a `write(2)` arrives before it returns, a
//!   shared map's pages at `msync` and `fsync`. Flags that delay writes or forbid maps are not set.
//! - No time passes: every file is as old as the epoch.
//! - Renames between directories, symbolic links, extended attributes and files of more than 256 MiB
//!   are refused.

#![expect(
    clippy::disallowed_types,
    reason = "the kernel asks for times; it always gets the same"
)]

use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use durable_io::sim::Volume;
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, WriteFlags,
};

use super::call::Call;

/// Nothing is believed beyond the call that asked.
const AT_ONCE: Duration = Duration::ZERO;
/// The kernel's number of the root directory, at every boot.
const ROOT: u64 = 1;
/// What `statfs` counts in.
const BLOCK: u32 = 512;
/// What `statfs` says is free where there is no limit.
const PLENTY: u64 = 1 << 40;

/// No file may be longer: every unit of it is kept in memory, in every state.
const LONGEST: u64 = 256 << 20;

/// Something that happened on the machine.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Call(Call),
    /// The store acknowledged the operation of this number.
    Acknowledged(u64),
}

/// The machine behind the mounted file system, and what a test does to it from outside.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    volume: Volume,
    /// Counts the boots: a part of every number that the kernel gets.
    boots: u64,
    events: Option<Vec<Event>>,
    /// The most bytes that the volume may hold.
    room: Option<u64>,
    /// How many syncs of files from now the one comes that fails; the next is 0.
    failing: Option<u64>,
}

impl Machine {
    pub(crate) fn new(volume: Volume) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                volume,
                boots: 0,
                events: None,
                room: None,
                failing: None,
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts anew with `volume` as its disk: what was open before is out of reach.
    pub(crate) fn boot(&self, volume: Volume) {
        let mut state = self.lock();
        state.volume = volume;
        state.boots += 1;
        state.events = None;
        state.room = None;
        state.failing = None;
    }

    /// The disk and the page cache as they are now.
    pub(crate) fn volume(&self) -> Volume {
        self.lock().volume.clone()
    }

    /// Records events from now on.
    pub(crate) fn record(&self) {
        self.lock().events = Some(Vec::new());
    }

    /// The events recorded so far; the recording ends.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.take().unwrap_or_default()
    }

    /// Notes that the store acknowledged operation `n`.
    pub(crate) fn acknowledged(&self, n: u64) {
        if let Some(events) = &mut self.lock().events {
            events.push(Event::Acknowledged(n));
        }
    }

    /// Limits what the volume may hold to `bytes`; `None` lifts it.
    pub(crate) fn set_room(&self, bytes: Option<u64>) {
        self.lock().room = bytes;
    }

    /// Lets a sync of a file fail: that after the next `syncs`.
    pub(crate) fn fail_sync_after(&self, syncs: u64) {
        self.lock().failing = Some(syncs);
    }

    /// True if the sync that was to fail has not come.
    pub(crate) fn sync_has_not_failed(&self) -> bool {
        self.lock().failing.is_some()
    }
}

impl State {
    /// The volume's number for the kernel's.
    fn node(&self, number: INodeNo) -> io::Result<usize> {
        let number = u64::from(number);
        if number == ROOT {
            return Ok(Volume::ROOT);
        }
        if number >> 32 != self.boots {
            return Err(Errno::ESTALE.into_io());
        }
        let node = (number & u64::from(u32::MAX)).checked_sub(ROOT);
        let node = node.and_then(|node| usize::try_from(node).ok());
        node.ok_or_else(|| Errno::ESTALE.into_io())
    }

    /// The kernel's number for the volume's.
    fn number(&self, node: usize) -> INodeNo {
        if node == Volume::ROOT {
            return INodeNo(ROOT);
        }
        INodeNo(self.boots << 32 | (node as u64 + ROOT))
    }

    fn attributes(&self, node: usize) -> io::Result<FileAttr> {
        let attributes = self.volume.attributes(node)?;
        let (kind, perm) = if attributes.is_dir {
            (FileType::Directory, 0o777)
        } else {
            (FileType::RegularFile, 0o666)
        };
        let epoch = SystemTime::UNIX_EPOCH;
        Ok(FileAttr {
            ino: self.number(node),
            size: attributes.len,
            blocks: attributes.allocated / u64::from(BLOCK),
            atime: epoch,
            mtime: epoch,
            ctime: epoch,
            crtime: epoch,
            kind,
            perm,
            nlink: 1,
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn lookup(&self, dir: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let node = self.volume.lookup(self.node(dir)?, text(name)?)?;
        self.attributes(node)
    }

    /// Does `call` and records it.
    fn call(&mut self, call: Call) -> io::Result<usize> {
        if call.reaches() > LONGEST {
            return Err(Errno::EFBIG.into_io());
        }
        let before = self.room.map(|_| self.volume.clone());
        let result = call.apply(&mut self.volume)?;
        if let (Some(room), Some(before)) = (self.room, before) {
            let used = self.volume.used_bytes();
            if used > room && used > before.used_bytes() {
                self.volume = before;
                return Err(Errno::ENOSPC.into_io());
            }
        }
        if let Some(events) = &mut self.events {
            events.push(Event::Call(call));
        }
        Ok(result)
    }

    /// The attributes of what `call` creates.
    fn create(&mut self, call: Call) -> io::Result<FileAttr> {
        let node = self.call(call)?;
        self.attributes(node)
    }

    fn sync(&mut self, number: INodeNo) -> io::Result<()> {
        let node = self.node(number)?;
        if self.volume.attributes(node)?.is_dir {
            // Names go through a journal, and a system that cannot write that stops altogether.
            return self.call(Call::SyncDir { dir: node }).map(drop);
        }
        let fails = self.failing == Some(0);
        self.failing = self.failing.and_then(|syncs| syncs.checked_sub(1));
        if fails {
            self.call(Call::FailSync { file: node })?;
            return Err(Errno::EIO.into_io());
        }
        self.call(Call::SyncFile { file: node }).map(drop)
    }

    fn read(&self, number: INodeNo, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = self.volume.read(self.node(number)?, &mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn write(&mut self, number: INodeNo, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.node(number)?;
        let bytes = bytes.to_vec();
        self.call(Call::Write {
            file,
            offset,
            bytes,
        })?;
        Ok(())
    }

    /// The names in a directory from the `skip`th on, `.` and `..` first.
    fn list(
        &self,
        number: INodeNo,
        skip: u64,
        add: &mut dyn FnMut(u64, INodeNo, FileType, &str) -> bool,
    ) -> io::Result<()> {
        let dots = [".", ".."].map(|name| (name.to_owned(), number));
        let entries = self.volume.entries(self.node(number)?)?.into_iter();
        let entries = entries.map(|(name, node)| (name, self.number(node)));
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX);
        for (nth, (name, number)) in dots.into_iter().chain(entries).enumerate().skip(skipped) {
            let kind = self.attributes(self.node(number)?)?.kind;
            if add(nth as u64 + 1, number, kind, &name) {
                break;
            }
        }
        Ok(())
    }
}

/// Errors as the standard library has them, which is what a volume returns.
trait IntoIo {
    fn into_io(self) -> io::Error;
}

impl IntoIo for Errno {
    fn into_io(self) -> io::Error {
        io::Error::from_raw_os_error(self.code())
    }
}

/// A volume's names are text.
fn text(name: &OsStr) -> io::Result<&str> {
    name.to_str().ok_or_else(|| Errno::EINVAL.into_io())
}

fn owned(name: &OsStr) -> io::Result<String> {
    text(name).map(str::to_owned)
}

/// What is mounted.
#[derive(Debug)]
pub(crate) struct MachineFiles(pub(crate) Machine);

impl MachineFiles {
    fn entry(&self, reply: ReplyEntry, answer: impl FnOnce(&mut State) -> io::Result<FileAttr>) {
        match answer(&mut self.0.lock()) {
            Ok(attributes) => reply.entry(&AT_ONCE, &attributes, Generation(0)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn attr(&self, reply: ReplyAttr, answer: impl FnOnce(&mut State) -> io::Result<FileAttr>) {
        match answer(&mut self.0.lock()) {
            Ok(attributes) => reply.attr(&AT_ONCE, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn empty(&self, reply: ReplyEmpty, answer: impl FnOnce(&mut State) -> io::Result<()>) {
        match answer(&mut self.0.lock()) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }
}

impl Filesystem for MachineFiles {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |state| state.lookup(parent, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.attr(reply, |state| state.attributes(state.node(ino)?));
    }

    /// Only the length is kept of what can be set.
    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<fuser::TimeOrNow>,
        _mtime: Option<fuser::TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.attr(reply, |state| {
            let node = state.node(ino)?;
            if let Some(len) = size {
                state.call(Call::SetLen { file: node, len })?;
            }
            state.attributes(node)
        });
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.entry(reply, |state| {
            let (dir, name) = (state.node(parent)?, owned(name)?);
            state.create(Call::CreateDir { dir, name })
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |state| {
            let (dir, name) = (state.node(parent)?, owned(name)?);
            state.call(Call::RemoveFile { dir, name }).map(drop)
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |state| {
            let (dir, name) = (state.node(parent)?, owned(name)?);
            state.call(Call::RemoveDir { dir, name }).map(drop)
        });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, |state| {
            if parent != newparent {
                return Err(Errno::EXDEV.into_io());
            }
            let (dir, from, to) = (state.node(parent)?, owned(name)?, owned(newname)?);
            let exclusive = flags.contains(RenameFlags::RENAME_NOREPLACE);
            if exclusive && state.volume.lookup(dir, &to).is_ok() {
                return Err(Errno::EEXIST.into_io());
            }
            if !flags.difference(RenameFlags::RENAME_NOREPLACE).is_empty() {
                return Err(Errno::EINVAL.into_io());
            }
            state.call(Call::Rename { dir, from, to }).map(drop)
        });
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        self.entry(reply, |state| {
            let (file, dir) = (state.node(ino)?, state.node(newparent)?);
            let name = owned(newname)?;
            state.call(Call::Link { file, dir, name })?;
            state.attributes(file)
        });
    }

    /// The kernel takes `ENOSYS` for "no file needs opening", and asks no more.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let create = |state: &mut State| {
            let (dir, name) = (state.node(parent)?, owned(name)?);
            state.create(Call::CreateFile { dir, name })
        };
        match create(&mut self.0.lock()) {
            Ok(attributes) => reply.created(
                &AT_ONCE,
                &attributes,
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.lock().read(ino, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.lock().write(ino, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.empty(reply, |state| state.sync(ino));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _data: bool, reply: ReplyEmpty) {
        self.empty(reply, |state| state.sync(ino));
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let state = self.0.lock();
        let listed = state.list(ino, offset, &mut |next, number, kind, name| {
            reply.add(number, next, kind, name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let state = self.0.lock();
        let used = state.room.map_or(0, |_| state.volume.used_bytes());
        let room = state.room.unwrap_or(PLENTY);
        let blocks = |bytes: u64| bytes / u64::from(BLOCK);
        let free = blocks(room.saturating_sub(used));
        reply.statfs(blocks(room), free, free, 0, 0, BLOCK, 255, BLOCK);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, |state| {
            if mode != 0 {
                return Err(Errno::EOPNOTSUPP.into_io());
            }
            let file = state.node(ino)?;
            let (offset, len) = (offset, length);
            state.call(Call::Allocate { file, offset, len }).map(drop)
        });
    }
}
