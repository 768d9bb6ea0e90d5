//! What a forked child has of its parent's handles. One test, in a process of its own, since it forks.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "test")]

use std::path::Path;

use durable_io::{Dir, Disk, Error, Lock, Process, Result};
use tempfile::TempDir;

/// Forks, and returns whether `in_child` was true there.
fn in_child(in_child: impl FnOnce() -> bool) -> bool {
    #[expect(unsafe_code, reason = "there is no other way to fork")]
    // SAFETY: no other thread of this process holds a lock that the child needs: the tests' runner waits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = i32::from(!in_child());
        #[expect(unsafe_code, reason = "the child ends without the parent's clean-up")]
        // SAFETY: ends the child.
        unsafe {
            libc::_exit(code)
        }
    }
    assert!(child > 0);
    let mut status = -1;
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: waits for that child.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    status == 0
}

fn try_lock(path: &Path) -> Result<Lock> {
    Disk::os().open_dir(path)?.try_lock("LOCK")
}

fn is_locked(path: &Path) -> bool {
    try_lock(path).is_err_and(|error| error.is_locked())
}

/// A file of which a part is mapped.
fn with_map(dir: &Dir) -> (durable_io::File, durable_io::Map) {
    let file = dir.create_new("a").unwrap();
    file.write_all_at(&[1; 4096], 0).unwrap();
    let map = file.map(0..4096).unwrap();
    (file, map)
}

#[test]
fn a_forked_copy_is_inert_and_the_parents_lock_stays() {
    let temp = TempDir::new().unwrap();
    let path = temp.path();
    let owner = Process::current().unwrap();
    let lock = try_lock(path).unwrap();
    assert_eq!(lock.owner(), owner);
    lock.check().unwrap();

    let mut copy = Some(lock);
    assert!(in_child(|| {
        let refused = copy.as_ref().unwrap().check();
        let is_refused = matches!(refused, Err(Error::Forked { .. }));
        drop(copy.take());
        is_refused && !owner.is_current() && is_locked(path)
    }));
    assert!(
        owner.is_current() && is_locked(path),
        "the parent has it still"
    );
    assert!(in_child(|| in_child(|| copy
        .as_ref()
        .unwrap()
        .check()
        .is_err())));
    drop(copy);

    // A child's own lock is its own, and goes with it.
    assert!(in_child(|| {
        let lock = try_lock(path).unwrap();
        lock.check().is_ok() && in_child(|| lock.check().is_err()) && is_locked(path)
    }));
    let lock = try_lock(path).unwrap();

    // A child that drops a map waits for nobody, and what it opens itself it may write.
    let dir = Disk::os().open_dir(path).unwrap();
    let mut mapped = Some(with_map(&dir));
    assert!(in_child(|| {
        drop(mapped.take());
        dir.open("a").unwrap().write_all_at(&[1], 0).is_ok()
    }));
    let refused = dir.open("a").unwrap().write_all_at(&[2], 0);
    assert!(matches!(refused, Err(Error::Mapped { .. })), "{refused:?}");
    drop(mapped);
    dir.open("a").unwrap().write_all_at(&[2], 0).unwrap();

    // Of the simulated machine too, whose parent may be in the middle of a call.
    #[cfg(feature = "sim")]
    {
        let sim = durable_io::sim::SimDisk::new();
        let root = sim.disk().open_dir("/").unwrap();
        let mut held = Some(root.try_lock("LOCK").unwrap());
        assert!(in_child(|| {
            drop(held.take());
            root.try_lock("LOCK").is_err_and(|error| error.is_locked())
        }));
        drop(held);
        drop(root.try_lock("LOCK").unwrap());
    }
    drop(lock);
}
