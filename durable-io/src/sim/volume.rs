//! [`Volume`]: a simulated disk behind a mounted file system, for stores that make system calls of
//! their own.

use std::io;

use rustix::io::Errno;

use super::backend::outcome;
use super::chain::Chain;
use super::fault::SyncFailure;
use super::profile::Profile;
use super::world::{ChainChange, DirNode, FileNode, Node, ROOT, World};

mod losses;
#[cfg(test)]
mod tests;

/// The contents of a file system that keeps its files on a simulated disk.
///
/// [`SimDisk`](super::SimDisk) serves stores that take a [`Disk`](crate::Disk). One that calls the
/// kernel itself needs a file system in front of it (FUSE, say), which hands each call on to the
/// function of that name here. What a crash may then leave is what it may leave of a `SimDisk`.
///
/// Files and directories go by number; a number stays that file's after its last name is gone, as
/// an open file does. A clone shares everything and costs little.
#[derive(Clone, Debug)]
pub struct Volume {
    world: World,
}

/// What `stat` says of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// True for a directory.
    pub is_dir: bool,
    /// The length in bytes; 0 for a directory.
    pub len: u64,
    /// The bytes written or reserved, in whole units of tearing; 0 for a directory.
    pub allocated: u64,
}

impl Volume {
    /// The number of the root directory.
    pub const ROOT: usize = ROOT;

    /// An empty volume that tears at `unit` bytes: 512 or 4096.
    ///
    /// # Panics
    /// If `unit` is neither.
    pub fn new(unit: usize) -> Self {
        Self::with_profile(unit, Profile::STRICT)
    }

    /// An empty volume that tears at `unit` bytes, 512 or 4096, and whose file system keeps the promises of `profile`.
    ///
    /// # Panics
    /// If `unit` is neither.
    pub fn with_profile(unit: usize, profile: Profile) -> Self {
        let world = super::SimDisk::with_profile(unit, profile).world();
        Self { world }
    }

    /// What `name` in the directory `dir` leads to.
    ///
    /// # Errors
    /// `ENOENT` if there is no such name, `ENOTDIR` if `dir` is no directory.
    pub fn lookup(&self, dir: usize, name: &str) -> io::Result<usize> {
        self.world.lookup(dir, name)
    }

    /// What `number` is.
    ///
    /// # Errors
    /// `ENOENT` if there is nothing of that number.
    pub fn attributes(&self, number: usize) -> io::Result<Attributes> {
        let Ok(file) = self.world.file(number) else {
            self.world.dir(number).map_err(|_no_such| Errno::NOENT)?;
            return Ok(Attributes {
                is_dir: true,
                len: 0,
                allocated: 0,
            });
        };
        let units = file.units.iter().filter(|unit| unit.current().is_some());
        Ok(Attributes {
            is_dir: false,
            len: *file.size.current(),
            allocated: (units.count() * self.world.unit) as u64,
        })
    }

    /// The names in the directory `dir` and what they lead to, in order of name.
    ///
    /// # Errors
    /// `ENOTDIR` if it is none.
    pub fn entries(&self, dir: usize) -> io::Result<Vec<(String, usize)>> {
        let names = self.world.dir(dir)?.names.iter();
        let there = names.filter_map(|(name, chain)| Some((name.to_string(), (*chain.current())?)));
        Ok(there.collect())
    }

    /// Makes an empty file and returns its number.
    ///
    /// # Errors
    /// `EEXIST`, `ENOTDIR`, or `EINVAL` for what is no name.
    pub fn create_file(&mut self, dir: usize, name: &str) -> io::Result<usize> {
        let file = FileNode {
            size: Chain::durable(0),
            units: Vec::new(),
        };
        self.world.create(dir, name, Node::File(file))
    }

    /// Makes an empty directory and returns its number.
    ///
    /// # Errors
    /// As [`create_file`](Volume::create_file).
    pub fn create_dir(&mut self, dir: usize, name: &str) -> io::Result<usize> {
        self.world.create(dir, name, Node::Dir(DirNode::default()))
    }

    /// Removes the name of a file.
    ///
    /// # Errors
    /// `ENOENT`, or `EISDIR` for a directory.
    pub fn remove_file(&mut self, dir: usize, name: &str) -> io::Result<()> {
        self.world.remove(dir, name)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, or `ENOTEMPTY`.
    pub fn remove_dir(&mut self, dir: usize, name: &str) -> io::Result<()> {
        self.world.remove_dir(dir, name)
    }

    /// Renames a file or directory within one directory; a file that has the new name is replaced.
    ///
    /// # Errors
    /// `ENOENT`, or `EISDIR` if the new name is that of a directory.
    pub fn rename(&mut self, dir: usize, from: &str, to: &str) -> io::Result<()> {
        self.world.rename(dir, from, to)
    }

    /// Gives the file `number` one more name.
    ///
    /// # Errors
    /// `EEXIST`, or `EISDIR` if it is a directory.
    pub fn link(&mut self, number: usize, dir: usize, name: &str) -> io::Result<()> {
        self.world.link_file(number, dir, name)
    }

    /// Reads up to `buf.len()` bytes at `offset`; returns how many, fewer only at the file's end.
    ///
    /// # Errors
    /// `EISDIR`.
    pub fn read(&self, number: usize, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.world.read(number, buf, offset)
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// `EISDIR`.
    pub fn write(&mut self, number: usize, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.world.write(number, bytes, offset)
    }

    /// Cuts or lengthens a file to `len` bytes.
    ///
    /// # Errors
    /// `EISDIR`.
    pub fn set_len(&mut self, number: usize, len: u64) -> io::Result<()> {
        self.world.set_len(number, len)
    }

    /// Reserves `len` bytes at `offset`, which read as zeros, and lengthens the file to hold them.
    ///
    /// # Errors
    /// `EISDIR`.
    pub fn allocate(&mut self, number: usize, offset: u64, len: u64) -> io::Result<()> {
        self.world.reserve(number, offset, len)
    }

    /// `fsync`: everything that was done to the file, or to the names in the directory, is durable.
    /// A file's names are not, and a directory's files are not.
    pub fn sync(&mut self, number: usize) {
        let limit = self.world.next_effect;
        self.world.for_covered(number, ChainChange::Promote(limit));
    }

    /// An `fsync` that fails, and what then becomes of what it was to make durable.
    pub fn fail_sync(&mut self, number: usize, failure: SyncFailure) {
        let limit = self.world.next_effect;
        if let Some(change) = outcome(Some(failure), limit) {
            self.world.for_covered(number, change);
        }
    }

    /// Bytes of names and contents: a name costs one unit of tearing.
    pub fn used_bytes(&self) -> u64 {
        self.world.used_bytes()
    }

    /// A hash of every name and every content: equal if the same would be seen.
    pub fn contents_hash(&self) -> u64 {
        self.world.visible_hash()
    }

    /// What a power loss leaves that takes everything not yet synced.
    #[must_use]
    pub fn lose_unsynced(&self) -> Self {
        let world = self.world.lose_unsynced();
        Self { world }
    }

    /// What a power loss leaves that takes nothing; so is a machine that ends in good order.
    #[must_use]
    pub fn keep_unsynced(&self) -> Self {
        let world = self.world.keep_unsynced();
        Self { world }
    }
}
