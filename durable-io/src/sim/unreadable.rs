//! Bytes that a disk has lost, and files that are somebody else's.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use rustix::io::Errno;

use super::disk::SimDisk;
use super::world::{Ino, ROOT};

/// What cannot be read, although it is there.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    places: Vec<(Ino, Range<u64>)>,
    files: BTreeSet<Ino>,
}

impl Unreadable {
    /// The error of opening the file `ino`.
    pub(crate) fn check_open(&self, ino: Ino) -> io::Result<()> {
        if self.files.contains(&ino) {
            return Err(Errno::ACCESS.into());
        }
        Ok(())
    }

    /// The error of reading `range` of the file `ino`.
    pub(crate) fn check_read(&self, ino: Ino, range: &Range<u64>) -> io::Result<()> {
        let is_in = |(at, bad): &(Ino, Range<u64>)| {
            *at == ino && bad.start < range.end && range.start < bad.end
        };
        if self.places.iter().any(is_in) {
            return Err(Errno::IO.into());
        }
        Ok(())
    }

    /// What is written over whole can be read again.
    pub(crate) fn heal(&mut self, ino: Ino, range: &Range<u64>) {
        self.places
            .retain(|(at, bad)| *at != ino || bad.start < range.start || bad.end > range.end);
    }
}

impl SimDisk {
    /// From now on, until they are written over, each read of some of the bytes `range` of the file at
    /// `path` fails with `EIO`.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn spoil(&self, path: &str, range: Range<u64>) {
        let ino = self.file_at(path);
        self.lock().unreadable.places.push((ino, range));
    }

    /// From now on nobody may open the file at `path`: `EACCES`.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn forbid(&self, path: &str) {
        let ino = self.file_at(path);
        self.lock().unreadable.files.insert(ino);
    }

    fn file_at(&self, path: &str) -> Ino {
        let world = &self.lock().world;
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(ROOT, |dir, name| {
            world.lookup(dir, name).expect("the file is there")
        })
    }
}
