//! Reading everything, and reporting every damage.

use std::sync::Arc;

use crate::data_file::DataFile;
use crate::error::{Corruption, Error, Result};
use crate::file_header::check_header;
use crate::hint;
use crate::manifest::{FileEntry, Manifest};
use crate::names;
use crate::record::GROUP_HEADER;
use crate::scan::{Scan, Step};
use crate::stats::Verified;
use crate::store::Store;

impl Store {
    pub(crate) fn verify(&self) -> Result<Verified> {
        self.check_open()?;
        // No merge removes what is read.
        let _turn = self.health.lock(&self.merge);
        let (manifest, end) = {
            // No rotation comes in between.
            let writer = self.health.lock(&self.writer);
            (
                self.health.lock(&self.manifest).clone(),
                writer.position().1,
            )
        };
        let mut verified = Verified::default();
        match Manifest::read(self.dir()) {
            // It may have been replaced since.
            Ok(Some(found)) if found.generation >= manifest.generation => {}
            Ok(Some(found)) => {
                let path = self.dir().path().join(names::MANIFEST);
                let newest = manifest.files.iter().map(|file| file.number);
                let file = newest.max().unwrap_or(found.next_number);
                let reason = Corruption::OldManifest { file };
                verified.damage.push(Error::corrupt(&path, 0, reason));
            }
            Ok(None) => {
                let path = self.dir().path().join(names::MANIFEST);
                let lost = Error::corrupt(&path, 0, Corruption::ManifestLost);
                verified.damage.push(lost);
            }
            Err(error) => verified.note(error)?,
        }
        verified.bytes += manifest.encode().len() as u64;
        for (nth, entry) in manifest.files.iter().enumerate() {
            let is_active = nth + 1 == manifest.files.len();
            let end = if is_active { end } else { entry.end };
            let checked = self.verify_file(&manifest, entry, end, &mut verified);
            if let Err(error) = checked {
                verified.note(error)?;
            }
            if !is_active && let Err(error) = self.verify_hint(entry, &mut verified) {
                verified.note(error)?;
            }
        }
        Ok(verified)
    }

    /// Checks the groups of a file up to `end`.
    fn verify_file(
        &self,
        manifest: &Manifest,
        entry: &FileEntry,
        end: u64,
        verified: &mut Verified,
    ) -> Result<()> {
        verified.data_files += 1;
        let name = names::data(entry.number);
        let file = match self.dir().open_read_only(&name) {
            Err(error) if error.is_not_found() => {
                let path = self.dir().path().join(name);
                return Err(Error::corrupt(&path, 0, Corruption::MissingFile));
            }
            other => other?,
        };
        if let Err(error) = check_header(&file, entry, manifest.store_id) {
            verified.note(error)?;
        }
        let len = file.len()?;
        if len < end {
            let short = Error::corrupt(file.path(), len, Corruption::Length);
            verified.damage.push(short);
        }
        let end = end.min(len);
        verified.bytes += end;
        let mut scan = Scan::open(file, entry, end).read_around();
        let mut is_whole = true;
        while scan.offset < end {
            let at = scan.offset;
            match scan.step(|_, _| {})? {
                Step::Group(header) => {
                    let padding = at + GROUP_HEADER + u64::from(header.bytes)..scan.offset;
                    if let Some(at) = scan.first_nonzero(padding)? {
                        verified.damage.push(scan.corrupt(at, Corruption::NotZero));
                    }
                    verified.groups += 1;
                    verified.records += u64::from(header.count);
                }
                Step::End | Step::Bad { .. } if !is_whole && scan.seek()?.is_none() => break,
                Step::End => {
                    is_whole = false;
                    verified
                        .damage
                        .push(scan.corrupt(scan.offset, Corruption::Length));
                    scan.skip();
                    scan.seek()?;
                }
                Step::Bad { offset, reason } => {
                    is_whole = false;
                    let damage = scan.corrupt(offset, reason);
                    let files = self.files();
                    let file = files.in_order().find(|file| file.number == entry.number);
                    let name = |file: &Arc<DataFile>| self.name_key(damage.clone(), file, offset);
                    verified
                        .damage
                        .push(file.map_or_else(|| damage.clone(), name));
                    scan.skip();
                    scan.seek()?;
                }
            }
        }
        verified.damage.append(&mut scan.unread());
        if is_whole && entry.digest != 0 && scan.digest != entry.digest {
            let reason = Corruption::Digest;
            verified
                .damage
                .push(scan.corrupt(crate::record::FIRST_GROUP, reason));
        }
        Ok(())
    }

    fn verify_hint(&self, entry: &FileEntry, verified: &mut Verified) -> Result<()> {
        let file = match self.dir().open_read_only(&names::hint(entry.number)) {
            Err(error) if error.is_not_found() => return Ok(()),
            other => other?,
        };
        let map = file.map(0..file.len()?)?;
        verified.hints += 1;
        verified.bytes += map.len() as u64;
        if !hint::is_valid(&map, entry) {
            return Err(Error::corrupt(file.path(), 0, Corruption::Hint));
        }
        Ok(())
    }
}

impl Verified {
    /// Notes what is damaged, or cannot be read, in one place; passes on what stands in the way of all.
    fn note(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Disk(durable_io::Error::Resource { .. }) => Err(error),
            Error::Corrupt { .. } | Error::UnsupportedVersion { .. } | Error::Disk(_) => {
                self.damage.push(error);
                Ok(())
            }
            other => Err(other),
        }
    }
}
