//! The file system: each request of the kernel is one call on the machine, under one lock, and what
//! changes something is recorded in the order in which it happened.
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
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, WriteFlags,
};

use super::call::Call;
use super::machine::{BLOCK, IntoIo, Machine, State, owned};

/// Nothing is believed beyond the call that asked.
const AT_ONCE: Duration = Duration::ZERO;
/// What `statfs` says is free where there is no limit.
const PLENTY: u64 = 1 << 40;

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
            if exclusive && state.has(dir, &to) {
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
            Ok(()) => {
                let len = u32::try_from(data.len());
                reply.written(len.expect("the kernel gives the length as a u32"));
            }
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
        let (room, used) = state.room().unwrap_or((PLENTY, 0));
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
