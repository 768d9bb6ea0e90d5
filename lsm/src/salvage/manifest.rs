//! What is left of the manifest.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use durable_io::Disk;
use wal::Lsn;

use crate::error::{Corruption, Error, Result};
use crate::manifest::{Change, Fold, Part, Root};
use crate::names::mark;
use crate::options::KeyspaceOptions;
use crate::salvaged_keyspace::SalvagedKeyspace;

/// What the edits that can be read make.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// What all of them make, or those before the first that is missing.
    pub(super) root: Option<Root>,
    /// No edit is missing behind the last snapshot: `root` is the store.
    pub(super) is_whole: bool,
    /// The last edit.
    pub(super) generation: Lsn,
    /// Of every keyspace that an edit creates, whatever became of it.
    names: BTreeMap<u32, Arc<str>>,
    /// What the tables of each are like.
    pub(super) options: BTreeMap<u32, KeyspaceOptions>,
}

impl Edits {
    pub(super) fn keyspace(&self, id: u32) -> SalvagedKeyspace {
        SalvagedKeyspace {
            id,
            name: self.names.get(&id).cloned(),
        }
    }

    /// The root, if it is the store.
    pub(super) fn whole(&self) -> Option<&Root> {
        self.root.as_ref().filter(|_| self.is_whole)
    }
}

/// Reads the manifest in the directory `path`.
///
/// # Errors
/// It is locked.
pub(super) fn read(disk: &Disk, path: &Path, told: &mut VecDeque<Error>) -> Result<Edits> {
    let mut edits = Edits::default();
    let records = match wal::Options::new().disk(disk.clone()).salvage(path) {
        Ok(records) => records,
        Err(error) => {
            told.push_back(lost(error, path, Corruption::ManifestLost)?);
            return Ok(edits);
        }
    };
    let has_superblock = records.has_superblock();
    // `None` while edits are missing that no snapshot makes up for yet.
    let mut fold = Some(Fold::new(path.to_owned()));
    for record in records {
        match record {
            Ok(record) => {
                edits.generation = record.lsn;
                let part = Part::decode(&record.payload);
                edits.note_names(part.as_ref());
                if part.is_some_and(|part| part.is_snapshot) {
                    fold.get_or_insert_with(|| Fold::new(path.to_owned()));
                }
                if let Some(Err(error)) = fold
                    .as_mut()
                    .map(|fold| fold.add(record.lsn, &record.payload))
                {
                    told.push_back(error);
                    fold = None;
                }
            }
            Err(wal::Error::Disk(error)) => told.push_back(error.into()),
            Err(error) => {
                told.push_back(error.into());
                edits.keep(fold.take());
            }
        }
    }
    edits.is_whole = has_superblock && fold.is_some();
    edits.keep(fold.take());
    edits.is_whole &= edits.root.is_some();
    if !edits.is_whole && told.is_empty() {
        let error = Error::corrupt(&mark(path), Corruption::ManifestLost);
        told.push_back(error);
    }
    Ok(edits)
}

impl Edits {
    fn note_names(&mut self, part: Option<&Part>) {
        for change in part.iter().flat_map(|part| &part.changes) {
            if let Change::Create { id, name, .. } = change {
                self.names.insert(*id, name.as_str().into());
            }
            if let Change::Create { id, options, .. } | Change::Options { id, options } = change {
                self.options.insert(*id, options.clone());
            }
        }
    }

    /// Keeps what `fold` has made so far, if it has made something.
    fn keep(&mut self, fold: Option<Fold>) {
        let made = fold.map(Fold::end);
        if let Some(Ok(Some(root))) = made {
            self.root = Some(root);
        } else {
            self.is_whole = false;
        }
    }
}

/// What `error`, which reading the log in `path` ended with, is as an item; the error itself if that is locked.
pub(super) fn lost(error: wal::Error, path: &Path, reason: Corruption) -> Result<Error> {
    match error {
        wal::Error::Disk(error) if error.is_locked() => Err(error.into()),
        wal::Error::Disk(error) if error.is_not_found() => Ok(Error::corrupt(&mark(path), reason)),
        wal::Error::Corrupt {
            reason: wal::Corruption::SuperblockLost,
            ..
        } => Ok(Error::corrupt(&mark(path), reason)),
        error => Ok(error.into()),
    }
}
