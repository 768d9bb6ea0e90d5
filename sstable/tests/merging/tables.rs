//! Tables in memory, and jobs done on them: the plain meaning of a plan.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use sstable::KeyRange;
use sstable::compaction::{Action, Job, TableMeta};

/// What an entry takes, in bytes.
pub(crate) const ENTRY: u64 = 100;

/// A table: key, and the number of the write, or `None` if it is a deletion.
#[derive(Clone, Debug)]
pub(crate) struct SimTable {
    pub(crate) meta: TableMeta,
    pub(crate) entries: Vec<(u32, Option<u64>)>,
}

pub(crate) fn bytes_of(key: u32) -> Vec<u8> {
    format!("{key:08}").into_bytes()
}

/// The tables of a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimStore {
    pub(crate) tables: Vec<SimTable>,
    next_id: u64,
    next_run: u64,
    /// By flushes, and by all merges.
    pub(crate) flushed: u64,
    pub(crate) merged: u64,
    /// From how many tombstones on, of a hundred entries, a table is due.
    pub(crate) due_percent: Option<u64>,
}

impl SimStore {
    pub(crate) fn metas(&self) -> Vec<TableMeta> {
        self.tables.iter().map(|table| table.meta.clone()).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.meta.bytes).sum()
    }

    /// How many sorted runs there are: runs, and levels from `sorted_from` on.
    pub(crate) fn runs(&self, sorted_from: u32) -> usize {
        let run = |meta: &TableMeta| {
            if meta.level < sorted_from {
                meta.run
            } else {
                0
            }
        };
        let runs = self
            .tables
            .iter()
            .map(|table| (table.meta.level, run(&table.meta)));
        runs.collect::<BTreeSet<_>>().len()
    }

    /// Adds a new table.
    pub(crate) fn flush(&mut self, entries: BTreeMap<u32, Option<u64>>) {
        self.next_run += 1;
        let entries: Vec<_> = entries.into_iter().collect();
        self.flushed += entries.len() as u64 * ENTRY;
        let run = self.next_run;
        self.add(entries, 0, run);
    }

    fn add(&mut self, entries: Vec<(u32, Option<u64>)>, level: u32, run: u64) {
        self.next_id += 1;
        let tombstones = entries.iter().filter(|(_, write)| write.is_none()).count() as u64;
        let meta = TableMeta {
            id: self.next_id,
            level,
            run,
            bytes: entries.len() as u64 * ENTRY,
            tombstones,
            is_due: self
                .due_percent
                .is_some_and(|percent| tombstones * 100 > entries.len() as u64 * percent),
            range: KeyRange {
                first: bytes_of(entries[0].0),
                last: Bound::Included(bytes_of(entries[entries.len() - 1].0)),
            },
        };
        self.tables.push(SimTable { meta, entries });
    }

    /// Does `job`, and checks that it may be done.
    pub(crate) fn apply(&mut self, job: &Job) {
        self.check_sides(job);
        self.check_older(job, false);
        self.apply_unchecked(job);
    }

    pub(crate) fn apply_unchecked(&mut self, job: &Job) {
        let (inputs, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.tables)
            .into_iter()
            .partition(|table| job.inputs.contains(&table.meta.id));
        assert_eq!(inputs.len(), job.inputs.len(), "{job:?}");
        self.tables = others;
        match job.action {
            Action::Drop => {}
            Action::Move => self.tables.extend(inputs.into_iter().map(|mut table| {
                table.meta.level = job.output_level;
                table.meta.run = job.output_run;
                table
            })),
            Action::Merge => self.merge(job, inputs),
            _ => unreachable!(),
        }
    }

    fn merge(&mut self, job: &Job, mut inputs: Vec<SimTable>) {
        let nth = |id| job.inputs.iter().position(|input| *input == id);
        // The newest is inserted last.
        inputs.sort_by_key(|table| Reverse(nth(table.meta.id)));
        let mut merged = BTreeMap::new();
        for input in inputs {
            merged.extend(input.entries);
        }
        let may_be_older = |key: u32| {
            let key = bytes_of(key);
            job.older.iter().any(|range| range.contains(&key))
        };
        let kept = merged
            .into_iter()
            .filter(|(key, write)| write.is_some() || may_be_older(*key));
        let kept: Vec<_> = kept.collect();
        self.merged += kept.len() as u64 * ENTRY;
        let per_table = (job.output_bytes / ENTRY).max(1) as usize;
        for output in kept.chunks(per_table) {
            self.add(output.to_vec(), job.output_level, job.output_run);
        }
    }

    /// What overlaps an input and is not one stays on its side.
    fn check_sides(&self, job: &Job) {
        let place = |table: &TableMeta| (table.level, Reverse(table.run));
        let output = (job.output_level, Reverse(job.output_run));
        let is_input = |table: &&SimTable| job.inputs.contains(&table.meta.id);
        for input in self.tables.iter().filter(is_input) {
            for other in self.tables.iter().filter(|other| !is_input(other)) {
                if input.meta.range.overlaps(&other.meta.range) && job.action != Action::Drop {
                    let before = place(&input.meta).cmp(&place(&other.meta));
                    let after = output.cmp(&place(&other.meta));
                    assert_eq!(before, after, "{job:?} passes {:?}", other.meta);
                }
            }
        }
    }

    /// `older` has every key that an older table has, if that overlaps an input. If the job `is_new`, it
    /// has exactly the keys in the ranges of these tables; later they may have become smaller, or have
    /// been merged to larger ranges of the same keys.
    pub(crate) fn check_older(&self, job: &Job, is_new: bool) {
        if job.action == Action::Drop {
            return;
        }
        let place = |table: &TableMeta| (table.level, Reverse(table.run));
        let is_input = |table: &&SimTable| job.inputs.contains(&table.meta.id);
        let (inputs, others): (Vec<_>, Vec<_>) = self.tables.iter().partition(is_input);
        let is_older = |other: &&SimTable| {
            let is_below = |input: &&SimTable| {
                place(&input.meta) < place(&other.meta)
                    && input.meta.range.overlaps(&other.meta.range)
            };
            inputs.iter().any(is_below)
        };
        let older: Vec<&SimTable> = others.into_iter().filter(is_older).collect();
        let is_said = |key: u32| {
            let key = bytes_of(key);
            job.older.iter().any(|range| range.contains(&key))
        };
        let has = |table: &SimTable, key| table.entries.iter().any(|entry| entry.0 == key);
        for (key, _) in inputs.iter().flat_map(|input| &input.entries) {
            let is_older = older.iter().any(|table| has(table, *key));
            assert!(
                is_said(*key) || !is_older,
                "a tombstone of {key} is needed: {job:?}"
            );
        }
        for key in (0..300).filter(|_| is_new) {
            let bytes = bytes_of(key);
            let is_older = older.iter().any(|table| table.meta.range.contains(&bytes));
            assert_eq!(is_said(key), is_older, "nothing has {key}: {job:?}");
        }
    }

    /// What a reader sees.
    pub(crate) fn contents(&self) -> BTreeMap<u32, u64> {
        let mut tables: Vec<_> = self.tables.iter().collect();
        tables.sort_by_key(|table| Reverse((table.meta.level, Reverse(table.meta.run))));
        let mut all = BTreeMap::new();
        for table in tables {
            all.extend(table.entries.iter().copied());
        }
        let live = all.into_iter();
        live.filter_map(|(key, write)| Some((key, write?)))
            .collect()
    }

    /// No tables overlap in the levels from `level` on, nor within a run.
    pub(crate) fn check_sorted(&self, level: u32) {
        for (nth, a) in self.tables.iter().enumerate() {
            for b in self.tables.iter().skip(nth + 1) {
                let (a, b) = (&a.meta, &b.meta);
                let is_one_run = a.level == b.level && (a.level >= level || a.run == b.run);
                let overlaps = a.range.overlaps(&b.range);
                assert!(!(is_one_run && overlaps), "{a:?} overlaps {b:?}");
            }
        }
    }

    /// What every job makes smaller: bytes times the levels that they could still go down, then the
    /// number of runs.
    pub(crate) fn debt(&self, levels: u32) -> (u64, usize) {
        let depth = |table: &SimTable| u64::from(levels.saturating_sub(table.meta.level));
        let bytes = self
            .tables
            .iter()
            .map(|table| table.meta.bytes * depth(table));
        (bytes.sum(), self.runs(u32::MAX))
    }
}
