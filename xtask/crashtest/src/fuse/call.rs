//! The calls that change a volume, as data: recorded once, done again at every replay.

use std::collections::BTreeMap;
use std::io;

use durable_io::sim::{SyncFailure, Volume};

/// One call. Directories and files go by their numbers, which are the same at every replay.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    CreateFile {
        dir: usize,
        name: String,
    },
    CreateDir {
        dir: usize,
        name: String,
    },
    RemoveFile {
        dir: usize,
        name: String,
    },
    RemoveDir {
        dir: usize,
        name: String,
    },
    Rename {
        dir: usize,
        from: String,
        to: String,
    },
    Link {
        file: usize,
        dir: usize,
        name: String,
    },
    Write {
        file: usize,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        file: usize,
        len: u64,
    },
    Allocate {
        file: usize,
        offset: u64,
        len: u64,
    },
    SyncFile {
        file: usize,
    },
    SyncDir {
        dir: usize,
    },
    /// A sync that fails: the pages are clean, and will never be on the disk.
    FailSync {
        file: usize,
    },
}

impl Call {
    /// Does the call; returns the number of what it created, or 0.
    ///
    /// # Errors
    /// As the call of the system, and then nothing was done.
    pub(crate) fn apply(&self, volume: &mut Volume) -> io::Result<usize> {
        match self {
            Self::CreateFile { dir, name } => return volume.create_file(*dir, name),
            Self::CreateDir { dir, name } => return volume.create_dir(*dir, name),
            Self::RemoveFile { dir, name } => volume.remove_file(*dir, name)?,
            Self::RemoveDir { dir, name } => volume.remove_dir(*dir, name)?,
            Self::Rename { dir, from, to } => volume.rename(*dir, from, to)?,
            Self::Link { file, dir, name } => volume.link(*file, *dir, name)?,
            Self::Write {
                file,
                offset,
                bytes,
            } => volume.write(*file, bytes, *offset)?,
            Self::SetLen { file, len } => volume.set_len(*file, *len)?,
            Self::Allocate { file, offset, len } => volume.allocate(*file, *offset, *len)?,
            Self::SyncFile { file } => volume.sync(*file),
            Self::SyncDir { dir } => volume.sync(*dir),
            Self::FailSync { file } => volume.fail_sync(*file, SyncFailure::CacheKeeps),
        }
        Ok(0)
    }

    /// Does the call once more, on a volume equal to the one on which it was recorded; returns as
    /// [`apply`](Call::apply) does.
    pub(crate) fn again(&self, volume: &mut Volume) -> usize {
        let done = self.apply(volume);
        done.expect("it succeeded on an equal volume")
    }

    /// How long it makes its file at least, in bytes.
    pub(crate) fn reaches(&self) -> u64 {
        match self {
            Self::Write { offset, bytes, .. } => offset.saturating_add(bytes.len() as u64),
            Self::SetLen { len, .. } => *len,
            Self::Allocate { offset, len, .. } => offset.saturating_add(*len),
            _ => 0,
        }
    }

    /// True if it writes: a sync alone brings nothing to a disk.
    pub(crate) fn writes(&self) -> bool {
        !matches!(
            self,
            Self::SyncFile { .. } | Self::SyncDir { .. } | Self::FailSync { .. }
        )
    }
}

/// The names that files and directories had last, for people.
#[derive(Debug)]
pub(crate) struct Names(BTreeMap<usize, String>);

impl Names {
    /// Those of `volume`.
    pub(crate) fn of(volume: &Volume) -> Self {
        let mut names = Self(BTreeMap::from([(Volume::ROOT, "/".to_owned())]));
        let mut found = vec![Volume::ROOT];
        while let Some(number) = found.pop() {
            // What is no directory has no entries.
            for (name, number) in volume.entries(number).into_iter().flatten() {
                names.0.insert(number, name);
                found.push(number);
            }
        }
        names
    }

    /// Takes in `call`, which `volume` has just answered with `number`.
    pub(crate) fn see(&mut self, call: &Call, number: usize, volume: &Volume) {
        let (number, name) = match call {
            Call::CreateFile { name, .. } | Call::CreateDir { name, .. } => (number, name),
            Call::Link { file, name, .. } => (*file, name),
            Call::Rename { dir, to, .. } => match volume.lookup(*dir, to) {
                Ok(number) => (number, to),
                Err(_) => return,
            },
            _ => return,
        };
        self.0.insert(number, name.clone());
    }

    /// What has to be synced for `call` to be durable, and that in words: a directory for a name, a file for the
    /// rest.
    pub(crate) fn object(&self, call: &Call) -> (usize, String) {
        match call {
            Call::CreateFile { dir, .. }
            | Call::CreateDir { dir, .. }
            | Call::RemoveFile { dir, .. }
            | Call::RemoveDir { dir, .. }
            | Call::Rename { dir, .. }
            | Call::Link { dir, .. }
            | Call::SyncDir { dir } => (*dir, format!("directory {}", self.name(*dir))),
            Call::Write { file, .. }
            | Call::SetLen { file, .. }
            | Call::Allocate { file, .. }
            | Call::SyncFile { file }
            | Call::FailSync { file } => (*file, self.name(*file).to_owned()),
        }
    }

    fn name(&self, number: usize) -> &str {
        self.0.get(&number).map_or("?", String::as_str)
    }

    /// `call` in words.
    pub(crate) fn describe(&self, call: &Call) -> String {
        let name = |number: &usize| self.name(*number);
        match call {
            Call::CreateFile { dir, name: new } => format!("create {new} in {}", name(dir)),
            Call::CreateDir { dir, name: new } => format!("mkdir {new} in {}", name(dir)),
            Call::RemoveFile { name, .. } => format!("unlink {name}"),
            Call::RemoveDir { name, .. } => format!("rmdir {name}"),
            Call::Rename { from, to, .. } => format!("rename {from} to {to}"),
            Call::Link {
                file, name: new, ..
            } => format!("link {} as {new}", name(file)),
            Call::Write {
                file,
                offset,
                bytes,
            } => {
                let end = offset + bytes.len() as u64;
                format!("write {} {offset}..{end}", name(file))
            }
            Call::SetLen { file, len } => format!("truncate {} to {len}", name(file)),
            Call::Allocate { file, offset, len } => {
                format!("fallocate {} {offset}..{}", name(file), offset + len)
            }
            Call::SyncFile { file } => format!("fsync {}", name(file)),
            Call::SyncDir { dir } => format!("fsync directory {}", name(dir)),
            Call::FailSync { file } => format!("fsync {} fails", name(file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_the_record_has_its_name() {
        let mut volume = Volume::new(512);
        let dir = volume.create_dir(Volume::ROOT, "disk").unwrap();
        let file = volume.create_file(dir, "log").unwrap();
        let write = Call::Write {
            file,
            bytes: b"x".to_vec(),
            offset: 0,
        };
        assert_eq!(Names::of(&volume).object(&write), (file, "log".to_owned()));
    }
}
