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
    RemoveDir(&'static str),
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

/// `len` times `byte`, at offset `at`; as text `A700@512`, and a zero byte is `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes {
    byte: u8,
    at: u64,
    len: usize,
}

impl Bytes {
    fn parse(text: &str) -> Option<Self> {
        let (run, at) = text.split_once('@').unwrap_or((text, "0"));
        let byte = *run.as_bytes().first()?;
        Some(Self {
            byte: if byte == b'_' { 0 } else { byte },
            at: at.parse().ok()?,
            len: run.get(1..)?.parse().ok()?,
        })
    }

    fn bytes(self) -> Vec<u8> {
        vec![self.byte; self.len]
    }
}

/// The calls of a program as text: one of the forms below after the other, with commas in between.
///
/// # Panics
/// If one of them is none of those.
pub(crate) fn parse(text: &'static str) -> Vec<Step> {
    let calls = text
        .split(',')
        .map(str::trim)
        .filter(|call| !call.is_empty());
    let parse = |call| parse_call(call).unwrap_or_else(|| panic!("{call:?} is no call"));
    calls.map(parse).collect()
}

fn parse_call(call: &'static str) -> Option<Step> {
    let words: Vec<&'static str> = call.split(' ').collect();
    Some(match *words.as_slice() {
        ["create", name] => Step::Create(name),
        ["mkdir", name] => Step::MakeDir(name),
        ["write", name, bytes] => Step::Write(name, Bytes::parse(bytes)?),
        ["dwrite", name, bytes] => Step::WriteDurable(name, Bytes::parse(bytes)?),
        ["truncate", name, len] => Step::SetLen(name, len.parse().ok()?),
        ["allocate", name, len] => Step::Allocate(name, len.parse().ok()?),
        ["zero", name, len] => Step::WriteZeros(name, len.parse().ok()?),
        ["writeback", name] => Step::StartWriteback(name),
        ["rename", from, to] => Step::Rename(from, to),
        ["link", from, to] => Step::Link(from, to),
        ["remove", name] => Step::Remove(name),
        ["rmdir", name] => Step::RemoveDir(name),
        ["fdatasync", name] => Step::SyncData(name),
        ["fsync", name] => Step::SyncAll(name),
        ["fsyncdir", name] => Step::SyncDir(name),
        ["hold", name] => Step::Hold(name),
        ["replace_file", name, bytes] => Step::Replace(name, Bytes::parse(bytes)?),
        ["publish", from, to] => Step::Publish(from, to),
        ["create_durably", name, bytes] => Step::CreateDurably(name, Bytes::parse(bytes)?),
        ["remove_durably", name] => Step::RemoveDurably(name),
        ["create_dir", name] => Step::MakeDirDurably(name),
        _ => return None,
    })
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let byte = if self.byte == 0 {
            '_'
        } else {
            char::from(self.byte)
        };
        write!(f, "{byte}{}@{}", self.len, self.at)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(name) => write!(f, "create {name}"),
            Self::MakeDir(name) => write!(f, "mkdir {name}"),
            Self::Write(name, bytes) => write!(f, "write {name} {bytes}"),
            Self::WriteDurable(name, bytes) => write!(f, "dwrite {name} {bytes}"),
            Self::SetLen(name, len) => write!(f, "truncate {name} {len}"),
            Self::Allocate(name, len) => write!(f, "allocate {name} {len}"),
            Self::WriteZeros(name, len) => write!(f, "zero {name} {len}"),
            Self::StartWriteback(name) => write!(f, "writeback {name}"),
            Self::Rename(from, to) => write!(f, "rename {from} {to}"),
            Self::Link(from, to) => write!(f, "link {from} {to}"),
            Self::Remove(name) => write!(f, "remove {name}"),
            Self::RemoveDir(name) => write!(f, "rmdir {name}"),
            Self::SyncData(name) => write!(f, "fdatasync {name}"),
            Self::SyncAll(name) => write!(f, "fsync {name}"),
            Self::SyncDir(name) => write!(f, "fsyncdir {name}"),
            Self::Hold(name) => write!(f, "hold {name}"),
            Self::Replace(name, bytes) => write!(f, "replace_file {name} {bytes}"),
            Self::Publish(from, to) => write!(f, "publish {from} {to}"),
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
                let (target, to) = self.dir(to)?;
                dir.link_into(from, &target, to)
            }
            Step::Remove(name) => {
                let (dir, name) = self.dir(name)?;
                dir.remove(name)
            }
            Step::RemoveDir(name) => {
                let (dir, name) = self.dir(name)?;
                dir.remove_dir(name)
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

    /// Everything that is in the directory, in order of name: `d/ d/x=A5000 f=O4096+_904`. A run
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
            let len = usize::try_from(file.len()?);
            let mut bytes = vec![0; len.expect("the files of a program are small")];
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
        let steps = parse("mkdir d, create d/x, write d/x A700, truncate d/x 5000, create f");
        place.run(&steps).unwrap();
        assert_eq!(place.look().unwrap(), "d/ d/x=A700+_4300 f=");
    }

    #[test]
    fn what_is_printed_of_a_call_parses_as_that_call() {
        for text in [
            "write f _10@7",
            "dwrite d/x A700@0",
            "rename f g",
            "fsyncdir .",
        ] {
            let [step] = parse(text)[..] else { panic!() };
            assert_eq!(step.to_string(), text);
        }
    }
}
