//! The machine behind the mounted file system: a volume, what the kernel calls its files, the record
//! of what was done, and what goes wrong.

#![expect(
    clippy::disallowed_types,
    reason = "the kernel asks for times; it always gets the same"
)]

use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use durable_io::sim::Volume;
use fuser::{Errno, FileAttr, FileType, INodeNo};

use super::call::{Call, Names};
use crate::model::{Promised, Shape};

/// The kernel's number of the root directory, at every boot.
const ROOT: u64 = 1;
/// What `stat` and `statfs` count in.
pub(super) const BLOCK: u32 = 512;
/// No file may be longer: every unit of it is kept in memory, in every state.
const LONGEST: u64 = 256 << 20;

/// Something that happened on the machine.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Call(Call),
    /// The store acknowledged the operation of this number.
    Acknowledged(u64),
    /// The store said that every acknowledged operation is durable.
    Synced,
}

impl Event {
    /// What happened, in words.
    pub(crate) fn describe(&self, names: &Names) -> String {
        match self {
            Self::Call(call) => names.describe(call),
            Self::Acknowledged(n) => format!("acknowledgement {n}"),
            Self::Synced => "acknowledgement of a sync".to_owned(),
        }
    }
}

impl Promised {
    /// Takes in `event` of a store of `shape`.
    pub(crate) fn see(&mut self, event: &Event, shape: Shape) {
        match event {
            Event::Call(_) => {}
            Event::Acknowledged(n) => {
                self.acked = *n;
                if !shape.unsynced {
                    self.durable = *n;
                }
            }
            Event::Synced => self.durable = self.acked,
        }
    }
}

/// The machine behind the mounted file system, and what a test does to it from outside.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: Arc<Mutex<State>>,
}

/// What follows the lock.
#[derive(Debug)]
pub(super) struct State {
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
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
        let events = self.lock().events.take();
        events.expect("a recording was begun")
    }

    /// Records what the store has said.
    pub(crate) fn note(&self, event: Event) {
        if let Some(events) = &mut self.lock().events {
            events.push(event);
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
    pub(super) fn node(&self, number: INodeNo) -> io::Result<usize> {
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

    pub(super) fn attributes(&self, node: usize) -> io::Result<FileAttr> {
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

    pub(super) fn lookup(&self, dir: INodeNo, name: &OsStr) -> io::Result<FileAttr> {
        let node = self.volume.lookup(self.node(dir)?, text(name)?)?;
        self.attributes(node)
    }

    /// Does `call` and records it.
    pub(super) fn call(&mut self, call: Call) -> io::Result<usize> {
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
    pub(super) fn create(&mut self, call: Call) -> io::Result<FileAttr> {
        let node = self.call(call)?;
        self.attributes(node)
    }

    pub(super) fn sync(&mut self, number: INodeNo) -> io::Result<()> {
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

    pub(super) fn read(&self, number: INodeNo, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        let read = self.volume.read(self.node(number)?, &mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    pub(super) fn write(&mut self, number: INodeNo, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.node(number)?;
        let bytes = bytes.to_vec();
        self.call(Call::Write {
            file,
            offset,
            bytes,
        })?;
        Ok(())
    }

    /// The most bytes that the volume may hold, if there is a limit, and how many it holds.
    pub(super) fn room(&self) -> Option<(u64, u64)> {
        self.room.map(|room| (room, self.volume.used_bytes()))
    }

    /// True if `name` leads to something.
    pub(super) fn has(&self, dir: usize, name: &str) -> bool {
        self.volume.lookup(dir, name).is_ok()
    }

    /// The names in a directory from the `skip`th on, `.` and `..` first.
    pub(super) fn list(
        &self,
        number: INodeNo,
        skip: u64,
        add: &mut dyn FnMut(u64, INodeNo, FileType, &str) -> bool,
    ) -> io::Result<()> {
        let dots = [".", ".."].map(|name| (name.to_owned(), number));
        let entries = self.volume.entries(self.node(number)?)?.into_iter();
        let entries = entries.map(|(name, node)| (name, self.number(node)));
        let numbered = (0..).zip(dots.into_iter().chain(entries));
        for (nth, (name, number)) in numbered.skip_while(|(nth, _)| *nth < skip) {
            let kind = self.attributes(self.node(number)?)?.kind;
            if add(nth + 1, number, kind, &name) {
                break;
            }
        }
        Ok(())
    }
}

/// Errors as the standard library has them, which is what a volume returns.
pub(super) trait IntoIo {
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

pub(super) fn owned(name: &OsStr) -> io::Result<String> {
    text(name).map(str::to_owned)
}
