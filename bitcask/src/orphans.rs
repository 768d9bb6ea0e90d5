//! Files that the manifest does not name: what a crash leaves is removed, but not before all of them have
//! been asked whether it is the manifest that is wrong ([format], section 9).
//!
//! [format]: crate::format

use durable_io::{Dir, File};

use crate::error::{Corruption, Error, Result};
use crate::file_header::{FileHeader, Made};
use crate::manifest::{Bad, Manifest};
use crate::names::{self, Numbered};
use crate::scan::Scan;

/// The files that may go, by name.
///
/// # Errors
/// [`Error::Corrupt`] if one of them cannot have been left by a crash under this manifest.
pub(crate) fn find_orphans(dir: &Dir, manifest: &Manifest) -> Result<Vec<String>> {
    let is_named = |number| manifest.names(number);
    let active = manifest.files.last().map(|file| file.number);
    let mut orphans = Vec::new();
    for entry in dir.list()? {
        let is_orphan = match names::parse(&entry.name) {
            Some(Numbered::Data(number)) if !is_named(number) => {
                check_orphan(dir, manifest, number)?;
                true
            }
            Some(Numbered::Data(_)) => false,
            Some(Numbered::Hint(number)) => !is_named(number) || active == Some(number),
            None => names::is_temp(&entry.name),
        };
        if is_orphan {
            orphans.push(entry.name);
        }
    }
    Ok(orphans)
}

/// Whether a crash under `manifest` may have left data file `number`, which it does not name.
fn check_orphan(dir: &Dir, manifest: &Manifest, number: u64) -> Result<()> {
    let file = match dir.open_read_only(&names::data(number)) {
        // The writer beside whom we read has removed it.
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    let header = match FileHeader::read(&file, number)? {
        Ok(header) => header,
        Err(newer @ Bad::Newer(_)) => return Err(newer.into_error(file.path().to_owned())),
        // A file that was being made: its header is torn.
        Err(Bad::Corrupt { .. }) => return Ok(()),
    };
    if header.store_id != manifest.store_id {
        return Err(Error::corrupt(file.path(), 0, Corruption::ForeignFile));
    }
    if is_newer(file, &header, manifest)? {
        let path = dir.path().join(names::MANIFEST);
        let reason = Corruption::OldManifest { file: number };
        return Err(Error::corrupt(&path, 0, reason));
    }
    Ok(())
}

/// True if `file`, which `manifest` does not name and has this header, says that there was a newer manifest.
pub(crate) fn is_newer(file: File, header: &FileHeader, manifest: &Manifest) -> Result<bool> {
    // It has no group until a manifest names it. A file with a lower number was there when this manifest
    // was written, which did without it.
    let may_be_named = header.made == Made::ToWrite && header.number >= manifest.next_number;
    Ok(header.generation > manifest.generation || may_be_named && holds_group(file, header)?)
}

/// True if there is a group in `file`, which has this header: it was written once a manifest named the file.
/// Anything else behind the header may be what blocks held before, that were never written.
pub(crate) fn holds_group(file: File, header: &FileHeader) -> Result<bool> {
    let len = file.len()?;
    Ok(Scan::open(file, &header.entry(), len).seek()?.is_some())
}
