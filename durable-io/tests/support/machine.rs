//! A simulated machine with something on its disk, to which things can be done.

use durable_io::sim::{Fault, FaultKind, SimDisk, World};
use durable_io::{Dir, Error, File, Result};

use super::picture::{of_disk, of_file};

pub const EIO: i32 = 5;
pub const EINTR: i32 = 4;
pub const ENOSPC: i32 = 28;

/// A machine with two durable files: `log` of two sectors of O, and `other`, which is empty.
pub struct Machine {
    pub sim: SimDisk,
    pub dir: Dir,
    pub log: File,
}

/// The files of a disk, and what is left of them if nothing and if everything pending is kept.
pub type Pictures = [String; 3];

fn picture(world: World) -> String {
    of_disk(&SimDisk::boot(world).disk())
}

impl Machine {
    pub fn new() -> Self {
        let sim = SimDisk::new();
        let dir = sim.disk().open_dir("/").unwrap();
        let log = dir.create_new("log").unwrap();
        log.write_all_at(&[b'O'; 1024], 0).unwrap();
        drop(log.sync_data().unwrap());
        dir.create_new("other").unwrap();
        dir.create_dir("below").unwrap();
        dir.sync().unwrap();
        Self { sim, dir, log }
    }

    pub fn pictures(&self) -> Pictures {
        let world = self.sim.world();
        [world.clone(), world.lose_unsynced(), world.keep_unsynced()].map(picture)
    }

    /// Plans a fault for the call after the `skip` next ones.
    pub fn plan(&self, skip: u64, kind: FaultKind, sticky: bool) {
        let call = self.sim.calls() + skip;
        self.sim.inject(Fault { call, kind, sticky });
    }

    pub fn strike_next(&self, kind: FaultKind) {
        self.plan(0, kind, false);
    }

    pub fn log(&self) -> [String; 3] {
        let world = self.sim.world();
        [world.clone(), world.lose_unsynced(), world.keep_unsynced()].map(|world| {
            let disk = SimDisk::boot(world).disk();
            of_file(&disk.open_dir("/").unwrap(), "log")
        })
    }

    /// The lengths that the calls `op` since the last trace asked for.
    pub fn lengths(&self, op: &str) -> Vec<(u64, u64)> {
        let calls = self.sim.trace().into_iter().filter(|call| call.op == op);
        calls.map(|call| (call.offset, call.len)).collect()
    }
}

pub fn code<T>(result: Result<T>) -> Option<i32> {
    match result.err()? {
        Error::Io { source, .. } | Error::Resource { source, .. } => source.raw_os_error(),
        Error::NoSpace { .. } => Some(ENOSPC),
        other => panic!("{other}"),
    }
}

pub fn is_poisoned<T>(result: Result<T>) -> bool {
    matches!(result.err(), Some(Error::Poisoned { .. }))
}
