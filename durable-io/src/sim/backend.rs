//! The simulated machine behind the handles: each function is one system call.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use super::chain::{Chain, EffectId};
use super::disk::{SimDisk, State, Struck, sync_name};
use super::fault::{CallClass, FaultKind, ShortBy, SyncFailure};
use super::hash::mix;
use super::world::{ChainChange, DirNode, FileNode, Ino, Node, ROOT};
use crate::backend::{DirBackend, DiskBackend, FileBackend, LockAttempt, MapBytes};
use crate::dir::Entry;
use crate::file::Advice;
use crate::latch::Syncs;
use crate::platform::{Capabilities, DurableWrite, SyncPrimitive};
use crate::site::Site;

#[derive(Debug)]
pub(crate) struct SimBackend {
    machine: SimDisk,
}

impl SimBackend {
    pub(crate) fn new(machine: SimDisk) -> Self {
        Self { machine }
    }
}

impl DiskBackend for SimBackend {
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn DirBackend>> {
        let mut dir = SimDir {
            machine: self.machine.clone(),
            ino: ROOT,
            path: String::new(),
            syncs: Syncs::default(),
        };
        let mut state = self.machine.lock();
        state.trace("open_dir", &path.to_string_lossy(), None, (0, 0));
        plain(&mut state, CallClass::Open, |state| {
            for component in path.components() {
                let Component::Normal(name) = component else {
                    continue;
                };
                let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
                dir.ino = state.world.lookup(dir.ino, name)?;
                state.world.dir(dir.ino)?;
                dir.path = join(&dir.path, name);
            }
            Ok(())
        })?;
        Ok(Arc::new(dir))
    }

    fn now(&self) -> Duration {
        self.machine.lock().world.clock
    }

    fn unique_id(&self) -> io::Result<u64> {
        let world = &mut self.machine.lock().world;
        world.next_id += 1;
        Ok(mix(world.next_id, 0x1D))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sync: SyncPrimitive::Simulated,
            durable_write: DurableWrite::Dsync,
            reserves_space: true,
        }
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}

/// A call with no middle way: it fails and did nothing, happens, or happens and fails.
fn plain<T>(
    state: &mut State,
    class: CallClass,
    call: impl FnOnce(&mut State) -> io::Result<T>,
) -> io::Result<T> {
    match state.begin(class) {
        Struck::Yes(FaultKind::Errno(code)) => Err(io::Error::from_raw_os_error(code)),
        Struck::Yes(FaultKind::ErrnoAfter(code)) => {
            call(state)?;
            Err(io::Error::from_raw_os_error(code))
        }
        _ => call(state),
    }
}

/// Both halves of a sync. The machine is free in between, so other threads' writes fall inside it,
/// and what they wrote is not covered.
fn sync(
    machine: &SimDisk,
    site: &Site,
    path: &str,
    apply: impl Fn(&mut State, ChainChange),
) -> io::Result<()> {
    let (struck, covered) = {
        let mut state = machine.lock();
        state.trace(sync_name(site), path, None, (0, 0));
        let struck = state.begin(CallClass::Sync);
        (struck, state.begin_sync(site))
    };
    let mut state = machine.lock();
    let failure = match struck {
        Struck::Yes(FaultKind::Errno(code)) => return Err(io::Error::from_raw_os_error(code)),
        Struck::Yes(FaultKind::Sync(failure)) => Some(failure),
        _ => None,
    };
    if let Some(change) = covered.and_then(|limit| outcome(failure, limit)) {
        apply(&mut state, change);
    }
    match failure {
        None => Ok(()),
        Some(_) => Err(rustix::io::Errno::IO.into()),
    }
}

/// What a sync that began before effect `limit` does to what it covers.
pub(crate) fn outcome(failure: Option<SyncFailure>, limit: EffectId) -> Option<ChainChange> {
    let lose = |cache_keeps| ChainChange::Lose { limit, cache_keeps };
    match failure {
        None | Some(SyncFailure::HappenedAnyway) => Some(ChainChange::Promote(limit)),
        Some(SyncFailure::CacheKeeps) => Some(lose(true)),
        Some(SyncFailure::CacheReverts) => Some(lose(false)),
        Some(SyncFailure::StillDirty) => None,
    }
}

#[derive(Debug)]
struct SimDir {
    machine: SimDisk,
    ino: Ino,
    path: String,
    syncs: Syncs,
}

impl SimDir {
    /// The file called `name`, which a call opens.
    fn find(&self, op: &'static str, name: &str) -> io::Result<Ino> {
        let mut state = self.machine.lock();
        state.trace(op, &join(&self.path, name), None, (0, 0));
        plain(&mut state, CallClass::Open, |state| {
            let ino = state.world.lookup(self.ino, name)?;
            state.world.file(ino)?;
            Ok(ino)
        })
    }

    fn file(&self, ino: Ino, name: &str, is_writable: bool) -> Arc<dyn FileBackend> {
        Arc::new(SimFile {
            machine: self.machine.clone(),
            ino,
            is_writable,
            path: join(&self.path, name),
            syncs: Syncs::default(),
        })
    }

    /// A call that changes names in this directory.
    fn change<T>(
        &self,
        (op, class): (&'static str, CallClass),
        name: &str,
        to: Option<&str>,
        call: impl FnOnce(&mut super::World) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.machine.lock();
        let to = to.map(|to| join(&self.path, to));
        state.trace(op, &join(&self.path, name), to.as_deref(), (0, 0));
        plain(&mut state, class, |state| {
            let describe = || match &to {
                Some(to) => format!("{op} {} to {to}", join(&self.path, name)),
                None => format!("{op} {}", join(&self.path, name)),
            };
            state.change(describe, call)
        })
    }
}

impl DirBackend for SimDir {
    fn open(&self, name: &str) -> io::Result<Arc<dyn FileBackend>> {
        let ino = self.find("open", name)?;
        Ok(self.file(ino, name, true))
    }

    fn open_read_only(&self, name: &str) -> io::Result<Arc<dyn FileBackend>> {
        let ino = self.find("open_read_only", name)?;
        Ok(self.file(ino, name, false))
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn FileBackend>> {
        let ino = self.change(("create_new", CallClass::Create), name, None, |world| {
            let file = FileNode {
                size: Chain::durable(0),
                units: Vec::new(),
            };
            world.create(self.ino, name, Node::File(file))
        })?;
        Ok(self.file(ino, name, true))
    }

    fn open_dir(&self, name: &str) -> io::Result<Arc<dyn DirBackend>> {
        let mut state = self.machine.lock();
        let path = join(&self.path, name);
        state.trace("open_dir", &path, None, (0, 0));
        let ino = plain(&mut state, CallClass::Open, |state| {
            let ino = state.world.lookup(self.ino, name)?;
            state.world.dir(ino)?;
            Ok(ino)
        })?;
        Ok(Arc::new(Self {
            machine: self.machine.clone(),
            ino,
            path,
            syncs: Syncs::default(),
        }))
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.change(("create_dir", CallClass::Create), name, None, |world| {
            world
                .create(self.ino, name, Node::Dir(DirNode::default()))
                .map(drop)
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(("rename", CallClass::Change), from, Some(to), |world| {
            world.rename(self.ino, from, to)
        })
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(("link", CallClass::Change), from, Some(to), |world| {
            world.link(self.ino, from, to)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(("remove", CallClass::Change), name, None, |world| {
            world.remove(self.ino, name)
        })
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut state = self.machine.lock();
        state.trace("list", &self.path, None, (0, 0));
        plain(&mut state, CallClass::List, |state| {
            let dir = state.world.dir(self.ino)?;
            let mut entries = Vec::with_capacity(dir.names.len());
            for (name, chain) in &dir.names {
                let Some(ino) = *chain.current() else {
                    continue;
                };
                let is_dir = state.world.dir(ino).is_ok();
                entries.push(Entry {
                    name: name.to_string(),
                    is_dir,
                });
            }
            // Not the order of creation and not that of the alphabet: nobody may rely on either.
            entries.sort_by_cached_key(|entry| super::hash::mix_bytes(entry.name.as_bytes()));
            Ok(entries)
        })
    }

    fn sync(&self, site: &Site) -> io::Result<()> {
        self.syncs.run(|| {
            sync(&self.machine, site, &self.path, |state, change| {
                state.world.for_covered(self.ino, change);
            })
        })
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(self.machine.lock().free_space())
    }

    fn try_lock(&self, name: &str) -> io::Result<LockAttempt> {
        let mut state = self.machine.lock();
        state.trace("lock", &join(&self.path, name), None, (0, 0));
        plain(&mut state, CallClass::Lock, |state| {
            let key = (self.ino, name.to_owned());
            if !state.locks.insert(key.clone()) {
                return Ok(LockAttempt::Held {
                    pid: Some(std::process::id()),
                });
            }
            let machine = self.machine.clone();
            Ok(LockAttempt::Taken(Box::new(SimLock { machine, key })))
        })
    }
}

#[derive(Debug)]
struct SimLock {
    machine: SimDisk,
    key: (Ino, String),
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.machine.lock().locks.remove(&self.key);
    }
}

#[derive(Debug)]
struct SimFile {
    machine: SimDisk,
    ino: Ino,
    is_writable: bool,
    path: String,
    syncs: Syncs,
}

impl SimFile {
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
        let part = buf.get(..len).unwrap_or(buf);
        let describe = || {
            format!(
                "write {} bytes {offset}..{}",
                self.path,
                offset + len as u64
            )
        };
        state.change(describe, |world| world.write(self.ino, part, offset))?;
        match struck {
            Struck::Yes(FaultKind::ErrnoAfter(code)) => Err(io::Error::from_raw_os_error(code)),
            Struck::Yes(FaultKind::Sync(failure)) => Ok((len, Some(failure))),
            _ => Ok((len, None)),
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
        state
            .world
            .read(self.ino, buf.get_mut(..len).unwrap_or_default(), offset)
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
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        state.trace("map", &self.path, None, (range.start, len as u64));
        plain(&mut state, CallClass::Map, |state| {
            let mut bytes = vec![0; len].into_boxed_slice();
            state.world.read(self.ino, &mut bytes, range.start)?;
            Ok(MapBytes::Copied(bytes))
        })
    }
}
