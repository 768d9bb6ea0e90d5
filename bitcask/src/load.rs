//! Filling the index: file by file, oldest first, from hints where they are valid.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use durable_io::Dir;
use durable_io::engine;

use crate::data_file::DataFile;
use crate::error::{Error, Result};
use crate::hint::Hint;
use crate::keydir::{Files, Hasher, Keydir, Old, Spot, shard_of};
use crate::manifest::{FileEntry, Manifest};
use crate::record::{Kind, RECORD_HEADER_SIZE};
use crate::scan::Indexed;
use crate::stats::Progress;
use crate::store::add;

/// A thread that panics takes the opening with it.
const POISONED: &str = "no thread that loads has panicked";

/// The key of the record that is loaded.
#[derive(Debug)]
pub(crate) enum Own<'a> {
    Known(&'a [u8]),
    /// It is read, if it is needed.
    OnDisk,
}

/// What opening is asked to do.
#[derive(Debug)]
pub(crate) struct Request {
    /// Nothing is to be changed.
    pub(crate) is_read_only: bool,
    pub(crate) window: u64,
    pub(crate) data_file_size: u64,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) threads: usize,
    pub(crate) progress: engine::Progress<Progress>,
}

/// Fills the index of a store that is being opened.
#[derive(Debug)]
pub(crate) struct Loader<'a> {
    dir: &'a Dir,
    manifest: &'a Manifest,
    files: &'a Files,
    keydir: &'a Keydir,
    request: &'a Request,
    pub(crate) records: u64,
    /// How many sealed files had a valid hint, and which had none.
    pub(crate) hinted: u64,
    pub(crate) hintless: Vec<u64>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(
        dir: &'a Dir,
        manifest: &'a Manifest,
        files: &'a Files,
        keydir: &'a Keydir,
        request: &'a Request,
    ) -> Self {
        Self {
            dir,
            manifest,
            files,
            keydir,
            request,
            records: 0,
            hinted: 0,
            hintless: Vec::new(),
        }
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.keydir.hasher
    }

    /// Loads every sealed file. Several threads: first each reads a file of its own, then each loads
    /// the shards of its own from all of them, in their order.
    pub(crate) fn load_sealed(&mut self) -> Result<()> {
        let sealed = self.manifest.files.len().saturating_sub(1);
        let entries = self.manifest.files.iter().zip(self.files.in_order());
        let sealed: Vec<_> = entries.take(sealed).collect();
        let mut files_done = 0;
        for wave in sealed.chunks(self.request.threads) {
            let hints = self.in_threads(wave.len(), |nth| {
                let (entry, file) = wave.get(nth)?;
                Some(self.hint(entry, file))
            });
            let hints: Vec<(bool, Hint)> = hints.into_iter().flatten().collect::<Result<_>>()?;
            for ((is_hinted, hint), (entry, _)) in hints.iter().zip(wave) {
                self.records += hint.entries().count() as u64;
                if *is_hinted {
                    self.hinted += 1;
                } else {
                    self.hintless.push(entry.number);
                }
            }
            let loaded = self.in_threads(self.request.threads, |nth| {
                for ((_, hint), (_, file)) in hints.iter().zip(wave) {
                    let is_ours =
                        |entry: &Indexed| shard_of(entry.hash) % self.request.threads == nth;
                    for entry in hint.entries().filter(is_ours) {
                        self.load(file, entry, &Own::OnDisk)?;
                    }
                }
                Ok(())
            });
            loaded.into_iter().collect::<Result<()>>()?;
            files_done += wave.len() as u64;
            self.request.progress.report(Progress {
                files_done,
                files: sealed.len() as u64,
            });
        }
        Ok(())
    }

    /// Calls `work` with every number below `count`, in as many threads as there may be; the results in
    /// their order.
    fn in_threads<T: Send>(&self, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let threads = self.request.threads.min(count);
        if threads <= 1 {
            return (0..count).map(work).collect();
        }
        let next = AtomicUsize::new(0);
        let results = std::sync::Mutex::new(Vec::with_capacity(count));
        let take_turns = || {
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= count {
                    return;
                }
                let result = work(nth);
                results.lock().expect(POISONED).push((nth, result));
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                let named = thread::Builder::new().name("bitcask-open".to_owned());
                // For want of threads, fewer do it.
                if named.spawn_scoped(scope, take_turns).is_err() {
                    break;
                }
            }
            take_turns();
        });
        let mut results = results.into_inner().expect(POISONED);
        results.sort_by_key(|(nth, _)| *nth);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// The hint of a sealed file, and whether it was there.
    fn hint(&self, entry: &FileEntry, file: &Arc<DataFile>) -> Result<(bool, Hint)> {
        match Hint::load(self.dir, entry) {
            Some(hint) => Ok((true, hint)),
            None => Ok((false, Hint::scan(file, entry, self.hasher())?)),
        }
    }

    /// Loads one record, which is newer than all that were loaded before.
    pub(crate) fn load(&self, file: &Arc<DataFile>, record: Indexed, own: &Own<'_>) -> Result<()> {
        let Indexed { hash, offset, kind } = record;
        let spot = Spot {
            file: Arc::clone(file),
            offset,
        };
        if kind == Kind::Delete {
            count_tombstone(&spot);
        } else {
            if self.keydir.has_limit() {
                self.keydir.reserve(hash, 1)?;
            }
            if self
                .keydir
                .replace(hash, Old::Unknown, Some(spot.loc()), None)
            {
                return Ok(());
            }
        }
        let new = (kind == Kind::Put).then(|| spot.loc());
        let old = self.superseded(hash, &spot, own)?;
        if let Some((old, size)) = &old {
            old.file.counts.dead.fetch_add(*size, Ordering::Relaxed);
        }
        let old = old.map_or(Old::Absent, |(old, _)| Old::At(old.loc()));
        self.keydir.replace(hash, old, new, None);
        Ok(())
    }

    /// The record that the one at `spot` supersedes, and its size.
    fn superseded(&self, hash: u64, spot: &Spot, own: &Own<'_>) -> Result<Option<(Spot, u64)>> {
        let mut key = match own {
            Own::Known(key) => Some(key.to_vec()),
            Own::OnDisk => None,
        };
        let mut is_damaged = false;
        let mut unread = None;
        for candidate in self.keydir.spots(hash).into_iter() {
            let (other, size) = match candidate.key() {
                Ok(read) => read,
                Err(error) => {
                    unread = Some(error);
                    continue;
                }
            };
            if key.is_none() && !is_damaged {
                match spot.key() {
                    Ok((own, _)) => key = Some(own),
                    Err(Error::Corrupt { .. }) => is_damaged = true,
                    Err(error) => return Err(error),
                }
            }
            // A record that is damaged supersedes all the same, as far as its hash tells: what is
            // older must not be shown for it.
            let is_same = match &key {
                Some(key) => *key == other,
                None => self.hasher().hash(&other) == hash,
            };
            if is_same {
                return Ok(Some((candidate, size)));
            }
        }
        let Some(error) = unread else {
            return Ok(None);
        };
        let key = key.or_else(|| Some(spot.key().ok()?.0));
        match (
            self.keydir.damaged_of(self.dir, hash, key.as_deref()),
            error,
        ) {
            (Some(damaged), _) => Ok(Some((damaged.spot, damaged.size))),
            // It is nobody's: its damage stays reported.
            (None, Error::Corrupt { .. }) => Ok(None),
            (None, error) => Err(error),
        }
    }
}

/// Counts the tombstone at `spot`: also one that cannot be read, since a merge that knew of none in its file
/// would not ask whether it is needed.
pub(crate) fn count_tombstone(spot: &Spot) {
    let bytes = spot.file.record_bytes(spot.offset);
    let size = bytes.map_or(RECORD_HEADER_SIZE, |bytes| bytes.len());
    add(&spot.file.counts.tombstones, size as u64);
}
