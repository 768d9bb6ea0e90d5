//! Merge: rewrites what is live of some sealed files, and swaps them for one new file ([format],
//! section 7). In small steps, of which only the last but one changes what the store is.
//!
//! [format]: crate::format

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use durable_io::File;
use durable_io::codec::put;

use crate::data_file::{Counts, DataFile, FIRST_GROUP, FileHeader};
use crate::error::{Error, Result};
use crate::hint::{self, Hint};
use crate::keydir::Old;
use crate::manifest::{FileEntry, Manifest};
use crate::names;
use crate::policy::{MergePolicy, Plan};
use crate::record::{
    GROUP_HEADER, GROUP_HEADER_SIZE, GroupHeader, Kind, Record, align_group, bind_record, digest,
    encode_record,
};
use crate::reserve::Frees;
use crate::scan::{Scan, Step};
use crate::stats::{FileSpace, MergeReport, Why};
use crate::store::{Store, add, lock};
use crate::table::Loc;

/// About how much one step reads, and a group of an output holds, in bytes.
const STEP: u64 = 256 << 10;

/// The merge that is going on, if one is.
#[derive(Debug, Default)]
pub(crate) struct Merging {
    /// Files that are still to be taken, by number.
    plan: VecDeque<u64>,
    job: Option<Job>,
    report: MergeReport,
}

/// Some inputs, one output.
#[derive(Debug)]
struct Job {
    /// With the place of each in the order of files.
    inputs: Vec<(usize, Arc<DataFile>)>,
    /// How many inputs are read, and where the next one is.
    done: usize,
    scan: Option<Scan>,
    needed: Needed,
    output: Option<Output>,
    /// The output is durable.
    is_written: bool,
    dropped_tombstones: u64,
}

/// Which tombstones are still needed: the place of the oldest file outside the merge that has a record
/// with the hash of one of the inputs' tombstones.
#[derive(Debug, Default)]
struct Needed {
    oldest: HashMap<u64, usize>,
}

impl Needed {
    /// True if a tombstone at `place` in the order must stay: an older file can hold its key.
    fn is_needed(&self, hash: u64, place: usize) -> bool {
        self.oldest.get(&hash).is_some_and(|&oldest| oldest < place)
    }
}

/// The file that a merge writes.
#[derive(Debug)]
struct Output {
    /// From the first group on.
    file: Option<File>,
    entry: FileEntry,
    /// The group that is filling: records without checks, and the checksums of their bodies.
    group: Vec<u8>,
    bodies: Vec<(usize, u32)>,
    /// What is to be pointed to the new place.
    moved: Vec<Moved>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Moved {
    hash: u64,
    from: Loc,
    /// The offset in the output.
    to: u64,
}

impl Store {
    /// Merges everything that gives something back; a merge that is going on is finished first.
    pub(crate) fn merge_all(&self) -> Result<MergeReport> {
        let mut total = MergeReport::default();
        // Held across I/O: there is one merge at a time.
        let mut merging = lock(&self.merge);
        while self.step(&mut merging)?.is_some() {}
        merging.report = MergeReport::default();
        loop {
            let plan = Plan::new(&self.files(), &MergePolicy::eager(), &BTreeSet::new());
            merging.plan = plan.due();
            let before = merging.report.inputs;
            while self.step(&mut merging)?.is_some() {}
            let done = std::mem::take(&mut merging.report);
            let has_done = done.inputs > before;
            total.add(&done);
            // Once more only for tombstones that nothing needs any more; not for small files that are
            // one by now.
            if !has_done || done.written_bytes >= done.read_bytes {
                return Ok(total);
            }
        }
    }

    /// One step of the merge that is going on, or that the policy asks for; the bytes it read and
    /// wrote, or `None` if there was nothing to do.
    pub(crate) fn merge_step(&self, may_begin: bool) -> Result<Option<u64>> {
        // Held across I/O: there is one merge at a time.
        let mut merging = lock(&self.merge);
        if may_begin && merging.job.is_none() && merging.plan.is_empty() {
            let plan = Plan::new(&self.files(), &self.settings.policy, &BTreeSet::new());
            if plan.is_triggered {
                merging.plan = plan.due();
            }
        }
        self.step(&mut merging)
    }

    fn step(&self, merging: &mut Merging) -> Result<Option<u64>> {
        self.check_healthy()?;
        if merging.job.is_none() {
            merging.job = self.next_job(&mut merging.plan)?;
        }
        let Some(mut job) = merging.job.take() else {
            // What a full disk has taken is held back again.
            let held = lock(&self.reserve).hold();
            held.map_err(|error| self.poison_unless_full(error))?;
            return Ok(None);
        };
        let stepped = if job.done < job.inputs.len() {
            self.copy(&mut job)
        } else if !job.is_written {
            self.finish_output(&mut job).map(|()| 0)
        } else {
            return self.swap(job, &mut merging.report).map(|()| Some(0));
        };
        match stepped {
            Ok(bytes) => {
                merging.job = Some(job);
                Ok(Some(bytes))
            }
            Err(error) => {
                merging.plan.clear();
                self.abandon(&job);
                Err(error)
            }
        }
    }

    /// Takes inputs from `plan` for one output; files that are gone are passed over.
    fn next_job(&self, plan: &mut VecDeque<u64>) -> Result<Option<Job>> {
        let files = self.files();
        let mut inputs = Vec::new();
        let mut live = 0;
        while let Some(number) = plan.front() {
            let was_free = live == 0 && !inputs.is_empty();
            let mut in_order = files.in_order().enumerate();
            if let Some((place, file)) = in_order.find(|(_, file)| file.number == *number) {
                live += file.live_bytes();
                // Those that need no space go before those that do.
                let is_enough = live > self.settings.data_file_size || was_free && live > 0;
                if !inputs.is_empty() && is_enough {
                    break;
                }
                inputs.push((place, Arc::clone(file)));
            }
            plan.pop_front();
        }
        if inputs.is_empty() {
            return Ok(None);
        }
        let needed = self.needed(&inputs)?;
        Ok(Some(Job {
            inputs,
            done: 0,
            scan: None,
            needed,
            output: None,
            is_written: false,
            dropped_tombstones: 0,
        }))
    }

    fn needed(&self, inputs: &[(usize, Arc<DataFile>)]) -> Result<Needed> {
        let mut needed = Needed::default();
        let mut tombstones = HashSet::new();
        for (_, file) in inputs.iter().filter(|(_, file)| file.has_tombstones()) {
            let hint = self.hint_of(file)?;
            let deletes = hint.entries().filter(|entry| entry.kind == Kind::Delete);
            tombstones.extend(deletes.map(|entry| entry.hash));
        }
        if tombstones.is_empty() {
            return Ok(needed);
        }
        let newest = inputs.iter().map(|(place, _)| *place).max().unwrap_or(0);
        for (place, file) in self.files().in_order().enumerate().take(newest) {
            if inputs.iter().any(|(input, _)| *input == place) {
                continue;
            }
            for entry in self.hint_of(file)?.entries() {
                if tombstones.contains(&entry.hash) {
                    needed.oldest.entry(entry.hash).or_insert(place);
                }
            }
        }
        Ok(needed)
    }

    fn entry_of(&self, file: &DataFile) -> Option<FileEntry> {
        let manifest = lock(&self.manifest);
        let mut entries = manifest.files.iter();
        entries.find(|entry| entry.number == file.number).copied()
    }

    /// The hint of a sealed file, or what it would hold.
    fn hint_of(&self, file: &Arc<DataFile>) -> Result<Hint> {
        let Some(entry) = self.entry_of(file) else {
            return Err(file.corrupt(0, crate::error::Corruption::MissingFile));
        };
        match Hint::load(&self.dir, &entry) {
            Some(hint) => Ok(hint),
            None => Hint::scan(file, &entry, &self.keydir.hasher),
        }
    }

    /// Writes the hint of data file `number`, if it is still a file of the store and has none.
    pub(crate) fn write_hint(&self, number: u64) {
        // A merge may not remove the file meanwhile: its hint would stay.
        let _turn = lock(&self.merge);
        let files = self.files();
        let Some(file) = files.in_order().find(|file| file.number == number) else {
            return;
        };
        let Some(entry) = self.entry_of(file) else {
            return;
        };
        if Hint::load(&self.dir, &entry).is_none() {
            // A hint that cannot be made or written is like one that is not there: damage of the file
            // is found when it is read, and the next open scans it.
            drop(hint::write(&self.dir, file, &entry, &self.keydir.hasher));
        }
    }

    /// Copies what is live of the next part of the inputs; the bytes read.
    fn copy(&self, job: &mut Job) -> Result<u64> {
        let Some((place, input)) = job.inputs.get(job.done).cloned() else {
            return Ok(0);
        };
        let mut scan = job.scan.take().unwrap_or_else(|| Scan::sealed(&input));
        let start = scan.offset;
        while scan.offset - start < STEP && scan.offset < input.end() {
            let mut copied = Ok(());
            let step = scan.step(|offset, record| {
                if copied.is_ok() {
                    copied = self.copy_record(job, place, &input, offset, record);
                }
            })?;
            copied?;
            match step {
                Step::Group(_) => {}
                Step::End => {
                    input.set_damaged();
                    return Err(scan.corrupt(scan.offset, crate::error::Corruption::Length));
                }
                Step::Bad { offset, reason } => {
                    input.set_damaged();
                    return Err(scan.corrupt(offset, reason));
                }
            }
        }
        let bytes = scan.offset - start;
        if scan.offset < input.end() {
            job.scan = Some(scan);
        } else {
            job.done += 1;
        }
        Ok(bytes)
    }

    fn copy_record(
        &self,
        job: &mut Job,
        place: usize,
        input: &DataFile,
        offset: u64,
        record: Record<'_>,
    ) -> Result<()> {
        let hash = self.keydir.hasher.hash(record.key);
        let from = Loc::new(input.slot, offset);
        match record.kind {
            Kind::Put if !self.keydir.names(hash, from) => return Ok(()),
            Kind::Put => {}
            Kind::Delete => {
                let newer = match self.keydir.spots(hash).find(record.key) {
                    // Whose record it is cannot be read: it may be another key's.
                    Err(Error::Corrupt { .. }) => None,
                    other => other?,
                };
                if newer.is_some() {
                    return Ok(());
                }
                if !job.needed.is_needed(hash, place) {
                    job.dropped_tombstones += 1;
                    return Ok(());
                }
            }
        }
        if job.output.is_none() {
            job.output = Some(self.create_output()?);
        }
        if let Some(output) = &mut job.output {
            output.push(hash, from, record);
            if output.group.len() as u64 >= STEP {
                self.flush(output)?;
            }
        }
        Ok(())
    }

    /// An output of which nothing is written yet.
    fn create_output(&self) -> Result<Output> {
        let id = self.unique_id()?;
        let mut manifest = lock(&self.manifest);
        let number = manifest.next_number;
        // Not given twice, also if the merge comes to nothing.
        manifest.next_number += 1;
        let entry = FileEntry {
            number,
            id,
            end: FIRST_GROUP,
            digest: 0,
        };
        Ok(Output {
            file: None,
            entry,
            group: Vec::new(),
            bodies: Vec::new(),
            moved: Vec::new(),
            counts: Arc::default(),
        })
    }

    /// Writes the group that was filling, and before the first one the header.
    fn flush(&self, output: &mut Output) -> Result<()> {
        if output.bodies.is_empty() {
            return Ok(());
        }
        let FileEntry { number, id, .. } = output.entry;
        let (mut bytes, check) = output.take_group();
        let mut start = output.entry.end;
        if output.file.is_none() {
            let header = FileHeader {
                store_id: self.settings.store_id,
                number,
                id,
            };
            bytes.splice(0..0, header.encode());
            start = 0;
            let name = names::data(number);
            let created = self.with_reserve(Frees::Files, || {
                let created = self.dir.create_new(&name);
                created.map_err(|error| self.poison_unless_full(error))
            });
            output.file = Some(created?);
        }
        let Some(file) = &output.file else {
            return Ok(());
        };
        // A full disk is met here, before anything is written.
        self.with_reserve(Frees::Files, || {
            let allocated = file.allocate(start, bytes.len() as u64);
            allocated.map_err(|error| self.poison_unless_full(error))
        })?;
        let written = file.write_all_at(&bytes, start);
        written.map_err(|error| self.poison(error))?;
        output.entry.end = start + bytes.len() as u64;
        output.entry.digest = digest(output.entry.digest, check);
        Ok(())
    }

    fn finish_output(&self, job: &mut Job) -> Result<()> {
        if let Some(output) = &mut job.output {
            self.flush(output)?;
            if let Some(file) = &output.file {
                // Durable: the output's bytes. Only now may the manifest name it: recovery takes a
                // sealed file for whole.
                let synced = file.sync_data();
                drop(synced.map_err(|error| self.poison(error))?);
            }
        }
        job.is_written = true;
        Ok(())
    }

    /// Puts the output in the place of the inputs.
    fn swap(&self, mut job: Job, report: &mut MergeReport) -> Result<()> {
        let numbers: BTreeSet<u64> = job.inputs.iter().map(|(_, file)| file.number).collect();
        let swapped = self.swap_in_manifest(&job, &numbers);
        if let Err(error) = swapped {
            self.abandon(&job);
            return Err(error);
        }
        let read = job.inputs.iter().map(|(_, file)| file.group_bytes()).sum();
        report.inputs += job.inputs.len() as u64;
        report.read_bytes += read;
        report.dropped_tombstones += job.dropped_tombstones;
        let mut written = 0;
        if let Some(mut output) = job.output.take()
            && let Some(file) = output.file.take()
        {
            written = output.entry.end - FIRST_GROUP;
            report.outputs += 1;
            report.written_bytes += written;
            self.point_to(output, file, &numbers);
        }
        self.change_files(|files| {
            let slots = &mut files.slots;
            for slot in slots.iter_mut() {
                if slot
                    .as_ref()
                    .is_some_and(|file| numbers.contains(&file.number))
                {
                    *slot = None;
                }
            }
            files.order.retain(|&slot| {
                let slot = slots.get(slot as usize);
                slot.is_some_and(Option::is_some)
            });
        });
        add(&self.counters.merges, 1);
        add(&self.counters.reclaimed, u64::saturating_sub(read, written));
        for &number in &numbers {
            self.remove_file(number);
        }
        Ok(())
    }

    fn swap_in_manifest(&self, job: &Job, numbers: &BTreeSet<u64>) -> Result<()> {
        // Held across I/O: manifests are written one at a time.
        let mut manifest = lock(&self.manifest);
        if job.output.is_some() {
            // Durable: the output's name. Only now may the manifest name it.
            let synced = self.dir.sync();
            synced.map_err(|error| self.poison(error))?;
        }
        // Durable: what superseded the records that go. Only now may they go: else a power loss could
        // take both.
        self.sync()?;
        let mut new = Manifest::clone(&manifest);
        let newest = new
            .files
            .iter()
            .rposition(|file| numbers.contains(&file.number));
        if let (Some(output), Some(newest)) = (&job.output, newest) {
            new.files.insert(newest + 1, output.entry);
        }
        new.files.retain(|file| !numbers.contains(&file.number));
        self.with_reserve(Frees::Files, || {
            self.replace_manifest(&mut manifest, new.clone())
        })
    }

    /// Shows the output to readers, in the order behind the newest of the inputs `numbers`.
    fn point_to(&self, output: Output, file: File, numbers: &BTreeSet<u64>) {
        let Output {
            entry,
            moved,
            counts,
            ..
        } = output;
        let file = self.change_files(|files| {
            let slot = files.free_slot();
            let file = DataFile::sealed(file, &entry, slot, counts);
            let newest = files.order.iter().rposition(|&slot| {
                let file = files.get(slot as usize);
                file.is_some_and(|file| numbers.contains(&file.number))
            });
            files.set(Arc::clone(&file));
            files.order.insert(newest.map_or(0, |at| at + 1), slot);
            file
        });
        for Moved { hash, from, to } in moved {
            let to_loc = Loc::new(file.slot, to);
            if !self.keydir.replace(hash, Old::At(from), Some(to_loc), None) {
                // It was superseded meanwhile, or is a tombstone.
                if let Ok(bytes) = file.record_bytes(to) {
                    file.note_unnamed(&bytes, to);
                }
            }
        }
        self.bell.ask_for_hint(entry.number);
    }

    /// Forgets a merge that came to nothing.
    fn abandon(&self, job: &Job) {
        if let Some(output) = &job.output {
            self.remove_output(output);
        }
    }

    fn remove_output(&self, output: &Output) {
        // After a failure nobody knows what the manifest names: the next open removes it if it may.
        if !self.is_poisoned() {
            self.remove_file(output.entry.number);
        }
    }

    /// Removes a data file that the manifest does not name, and its hint.
    fn remove_file(&self, number: u64) {
        // No directory sync, and an error does not matter: what stays, or comes back after a crash, is
        // an orphan, which the next open removes.
        drop(self.dir.remove(&names::data(number)));
        drop(self.dir.remove(&names::hint(number)));
    }

    /// How each file uses its space, oldest first.
    pub(crate) fn explain_space(&self) -> Vec<FileSpace> {
        let merging: BTreeSet<u64> = {
            // A merge that somebody waits for holds the lock to its end: its files are due, then.
            let merging = self.merge.try_lock().ok();
            let jobs = merging.iter().filter_map(|merging| merging.job.as_ref());
            let inputs = jobs.flat_map(|job| &job.inputs);
            inputs.map(|(_, file)| file.number).collect()
        };
        let plan = Plan::new(&self.files(), &self.settings.policy, &merging);
        plan.files
            .into_iter()
            .map(|(file, why)| file.space(why))
            .collect()
    }
}

impl Output {
    fn push(&mut self, hash: u64, from: Loc, record: Record<'_>) {
        if self.group.is_empty() {
            // Room for the header.
            self.group.resize(GROUP_HEADER_SIZE, 0);
        }
        let at = self.group.len();
        let body = encode_record(&mut self.group, record.kind, record.key, record.value);
        self.bodies.push((at, body));
        let to = self.entry.end + at as u64;
        self.moved.push(Moved { hash, from, to });
    }

    /// The bytes of the group that was filling, and its check.
    fn take_group(&mut self) -> (Vec<u8>, u32) {
        let mut bytes = std::mem::take(&mut self.group);
        let start = self.entry.end;
        let bodies = std::mem::take(&mut self.bodies);
        for &(at, body) in &bodies {
            let place = self.entry.place(start + at as u64);
            bind_record(bytes.get_mut(at..).unwrap_or_default(), place, body);
        }
        let records = bytes.len() as u64 - GROUP_HEADER;
        // A sealed file ends where the next group would begin.
        let end = align_group(start + bytes.len() as u64) - start;
        bytes.resize(usize::try_from(end).unwrap_or(bytes.len()), 0);
        let header = GroupHeader {
            // Both fit: a group is about as large as a step, or one record.
            bytes: u32::try_from(records).unwrap_or(u32::MAX),
            count: u32::try_from(bodies.len()).unwrap_or(u32::MAX),
            durable: FIRST_GROUP,
        };
        let (header, check) = header.encode(self.entry.place(start));
        put(&mut bytes, 0, &header);
        (bytes, check)
    }
}

impl MergeReport {
    fn add(&mut self, other: &Self) {
        self.inputs += other.inputs;
        self.outputs += other.outputs;
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.dropped_tombstones += other.dropped_tombstones;
    }
}

impl DataFile {
    pub(crate) fn live_bytes(&self) -> u64 {
        let (dead, tombstones) = self.counts.load();
        self.group_bytes().saturating_sub(dead + tombstones)
    }

    fn has_tombstones(&self) -> bool {
        self.counts.load().1 > 0
    }

    /// Counts the record in `bytes`, at `offset`, which the index does not name.
    pub(crate) fn note_unnamed(&self, bytes: &[u8], offset: u64) {
        let Ok(record) = self.decode(bytes, offset) else {
            return;
        };
        let counter = match record.kind {
            Kind::Put => &self.counts.dead,
            Kind::Delete => &self.counts.tombstones,
        };
        add(counter, record.size() as u64);
    }

    fn space(&self, why: Why) -> FileSpace {
        let (dead_bytes, tombstone_bytes) = self.counts.load();
        FileSpace {
            number: self.number,
            bytes: self.group_bytes(),
            live_bytes: self.live_bytes(),
            dead_bytes,
            tombstone_bytes,
            why,
        }
    }
}
