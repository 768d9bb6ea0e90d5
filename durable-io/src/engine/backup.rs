//! [`Backup`]: the files of a store in one more directory.

use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

use super::open::{StoreDir, open_store};
use crate::dir::Dir;
use crate::disk::Disk;
use crate::error::{Error, Op, Result};
use crate::file::File;
use crate::site::{Barrier, Site};

/// So many bytes are copied at once.
const CHUNK: usize = 1 << 20;

/// How a backup is made.
#[derive(Clone, Debug, Default)]
pub struct BackupOptions {
    is_copied: bool,
    previous: Option<PathBuf>,
}

impl BackupOptions {
    /// The defaults: files that are never written again are linked where the file system allows that.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies every byte also where files could be linked. A link is no second copy: a sector that is damaged
    /// is damaged in the store and in every backup that shares the file with it.
    #[must_use]
    pub fn copied(mut self) -> Self {
        self.is_copied = true;
        self
    }

    /// Takes files that the backup in `previous` has, too, from there, if it is on the file system where the
    /// new one is to be: then only what is new since is copied, and the two share the rest.
    #[must_use]
    pub fn since(mut self, previous: impl Into<PathBuf>) -> Self {
        self.previous = Some(previous.into());
        self
    }

    /// Where the previous backup is.
    pub fn previous(&self) -> Option<&Path> {
        self.previous.as_deref()
    }
}

/// What a backup is made of, of the files that are never written again; a few small ones are made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// How many there are.
    pub files: u64,
    /// Of these, how many are the store's own under one more name.
    pub linked: u64,
    /// Of these, how many are the previous backup's under one more name.
    pub shared: u64,
    /// Bytes of those that were copied.
    pub copied_bytes: u64,
}

/// How a file got into a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Taken {
    /// Under one more name.
    Linked,
    /// Byte by byte: so many, of which this is the CRC-32.
    Copied {
        /// The size of the file.
        bytes: u64,
        /// The checksum of all of it.
        checksum: u32,
    },
}

/// A backup that is being made.
#[derive(Debug)]
pub struct Backup {
    is_copied: bool,
    report: BackupReport,
}

impl Backup {
    /// One that is made so.
    pub fn new(options: &BackupOptions) -> Self {
        Self {
            is_copied: options.is_copied,
            report: BackupReport::default(),
        }
    }

    /// What it is made of.
    pub fn report(&self) -> BackupReport {
        self.report
    }
}

/// Puts the file `name` of `from`, which nobody ever writes again, into the directory `to`, under the same
/// name, which must be free there. `previous` is a directory that has the very same file. Where no link
/// can be had (another file system, one without links, a file with as many names as it may have), the file
/// is copied.
///
/// # Durability
/// The bytes are durable when this returns; the name is after a [`sync`](Dir::sync) of `to`, which one can
/// do for many. A crash before that can leave the name with any part of a copy: something that is
/// written later must say that it counts.
///
/// # Errors
/// Those of [`Dir::open`], [`File::read_at`], [`Dir::create_new`] and [`File::write_all_at`]: what was
/// copied so far is removed as far as the disk lets us.
#[track_caller]
pub fn take_file(
    backup: &mut Backup,
    from: &Dir,
    name: &str,
    to: &Dir,
    previous: Option<&Dir>,
) -> Result<Taken> {
    let site = Site::new(Location::caller(), Barrier::Data, "copy");
    // Whatever refuses a link: copying works, or it says what is wrong.
    if previous.is_some_and(|previous| previous.link_into(name, to, name).is_ok()) {
        backup.report.shared += 1;
    } else if !backup.is_copied && from.link_into(name, to, name).is_ok() {
        backup.report.linked += 1;
    } else {
        let (bytes, checksum) = copy(from, name, to, site)?;
        backup.report.files += 1;
        backup.report.copied_bytes += bytes;
        return Ok(Taken::Copied { bytes, checksum });
    }
    backup.report.files += 1;
    Ok(Taken::Linked)
}

/// Makes the directory of a new store, which must be empty if it exists already, and takes the lock: for
/// what is not made by opening it, a backup say.
///
/// # Durability
/// As [`open_store`].
///
/// # Errors
/// Those of [`open_store`]; [`Error::Io`] of kind `DirectoryNotEmpty` if there is anything but the lock's
/// file.
#[track_caller]
pub fn open_empty_store(disk: &Disk, path: &Path, lock: &str) -> Result<StoreDir> {
    // Durable: the directory's own name. Only now may anything in it be relied on.
    let created = open_store(disk, path, lock)?;
    if created.dir().list()?.iter().all(|entry| entry.name == lock) {
        return Ok(created);
    }
    let source = io::ErrorKind::DirectoryNotEmpty.into();
    Err(Error::io(Op::CreateDir, path, None, source))
}

fn copy(from: &Dir, name: &str, to: &Dir, site: Site) -> Result<(u64, u32)> {
    let source = from.open_read_only(name)?;
    let target = to.create_new(name)?;
    let copied = copy_bytes(&source, &target).and_then(|copied| {
        // Durable: the bytes of the copy. Only now may anything be written that names it.
        drop(target.sync_data_at(site)?);
        Ok(copied)
    });
    if copied.is_err() {
        // Best effort: nothing names it, and the error that is returned matters more.
        drop(to.remove(name));
    }
    copied
}

fn copy_bytes(source: &File, target: &File) -> Result<(u64, u32)> {
    let len = source.len()?;
    if len > 0 {
        // A full disk is met here.
        target.allocate(0, len)?;
    }
    let mut hasher = crc32fast::Hasher::new();
    // At least one byte: the end is where nothing is read.
    let size = usize::try_from(len).map_or(CHUNK, |len| len.clamp(1, CHUNK));
    let mut chunk = vec![0; size];
    let mut at = 0;
    loop {
        let read = source.read_at(&mut chunk, at)?;
        let bytes = chunk.get(..read);
        let bytes = bytes.expect("no more is read than there is room for");
        if bytes.is_empty() {
            return Ok((at, hasher.finalize()));
        }
        target.write_all_at(bytes, at)?;
        hasher.update(bytes);
        at += read as u64;
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    fn dirs(disk: &SimDisk) -> Result<[Dir; 3]> {
        let disk = disk.disk();
        let [from, to, previous] = ["/from", "/to", "/previous"].map(|path| disk.create_dir(path));
        Ok([from?, to?, previous?])
    }

    #[test]
    fn a_link_is_the_same_file_and_a_copy_another_with_the_same_bytes() -> Result<()> {
        let disk = SimDisk::new();
        let [from, to, previous] = dirs(&disk)?;
        let bytes: Vec<u8> = (0..3000_u32).map(|nth| nth.to_le_bytes()[0]).collect();
        for name in ["linked", "copied", "shared"] {
            let file = from.create_new(name)?;
            file.write_all_at(&bytes, 0)?;
            drop(file.sync_all()?);
        }
        let mut linking = Backup::new(&BackupOptions::new());
        let taken = take_file(&mut linking, &from, "linked", &to, None)?;
        assert_eq!(taken, Taken::Linked);
        let mut copying = Backup::new(&BackupOptions::new().copied());
        take_file(&mut copying, &from, "shared", &previous, None)?;
        let copied = Taken::Copied {
            bytes: 3000,
            checksum: crc32fast::hash(&bytes),
        };
        assert_eq!(take_file(&mut copying, &from, "copied", &to, None)?, copied);
        let taken = take_file(&mut copying, &from, "shared", &to, Some(&previous))?;
        assert_eq!(taken, Taken::Linked);
        let expected = BackupReport {
            files: 3,
            linked: 0,
            shared: 1,
            copied_bytes: 6000,
        };
        assert_eq!(copying.report(), expected);
        for (name, is_one_file) in [("linked", true), ("copied", false), ("shared", false)] {
            from.open(name)?.write_all_at(b"x", 0)?;
            let mut read = vec![0; 3001];
            assert_eq!(to.open(name)?.read_at(&mut read, 0)?, 3000);
            assert_eq!(read.first() == Some(&b'x'), is_one_file, "{name}");
            assert_eq!(read.get(1..3000), bytes.get(1..), "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_name_that_is_taken_stays_what_it_is() -> Result<()> {
        let disk = SimDisk::new();
        let [from, to, _] = dirs(&disk)?;
        from.create_new("file")?.write_all_at(b"new", 0)?;
        to.create_new("file")?.write_all_at(b"old", 0)?;
        for options in [BackupOptions::new(), BackupOptions::new().copied()] {
            let taken = take_file(&mut Backup::new(&options), &from, "file", &to, None);
            let error = taken.expect_err("the name is taken");
            assert!(error.is_already_exists(), "{error}");
            let mut read = [0; 3];
            to.open("file")?.read_at(&mut read, 0)?;
            assert_eq!(&read, b"old");
        }
        Ok(())
    }

    #[test]
    fn a_directory_with_something_in_it_is_none_for_a_new_store() -> Result<()> {
        let disk = SimDisk::new().disk();
        let path = Path::new("/a/b");
        drop(open_empty_store(&disk, path, "lock")?);
        let again = open_empty_store(&disk, path, "lock")?;
        again.dir().create_new("file")?;
        drop(again);
        let refused = open_empty_store(&disk, path, "lock").err();
        let kind = refused.and_then(|error| match error {
            Error::Io { source, .. } => Some(source.kind()),
            _ => None,
        });
        assert_eq!(kind, Some(io::ErrorKind::DirectoryNotEmpty));
        Ok(())
    }
}
