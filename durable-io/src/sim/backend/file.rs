//! A file of the simulated machine.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::{Arc, Weak};

use super::{outcome, plain, sync};
use crate::backend::{FileBackend, MapBytes};
use crate::error::is_no_space;
use crate::file::Advice;
use crate::latch::Syncs;
use crate::mapped::Ranges;
use crate::sim::disk::{SimDisk, State, Struck};
use crate::sim::fault::{CallClass, FaultKind, ShortBy, SyncFailure};
use crate::sim::world::{Ino, to_index};
use crate::site::Site;

#[derive(Debug)]
pub(super) struct SimFile {
    machine: SimDisk,
    ino: Ino,
    is_writable: bool,
    path: String,
    syncs: Syncs,
}

impl SimFile {
    pub(super) fn new(machine: SimDisk, ino: Ino, is_writable: bool, path: String) -> Self {
        Self {
            machine,
            ino,
            is_writable,
            path,
            syncs: Syncs::default(),
        }
    }

    /// The error of a call that would change a file opened for reading.
    fn check_writable(&self) -> io::Result<()> {
        if self.is_writable {
            Ok(())
        } else {
            Err(rustix::io::Errno::BADF.into())
        }
    }

    /// Writes as much of `buf` as the planned fault allows; a fault of the sync in a durable write is
    /// passed on.
    fn write(
        &self,
        (op, class): (&'static str, CallClass),
        buf: &[u8],
        offset: u64,
    ) -> io::Result<(usize, Option<SyncFailure>)> {
        self.check_writable()?;
        let mut state = self.machine.lock();
        state.trace(op, &self.path, None, (offset, buf.len() as u64));
        let struck = state.begin(class);
        let len = match struck {
            Struck::Yes(FaultKind::Errno(code)) => return Err(io::Error::from_raw_os_error(code)),
            Struck::Yes(FaultKind::Short(by)) => short(by, buf.len(), state.world.unit),
            _ => buf.len(),
        };
        let part = buf.get(..len).expect("a short write is no longer");
        let len = self.write_what_fits(&mut state, part, offset)?;
        let range = offset..offset + len as u64;
        state.unreadable.heal(self.ino, &range);
        match struck {
            Struck::Yes(FaultKind::ErrnoAfter(code)) => Err(io::Error::from_raw_os_error(code)),
            Struck::Yes(FaultKind::Sync(failure)) => Ok((len, Some(failure))),
            _ => Ok((len, None)),
        }
    }
}

impl SimFile {
    /// Writes `bytes`, or as many of their first units as the disk has space for, and returns how many
    /// bytes: as the kernel does, which says that the disk is full to the call after that.
    fn write_what_fits(&self, state: &mut State, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let unit = state.world.unit;
        let mut part = bytes;
        loop {
            let end = offset + part.len() as u64;
            let describe = || format!("write {} bytes {offset}..{end}", self.path);
            let written = state.change(describe, |world| world.write(self.ino, part, offset));
            if !written.as_ref().is_err_and(is_no_space) {
                return written.map(|()| part.len());
            }
            let border = (to_index(end) - 1) / unit * unit;
            match border.saturating_sub(to_index(offset)) {
                0 => return written.map(|()| 0),
                fewer => part = part.get(..fewer).expect("it is a part"),
            }
        }
    }
}

/// How many of `len` bytes a short call moves: at least one, and fewer than all if it can.
fn short(by: ShortBy, len: usize, unit: usize) -> usize {
    let n = match by {
        ShortBy::OneByte => 1,
        ShortBy::WholeSectors => (len.saturating_sub(1) / unit) * unit,
        ShortBy::AllButOne => len.saturating_sub(1),
    };
    n.clamp(1, len.max(1))
}

impl FileBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.machine.lock();
        state.trace("len", &self.path, None, (0, 0));
        plain(&mut state, CallClass::Length, |state| {
            Ok(*state.world.file(self.ino)?.size.current())
        })
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.machine.lock();
        state.trace("read", &self.path, None, (offset, buf.len() as u64));
        let len = match state.begin(CallClass::Read) {
            Struck::Yes(FaultKind::Errno(code)) => return Err(io::Error::from_raw_os_error(code)),
            Struck::Yes(FaultKind::Short(by)) => short(by, buf.len(), state.world.unit),
            _ => buf.len(),
        };
        let buf = buf.get_mut(..len).expect("a short read is no longer");
        let range = offset..offset + len as u64;
        state.unreadable.check_read(self.ino, &range)?;
        state.world.read(self.ino, buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        const WRITE: (&str, CallClass) = ("write", CallClass::Write);
        let (n, _) = match bufs {
            [one] => self.write(WRITE, one, offset)?,
            many => {
                let whole: Vec<u8> = many
                    .iter()
                    .flat_map(|slice| slice.iter().copied())
                    .collect();
                self.write(WRITE, &whole, offset)?
            }
        };
        Ok(n)
    }

    fn write_durable_at(&self, buf: &[u8], offset: u64, site: &Site) -> io::Result<usize> {
        self.syncs.run(|| {
            let call = ("write_durable", CallClass::DurableWrite);
            let (n, failure) = self.write(call, buf, offset)?;
            let mut state = self.machine.lock();
            let covered = state.begin_sync(site);
            if let Some(change) = covered.and_then(|limit| outcome(failure, limit)) {
                state.world.for_range(self.ino, offset, n, change);
            }
            match failure {
                None => Ok(n),
                Some(_) => Err(rustix::io::Errno::IO.into()),
            }
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.machine.lock();
        state.trace("set_len", &self.path, None, (len, 0));
        plain(&mut state, CallClass::Allocate, |state| {
            let describe = || format!("set length of {} to {len}", self.path);
            state.change(describe, |world| world.set_len(self.ino, len))
        })
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.machine.lock();
        state.trace("allocate", &self.path, None, (offset, len));
        plain(&mut state, CallClass::Allocate, |state| {
            let describe = || format!("allocate {} bytes {offset}..{}", self.path, offset + len);
            state.change(describe, |world| world.reserve(self.ino, offset, len))
        })
    }

    fn sync(&self, site: &Site) -> io::Result<()> {
        self.syncs.run(|| {
            sync(&self.machine, site, &self.path, |state, change| {
                state.world.for_covered(self.ino, change);
            })
        })
    }

    fn start_writeback(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn advise(&self, _offset: u64, _len: u64, _advice: Advice) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, range: Range<u64>) -> io::Result<MapBytes> {
        let mut state = self.machine.lock();
        let len = usize::try_from(range.end - range.start);
        let len = len.map_err(|_too_large| io::ErrorKind::FileTooLarge)?;
        state.trace("map", &self.path, None, (range.start, len as u64));
        plain(&mut state, CallClass::Map, |state| {
            state.unreadable.check_read(self.ino, &range)?;
            let mut bytes = vec![0; len].into_boxed_slice();
            state.world.read(self.ino, &mut bytes, range.start)?;
            Ok(MapBytes::Copied(bytes))
        })
    }

    fn set_mode(&self, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    fn ranges(&self) -> io::Result<Arc<Ranges>> {
        let mut state = self.machine.lock();
        let known = state.ranges.get(&self.ino).and_then(Weak::upgrade);
        Ok(known.unwrap_or_else(|| {
            let new = Arc::default();
            state.ranges.insert(self.ino, Arc::downgrade(&new));
            new
        }))
    }
}
