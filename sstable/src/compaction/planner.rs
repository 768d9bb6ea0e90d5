//! [`Planner`]: what all strategies have in common: the order of tables, and jobs that do not meet.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::compaction::{Action, Job, TableMeta};
use crate::key_range::{KeyRange, union};

/// A place in the order of tables: smaller is newer. A sorted level is one place.
pub(crate) type Place = (u32, Reverse<u64>);

/// A plan in the making.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    /// The newest first.
    pub(crate) tables: Vec<&'a TableMeta>,
    /// From this level on, each level is sorted: none of its tables overlap.
    sorted_from: Option<u32>,
    taken: HashSet<u64>,
    claims: Vec<Claim>,
    pub(crate) jobs: Vec<Job>,
}

/// Where a job works: nobody else may, in these places and among these keys.
#[derive(Debug)]
struct Claim {
    newest: Place,
    oldest: Place,
    keys: KeyRange,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(tables: &'a [TableMeta], running: &[Job], sorted_from: Option<u32>) -> Self {
        let mut sorted: Vec<&TableMeta> = tables.iter().collect();
        sorted.sort_by_key(|table| age(table));
        let mut planner = Self {
            tables: sorted,
            sorted_from,
            taken: HashSet::new(),
            claims: Vec::new(),
            jobs: Vec::new(),
        };
        let by_id: HashMap<u64, &TableMeta> =
            tables.iter().map(|table| (table.id, table)).collect();
        for job in running {
            let inputs = job.inputs.iter().filter_map(|id| by_id.get(id).copied());
            let inputs: Vec<&TableMeta> = inputs.collect();
            planner.claim(&inputs, (job.output_level, job.output_run));
        }
        planner
    }

    /// The tables of a level that are not part of a job, the newest first.
    pub(crate) fn free(&self, level: u32) -> Vec<&'a TableMeta> {
        let tables = self.tables.iter().copied();
        tables
            .filter(|table| table.level == level && self.is_free(table))
            .collect()
    }

    /// All tables of a level.
    pub(crate) fn level(&self, level: u32) -> Vec<&'a TableMeta> {
        let tables = self.tables.iter().copied();
        tables.filter(|table| table.level == level).collect()
    }

    /// The levels that have tables, in order.
    pub(crate) fn levels(&self) -> Vec<u32> {
        let mut levels: Vec<u32> = self.tables.iter().map(|table| table.level).collect();
        levels.dedup();
        levels
    }

    pub(crate) fn is_free(&self, table: &TableMeta) -> bool {
        !self.taken.contains(&table.id)
    }

    /// True if no two tables of the level overlap.
    pub(crate) fn is_sorted(&self, level: u32) -> bool {
        self.sorted_from.is_some_and(|sorted| level >= sorted)
    }

    fn place(&self, level: u32, run: u64) -> Place {
        if self.is_sorted(level) {
            (level, Reverse(0))
        } else {
            (level, Reverse(run))
        }
    }

    fn place_of(&self, table: &TableMeta) -> Place {
        self.place(table.level, table.run)
    }

    fn claim(&mut self, inputs: &[&TableMeta], output: (u32, u64)) {
        self.taken.extend(inputs.iter().map(|table| table.id));
        let claim = self.claim_of(inputs, output);
        self.claims.extend(claim);
    }

    fn claim_of(&self, inputs: &[&TableMeta], output: (u32, u64)) -> Option<Claim> {
        let output = self.place(output.0, output.1);
        let places = || inputs.iter().map(|table| self.place_of(table));
        Some(Claim {
            newest: places().min()?.min(output),
            oldest: places().max()?.max(output),
            keys: hull(inputs)?,
        })
    }

    /// Plans to bring `inputs`, the newest first, to `output_level`, unless that meets another job; true
    /// if it is planned.
    pub(crate) fn add(
        &mut self,
        inputs: &[&'a TableMeta],
        output_level: u32,
        output_bytes: u64,
    ) -> bool {
        let output_run = self.output_run(inputs, output_level);
        let Some(claim) = self.claim_of(inputs, (output_level, output_run)) else {
            return false;
        };
        let meets = |other: &Claim| {
            other.newest <= claim.oldest
                && claim.newest <= other.oldest
                && other.keys.overlaps(&claim.keys)
        };
        if inputs.iter().any(|table| !self.is_free(table)) || self.claims.iter().any(meets) {
            return false;
        }
        let older = self.older(inputs);
        let action = action(inputs, output_bytes, &older);
        self.jobs.push(Job {
            action,
            inputs: inputs.iter().map(|table| table.id).collect(),
            input_bytes: bytes(inputs),
            output_level,
            output_run,
            output_bytes,
            older,
        });
        self.claim(inputs, (output_level, output_run));
        true
    }

    /// In the place of the inputs of that level; without any, in front of everything there.
    fn output_run(&self, inputs: &[&TableMeta], level: u32) -> u64 {
        let newest = |tables: &[&TableMeta]| {
            let in_level = tables.iter().filter(|table| table.level == level);
            in_level.map(|table| table.run).max()
        };
        let inputs_newest = inputs.iter().map(|table| table.run).max().unwrap_or(0);
        newest(inputs).unwrap_or_else(|| match newest(&self.tables) {
            Some(newest) => inputs_newest.max(newest.saturating_add(1)),
            None => inputs_newest,
        })
    }

    /// Plans to drop `inputs`.
    pub(crate) fn drop_tables(&mut self, inputs: &[&'a TableMeta]) {
        let Some(oldest) = inputs.last() else {
            return;
        };
        self.jobs.push(Job {
            action: Action::Drop,
            inputs: inputs.iter().map(|table| table.id).collect(),
            input_bytes: bytes(inputs),
            output_level: oldest.level,
            output_run: oldest.run,
            output_bytes: 0,
            older: Vec::new(),
        });
        self.claim(inputs, (oldest.level, oldest.run));
    }

    /// Where tables outside of a job may have older entries than one of its inputs.
    fn older(&self, inputs: &[&TableMeta]) -> Vec<KeyRange> {
        let ids: HashSet<u64> = inputs.iter().map(|table| table.id).collect();
        let is_older = |table: &TableMeta| {
            let place = self.place_of(table);
            let below = |input: &&TableMeta| {
                self.place_of(input) < place && input.range.overlaps(&table.range)
            };
            !ids.contains(&table.id) && inputs.iter().any(below)
        };
        let older = self.tables.iter().filter(|table| is_older(table));
        union(older.map(|table| table.range.clone()).collect())
    }

    /// Merges what overlaps within a sorted level; true if there is such a thing, which no sorted level
    /// has unless another strategy left it.
    pub(crate) fn untangle(&mut self, output_bytes: u64) -> bool {
        let Some(sorted) = self.sorted_from else {
            return false;
        };
        let mut is_tangled = false;
        for level in self.levels().into_iter().filter(|level| *level >= sorted) {
            for group in groups(self.level(level)) {
                if group.len() > 1 {
                    is_tangled = true;
                    self.add(&group, level, output_bytes);
                }
            }
        }
        is_tangled
    }
}

/// Several tables that do not overlap need not be merged, unless they are so small that it makes fewer
/// of them; and a single one only if its tombstones go by that.
fn action(inputs: &[&TableMeta], output_bytes: u64, older: &[KeyRange]) -> Action {
    let are_large = bytes(inputs) / inputs.len().max(1) as u64 >= output_bytes / 2;
    let drops = older.is_empty() && inputs.iter().any(|table| table.tombstones > 0);
    let is_move =
        !drops && (inputs.len() == 1 || are_large && groups(inputs.to_vec()).len() == inputs.len());
    if is_move { Action::Move } else { Action::Merge }
}

/// `tables` in groups that do not overlap, in the order of their keys; in each group the newest comes
/// first.
pub(crate) fn groups(mut tables: Vec<&TableMeta>) -> Vec<Vec<&TableMeta>> {
    tables.sort_by(|a, b| a.range.first.cmp(&b.range.first));
    let mut groups: Vec<(KeyRange, Vec<&TableMeta>)> = Vec::new();
    for table in tables {
        match groups.last_mut() {
            Some((keys, group)) if keys.reaches(&table.range.first) => {
                keys.include(&table.range);
                group.push(table);
            }
            _ => groups.push((table.range.clone(), vec![table])),
        }
    }
    for (_, group) in &mut groups {
        group.sort_by_key(|table| age(table));
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// In this order the newest table comes first.
fn age(table: &TableMeta) -> (u32, Reverse<u64>, u64) {
    (table.level, Reverse(table.run), table.id)
}

/// All keys from the first of `tables` to the last.
pub(crate) fn hull(tables: &[&TableMeta]) -> Option<KeyRange> {
    let (first, rest) = tables.split_first()?;
    let mut hull = first.range.clone();
    for table in rest {
        hull.include(&table.range);
    }
    Some(hull)
}

pub(crate) fn bytes(tables: &[&TableMeta]) -> u64 {
    let sizes = tables.iter().map(|table| table.bytes);
    sizes.fold(0, u64::saturating_add)
}

/// How many sorted runs `tables` are, of one level.
pub(crate) fn run_count(tables: &[&TableMeta]) -> usize {
    let runs: HashSet<u64> = tables.iter().map(|table| table.run).collect();
    runs.len()
}
