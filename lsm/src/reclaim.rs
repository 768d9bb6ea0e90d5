//! Which tables are merged, or go, for the space that what they delete takes, although no level is due.
//!
//! Levels are due by their size alone. So what a range of deleted keys takes could stay for as long as nothing
//! else is written; and what is deleted again and again, as in a queue, could be several times what is left.

use std::collections::BTreeSet;

use sstable::compaction::TableMeta;

use crate::covered::covered;
use crate::error::{Error, Result};
use crate::levels::{Levels, LiveTable};

/// The tables of a keyspace, by number, that give space back.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Nobody sees anything of them: they go by an edit.
    pub(crate) dead: BTreeSet<u64>,
    /// They are worth a merge.
    pub(crate) due: BTreeSet<u64>,
    /// They would be one or the other, were it not for snapshots.
    pub(crate) held: BTreeSet<u64>,
    /// The index of a table could not be read, so that nobody knows what of it is deleted.
    pub(crate) damage: Option<Error>,
}

impl Reclaim {
    /// Of the tables in `levels`, beside readers at the versions `snapshots`, ascending. A merge is worth its while
    /// if `percent` of a hundred bytes that it has to read go.
    pub(crate) fn new(levels: &Levels, snapshots: &[u64], percent: u32) -> Self {
        let dead: BTreeSet<u64> = covered(levels, snapshots).into_iter().collect();
        let mut reclaim = Self {
            dead,
            ..Self::default()
        };
        if !snapshots.is_empty() {
            let all = covered(levels, &[]).into_iter();
            let held = all.filter(|number| !reclaim.dead.contains(number));
            reclaim.held = held.collect();
        }
        for live in &levels.tables {
            match is_worth(levels, live, percent) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    reclaim.damage = Some(error);
                    continue;
                }
            }
            let number = live.entry.number;
            // A reader at this version, or a later one, sees what the table deletes as deleted.
            let newest = live.table.properties().newest_version;
            if snapshots.first().is_none_or(|oldest| newest <= *oldest) {
                reclaim.due.insert(number);
            } else {
                reclaim.held.insert(number);
            }
        }
        reclaim
    }

    /// What a plan sees of the tables in `levels`.
    pub(crate) fn metas(&self, levels: &Levels) -> Vec<TableMeta> {
        let tables = levels.tables.iter();
        let meta = |live: &LiveTable| TableMeta {
            is_due: self.due.contains(&live.entry.number),
            ..live.meta.clone()
        };
        tables.map(|live| meta(live)).collect()
    }
}

/// True if merging `live` with all that is older, in its keys, gives back `percent` of a hundred bytes of them.
fn is_worth(levels: &Levels, live: &LiveTable, percent: u32) -> Result<bool> {
    if live.meta.tombstones == 0 {
        return Ok(false);
    }
    let older = levels.tables.iter().map(|other| &**other);
    let older: Vec<&LiveTable> = older.filter(|other| is_older(other, live)).collect();
    let bytes: u64 = older.iter().map(|other| other.entry.bytes).sum();
    let entries: u64 = older.iter().map(|other| entries(other)).sum();
    let cost = bytes.saturating_add(live.entry.bytes);
    // A deletion goes, and one entry of the usual size that it hides.
    let each = bytes / entries.max(1) + live.entry.bytes / entries_and_ranges(live);
    let points = live.table.properties().tombstones.saturating_mul(each);
    let ranges = older.iter().map(|other| hidden_bytes(live, other));
    let ranges = ranges.sum::<Result<u64>>()?;
    let gain = points.saturating_add(ranges).min(cost);
    Ok(u128::from(gain) * 100 >= u128::from(cost) * u128::from(percent))
}

fn entries(live: &LiveTable) -> u64 {
    live.table.properties().entries()
}

fn entries_and_ranges(live: &LiveTable) -> u64 {
    let properties = live.table.properties();
    let all = properties
        .entries()
        .saturating_add(properties.range_tombstones);
    all.max(1)
}

/// True if `other` has keys of `live`, and is older.
fn is_older(other: &LiveTable, live: &LiveTable) -> bool {
    let (a, b) = (&other.meta, &live.meta);
    let is_behind = a.level > b.level || a.level == b.level && a.run < b.run;
    is_behind && a.range.overlaps(&b.range)
}

/// About how many bytes of `older` the range tombstones of `live` hide.
fn hidden_bytes(live: &LiveTable, older: &LiveTable) -> Result<u64> {
    let oldest = older.table.properties().oldest_version;
    let fragments = live.table.range_tombstones();
    // Those of one range stand newest first.
    let ranges = fragments.chunk_by(|a, b| a.start == b.start);
    let newest = ranges.filter_map(|same| same.first());
    let hiding =
        newest.filter(|range| range.version > oldest && *older.meta.range.first < *range.end);
    let bytes = hiding.map(|range| {
        let within = &range.start[..]..&range.end[..];
        Ok(older.table.approximate_bytes(within)?)
    });
    bytes.sum()
}
