//! When the background merges, and which files take part.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::data_file::DataFile;
use crate::keydir::Files;
use crate::stats::Why;

/// When the background merges, and which data files take part then: triggers and thresholds are apart,
/// so that a merge, once it is worth beginning, takes all that are worth taking.
///
/// The dead part of a file is what was superseded; tombstones count if no older file keeps a superseded
/// record or a tombstone.
/// Source: the merge triggers and thresholds of Basho's Bitcask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergePolicy {
    trigger_percent: u64,
    trigger_bytes: u64,
    trigger_files: usize,
    least_percent: u64,
    least_bytes: u64,
    small_file: u64,
}

impl Default for MergePolicy {
    fn default() -> Self {
        Self {
            trigger_percent: 60,
            trigger_bytes: 512 << 20,
            trigger_files: 16,
            least_percent: 40,
            least_bytes: 128 << 20,
            small_file: 4 << 20,
        }
    }
}

impl MergePolicy {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begin when this part of a sealed file is dead, in percent. Default: 60.
    #[must_use]
    pub fn trigger_dead_percent(mut self, percent: u64) -> Self {
        self.trigger_percent = percent;
        self
    }

    /// Begin when this much of a sealed file is dead, in bytes. Default: 512 MiB.
    #[must_use]
    pub fn trigger_dead_bytes(mut self, bytes: u64) -> Self {
        self.trigger_bytes = bytes;
        self
    }

    /// Begin when there are this many small sealed files. Default: 16.
    #[must_use]
    pub fn trigger_small_files(mut self, files: usize) -> Self {
        self.trigger_files = files;
        self
    }

    /// A file takes part if this part of it is dead, in percent. Default: 40.
    #[must_use]
    pub fn threshold_dead_percent(mut self, percent: u64) -> Self {
        self.least_percent = percent;
        self
    }

    /// A file takes part if this much of it is dead, in bytes. Default: 128 MiB.
    #[must_use]
    pub fn threshold_dead_bytes(mut self, bytes: u64) -> Self {
        self.least_bytes = bytes;
        self
    }

    /// A file below this size is small: small ones take part, if there are at least two. In bytes;
    /// at most half of [`Options::data_file_size`](crate::Options::data_file_size) counts. Default:
    /// 4 MiB.
    #[must_use]
    pub fn small_file_size(mut self, bytes: u64) -> Self {
        self.small_file = bytes;
        self
    }

    /// The same for a store whose files have about `data_file_size` bytes.
    pub(crate) fn of_store(mut self, data_file_size: u64) -> Self {
        // Two small ones fit into one file. Otherwise each would be written again, alone, and still be
        // small: forever.
        self.small_file = self.small_file.min(data_file_size / 2);
        self
    }

    /// Everything that gives back a byte takes part: for a merge that was asked for.
    pub(crate) fn eager(data_file_size: u64) -> Self {
        let eager = Self {
            least_percent: 0,
            least_bytes: 1,
            ..Self::default()
        };
        eager.of_store(data_file_size)
    }
}

/// What a merge now would do with each file.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Oldest first.
    pub(crate) files: Vec<(Arc<DataFile>, Why)>,
    /// One of the triggers is met.
    pub(crate) is_triggered: bool,
}

impl Plan {
    /// Judges all of `files`; those of `merging`, by number, are being merged.
    pub(crate) fn new(files: &Files, policy: &MergePolicy, merging: &BTreeSet<u64>) -> Self {
        let sealed = files.order.len().saturating_sub(1);
        let is_small = |file: &DataFile| file.group_bytes() < policy.small_file;
        let small = files.in_order().take(sealed);
        let small = small.filter(|file| is_small(file)).count();
        let mut plan = Self {
            files: Vec::with_capacity(sealed + 1),
            is_triggered: small >= policy.trigger_files.max(2),
        };
        // The oldest file that stays with what tombstones behind it may be needed for: not one of which all
        // is live.
        let mut stays = None;
        for (nth, file) in files.in_order().enumerate() {
            let tombstones = file.counts.tombstones.load(Ordering::Relaxed);
            let superseded = file.counts.dead.load(Ordering::Relaxed);
            let droppable = if stays.is_none() { tombstones } else { 0 };
            let dead = superseded + droppable;
            let percent = dead * 100 / file.group_bytes().max(1);
            let is_worth =
                dead > 0 && (dead >= policy.least_bytes || percent >= policy.least_percent.max(1));
            let why = if nth == sealed {
                Why::Active
            } else if merging.contains(&file.number) {
                Why::Merging
            } else if file.is_damaged() {
                Why::Damaged
            } else if is_worth || small >= 2 && is_small(file) {
                Why::Due
            } else if dead > 0 {
                Why::BelowThreshold
            } else if let Some(older) = stays.filter(|_| tombstones > 0) {
                Why::TombstonesNeeded { older }
            } else {
                Why::AllLive
            };
            let may_trigger = matches!(why, Why::Due) && dead > 0;
            plan.is_triggered |=
                may_trigger && (percent >= policy.trigger_percent || dead >= policy.trigger_bytes);
            let goes = matches!(why, Why::Due | Why::Merging);
            if !goes && (superseded + tombstones > 0 || file.is_damaged()) && stays.is_none() {
                stays = Some(file.number);
            }
            plan.files.push((Arc::clone(file), why));
        }
        plan
    }

    /// The files that take part, by number: oldest first, so that a tombstone meets no record of its key any
    /// more that goes in the same merge.
    pub(crate) fn due(&self) -> VecDeque<u64> {
        let due = self.files.iter().filter(|(_, why)| *why == Why::Due);
        due.map(|(file, _)| file.number).collect()
    }
}

impl Files {
    /// Puts those of `plan` first that cost the least space, so that a full disk has some for the others;
    /// those that give nothing back are left out.
    pub(crate) fn sort_by_need(&self, plan: &mut VecDeque<u64>) {
        let wanted: BTreeSet<u64> = plan.drain(..).collect();
        let mut files: Vec<_> = self
            .in_order()
            .filter(|file| wanted.contains(&file.number))
            .collect();
        files.retain(|file| file.live_bytes() < file.group_bytes());
        files.sort_by_key(|file| file.live_bytes());
        plan.extend(files.into_iter().map(|file| file.number));
    }
}
