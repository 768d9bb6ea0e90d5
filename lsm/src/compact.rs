//! Compactions: what is planned, done; and tables that a range tombstone covers, dropped.
//!
//! The order on the disk: the outputs' bytes, their names, the edit; and only then the inputs go.

use std::collections::BTreeSet;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use durable_io::engine::Step;
use sstable::KeyRange;
use sstable::compaction::{Action, Job, plan};

use crate::cursor::run_source;
use crate::error::{Error, Result};
use crate::levels::{Levels, LiveTable};
use crate::limits::LAST_LEVEL;
use crate::manifest::{Change, TableEntry};
use crate::reclaim::Reclaim;
use crate::stats::CompactReport;
use crate::store::Store;
use crate::tree::Tree;

impl Store {
    /// One step of background work: one job, of whichever keyspace needs it.
    pub(crate) fn compact_step(&self) -> Result<Step> {
        self.check_healthy()?;
        if !self.options.auto_compact {
            return Ok(Step::Idle);
        }
        match self.compact_once() {
            Ok(true) => Ok(Step::Done),
            // It was stopped because the store is being closed.
            Ok(false) | Err(Error::Stopped) => Ok(Step::Idle),
            Err(error) => Err(error),
        }
    }

    /// Does what is most urgent; false if nothing is to be done.
    fn compact_once(&self) -> Result<bool> {
        // Held across I/O: nobody else changes the tables of a level, but for new ones in the first.
        let mut aside = self.health.lock(&self.compacting);
        self.check_healthy()?;
        // First, so that no snapshot that ends meanwhile goes unnoticed.
        self.waits_for_snapshot.store(true, Ordering::SeqCst);
        let mut is_held = false;
        for tree in &self.catalog_full().trees {
            let levels = Arc::clone(&tree.peek().levels);
            let snapshots = self.snapshot_versions();
            let reclaim = Reclaim::new(&levels, &snapshots, self.options.reclaim_percent);
            if !reclaim.dead.is_empty() {
                let dead: Vec<u64> = reclaim.dead.into_iter().collect();
                self.with_reserve(|| self.replace(tree, &dead, &[]))?;
                return Ok(true);
            }
            is_held |= !reclaim.held.is_empty();
            if reclaim.damage.is_some() {
                aside.damage.clone_from(&reclaim.damage);
            }
            let strategy = tree.options.plan(self.options.table_size);
            let jobs = plan(&reclaim.metas(&levels), &strategy);
            let is_whole = |job: &Job| job.inputs.iter().all(|id| !aside.tables.contains(id));
            let Some(job) = jobs.into_iter().find(is_whole) else {
                continue;
            };
            match self.with_reserve(|| self.run(tree, &levels, &job)) {
                Ok(_report) => {}
                Err(error @ Error::Corrupt { .. }) => {
                    // They are read as they are, and the rest goes on.
                    aside.tables.extend(&job.inputs);
                    aside.damage = Some(error);
                }
                Err(error) => return Err(error),
            }
            return Ok(true);
        }
        self.waits_for_snapshot.store(is_held, Ordering::SeqCst);
        Ok(false)
    }

    /// Merges all tables of the keyspace of `slot` that overlap `range` into the last level.
    pub(crate) fn compact_range<'k>(
        &self,
        slot: u64,
        range: impl RangeBounds<&'k [u8]>,
    ) -> Result<CompactReport> {
        // Held across I/O: as above.
        let _aside = self.health.lock(&self.compacting);
        self.check_healthy()?;
        let tree = Arc::clone(self.catalog().find(slot)?);
        let levels = Arc::clone(&tree.peek().levels);
        let inputs = overlapping(&levels, &range);
        let is_done = |live: &LiveTable| live.meta.level == LAST_LEVEL && live.meta.tombstones == 0;
        match inputs.as_slice() {
            [] => return Ok(CompactReport::default()),
            [only] if is_done(only) => return Ok(CompactReport::default()),
            _ => {}
        }
        let last = inputs.iter().filter(|live| live.meta.level == LAST_LEVEL);
        let run = last.map(|live| live.meta.run).max();
        let newest = || levels.tables.iter().map(|live| live.meta.run).max();
        let job = Job {
            action: Action::Merge,
            inputs: inputs.iter().map(|live| live.entry.number).collect(),
            input_bytes: inputs.iter().map(|live| live.entry.bytes).sum(),
            output_level: LAST_LEVEL,
            output_run: run.or_else(newest).unwrap_or(0),
            output_bytes: self.options.table_size,
            // Everything that overlaps them is among them.
            older: Vec::new(),
        };
        self.with_reserve(|| self.run(&tree, &levels, &job))
    }

    /// Does `job`, and publishes it.
    fn run(&self, tree: &Tree, levels: &Levels, job: &Job) -> Result<CompactReport> {
        let begin = self.disk.now();
        let outputs = match job.action {
            Action::Merge => {
                let runs = levels.runs_of(&job.inputs);
                let sources = runs.iter().map(run_source).collect();
                self.merge(tree, job, sources, |written| self.pace(begin, written))?
            }
            Action::Move => moved(levels, job),
            _ => Vec::new(),
        };
        self.replace(tree, &job.inputs, &outputs)?;
        let time = self.disk.now().saturating_sub(begin);
        let report = CompactReport {
            inputs: job.inputs.len() as u64,
            input_bytes: job.input_bytes,
            outputs: outputs.len() as u64,
            output_bytes: outputs.iter().map(|live| live.entry.bytes).sum(),
        };
        self.counters.count_compaction(&report);
        self.throttle.note_worked_off(report.input_bytes, time);
        self.hold_reserve()?;
        Ok(report)
    }

    /// Puts `outputs`, which are durable, in the place of `inputs`, and removes these.
    fn replace(&self, tree: &Tree, inputs: &[u64], outputs: &[Arc<LiveTable>]) -> Result<()> {
        let levels = Arc::clone(&tree.peek().levels);
        let is_output = |number: &u64| outputs.iter().any(|live| live.entry.number == *number);
        let dead = inputs.iter().copied().filter(|number| !is_output(number));
        // Held across I/O: edits are made one at a time.
        let mut manifest = self.health.lock(&self.manifest);
        self.check_healthy()?;
        if !self.catalog().has(tree) {
            // The keyspace is gone, and its tables with it.
            let new = outputs.iter().map(|live| live.entry.number);
            self.remove_tables(new.filter(|number| !inputs.contains(number)));
            return Ok(());
        }
        let id = tree.id;
        let mut changes = vec![self.numbers(&manifest)];
        let removed = inputs.iter().map(|&number| Change::Remove { id, number });
        changes.extend(removed);
        changes.extend(outputs.iter().map(|live| Change::Add {
            id,
            table: live.entry.clone(),
        }));
        // Durable: the edit, and the outputs before it. Only now may the inputs go.
        manifest
            .commit(&changes)
            .map_err(|error| self.note(error))?;
        tree.change(|state| state.levels = Arc::new(state.levels.replaced(inputs, outputs)));
        drop(manifest);
        for live in dead.clone().filter_map(|number| levels.find(number)) {
            self.pinned.add(live, live.memory_bytes());
        }
        self.remove_tables(dead);
        Ok(())
    }

    /// Waits as long as it takes to have written no more than so many bytes in a second.
    fn pace(&self, begin: Duration, written: u64) {
        let Some(rate) = self.options.background_rate.filter(|_| !self.is_inline()) else {
            return;
        };
        let due = begin + Duration::from_nanos(written.saturating_mul(1_000_000_000) / rate);
        let is_over = || self.health.is_poisoned() || self.compactions.is_stopped();
        let pause = due.saturating_sub(self.disk.now());
        self.throttle.room.wait_until(is_over, Some(pause));
    }
}

/// The tables of a job, with the level and run that it gives them.
fn moved(levels: &Levels, job: &Job) -> Vec<Arc<LiveTable>> {
    let inputs = job.inputs.iter().filter_map(|&number| levels.find(number));
    inputs
        .map(|live| {
            let entry = TableEntry {
                level: job.output_level,
                run: job.output_run,
                ..live.entry.clone()
            };
            let mut meta = live.meta.clone();
            (meta.level, meta.run) = (entry.level, entry.run);
            let table = live.table.clone();
            Arc::new(LiveTable { entry, meta, table })
        })
        .collect()
}

/// The tables that overlap `range`, those that overlap these, and so on; the newest first.
fn overlapping<'k>(levels: &Levels, range: &impl RangeBounds<&'k [u8]>) -> Vec<Arc<LiveTable>> {
    let mut within: Vec<KeyRange> = Vec::new();
    let mut inputs: Vec<Arc<LiveTable>> = Vec::new();
    loop {
        let is_new = |live: &&Arc<LiveTable>| {
            let number = live.entry.number;
            !inputs.iter().any(|other| other.entry.number == number)
                && (overlaps(&live.meta.range, range)
                    || within.iter().any(|other| other.overlaps(&live.meta.range)))
        };
        let new: Vec<_> = levels.tables.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            break;
        }
        within.extend(new.iter().map(|live| live.meta.range.clone()));
        inputs.extend(new);
    }
    let wanted: BTreeSet<u64> = inputs.iter().map(|live| live.entry.number).collect();
    let tables = levels.tables.iter();
    tables
        .filter(|live| wanted.contains(&live.entry.number))
        .cloned()
        .collect()
}

fn overlaps<'k>(keys: &KeyRange, range: &impl RangeBounds<&'k [u8]>) -> bool {
    let begins_before_end = match range.end_bound() {
        Bound::Unbounded => true,
        Bound::Included(end) => *keys.first <= **end,
        Bound::Excluded(end) => *keys.first < **end,
    };
    let ends_behind_start = match (range.start_bound(), &keys.last) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(start), Bound::Included(last)) => **start <= **last,
        (
            Bound::Included(start) | Bound::Excluded(start),
            Bound::Excluded(last) | Bound::Included(last),
        ) => **start < **last,
    };
    begins_before_end && ends_behind_start
}
