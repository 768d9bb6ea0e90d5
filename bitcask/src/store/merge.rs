//! Merge: rewrites what is live of some sealed files, and swaps them for one new file ([format],
//! section 7). In small steps, of which only the last but one changes what the store is.
//!
//! [format]: crate::format

mod damage;
mod output;
mod swap;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::data_file::DataFile;
use crate::error::{Error, Result};
use crate::hint::{self, Hint};
use crate::policy::{MergePolicy, Plan};
use crate::record::{Kind, Record};
use crate::scan::{Scan, Step};
use crate::stats::MergeReport;
use crate::store::Store;
use crate::table::Loc;
use output::Output;

/// About how much one step reads, and a group of an output holds, in bytes.
const STEP: u64 = 256 << 10;

/// The merge that is going on, if one is.
#[derive(Debug, Default)]
pub(crate) struct Merging {
    /// Files that are still to be taken, by number.
    plan: VecDeque<u64>,
    /// The disk is full: one file at a time, and those first that cost the least space. Those of which nothing
    /// stays need no output, and give back space for the others.
    is_tight: bool,
    job: Option<Job>,
    /// The first damage that was met: told when all else is merged.
    damage: Option<Error>,
    report: MergeReport,
}

impl Merging {
    /// The files that are being merged, by number.
    pub(crate) fn inputs(&self) -> BTreeSet<u64> {
        let inputs = self.job.iter().flat_map(|job| &job.inputs);
        inputs.map(|(_, file)| file.number).collect()
    }
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
    /// The place of the oldest file that cannot be asked: it may have a record of any key.
    unknown: Option<usize>,
}

impl Needed {
    /// True if a tombstone at `place` in the order must stay: an older file can hold its key.
    fn is_needed(&self, hash: u64, place: usize) -> bool {
        let oldest = self.oldest.get(&hash).into_iter().chain(&self.unknown);
        oldest.into_iter().any(|&oldest| oldest < place)
    }
}

impl Store {
    /// Merges everything that is sealed and gives something back; a merge that is going on is finished first.
    pub(crate) fn merge_all(&self) -> Result<MergeReport> {
        let active = self.files().in_order().next_back().map(|file| file.number);
        // Held across I/O: there is one merge at a time.
        let mut merging = self.health.lock(&self.merge);
        while self.step(&mut merging)?.is_some() {}
        merging.report = MergeReport::default();
        let eager = MergePolicy::eager(self.settings.data_file_size);
        // What was sealed since the call is for the next one, and so is what this one writes: beside fast
        // writers it would not end.
        let files = self.files();
        let sealed = files.sealed().map(|file| file.number);
        let mut sealed: BTreeSet<u64> = sealed
            .take_while(|number| active != Some(*number))
            .collect();
        loop {
            let plan = Plan::new(&self.files(), &eager, &BTreeSet::new()).due();
            // Again for files with tombstones that nothing needs any more.
            merging.plan = plan
                .into_iter()
                .filter(|number| sealed.remove(number))
                .collect();
            if merging.plan.is_empty() {
                return Ok(std::mem::take(&mut merging.report));
            }
            while self.step(&mut merging)?.is_some() {}
        }
    }

    /// One step of the merge that is going on, or that the policy asks for; the bytes it read and
    /// wrote, or `None` if there was nothing to do.
    pub(crate) fn merge_step(&self, may_begin: bool) -> Result<Option<u64>> {
        // Held across I/O: there is one merge at a time.
        let mut merging = self.health.lock(&self.merge);
        if may_begin && merging.job.is_none() && merging.plan.is_empty() {
            let last = std::mem::take(&mut merging.report);
            // If it gave nothing back, neither would the next one, before another file is sealed.
            if last.inputs == 0 || last.has_gained() {
                let plan = Plan::new(&self.files(), &self.settings.policy, &BTreeSet::new());
                if plan.is_triggered {
                    merging.plan = plan.due();
                }
            }
        }
        self.step(&mut merging)
    }

    fn step(&self, merging: &mut Merging) -> Result<Option<u64>> {
        self.check_healthy()?;
        if merging.job.is_none() {
            merging.job = self.next_job(&mut merging.plan, merging.is_tight);
        }
        let Some(mut job) = merging.job.take() else {
            merging.is_tight = false;
            if let Some(damage) = merging.damage.take() {
                return Err(damage);
            }
            // What a full disk has taken is held back again.
            let held = self.health.lock(&self.reserve).hold();
            held.map_err(|error| self.note(error))?;
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
                self.abandon(&job);
                if error.is_no_space() && !merging.is_tight {
                    let inputs = job.inputs.iter().map(|(_, file)| file.number);
                    merging.plan.extend(inputs);
                    self.files().sort_by_need(&mut merging.plan);
                    merging.is_tight = true;
                    return Ok(Some(0));
                }
                let again = Self::without_damaged(&job.inputs, &error);
                if again.len() < job.inputs.len() {
                    for number in again.into_iter().rev() {
                        merging.plan.push_front(number);
                    }
                    merging.damage.get_or_insert(error);
                    return Ok(Some(0));
                }
                merging.plan.clear();
                Err(error)
            }
        }
    }

    /// Takes inputs from `plan` for one output, only one if space `is_tight`; files that are gone are
    /// passed over.
    fn next_job(&self, plan: &mut VecDeque<u64>, is_tight: bool) -> Option<Job> {
        let files = self.files();
        let mut inputs = Vec::new();
        let mut live = 0;
        while let Some(number) = plan.front() {
            let mut in_order = files.in_order().enumerate();
            if let Some((place, file)) = in_order.find(|(_, file)| file.number == *number) {
                live += file.live_bytes();
                let is_enough = live > self.settings.data_file_size || is_tight;
                if !inputs.is_empty() && is_enough {
                    break;
                }
                inputs.push((place, Arc::clone(file)));
            }
            plan.pop_front();
        }
        if inputs.is_empty() {
            return None;
        }
        let needed = self.needed(&inputs);
        Some(Job {
            inputs,
            done: 0,
            scan: None,
            needed,
            output: None,
            is_written: false,
            dropped_tombstones: 0,
        })
    }

    fn needed(&self, inputs: &[(usize, Arc<DataFile>)]) -> Needed {
        let mut needed = Needed::default();
        let mut tombstones = HashSet::new();
        for (_, file) in inputs.iter().filter(|(_, file)| file.has_tombstones()) {
            let Ok(hint) = self.hint_of(file) else {
                // Nobody knows which tombstones it has.
                needed.unknown = Some(0);
                continue;
            };
            let deletes = hint.entries().filter(|entry| entry.kind == Kind::Delete);
            tombstones.extend(deletes.map(|entry| entry.hash));
        }
        if tombstones.is_empty() {
            return needed;
        }
        let newest = inputs.iter().map(|(place, _)| *place).max().unwrap_or(0);
        for (place, file) in self.files().in_order().enumerate().take(newest) {
            if inputs.iter().any(|(input, _)| *input == place) {
                continue;
            }
            let Ok(hint) = self.hint_of(file) else {
                needed.unknown.get_or_insert(place);
                continue;
            };
            for entry in hint.entries() {
                if tombstones.contains(&entry.hash) {
                    needed.oldest.entry(entry.hash).or_insert(place);
                }
            }
        }
        needed
    }

    /// The hint of a sealed file, or what it would hold.
    fn hint_of(&self, file: &Arc<DataFile>) -> Result<Hint> {
        let entry = file.sealed.expect("only sealed files are merged");
        match Hint::load(self.dir(), &entry) {
            Some(hint) => Ok(hint),
            None => Hint::scan(file, &entry, &self.keydir.hasher),
        }
    }

    /// Writes the hint of data file `number`, if it is still a file of the store and has none.
    pub(crate) fn write_hint(&self, number: u64) {
        // A merge may not remove the file meanwhile: its hint would stay.
        let _turn = self.health.lock(&self.merge);
        let files = self.files();
        let Some(file) = files.in_order().find(|file| file.number == number) else {
            return;
        };
        let Some(entry) = file.sealed else {
            return;
        };
        if Hint::load(self.dir(), &entry).is_none() {
            // A hint that cannot be made or written is like one that is not there: damage of the file
            // is found when it is read, and the next open scans it.
            drop(hint::write(self.dir(), file, &entry, &self.keydir.hasher));
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
                damaged => self.copy_around(job, place, &input, &mut scan, damaged)?,
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
}

impl MergeReport {
    /// True if it gave back space.
    fn has_gained(&self) -> bool {
        self.written_bytes < self.read_bytes
    }
}
