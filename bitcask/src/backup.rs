//! Backups: the store as it is at one moment, in a directory of its own.
//!
//! Sealed data files, which are written once, get one more name there or are copied, and so do their hints;
//! an active file without a record, and the manifest, are made anew. The order on the disk: the bytes of the
//! data files, their names, and only then the manifest, without which the directory is no store.

use std::path::Path;

use durable_io::Dir;
use durable_io::engine::{Backup, BackupOptions, BackupReport, Taken, open_empty_store, take_file};

use crate::error::{Corruption, Result};
use crate::file_header::{FileHeader, Made, create, open_named};
use crate::manifest::{FileEntry, Manifest};
use crate::names;
use crate::record::FIRST_GROUP;
use crate::scan::{Scan, Step};
use crate::store::Store;

impl Store {
    /// Makes a backup in the directory `path`.
    pub(crate) fn backup(&self, path: &Path, options: &BackupOptions) -> Result<BackupReport> {
        self.check_healthy()?;
        let previous = options.previous().map(|path| self.previous(path));
        let previous = previous.transpose()?;
        // Durable: the directory's own name. Only now may anything in it be relied on.
        let target = open_empty_store(&self.disk, path, names::LOCK)?;
        // Held across I/O: no merge removes a data file whose name is needed.
        let _merging = self.health.lock(&self.merge);
        self.rotate()?;
        let mut manifest = self.health.lock(&self.manifest).clone();
        manifest.files.pop();
        let mut backup = Backup::new(options);
        for entry in &manifest.files {
            let previous = previous.as_ref().and_then(|previous| previous.find(entry));
            self.put_file(entry, target.dir(), previous, &mut backup)?;
        }
        let header = FileHeader {
            store_id: manifest.store_id,
            number: manifest.next_number,
            id: self.unique_id()?,
            generation: manifest.generation,
            made: Made::ToWrite,
        };
        // Durable: the active file, and with it all names. Only now may the manifest name them.
        create(target.dir(), &header, self.settings.window)?;
        manifest.next_number += 1;
        manifest.generation += 1;
        manifest.files.push(header.entry());
        // Durable: the manifest. Only now is there a store.
        manifest.write(target.dir())?;
        Ok(backup.report())
    }

    /// Puts a sealed data file and its hint into the directory of the backup.
    fn put_file(
        &self,
        entry: &FileEntry,
        target: &Dir,
        previous: Option<&Dir>,
        backup: &mut Backup,
    ) -> Result<()> {
        let name = names::data(entry.number);
        // Durable: the bytes, if it is copied. Only now may the manifest name it.
        let taken = take_file(backup, self.dir(), &name, target, previous)?;
        if let Taken::Copied { .. } = taken {
            check_sealed(self.dir(), entry, self.settings.store_id)?;
        }
        // Redundant: the bytes of a copied hint; one that is torn is made anew, as any that is missing.
        match take_file(
            backup,
            self.dir(),
            &names::hint(entry.number),
            target,
            previous,
        ) {
            // It is not written yet.
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop).map_err(Into::into),
        }
    }

    /// The files of the backup in `path`.
    fn previous(&self, path: &Path) -> Result<Previous> {
        let dir = self.disk.open_dir(path)?;
        let manifest = Manifest::read(&dir)?;
        let lost = || crate::recover::manifest_lost(&dir);
        let mut files = manifest.ok_or_else(lost)?.files;
        // The last one may be written to.
        files.pop();
        let store_id = self.settings.store_id;
        Ok(Previous {
            files,
            dir,
            store_id,
        })
    }
}

/// An earlier backup.
struct Previous {
    files: Vec<FileEntry>,
    dir: Dir,
    store_id: u64,
}

impl Previous {
    /// Where it has the very file `entry`: by what is in it, not by its name.
    fn find(&self, entry: &FileEntry) -> Option<&Dir> {
        let is_there = open_named(&self.dir, entry, self.store_id, false).is_ok();
        (self.files.contains(entry) && is_there).then_some(&self.dir)
    }
}

/// Whether the groups of the sealed file `entry` are those that were written.
fn check_sealed(dir: &Dir, entry: &FileEntry, store_id: u64) -> Result<()> {
    let file = open_named(dir, entry, store_id, false)?;
    let mut scan = Scan::open(file, entry, entry.end);
    while scan.offset < entry.end {
        match scan.step(|_, _| {})? {
            Step::Group(_) => {}
            Step::End => return Err(scan.corrupt(scan.offset, Corruption::Length)),
            Step::Bad { offset, reason } => return Err(scan.corrupt(offset, reason)),
        }
    }
    if entry.digest != 0 && scan.digest != entry.digest {
        return Err(scan.corrupt(FIRST_GROUP, Corruption::Digest));
    }
    Ok(())
}
