//! The manifest: which keyspaces and tables are the store, as a log of edits ([format], section 4).
//!
//! - M1: an edit names only tables whose bytes and names are durable.
//! - M2: an edit names or implies only records of the log that a returned sync covers.
//! - M3: only when an edit is durable may the log be retired, or a table be removed, on its word.
//!
//! [format]: crate::format

use std::path::{Path, PathBuf};

use durable_io::{Background, SyncMode, made_durable};
use wal::{Lsn, Opening, Wal};

use crate::error::{Corruption, Error, Result};
use crate::names::manifest_path;
use crate::names::mark;
use crate::options::Options;

mod edit;
mod root;

pub(crate) use edit::{Change, Part, TableEntry};
pub(crate) use root::{KeyspaceEntry, Root};

/// The segment size of a manifest that is created without another one.
const SEGMENT_SIZE: u64 = 256 << 10;

/// The log of edits, and what they make together.
#[derive(Debug)]
pub(crate) struct Manifest {
    log: Wal,
    root: Root,
    /// The largest record.
    part_size: usize,
    /// Bytes of edits since the last snapshot, and bytes of that.
    edits: usize,
    snapshot: usize,
    /// A snapshot is due after so many bytes of edits, or as many as it had itself.
    snapshot_after: usize,
}

/// What there is of a manifest.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) edits: Opening,
    /// What the edits make; `None` if there is none.
    pub(crate) root: Option<Root>,
    /// How many of several parts were cut short.
    pub(crate) cut_edits: u64,
}

impl Manifest {
    /// Looks at the manifest in the directory `path`, and changes nothing.
    pub(crate) fn look(options: &Options, path: &Path) -> Result<Looked> {
        let edits = log_options(options).look(path)?;
        let fold = fold(&edits, path)?;
        Ok(Looked {
            cut_edits: fold.cut_edits(),
            root: fold.end()?,
            edits,
        })
    }

    /// Makes the manifest of a copy of a store, in the directory of the copy: its first edit makes `root`, and
    /// comes after `generation`, the last one of that store.
    pub(crate) fn copy(options: &Options, store: &Path, root: Root, generation: Lsn) -> Result<()> {
        let edits = log_options(options).first_lsn(generation.next());
        let mut manifest = Self::new(edits.open(manifest_path(store))?, root);
        // Durable: the first edit. Only now is there a store.
        manifest.create()?;
        manifest.close()
    }

    /// The manifest of an open store, whose edits make `root`.
    pub(crate) fn new(log: Wal, root: Root) -> Self {
        // A store keeps the size that it was created with, whatever it is opened with.
        let segment_size = log.segment_size();
        let bytes = |size: u64| usize::try_from(size).expect("a segment has less than 4 GiB");
        Self {
            log,
            root,
            part_size: bytes(wal::max_record_size(segment_size)),
            // The next edit comes behind a snapshot: what was read of the old ones ends there.
            edits: usize::MAX,
            snapshot: 0,
            snapshot_after: bytes(segment_size / 2),
        }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// The last edit: all of them are durable.
    pub(crate) fn generation(&self) -> Lsn {
        self.log.bounds().end.previous()
    }

    pub(crate) fn log(&self) -> &Wal {
        &self.log
    }

    /// Makes `changes` one edit: all of them count, or none.
    ///
    /// # Errors
    /// A full disk: nothing was changed. Any other: the manifest is poisoned.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<()> {
        if self.edits >= self.snapshot_after.max(self.snapshot) {
            match self.write_snapshot() {
                // It only makes the manifest shorter.
                Err(error) if error.is_no_space() => {}
                other => other?,
            }
        }
        // Durable: the edit. Only now may anything be done on its word.
        let (_, bytes) = self.write(changes, false)?;
        self.edits = self.edits.saturating_add(bytes);
        for change in changes {
            self.root
                .apply(change)
                .expect("an edit changes what is there");
        }
        Ok(())
    }

    /// Writes what all edits make, and gives the edits up.
    fn write_snapshot(&mut self) -> Result<()> {
        let (first, bytes) = self.write(&self.root.changes(), true)?;
        self.snapshot = bytes;
        self.edits = 0;
        // Durable: that the manifest begins at the snapshot, which is durable with all of its parts. Only
        // now may segments before it go.
        made_durable(|| self.log.truncate_before(first))?;
        // So that the next segment is there when the disk is full.
        while self.log.run_background()? {}
        Ok(())
    }

    /// Appends `changes` in as many records as they need; the first of them, and their size.
    fn write(&self, changes: &[Change], is_snapshot: bool) -> Result<(Lsn, usize)> {
        let parts = Part::split(changes, is_snapshot, self.part_size);
        let mut first = None;
        let mut bytes = 0;
        for part in &parts {
            // Durable: this part. The last one makes all of them count.
            let lsn = made_durable(|| self.log.append(part))?.lsn();
            first.get_or_insert(lsn);
            bytes += part.len();
        }
        Ok((first.expect("there is at least one part"), bytes))
    }

    /// Makes a new manifest of `root`.
    pub(crate) fn create(&mut self) -> Result<()> {
        self.write_snapshot()
    }

    /// States that all edits are durable, so that any later loss will be noticed.
    pub(crate) fn close(&self) -> Result<()> {
        // Redundant: every edit was durable when it was made. Only damage needs the statement: without it
        // the loss of the last edit is taken for a crash.
        Ok(made_durable(|| self.log.close())?)
    }
}

/// How the log of the edits is opened, or created.
fn log_options(options: &Options) -> wal::Options {
    let log = wal::Options::new()
        .sync(SyncMode::Always)
        .background(Background::Inline)
        .disk(options.disk.clone())
        .new_segment_size(SEGMENT_SIZE);
    match options.manifest_segment_size {
        Some(size) => log.segment_size(size),
        None => log,
    }
}

/// The edits in `log`, which is in the directory `path`.
fn fold(log: &Opening, path: &Path) -> Result<Fold> {
    let mut fold = Fold::new(path.to_owned());
    let mut records = log.records(log.bounds().start);
    while let Some((location, payload)) = records.read()? {
        fold.add(location.lsn(), payload)?;
    }
    Ok(fold)
}

/// The edits, read one after the other.
#[derive(Debug)]
pub(crate) struct Fold {
    path: PathBuf,
    root: Option<Root>,
    /// The parts of an edit that is not whole yet, and whether it is a snapshot.
    pending: Option<(Vec<Change>, bool)>,
    /// How many edits were cut short before others came.
    cut: u64,
    seen: bool,
}

impl Fold {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            root: None,
            pending: None,
            cut: 0,
            seen: false,
        }
    }

    pub(crate) fn add(&mut self, lsn: Lsn, payload: &[u8]) -> Result<()> {
        let corrupt = || Error::corrupt(&mark(&self.path), Corruption::Edit { lsn });
        self.seen = true;
        let part = Part::decode(payload).ok_or_else(corrupt)?;
        if part.needs_zstd() && !cfg!(feature = "zstd") {
            return Err(Error::UnsupportedCompression {
                path: self.path.clone(),
                name: "zstd",
            });
        }
        let (mut changes, is_snapshot) = if part.continues {
            self.pending.take().ok_or_else(corrupt)?
        } else {
            // What was pending was cut short by a crash or a full disk, and never counted.
            self.cut += u64::from(self.pending.take().is_some());
            (Vec::new(), part.is_snapshot)
        };
        changes.extend(part.changes);
        if part.has_more {
            self.pending = Some((changes, is_snapshot));
            return Ok(());
        }
        let mut root = if is_snapshot {
            Root::default()
        } else {
            self.root.take().ok_or_else(corrupt)?
        };
        for change in &changes {
            root.apply(change).ok_or_else(corrupt)?;
        }
        self.root = Some(root);
        Ok(())
    }

    /// How many edits were cut short.
    fn cut_edits(&self) -> u64 {
        self.cut + u64::from(self.pending.is_some())
    }

    /// What all of them make.
    pub(crate) fn end(self) -> Result<Option<Root>> {
        if self.seen && self.root.is_none() {
            return Err(Error::corrupt(&mark(&self.path), Corruption::ManifestLost));
        }
        Ok(self.root)
    }
}
