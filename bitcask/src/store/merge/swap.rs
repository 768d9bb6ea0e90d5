//! The output in the place of the inputs: the step that changes what the store is.

use std::collections::BTreeSet;
use std::sync::Arc;

use durable_io::File;

use super::Job;
use super::output::{Moved, Output};
use crate::data_file::DataFile;
use crate::error::Result;
use crate::keydir::Old;
use crate::manifest::Manifest;
use crate::names;
use crate::record::FIRST_GROUP;
use crate::reserve::Frees;
use crate::stats::MergeReport;
use crate::store::{Store, add};
use crate::table::Loc;

impl Store {
    /// Puts the output in the place of the inputs.
    pub(super) fn swap(&self, mut job: Job, report: &mut MergeReport) -> Result<()> {
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
        for (_, file) in &job.inputs {
            self.remove_file(file.number);
            self.note_removed(file);
        }
        Ok(())
    }

    pub(super) fn swap_in_manifest(&self, job: &Job, numbers: &BTreeSet<u64>) -> Result<()> {
        // Held across I/O: manifests are written one at a time.
        let mut manifest = self.health.lock(&self.manifest);
        if job.output.is_some() {
            // Durable: the output's name. Only now may the manifest name it.
            let synced = self.dir().sync();
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
        // An older copy of the active file lacks what superseded records that go: let it be found out.
        if let Some(active) = new.files.last_mut()
            && let Some(durable) = self.durable_end(active.number)
        {
            active.end = active.end.max(durable);
        }
        self.with_reserve(Frees::Files, || {
            self.replace_manifest(&mut manifest, new.clone())
        })
    }

    /// Shows the output to readers, in the order behind the newest of the inputs `numbers`.
    pub(super) fn point_to(&self, output: Output, file: File, numbers: &BTreeSet<u64>) {
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
        self.ask_for_hint(entry.number);
    }

    /// Forgets a merge that came to nothing.
    pub(super) fn abandon(&self, job: &Job) {
        if let Some(output) = &job.output {
            self.remove_output(output);
        }
    }

    /// Removes a data file that the manifest does not name, and its hint.
    pub(super) fn remove_file(&self, number: u64) {
        // No directory sync, and an error does not matter: what stays, or comes back after a crash, is
        // an orphan, which the next open removes.
        drop(self.dir().remove(&names::data(number)));
        drop(self.dir().remove(&names::hint(number)));
    }
}
