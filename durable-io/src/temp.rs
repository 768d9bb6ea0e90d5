//! [`Temp`]: a new file that gets its name when it is whole.

use std::io;
use std::panic::Location;

use crate::dir::Dir;
use crate::error::{Error, Op, Result};
use crate::file::File;
use crate::process::Process;
use crate::site::{Barrier, Site};

/// Begins the name of every temporary file, and follows its number.
const DELIMITER: char = '~';
const DIGITS: usize = 16;

/// A file on its way to a name: it is written under a temporary one, and then [published](publish_temp),
/// or dropped and gone.
///
/// ```
/// use durable_io::{Disk, Temp, publish_temp};
///
/// # let temp = tempfile::tempdir().unwrap();
/// let dir = Disk::os().open_dir(temp.path())?;
/// let table = Temp::create(&dir, "table")?;
/// table.file().write_all_at(b"sorted", 0)?;
/// publish_temp(table)?; // Only now is there a "table": whole, and durable.
/// assert_eq!(dir.open("table")?.len()?, 6);
/// # Ok::<(), durable_io::Error>(())
/// ```
///
/// The temporary name is nobody else's: it holds 64 random bits, and the file is created exclusively, so
/// that several writers of one name do not meet, and no planted file or link is written to. It has a form
/// that no other file may have ([`Dir`] gives it to none), so that whatever is found under such a name
/// is what a crash has left, or what somebody is writing just now: whoever has the directory's lock,
/// and writes nothing himself, knows that it is the former, and may remove it.
/// [`target_of`](Temp::target_of) says what it was to become.
///
/// The file has the mode of the file that it is to replace: of a symbolic link, that of what it leads to.
/// A new one has the mode that the [`Disk`](crate::Disk) gives new files. The owner is whoever writes
/// it; access lists and other attributes of the old file are not taken over.
#[derive(Debug)]
pub struct Temp {
    dir: Dir,
    file: File,
    /// Its name now, and that to come.
    own_name: String,
    name: String,
    is_published: bool,
    owner: Process,
}

impl Temp {
    /// Creates the empty file that is to be called `name` in `dir`, under a temporary name.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Resource`], [`Error::Poisoned`], [`Error::Io`]: nothing is left, as
    /// far as the disk lets us. A `name` of more than 237 bytes is [`Error::Io`].
    pub fn create(dir: &Dir, name: &str) -> Result<Self> {
        let owner = Process::current()?;
        let kept = dir.mode_of(name)?;
        let mut attempt = 0;
        let (own_name, file) = loop {
            let own_name = format!(
                "{DELIMITER}{:0DIGITS$x}{DELIMITER}{name}",
                dir.number(attempt)?
            );
            match dir.create_with(Op::Create, &own_name, kept) {
                Ok(file) => break (own_name, file),
                Err(error) if error.is_already_exists() => attempt += 1,
                Err(error) => {
                    // Best effort: it may have been created although the call says that it was not, and
                    // nobody else has this name.
                    drop(dir.remove(&own_name));
                    return Err(error);
                }
            }
        };
        let new = Self {
            dir: dir.clone(),
            file,
            own_name,
            name: name.to_owned(),
            is_published: false,
            owner,
        };
        if let Some(mode) = kept {
            // Creating takes the process' umask off.
            new.file.set_mode(mode)?;
        }
        Ok(new)
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What the file called `name` was to become, if that is a temporary name.
    pub fn target_of(name: &str) -> Option<&str> {
        let (number, target) = name.strip_prefix(DELIMITER)?.split_once(DELIMITER)?;
        let is_lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (number.len() == DIGITS && number.bytes().all(is_lower_hex)).then_some(target)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // The copy of a forked child has nothing to remove: its parent is still writing.
        if !self.is_published && self.owner.is_current() {
            // Best effort: what is left is removed by whoever opens the store next.
            drop(self.dir.remove(&self.own_name));
        }
    }
}

/// Makes the finished file durable and visible under its name, replacing what is there: syncs its bytes,
/// renames it, syncs the directory. If a symbolic link has the name, the link is replaced; what it leads to
/// stays as it is.
///
/// # Durability
/// When this returns, content and name survive power loss. After a crash before that, the name is what it
/// was, or the whole file.
///
/// # Errors
/// [`Error::NoSpace`], [`Error::Resource`]: the name is what it was. [`Error::Io`], [`Error::Poisoned`]: it is
/// what it was, or the new file. The temporary file is removed, as far as the disk lets us.
///
/// # Cost
/// Two syncs: one of the file, one of the directory.
#[track_caller]
pub fn publish_temp(temp: Temp) -> Result<File> {
    publish_temp_at(temp, Location::caller())
}

pub(crate) fn publish_temp_at(
    mut temp: Temp,
    location: &'static Location<'static>,
) -> Result<File> {
    publish_at(
        &temp.dir,
        &temp.file,
        (&temp.own_name, &temp.name),
        location,
    )?;
    temp.is_published = true;
    Ok(temp.file.clone())
}

/// Syncs `file`, called `from`, renames it to `to`, and syncs the directory.
pub(crate) fn publish_at(
    dir: &Dir,
    file: &File,
    (from, to): (&str, &str),
    location: &'static Location<'static>,
) -> Result<()> {
    // Durable: the bytes. Only now may a name that readers trust point at them.
    drop(file.sync_data_at(Site::new(location, Barrier::Data, "contents"))?);
    dir.rename(from, to)?;
    // Durable: the name. Only now may the caller rely on the new content.
    dir.sync_at(Site::new(location, Barrier::Dir, "name"))
}

/// The error of giving a temporary name to what is none.
pub(crate) fn check_no_temp(op: Op, path: &std::path::Path, name: &str) -> Result<()> {
    if Temp::target_of(name).is_none() {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "this is a temporary name");
    Err(Error::io(op, path, None, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_distinguished_from_every_other() {
        for target in ["a", "a.tmp", "~a~", ""] {
            let name = format!("~00c0ffee00c0ffee~{target}");
            assert_eq!(Temp::target_of(&name), Some(target));
        }
        for other in [
            "",
            "~",
            "~~a",
            "a",
            "a.tmp",
            "~a",
            "00c0ffee00c0ffee~a",
            "~00c0ffee00c0ffee",
            "~00C0FFEE00C0FFEE~a",
            "~0c0ffee00c0ffee~a",
            "~+0c0ffee00c0ffee~a",
            "x~00c0ffee00c0ffee~a",
        ] {
            assert_eq!(Temp::target_of(other), None, "{other}");
        }
    }
}
