//! Opening a store: what is whole, what is torn, what is damaged ([format], section 9).
//!
//! Reading comes first and decides; nothing is changed before the verdict.
//!
//! [format]: crate::format

use std::ops::Range;
use std::sync::Arc;

use durable_io::{Dir, Disk, File};

use crate::data_file::DataFile;
use crate::error::{Corruption, Error, Result};
use crate::file_header::{self, FileHeader, Made, open_named};
use crate::keydir::{Files, Hasher, Keydir};
use crate::load::{Loader, Own, Request};
use crate::manifest::{Bad, FileEntry, Manifest};
use crate::names::{self, Numbered};
use crate::orphans::{find_orphans, holds_group};
use crate::record::FIRST_GROUP;
use crate::scan::{Indexed, Scan, Step};
use crate::stats::Recovery;
use crate::writer::Writer;

/// A store, recovered and durable, ready to be written to.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) manifest: Manifest,
    pub(crate) files: Arc<Files>,
    pub(crate) keydir: Keydir,
    pub(crate) writer: Writer,
    /// Sealed files without a valid hint, by number.
    pub(crate) hintless: Vec<u64>,
    pub(crate) recovery: Recovery,
}

/// Creates or recovers the store in `dir`, which is locked unless the request is read-only.
pub(crate) fn recover(disk: &Disk, dir: &Dir, request: &Request) -> Result<Recovered> {
    let mut found = Manifest::read(dir)?;
    let created = found.is_none();
    if created && !request.is_read_only {
        create(disk, dir, request.window)?;
        found = Manifest::read(dir)?;
    }
    let manifest = found.ok_or_else(|| manifest_lost(dir))?;
    // All witnesses are asked before anything is changed.
    let orphans = find_orphans(dir, &manifest)?;
    let hasher = Hasher::new(manifest.hash_seed, manifest.store_id);
    let keydir = Keydir::new(hasher, request.memory_limit);
    let (files, active_file) = open_files(dir, &manifest, request)?;
    keydir.set_files(&files);
    let mut loader = Loader::new(dir, &manifest, &files, &keydir, request);
    loader.load_sealed()?;
    let (Some(entry), Some(active)) = (manifest.files.last(), files.in_order().next_back()) else {
        return Err(manifest_lost(dir));
    };
    let mut judged = judge(&loader, &active_file, entry, active)?;
    let mut recovery = Recovery {
        created,
        torn_bytes: judged.torn_bytes,
        data_files: manifest.files.len() as u64,
        hinted_files: loader.hinted,
        records: loader.records + judged.records,
        keys: keydir.keys(),
        removed_files: 0,
        closed: entry.end == judged.cut,
    };
    if !request.is_read_only {
        if !created {
            // Durable: the names as they were read. Only now may what the manifest does not name go:
            // a killed process may have left the manifest in the page cache only.
            dir.sync()?;
        }
        // No directory sync here: what comes back after a crash is removed by the next open.
        for orphan in &orphans {
            dir.remove(orphan)?;
            recovery.removed_files += 1;
        }
        judged.clean(&active_file, entry)?;
    }
    active.settle(judged.cut);
    let zeroed = judged.len.max(judged.cut);
    let writer = Writer::new(active_file, Arc::clone(active), zeroed, judged.digest);
    let hintless = std::mem::take(&mut loader.hintless);
    drop(loader);
    Ok(Recovered {
        manifest,
        files,
        keydir,
        writer,
        hintless,
        recovery,
    })
}

/// Makes a new store: there is no manifest, so either there never was one or its creation was cut
/// short.
fn create(disk: &Disk, dir: &Dir, window: u64) -> Result<()> {
    let mut first = None;
    for entry in dir.list()? {
        match names::parse(&entry.name) {
            None => {}
            Some(Numbered::Data(1)) if !is_written(dir)? => first = Some(entry.name),
            // The manifest is created before the first write, the second file and the first hint, so it was
            // there.
            Some(_) => return Err(manifest_lost(dir)),
        }
    }
    if let Some(name) = first {
        dir.remove(&name)?;
    }
    let (store_id, hash_seed) = (disk.unique_id()?, disk.unique_id()?);
    let header = FileHeader {
        store_id,
        number: 1,
        id: disk.unique_id()?,
        generation: 0,
        made: Made::ToWrite,
    };
    file_header::create(dir, &header, window)?;
    let manifest = Manifest {
        store_id,
        hash_seed,
        next_number: 2,
        generation: 1,
        files: vec![header.entry()],
    };
    // Only now does the store exist, and a group without a manifest is a loss of the manifest.
    Ok(manifest.write(dir)?)
}

/// True if there is a group in data file 1.
fn is_written(dir: &Dir) -> Result<bool> {
    let file = dir.open_read_only(&names::data(1))?;
    match FileHeader::read(&file, 1)? {
        Ok(header) => holds_group(file, &header),
        Err(newer @ Bad::Newer(_)) => Err(newer.into_error(file.path().to_owned())),
        Err(Bad::Corrupt { .. }) => Ok(false),
    }
}

/// There is no manifest in `dir`, and there was one.
pub(crate) fn manifest_lost(dir: &Dir) -> Error {
    let path = dir.path().join(names::MANIFEST);
    Error::corrupt(&path, 0, Corruption::ManifestLost)
}

/// Opens every file that the manifest names.
fn open_files(dir: &Dir, manifest: &Manifest, request: &Request) -> Result<(Arc<Files>, File)> {
    let mut files = Files::default();
    let mut active_file = None;
    for (nth, entry) in manifest.files.iter().enumerate() {
        let is_active = nth + 1 == manifest.files.len();
        let is_written = is_active && !request.is_read_only;
        let file = open_named(dir, entry, manifest.store_id, is_written)?;
        let slot = files.free_slot();
        let data_file = if is_active {
            let len = file.len()?;
            active_file = Some(file.clone());
            let size = request.data_file_size.max(len);
            DataFile::active(file, entry, slot, len, size)
        } else {
            DataFile::sealed(file, entry, slot, Arc::default())
        };
        files.set(data_file);
        files.order.push(slot);
    }
    let active = active_file.ok_or_else(|| manifest_lost(dir))?;
    Ok((Arc::new(files), active))
}

/// What stands in the active file.
#[derive(Debug)]
struct Judged {
    scan: Scan,
    /// Where the next group goes.
    cut: u64,
    len: u64,
    digest: u32,
    /// Groups below this offset are proven durable.
    witness: u64,
    torn_bytes: u64,
    records: u64,
}

/// A record, and its key in a buffer.
type Keyed = (Indexed, Range<usize>);

/// Reads the active file into the index, and decides whether it is torn or damaged.
fn judge(
    loader: &Loader<'_>,
    file: &File,
    entry: &FileEntry,
    active: &Arc<DataFile>,
) -> Result<Judged> {
    let len = file.len()?;
    let mut scan = Scan::open(file.clone(), entry, len);
    let mut records = 0;
    let mut keys = Vec::new();
    let mut found: Vec<Keyed> = Vec::new();
    loop {
        keys.clear();
        found.clear();
        let step = scan.step(|offset, record| {
            let start = keys.len();
            keys.extend_from_slice(record.key);
            let hash = loader.hasher().hash(record.key);
            let kind = record.kind;
            found.push((Indexed { hash, offset, kind }, start..keys.len()));
        })?;
        if let Step::Group(_) = step {
            for (indexed, key) in found.drain(..) {
                let key = keys
                    .get(key)
                    .expect("a key is in the buffer that it was put in");
                loader.load(active, indexed, &Own::Known(key))?;
                records += 1;
            }
            continue;
        }
        let (cut, digest) = (scan.offset, scan.digest);
        let mut witness = scan.witness.max(entry.end);
        // From the cut itself on: a group whose records are damaged has a header that speaks.
        while let Some(header) = scan.seek()? {
            witness = witness.max(header.durable);
            scan.skip();
        }
        scan.offset = cut;
        if witness > cut {
            // Only beside a writer, whose group was not whole yet when it was read before.
            scan.forget();
            let again = Scan::open(file.clone(), entry, len);
            if is_whole_now(again, cut)? {
                continue;
            }
            let reason = Corruption::LostGroups { durable: witness };
            return Err(scan.corrupt(cut, reason));
        }
        let torn_bytes = scan.nonzero_end()?.map_or(0, |end| end - cut);
        return Ok(Judged {
            scan,
            cut,
            len,
            digest,
            witness,
            torn_bytes,
            records,
        });
    }
}

fn is_whole_now(mut scan: Scan, at: u64) -> Result<bool> {
    scan.offset = at;
    Ok(matches!(scan.step(|_, _| {})?, Step::Group(_)))
}

impl Judged {
    /// Makes what was read durable, and what is behind it zeros.
    fn clean(&mut self, file: &File, entry: &FileEntry) -> Result<()> {
        // Written again and not just synced, since a sync that failed in an earlier process may have
        // left pages that show what the disk does not have and that no later sync writes. The same
        // goes for zeros.
        let proven = self.witness.max(entry.end).max(FIRST_GROUP);
        self.scan.write_again(file, proven..self.cut)?;
        // A file that was cut short behind its last record ends before the cut.
        let (from, end) = (self.cut.min(self.len), self.cut.max(self.len));
        file.write_zeros(from, end - from)?;
        // Durable: the groups that were read, and the zeros behind them. Only now may they be answered
        // from and stated in later headers, and a group be written: a torn one must not come back
        // behind it.
        drop(file.sync_data()?);
        Ok(())
    }
}
