//! The procedures everyone needs, written once, with every barrier they take.
//!
//! Each is `#[track_caller]`: the simulator sees its barriers at the caller's line, one per step.

use std::panic::Location;

use crate::dir::Dir;
use crate::error::Result;
use crate::file::File;
use crate::site::{Barrier, Site};
use crate::temp::{Temp, publish_at, publish_temp_at};

/// Replaces the whole content of `name` in one atomic, durable step: after a crash at any moment the
/// file holds either the old bytes or the new ones, and the new ones once this has returned.
///
/// Writes a [`Temp`] file and [publishes](crate::publish_temp) it. A crash may leave that file behind, under a name of
/// its own, for the next opening to remove. Of concurrent calls for one name the last one wins.
///
/// The new file has the mode of the one it replaces. A symbolic link is replaced by the file; what it
/// leads to is not touched, but for its mode, which the file takes over. Other names of the old file
/// (hard links) keep the old content.
///
/// # Errors
/// [`Error::NoSpace`](crate::Error::NoSpace) if the disk is full,
/// [`Error::Resource`](crate::Error::Resource): the old content remains.
/// [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned): the old content
/// remains, or the new one, whole in any case. The temporary file is removed as far as the disk lets
/// us.
///
/// # Cost
/// Two syncs: one of the file, one of the directory.
#[track_caller]
pub fn replace_file(dir: &Dir, name: &str, contents: &[u8]) -> Result<()> {
    replace_at(dir, name, Location::caller(), |file| {
        if contents.is_empty() {
            return Ok(());
        }
        // A full disk is met here, before the file counts for anything.
        file.allocate(0, contents.len() as u64)?;
        file.write_all_at(contents, 0)
    })
}

/// Like [`replace_file`], with what `fill` writes to the new, empty file: for a content that is not
/// at hand as one piece, or that has holes.
///
/// # Errors
/// What `fill` returns, and those of [`replace_file`].
#[track_caller]
pub fn replace_file_with(
    dir: &Dir,
    name: &str,
    fill: impl FnOnce(&File) -> Result<()>,
) -> Result<()> {
    replace_at(dir, name, Location::caller(), fill)
}

fn replace_at(
    dir: &Dir,
    name: &str,
    location: &'static Location<'static>,
    fill: impl FnOnce(&File) -> Result<()>,
) -> Result<()> {
    let temp = Temp::create(dir, name)?;
    fill(temp.file())?;
    publish_temp_at(temp, location).map(drop)
}

/// Makes the finished file `temp` durable and visible as `name`, replacing what was there: syncs
/// its bytes, renames it, syncs the directory.
///
/// `file` must be `temp`, opened. [`Temp`] sees to that, and to the temporary name.
///
/// # Errors
/// [`Error::NoSpace`](crate::Error::NoSpace), [`Error::Resource`](crate::Error::Resource): `name` is what
/// it was.
/// [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned): `name` is what it
/// was, or the new file.
#[track_caller]
pub fn publish(dir: &Dir, file: &File, temp: &str, name: &str) -> Result<()> {
    publish_at(dir, file, (temp, name), Location::caller())
}

/// Creates `name`, which must not exist, lets `fill` write it, and makes bytes and name durable.
///
/// A crash before this returns can leave the name with any part of the bytes: something else (a
/// manifest, a mark, a rule of recovery) must say from when on the file counts. Use [`publish`] when
/// the name alone is the proof.
///
/// # Errors
/// What `fill` returns; [`Error::Io`](crate::Error::Io) (see
/// [`is_already_exists`](crate::Error::is_already_exists)),
/// [`Error::NoSpace`](crate::Error::NoSpace), [`Error::Poisoned`](crate::Error::Poisoned). The file
/// is then removed as far as the disk lets us: after a crash it may exist, half-written.
#[track_caller]
pub fn create_durably<E: From<crate::Error>>(
    dir: &Dir,
    name: &str,
    fill: impl FnOnce(&File) -> Result<(), E>,
) -> Result<File, E> {
    let location = Location::caller();
    let file = dir.create_new(name)?;
    let created = fill(&file).and_then(|()| {
        // Durable: the bytes, before anything may rely on the name.
        drop(file.sync_data_at(Site::new(location, Barrier::Data, "contents"))?);
        // Durable: the name. Only now may the caller rely on the file.
        Ok(dir.sync_at(Site::new(location, Barrier::Dir, "name"))?)
    });
    match created {
        Ok(()) => Ok(file),
        Err(error) => {
            // Best effort: the error that is returned matters more, and recovery must know what to
            // do with a half-written file anyway.
            drop(dir.remove(name));
            Err(error)
        }
    }
}

/// Removes `name` so that no crash brings it back.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io), [`Error::Poisoned`](crate::Error::Poisoned): the file may exist
/// or be gone, and a crash may bring it back. "Not found" is an error too, and no proof that the
/// removal is durable: somebody else may have removed it without a sync.
#[track_caller]
pub fn remove_durably(dir: &Dir, name: &str) -> Result<()> {
    let site = Site::new(Location::caller(), Barrier::Dir, "name");
    dir.remove(name)?;
    // Durable: the removal. Only now may the caller forget that the file was ever there.
    dir.sync_at(site)
}
