//! A directory of the simulated machine.

use std::any::Any;
use std::io;
use std::sync::Arc;

use super::file::SimFile;
use super::{join, plain, sync};
use crate::backend::{DirBackend, FileBackend, LockAttempt};
use crate::dir::Entry;
use crate::latch::Syncs;
use crate::process::Process;
use crate::sim::chain::Chain;
use crate::sim::disk::SimDisk;
use crate::sim::fault::CallClass;
use crate::sim::hash::mix_bytes;
use crate::sim::world::{DirNode, FileNode, Ino, Node, World};
use crate::site::Site;

#[derive(Debug)]
pub(super) struct SimDir {
    pub(super) machine: SimDisk,
    pub(super) ino: Ino,
    pub(super) path: String,
    pub(super) syncs: Syncs,
}

impl SimDir {
    /// The file called `name`, which a call opens.
    fn find(&self, op: &'static str, name: &str) -> io::Result<Ino> {
        let mut state = self.machine.lock();
        if state.is_traced() {
            state.trace(op, &join(&self.path, name), None, (0, 0));
        }
        plain(&mut state, CallClass::Open, |state| {
            let ino = state.world.lookup(self.ino, name)?;
            state.world.file(ino)?;
            state.unreadable.check_open(ino)?;
            Ok(ino)
        })
    }

    fn file(&self, ino: Ino, name: &str, is_writable: bool) -> Arc<dyn FileBackend> {
        let path = join(&self.path, name);
        Arc::new(SimFile::new(self.machine.clone(), ino, is_writable, path))
    }

    /// A call that changes names in this directory; `to` is the other path, if there is one.
    fn change<T>(
        &self,
        (op, class): (&'static str, CallClass),
        name: &str,
        to: Option<&str>,
        call: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.machine.lock();
        if state.is_traced() {
            state.trace(op, &join(&self.path, name), to, (0, 0));
        }
        plain(&mut state, class, |state| {
            let describe = || match to {
                Some(to) => format!("{op} {} to {to}", join(&self.path, name)),
                None => format!("{op} {}", join(&self.path, name)),
            };
            state.change(describe, call)
        })
    }
}

impl SimDir {
    /// Takes the lock, if `count` says how many then have it, of how many did.
    fn lock_unless(
        &self,
        (op, name): (&'static str, &str),
        owner: Process,
        count: impl FnOnce(Option<usize>) -> Option<usize>,
    ) -> io::Result<LockAttempt> {
        let mut state = self.machine.lock();
        if state.is_traced() {
            state.trace(op, &join(&self.path, name), None, (0, 0));
        }
        plain(&mut state, CallClass::Lock, |state| {
            let Some(count) = count(state.locks.get(&self.ino).copied()) else {
                let pid = Some(std::process::id());
                return Ok(LockAttempt::Held { pid });
            };
            state.locks.insert(self.ino, count);
            Ok(LockAttempt::Taken(Box::new(SimLock {
                machine: self.machine.clone(),
                dir: self.ino,
                owner,
            })))
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

    fn create_new(&self, name: &str, _mode: u32) -> io::Result<Arc<dyn FileBackend>> {
        let ino = self.change(("create_new", CallClass::Create), name, None, |world| {
            let file = FileNode {
                size: Chain::durable(0),
                units: Vec::new(),
            };
            world.create(self.ino, name, Node::File(file))
        })?;
        Ok(self.file(ino, name, true))
    }

    fn mode_of(&self, _name: &str) -> io::Result<Option<u32>> {
        Ok(None)
    }

    /// Nobody else draws here, so the smallest number that is free will do: it makes the fewest states.
    fn temp_number(&self, attempt: u64) -> io::Result<u64> {
        Ok(attempt)
    }

    fn unique_id(&self) -> io::Result<u64> {
        Ok(self.machine.lock().world.draw_id())
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

    fn create_dir(&self, name: &str, _mode: u32) -> io::Result<()> {
        self.change(("create_dir", CallClass::Create), name, None, |world| {
            world
                .create(self.ino, name, Node::Dir(DirNode::default()))
                .map(drop)
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let path = join(&self.path, to);
        self.change(("rename", CallClass::Change), from, Some(&path), |world| {
            world.rename(self.ino, from, to)
        })
    }

    fn link(&self, from: &str, dir: &dyn DirBackend, to: &str) -> io::Result<()> {
        let dir: &dyn Any = dir;
        let dir: Option<&Self> = dir.downcast_ref();
        let dir = dir.filter(|dir| dir.machine.is(&self.machine));
        let dir = dir.ok_or(rustix::io::Errno::XDEV)?;
        let path = join(&dir.path, to);
        self.change(("link", CallClass::Change), from, Some(&path), |world| {
            world.link(self.ino, from, dir.ino, to)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(("remove", CallClass::Change), name, None, |world| {
            world.remove(self.ino, name)
        })
    }

    fn remove_dir(&self, name: &str) -> io::Result<()> {
        self.change(("remove_dir", CallClass::Change), name, None, |world| {
            world.remove_dir(self.ino, name)
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
            entries.sort_by_cached_key(|entry| mix_bytes(entry.name.as_bytes()));
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

    fn try_lock(&self, name: &str, owner: Process, _mode: u32) -> io::Result<LockAttempt> {
        self.lock_unless(("lock", name), owner, |holders| match holders {
            None => Some(0),
            Some(_) => None,
        })
    }

    fn try_lock_shared(&self, name: &str, owner: Process) -> io::Result<LockAttempt> {
        self.lock_unless(("lock_shared", name), owner, |holders| match holders {
            Some(0) => None,
            readers => Some(readers.unwrap_or(0) + 1),
        })
    }
}

#[derive(Debug)]
struct SimLock {
    machine: SimDisk,
    dir: Ino,
    owner: Process,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        // In a forked child somebody of the parent may have the machine for ever.
        if !self.owner.is_current() {
            return;
        }
        let locks = &mut self.machine.lock().locks;
        match locks.get_mut(&self.dir) {
            Some(readers) if *readers > 1 => *readers -= 1,
            _ => drop(locks.remove(&self.dir)),
        }
    }
}
