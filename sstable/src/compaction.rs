//! Compaction: which tables are merged into which, as a pure function, and the work itself.
//!
//! [`plan`] looks at the tables of a store and says what to do; it does no I/O. The caller does each
//! [`Job`]: a merge by [`Compaction::run`], a move and a drop by nothing but his edit; then comes his own
//! durable edit, which puts the outputs in place of the inputs; then he removes the inputs, and plans
//! again.
//!
//! # The order of tables
//!
//! A table is newer than those of higher levels, and than those of its own level with a smaller
//! [`run`](TableMeta::run). Tables of one level and one run do not overlap. For each key, a newer table has
//! no smaller version than an older one.
//!
//! # Invariants
//!
//! - C1: no table that is not part of a job, and overlaps one of its inputs, changes sides: what was
//!   newer than the input is newer than the output, and what was older is older.
//! - C2: the levels that a strategy keeps sorted hold no two tables that overlap.
//! - C3: a job knows where older data may be ([`Job::older`]); a tombstone that hides something there
//!   stays.
//! - C4: jobs of one plan, and those that are running, have no input in common, and none goes where
//!   another one works: so they can be done at the same time and end in any order.
//! - C5: each job brings entries to a higher level, or makes runs fewer, or drops entries; so if nothing
//!   is added, plans end.

mod due;
mod fifo;
mod lazy_leveled;
mod leveled;
mod outputs;
mod planner;
mod run;
mod size_tiered;
mod sizes;
mod survivors;

use crate::key_range::KeyRange;
use crate::table_info::TableInfo;

pub use fifo::Fifo;
pub use lazy_leveled::LazyLeveled;
pub use leveled::Leveled;
use planner::Planner;
pub use run::{Compaction, Progress};
pub use size_tiered::SizeTiered;
pub use survivors::Retention;

/// A table, as [`plan`] sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMeta {
    /// What the caller knows it by: a number that no other table has.
    pub id: u64,
    /// 0 for a new table; a table in a higher level is older.
    pub level: u32,
    /// Which sorted run of its level it is part of: a larger number is newer. A new table takes one that
    /// is larger than all before; the outputs of a job take [`Job::output_run`].
    pub run: u64,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// How many tombstones it has, range tombstones included.
    pub tombstones: u64,
    /// Its keys.
    pub range: KeyRange,
    /// It is brought to the next level, or written again in the last one, although its level is not due: since its
    /// tombstones hide much, for instance. Of [`SizeTiered`] and [`Fifo`] it changes nothing. A table of the last
    /// level must have tombstones that can go, else it would be due again at once.
    pub is_due: bool,
}

impl TableMeta {
    /// The table `info`, of number `id`, in this level and run; it is not due.
    pub fn new(id: u64, level: u32, run: u64, info: &TableInfo) -> Self {
        Self {
            id,
            level,
            run,
            bytes: info.file_bytes,
            tombstones: info.tombstones.saturating_add(info.range_tombstones),
            range: KeyRange::of(info),
            is_due: false,
        }
    }
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What is to be done with the inputs.
    pub action: Action,
    /// The [ids](TableMeta::id) of the tables that take part, the newest first.
    pub inputs: Vec<u64>,
    /// The sum of their sizes, in bytes.
    pub input_bytes: u64,
    /// The level that the outputs belong to.
    pub output_level: u32,
    /// The run that the outputs belong to.
    pub output_run: u64,
    /// At about which size an output ends and the next one begins, in bytes.
    pub output_bytes: u64,
    /// Where tables may have older entries than the inputs do: disjoint ranges in order. A tombstone
    /// outside of them hides nothing but entries of the inputs.
    pub older: Vec<KeyRange>,
}

/// What a [`Job`] does with its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Merge them into new tables, which replace them.
    Merge,
    /// Give them another level and run, as they are: they overlap nothing there, nor each other.
    Move,
    /// Drop them, with all that is in them.
    Drop,
}

/// How tables are kept in order: what is written again and again, read from many places, or kept twice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// Runs of similar size are merged.
    SizeTiered(SizeTiered),
    /// Each level is one run, ten times as large as the level above.
    Leveled(Leveled),
    /// The last level is one run, the levels above have several.
    LazyLeveled(LazyLeveled),
    /// The oldest tables are dropped.
    Fifo(Fifo),
}

impl Default for Strategy {
    /// [`Leveled`] with its defaults.
    fn default() -> Self {
        Self::Leveled(Leveled::new())
    }
}

/// What is to be done with `tables` now, the most urgent first; nothing if all is well.
///
/// The jobs are disjoint: they can be done in any order, or at the same time. No option and no number of a
/// table is too large or too small: what a strategy cannot work with is as the next that it can.
///
/// # Cost
/// O(n²) comparisons of keys for n tables, if all of them overlap; O(n log n) if few do.
pub fn plan(tables: &[TableMeta], strategy: &Strategy) -> Vec<Job> {
    plan_beside(tables, &[], strategy)
}

/// Like [`plan`], while the jobs `running` are not done yet: their inputs are still among `tables`, and
/// nothing is planned that meets them.
pub fn plan_beside(tables: &[TableMeta], running: &[Job], strategy: &Strategy) -> Vec<Job> {
    let sorted_from = match strategy {
        Strategy::SizeTiered(_) | Strategy::Fifo(_) => None,
        Strategy::Leveled(_) => Some(1),
        Strategy::LazyLeveled(strategy) => Some(strategy.last_level(tables)),
    };
    let mut planner = Planner::new(tables, running, sorted_from);
    // Left by another strategy: sorted levels come first.
    if planner.untangle(strategy.table_bytes()) {
        return planner.jobs;
    }
    match strategy {
        Strategy::SizeTiered(strategy) => strategy.plan(&mut planner),
        Strategy::Leveled(strategy) => strategy.plan(&mut planner),
        Strategy::LazyLeveled(strategy) => strategy.plan(&mut planner),
        Strategy::Fifo(strategy) => strategy.plan(&mut planner),
    }
    planner.jobs
}

impl From<SizeTiered> for Strategy {
    fn from(strategy: SizeTiered) -> Self {
        Self::SizeTiered(strategy)
    }
}

impl From<Leveled> for Strategy {
    fn from(strategy: Leveled) -> Self {
        Self::Leveled(strategy)
    }
}

impl From<LazyLeveled> for Strategy {
    fn from(strategy: LazyLeveled) -> Self {
        Self::LazyLeveled(strategy)
    }
}

impl From<Fifo> for Strategy {
    fn from(strategy: Fifo) -> Self {
        Self::Fifo(strategy)
    }
}

impl Strategy {
    fn table_bytes(&self) -> u64 {
        match self {
            Self::SizeTiered(strategy) => strategy.table_bytes,
            Self::Leveled(strategy) => strategy.table_bytes,
            Self::LazyLeveled(strategy) => strategy.table_bytes,
            Self::Fifo(_) => u64::MAX,
        }
    }
}
