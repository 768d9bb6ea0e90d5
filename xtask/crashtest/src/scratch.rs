//! A directory on the real disk for one layer, gone when the layer ends, however it ends.

use std::path::Path;

use anyhow::Context as _;
use durable_io::{Dir, Disk, Error, Lock};
use tempfile::TempDir;

/// The file that a living owner holds locked.
const OWNER: &str = "owner";
const PREFIX: &str = "crashtest-";

/// A directory of this run alone.
///
/// Dropping it removes it. A run that was killed cannot, so the next run removes what has no living
/// owner any more.
#[derive(Debug)]
pub(crate) struct Scratch {
    // Dropped, and so removed, before the lock is let go.
    dir: TempDir,
    _owner: Lock,
}

impl Scratch {
    /// Makes a new, empty directory next to the running program, so below `target` and on its disk.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let parent = program
            .parent()
            .context("the program's path has no directory")?;
        Self::new_in(parent)
    }

    /// Makes a new, empty directory in `parent`.
    pub(crate) fn new_in(parent: &Path) -> anyhow::Result<Self> {
        let held = Disk::os().open_dir(parent)?;
        remove_ownerless(&held)?;
        loop {
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            match Disk::os().open_dir(dir.path())?.try_lock(OWNER) {
                Ok(owner) => return Ok(Self { dir, _owner: owner }),
                // Another run took it for ownerless in the moment before it was locked.
                Err(Error::Locked { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes the directories of runs that were killed: those whose owner file nobody holds locked.
/// One without an owner file may be a moment old, and stays.
fn remove_ownerless(parent: &Dir) -> anyhow::Result<()> {
    for entry in parent.list()? {
        if !entry.is_dir || !entry.name.starts_with(PREFIX) {
            continue;
        }
        let abandoned = parent.open_dir(&entry.name).and_then(|dir| {
            dir.open(OWNER)?;
            dir.try_lock(OWNER)
        });
        if abandoned.is_ok() {
            std::fs::remove_dir_all(parent.path().join(&entry.name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_living_owner_is_removed_and_the_rest_stays() {
        let mine = Scratch::new().unwrap();
        let parent = mine.path().parent().unwrap().to_owned();
        let abandoned = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .unwrap()
            .keep();
        drop(
            Disk::os()
                .open_dir(&abandoned)
                .unwrap()
                .try_lock(OWNER)
                .unwrap(),
        );
        let other = Scratch::new().unwrap();
        assert!(!abandoned.exists());
        assert!(mine.path().exists());
        let path = other.path().to_owned();
        drop(other);
        assert!(!path.exists());
    }
}
