//! The calls of a litmus program as data, and what a disk shows afterwards as one line of text.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use durable_io::{Dir, Disk, File, Result};

/// One call, or one procedure of `durable-io`. Names are paths below the program's directory, with at
/// most one `/`; `.` is that directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create(&'static str),
    MakeDir(&'static str),
    /// Writes `len` times `byte` from offset `at` on.
    Write(&'static str, Bytes),
    /// The same with `RWF_DSYNC`.
    WriteDurable(&'static str, Bytes),
    SetLen(&'static str, u64),
    /// Reserves bytes 0 to this one.
    Allocate(&'static str, u64),
    /// Reserves and writes zeros from 0 to this byte.
    WriteZeros(&'static str, u64),
    /// Asks the kernel to write the file's pages, and does not wait.
    StartWriteback(&'static str),
    Rename(&'static str, &'static str),
    Link(&'static str, &'static str),
    Remove(&'static str),
    /// `fdatasync`.
    SyncData(&'static str),
    /// `fsync`.
    SyncAll(&'static str),
    SyncDir(&'static str),
    /// Keeps the file open until the power is cut; every other step closes what it opens.
    Hold(&'static str),
    /// [`durable_io::replace_file`] with these bytes.
    Replace(&'static str, Bytes),
    /// [`durable_io::publish`] of the first file as the second.
    Publish(&'static str, &'static str),
    /// [`durable_io::create_durably`] with these bytes.
    CreateDurably(&'static str, Bytes),
    /// [`durable_io::remove_durably`].
    RemoveDurably(&'static str),
    /// [`Disk::create_dir`].
    MakeDirDurably(&'static str),
}

/// `len` times `byte`, at offset `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) byte: u8,
    pub(crate) at: u64,
    pub(crate) len: usize,
}

/// `len` times `byte`, at the start of a file.
pub(crate) const fn of(byte: u8, len: usize) -> Bytes {
    Bytes { byte, at: 0, len }
}

impl Bytes {
    pub(crate) const fn at(self, at: u64) -> Self {
        Self { at, ..self }
    }

    fn bytes(self) -> Vec<u8> {
        vec![self.byte; self.len]
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} at {}", char::from(self.byte), self.len, self.at)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(name) => write!(f, "create {name}"),
            Self::MakeDir(name) => write!(f, "mkdir {name}"),
            Self::Write(name, bytes) => write!(f, "write {name} {bytes}"),
            Self::WriteDurable(name, bytes) => write!(f, "write durably {name} {bytes}"),
            Self::SetLen(name, len) => write!(f, "set length of {name} to {len}"),
            Self::Allocate(name, len) => write!(f, "allocate {name} {len}"),
            Self::WriteZeros(name, len) => write!(f, "allocate and write zeros {name} {len}"),
            Self::StartWriteback(name) => write!(f, "start writeback of {name}"),
            Self::Rename(from, to) => write!(f, "rename {from} to {to}"),
            Self::Link(from, to) => write!(f, "link {from} to {to}"),
            Self::Remove(name) => write!(f, "remove {name}"),
            Self::SyncData(name) => write!(f, "fdatasync {name}"),
            Self::SyncAll(name) => write!(f, "fsync {name}"),
            Self::SyncDir(name) => write!(f, "fsync directory {name}"),
            Self::Hold(name) => write!(f, "open {name} and keep it open"),
            Self::Replace(name, bytes) => write!(f, "replace_file {name} {bytes}"),
            Self::Publish(from, to) => write!(f, "publish {from} as {to}"),
            Self::CreateDurably(name, bytes) => write!(f, "create_durably {name} {bytes}"),
            Self::RemoveDurably(name) => write!(f, "remove_durably {name}"),
            Self::MakeDirDurably(name) => write!(f, "create_dir {name}"),
        }
    }
}

/// A directory of a disk, real or simulated, in which a program runs.
#[derive(Debug)]
pub(crate) struct Place {
    disk: Disk,
    root: PathBuf,
    held: BTreeMap<&'static str, File>,
}

impl Place {
    pub(crate) fn new(disk: Disk, root: &Path) -> Self {
        Self {
            disk,
            root: root.to_owned(),
            held: BTreeMap::new(),
        }
    }

    /// Makes the calls, in order.
    ///
    /// # Errors
    /// The first that fails.
    pub(crate) fn run(&mut self, steps: &[Step]) -> Result<()> {
        steps.iter().try_for_each(|step| self.perform(step))
    }

    /// The directory of `name`, and the name in it.
    fn dir<'n>(&self, name: &'n str) -> Result<(Dir, &'n str)> {
        let (dir, name) = name.rsplit_once('/').unwrap_or((".", name));
        Ok((self.open_dir(dir)?, name))
    }

    fn open_dir(&self, name: &str) -> Result<Dir> {
        match name {
            "." => self.disk.open_dir(&self.root),
            name => self.disk.open_dir(self.root.join(name)),
        }
    }

    fn open(&self, name: &str) -> Result<File> {
        if let Some(file) = self.held.get(name) {
            return Ok(file.clone());
        }
        let (dir, name) = self.dir(name)?;
        dir.open(name)
    }

    fn perform(&mut self, step: &Step) -> Result<()> {
        match *step {
            Step::Create(name) => {
                let (dir, name) = self.dir(name)?;
                dir.create_new(name).map(drop)
            }
            Step::MakeDir(name) => {
                let (dir, name) = self.dir(name)?;
                dir.create_dir(name)
            }
            Step::Write(name, bytes) => self.open(name)?.write_all_at(&bytes.bytes(), bytes.at),
            Step::WriteDurable(name, bytes) => {
                let file = self.open(name)?;
                file.write_durable_at(&bytes.bytes(), bytes.at).map(drop)
            }
            Step::SetLen(name, len) => self.open(name)?.set_len(len),
            Step::Allocate(name, len) => self.open(name)?.allocate(0, len),
            Step::WriteZeros(name, len) => self.open(name)?.write_zeros(0, len),
            Step::StartWriteback(name) => {
                let file = self.open(name)?;
                file.start_writeback(0, file.len()?);
                Ok(())
            }
            Step::Rename(from, to) => {
                let (dir, from) = self.dir(from)?;
                dir.rename(from, self.dir(to)?.1)
            }
            Step::Link(from, to) => {
                let (dir, from) = self.dir(from)?;
                dir.link(from, self.dir(to)?.1)
            }
            Step::Remove(name) => {
                let (dir, name) = self.dir(name)?;
                dir.remove(name)
            }
            Step::SyncData(name) => self.open(name)?.sync_data().map(drop),
            Step::SyncAll(name) => self.open(name)?.sync_all().map(drop),
            Step::SyncDir(name) => self.open_dir(name)?.sync(),
            Step::Hold(name) => {
                let file = self.open(name)?;
                self.held.insert(name, file);
                Ok(())
            }
            Step::Replace(name, bytes) => {
                let (dir, name) = self.dir(name)?;
                durable_io::replace_file(&dir, name, &bytes.bytes())
            }
            Step::Publish(from, to) => {
                let file = self.open(from)?;
                let (dir, from) = self.dir(from)?;
                durable_io::publish(&dir, &file, from, self.dir(to)?.1)
            }
            Step::CreateDurably(name, bytes) => {
                let (dir, name) = self.dir(name)?;
                let fill = |file: &File| file.write_all_at(&bytes.bytes(), bytes.at);
                durable_io::create_durably(&dir, name, fill).map(drop)
            }
            Step::RemoveDurably(name) => {
                let (dir, name) = self.dir(name)?;
                durable_io::remove_durably(&dir, name)
            }
            Step::MakeDirDurably(name) => self.disk.create_dir(self.root.join(name)).map(drop),
        }
    }

    /// Everything that stands in the directory, in order of name: `d/ d/x=A5000 f=O4096+_904`. A run
    /// of equal bytes is the byte and how many; `_` is zero.
    ///
    /// # Errors
    /// Something cannot be read.
    pub(crate) fn look(&self) -> Result<String> {
        let mut found = Vec::new();
        look_below(&self.disk.open_dir(&self.root)?, "", &mut found)?;
        found.sort_unstable();
        Ok(found.join(" "))
    }
}

fn look_below(dir: &Dir, path: &str, found: &mut Vec<String>) -> Result<()> {
    for entry in dir.list()? {
        let path = format!("{path}{}", entry.name);
        if entry.is_dir {
            found.push(format!("{path}/"));
            look_below(&dir.open_dir(&entry.name)?, &format!("{path}/"), found)?;
        } else {
            let file = dir.open(&entry.name)?;
            let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, 0)?;
            found.push(format!("{path}={}", runs(&bytes)));
        }
    }
    Ok(())
}

fn runs(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        if !text.is_empty() {
            text.push('+');
        }
        let _infallible = match run.first() {
            Some(0) | None => write!(text, "_{}", run.len()),
            Some(byte) => write!(text, "{}{}", byte.escape_ascii(), run.len()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable_io::sim::SimDisk;

    #[test]
    fn the_picture_shows_directories_lengths_and_runs_of_bytes() {
        let mut place = Place::new(SimDisk::new().disk(), Path::new("/"));
        let steps = [
            Step::MakeDir("d"),
            Step::Create("d/x"),
            Step::Write("d/x", of(b'A', 700)),
            Step::SetLen("d/x", 5000),
            Step::Create("f"),
        ];
        place.run(&steps).unwrap();
        assert_eq!(place.look().unwrap(), "d/ d/x=A700+_4300 f=");
    }
}
