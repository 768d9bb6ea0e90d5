//! The simulated machine behind the handles: each function is one system call.

use std::io;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use super::chain::EffectId;
use super::disk::{SimDisk, State, Struck, sync_name};
use super::fault::{CallClass, FaultKind, SyncFailure};
use super::world::{ChainChange, ROOT};
use crate::backend::{DirBackend, DiskBackend};
use crate::latch::Syncs;
use crate::platform::{Capabilities, DurableWrite, SyncPrimitive};
use crate::site::Site;
use dir::SimDir;

mod dir;
mod file;

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

    fn unix_time(&self) -> Duration {
        self.machine.lock().world.unix_time
    }

    fn unique_id(&self) -> io::Result<u64> {
        Ok(self.machine.lock().world.draw_id())
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
        [dir, "/", name].concat()
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
