//! The write path: groups, rotation, acknowledgement.

mod condition;

use std::io::IoSlice;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::{Barrier, File, Site};

use crate::batch::{Answer, Batch, Expected, Item, Results, Superseded};
use crate::data_file::DataFile;
use crate::error::{Error, Result};
use crate::file_header::{FileHeader, Made, create};
use crate::keydir::Spot;
use crate::limits::{MAX_DATA_FILES, MAX_UNSYNCED};
use crate::manifest::{FileEntry, Manifest};
use crate::names;
use crate::record::FIRST_GROUP;
use crate::record::{GROUP_HEADER, GroupHeader, Kind, align_group, digest};
use crate::reserve::Frees;
use crate::store::{Store, add};
use crate::writer::{Writer, Written};

/// A group is of one item, or not larger than the limit of a batch.
const GROUP_FITS: &str = "a group is not larger than the limit of a batch";

/// What becomes of the items of one commit.
struct Commit<'a> {
    items: &'a mut [Item],
    results: Vec<Option<Result<Answer>>>,
    /// Items, by index, that will be written together.
    planned: Vec<usize>,
    /// Items that were written.
    written: Vec<usize>,
}

impl Store {
    /// Commits `batch`, together with whatever other threads write, if its key is as `expected`.
    pub(crate) fn commit(&self, batch: Batch, expected: Option<Expected>) -> Result<Answer> {
        let mut item = Item::new(batch, &self.keydir.hasher)?;
        self.check_open()?;
        if item.count() == 0 {
            self.check_healthy()?;
            return Ok(Answer::Done);
        }
        item.expected = expected;
        let lead = |items: &mut [Item]| {
            let count = items.len();
            // A panic is an error to everybody in the group.
            let led = self.health.catch(|| self.lead(items));
            led.unwrap_or_else(|poisoned| vec![Err(poisoned.into()); count].into())
        };
        let (results, index) = self.queue.commit(item, lead);
        let own = results.get(index).cloned();
        own.expect("the leader gives one result for each item")
    }

    /// Commits a group of callers: the results in the order of `items`.
    fn lead(&self, items: &mut [Item]) -> Results {
        // Held across the writes and the sync: this is the order of the store.
        let mut writer = self.health.lock(&self.writer);
        let mut commit = Commit {
            results: vec![None; items.len()],
            planned: Vec::with_capacity(items.len()),
            written: Vec::with_capacity(items.len()),
            items,
        };
        self.write_all(&mut writer, &mut commit);
        let Commit {
            items,
            mut results,
            written,
            ..
        } = commit;
        if !written.is_empty() {
            let mut shown = self.sync_as_promised(&writer, items);
            if shown.is_ok() {
                let written = writer.written(self.view().version);
                shown = self.publish(items, &written);
            }
            if let Err(error) = &shown {
                // What a comparison found may be lost, too.
                for result in results.iter_mut().flatten().filter(|result| result.is_ok()) {
                    *result = Err(error.clone());
                }
            }
            for index in written {
                if let Some(result) = results.get_mut(index) {
                    *result = Some(shown.clone().map(|()| Answer::Done));
                }
            }
        }
        drop(writer);
        let answered = |result: Option<_>| result.expect("every item was refused or written");
        results.into_iter().map(answered).collect()
    }

    /// Decides about every item, in their order, and writes those that are to be.
    fn write_all(&self, writer: &mut Writer, commit: &mut Commit<'_>) {
        for index in 0..commit.items.len() {
            let admitted = self.admit(writer, commit, index);
            match admitted {
                Ok(Answer::Done) => commit.planned.push(index),
                refused => {
                    if let Some(result) = commit.results.get_mut(index) {
                        *result = Some(refused);
                    }
                }
            }
        }
        self.write_planned(writer, commit);
    }

    /// Whether the item at `index` is to be written, or what is there that it did not expect.
    fn admit(&self, writer: &mut Writer, commit: &mut Commit<'_>, index: usize) -> Result<Answer> {
        self.check_healthy()?;
        if let unmet @ Answer::Found(_) = self.compare(writer, commit, index)? {
            return Ok(unmet);
        }
        // Now, since a record that cannot be read is no reason any more once it is written.
        if let Some(item) = commit.items.get_mut(index) {
            item.note_superseded(|hash, key| self.superseded(hash, key))?;
        }
        if self.keydir.has_limit() {
            self.reserve_keys(commit, index)?;
        }
        Ok(Answer::Done)
    }

    /// The record that a new one of `key` supersedes: also one that is damaged, which heals it.
    pub(crate) fn superseded(&self, hash: u64, key: &[u8]) -> Result<Option<Superseded>> {
        match self.keydir.spots(hash).find(key) {
            Ok(found) => Ok(found.map(|found| Superseded {
                spot: found.spot,
                size: found.size as u64,
            })),
            Err(error) => match (self.keydir.damaged_of(self.dir(), hash, Some(key)), error) {
                (None, Error::Corrupt { .. }) => Ok(None),
                // It may be read again later.
                (None, error) => Err(error),
                (damaged, _) => Ok(damaged),
            },
        }
    }

    /// Makes room in the index for the keys that the item at `index` adds.
    fn reserve_keys(&self, commit: &Commit<'_>, index: usize) -> Result<()> {
        let item = commit.items.get(index);
        let item = item.expect("the item that is admitted is one of the commit");
        // Items of the same commit may add keys to the same shards, too.
        let before = commit.planned.iter().chain(&commit.written);
        let before: usize = before
            .filter_map(|&index| commit.items.get(index))
            .map(Item::count)
            .sum();
        for (nth, op) in item.ops().iter().enumerate() {
            if op.kind == Kind::Put && op.superseded.is_none() {
                self.keydir.reserve(op.hash, before + nth + 1)?;
            }
        }
        Ok(())
    }

    /// Writes what is planned, in groups; items that fail get their error.
    fn write_planned(&self, writer: &mut Writer, commit: &mut Commit<'_>) {
        let planned = std::mem::take(&mut commit.planned);
        let mut rest = planned.as_slice();
        while !rest.is_empty() {
            let (group, later) = rest.split_at(commit.fitting(rest));
            rest = later;
            let Err(error) = self.write_group(writer, commit, group) else {
                continue;
            };
            if !error.is_no_space() || group.len() == 1 {
                commit.fail(group, &error);
                continue;
            }
            // Each by itself: there may be space for some, and deletions may use what is held back.
            for index in group {
                let alone = std::slice::from_ref(index);
                if let Err(error) = self.write_group(writer, commit, alone) {
                    commit.fail(alone, &error);
                }
            }
        }
    }

    /// Writes the items at `group` as one group.
    ///
    /// # Errors
    /// What [changed nothing](Error::changed_nothing): nothing was written. Any other one has poisoned the
    /// store.
    fn write_group(
        &self,
        writer: &mut Writer,
        commit: &mut Commit<'_>,
        group: &[usize],
    ) -> Result<()> {
        self.check_healthy()?;
        let members = || group.iter().filter_map(|&index| commit.items.get(index));
        let bytes: u64 = members().map(Item::size).sum();
        let count: usize = members().map(Item::count).sum();
        let frees = if members().all(Item::frees) {
            Frees::Keys
        } else {
            Frees::Nothing
        };
        self.make_room(writer, GROUP_HEADER + bytes, frees)?;
        let mut offset = writer.offset + GROUP_HEADER;
        for &index in group {
            if let Some(item) = commit.items.get_mut(index) {
                let file = Arc::clone(&writer.active);
                item.bind(Spot { file, offset });
                offset += item.size();
            }
        }
        let header = GroupHeader {
            bytes: u32::try_from(bytes).expect(GROUP_FITS),
            count: u32::try_from(count).expect(GROUP_FITS),
            durable: self
                .durable_end(writer.active.number)
                .unwrap_or(FIRST_GROUP),
        };
        let (header, check) = header.encode(writer.active.place(writer.offset));
        let wrote = self.with_reserve(frees, || {
            self.clear(writer)?;
            let mut slices = Vec::with_capacity(1 + group.len());
            slices.push(IoSlice::new(&header));
            let members = group.iter().filter_map(|&index| commit.items.get(index));
            slices.extend(members.map(|item| IoSlice::new(item.bytes())));
            // One write. No padding is written: the file is zeros already.
            let file = &writer.file;
            file.write_all_vectored_at(&mut slices, writer.offset)
                .map_err(|error| {
                    // Zeros stand there, which are no space where a file system copies on write.
                    writer.left_over = offset;
                    self.note(error)
                })
        });
        if let Err(error) = wrote {
            commit.unbind(group);
            return Err(error);
        }
        add(&self.counters.groups, 1);
        writer.offset = align_group(offset);
        writer.digest = digest(writer.digest, check);
        writer.writes += group.len() as u64;
        let members = group.iter().filter_map(|&index| commit.items.get(index));
        let parts = std::iter::once(&header[..]).chain(members.map(Item::bytes));
        writer.active.grow(parts, writer.offset);
        commit.written.extend_from_slice(group);
        Ok(())
    }

    /// Zeros what a write left behind that the disk had no space for.
    ///
    /// Not by the next group itself: of that one a power loss can leave any sectors, and where those of the
    /// other one stand between them their records can pass for its own.
    fn clear(&self, writer: &mut Writer) -> Result<()> {
        if writer.left_over == 0 {
            return Ok(());
        }
        let zeros = writer.left_over - writer.offset;
        let zeroed = writer.file.write_zeros(writer.offset, zeros);
        zeroed.map_err(|error| self.note(error))?;
        // Durable: the zeros. Only now may a group be written there.
        self.sync_written(self.queue.site(), || Written {
            is_cleared: true,
            ..writer.written(self.view().version)
        })?;
        writer.left_over = 0;
        Ok(())
    }

    /// Makes room for `bytes` in the active file, or goes on in the next one.
    fn make_room(&self, writer: &mut Writer, bytes: u64, frees: Frees) -> Result<()> {
        let end = writer.offset.saturating_add(bytes);
        if writer.offset > FIRST_GROUP && end > self.settings.data_file_size {
            self.with_reserve(frees, || self.rotate_with(writer))?;
        }
        let end = align_group(writer.offset.saturating_add(bytes));
        if end <= writer.zeroed {
            return Ok(());
        }
        let zeroed = end.next_multiple_of(self.settings.window);
        self.with_reserve(frees, || {
            // A full disk is met here; by the write of a group only where a file system copies on write.
            writer
                .file
                .write_zeros(writer.zeroed, zeroed - writer.zeroed)
                .map_err(|error| self.note(error))
        })?;
        writer.zeroed = zeroed;
        Ok(())
    }

    /// Syncs what was written if the mode promises that before the acknowledgement.
    fn sync_as_promised(&self, writer: &Writer, items: &[Item]) -> Result<()> {
        let records: usize = items.iter().map(Item::count).sum();
        let unsynced = self.history.unsynced_records() + records;
        if !self.gate.must_sync(writer.writes) && unsynced <= MAX_UNSYNCED {
            return Ok(());
        }
        self.sync_written(self.queue.site(), || writer.written(self.view().version))
    }

    /// Continues in the next data file, unless nothing was written to this one.
    pub(crate) fn rotate(&self) -> Result<()> {
        // Held across I/O: no group may be written while the store changes files.
        let mut writer = self.health.lock(&self.writer);
        self.check_healthy()?;
        if writer.offset == FIRST_GROUP {
            return Ok(());
        }
        self.rotate_with(&mut writer)
    }

    fn rotate_with(&self, writer: &mut Writer) -> Result<()> {
        // Held across I/O: manifests are written one at a time.
        let mut manifest = self.health.lock(&self.manifest);
        let count = manifest.files.len() as u64;
        if count >= u64::from(MAX_DATA_FILES) {
            return Err(Error::TooLarge {
                what: "number of data files",
                size: count + 1,
                limit: u64::from(MAX_DATA_FILES),
            });
        }
        // The new file comes first: if there is no space for it, nothing has changed.
        let header = FileHeader {
            store_id: self.settings.store_id,
            number: manifest.next_number,
            id: self.unique_id()?,
            generation: manifest.generation,
            made: Made::ToWrite,
        };
        let entry = header.entry();
        // Not given twice, also if it comes to nothing.
        manifest.next_number += 1;
        let file =
            create(self.dir(), &header, self.settings.window).map_err(|error| self.note(error))?;
        let site = Site::new(Location::caller(), Barrier::Data, "seal");
        // Durable: the file that is left. Only now may the manifest say where its groups end:
        // recovery takes a sealed file for whole.
        self.sync_written(site, || writer.written(self.view().version))?;
        let mut new = Manifest::clone(&manifest);
        let sealed = FileEntry {
            number: writer.active.number,
            id: writer.active.id,
            end: writer.offset,
            digest: writer.digest,
        };
        if let Some(last) = new.files.last_mut() {
            *last = sealed;
        }
        new.files.push(entry);
        if let Err(error) = self.replace_manifest(&mut manifest, new) {
            if error.changed_nothing() {
                // The old manifest stands, so this is an orphan. After any other error nobody knows.
                drop(self.dir().remove(&names::data(entry.number)));
            }
            return Err(error);
        }
        drop(manifest);
        self.go_on_in(writer, file, &entry, &sealed);
        Ok(())
    }

    /// Makes `file` the active one, and the one before, `sealed`, a sealed one.
    fn go_on_in(&self, writer: &mut Writer, file: File, entry: &FileEntry, sealed: &FileEntry) {
        let (window, size) = (self.settings.window, self.settings.data_file_size);
        let old = Arc::clone(&writer.active);
        let old_file = writer.file.clone();
        let active = self.change_files(|files| {
            let counts = Arc::clone(&old.counts);
            files.set(DataFile::sealed(old_file, sealed, old.slot, counts));
            let slot = files.free_slot();
            let active = DataFile::active(file.clone(), entry, slot, FIRST_GROUP, size);
            files.set(Arc::clone(&active));
            files.order.push(slot);
            active
        });
        let writes = writer.writes;
        *writer = Writer::new(file, active, window, 0);
        writer.writes = writes;
        self.counters.rotations.fetch_add(1, Ordering::Relaxed);
        self.ask_for_hint(sealed.number);
    }

    pub(crate) fn unique_id(&self) -> Result<u64> {
        Ok(self.disk.unique_id()?)
    }
}

impl Commit<'_> {
    /// How many of `group`, from the first on, go into one group: at least one.
    fn fitting(&self, group: &[usize]) -> usize {
        let mut room = crate::limits::MAX_BATCH_SIZE;
        let fits = |index: &&usize| {
            let size = self.items.get(**index).map_or(0, Item::size);
            let left = room.checked_sub(size);
            room = left.unwrap_or(0);
            left.is_some()
        };
        group.iter().take_while(fits).count().max(1)
    }

    fn fail(&mut self, group: &[usize], error: &Error) {
        self.unbind(group);
        for &index in group {
            if let Some(result) = self.results.get_mut(index) {
                *result = Some(Err(error.clone()));
            }
        }
    }

    fn unbind(&mut self, group: &[usize]) {
        for &index in group {
            if let Some(item) = self.items.get_mut(index) {
                item.unbind();
            }
        }
    }
}
