//! Tables that a range tombstone covers whole: they go by an edit, without being read.

use sstable::RangeTombstone;

use crate::levels::{Levels, LiveTable};

/// The numbers of the tables that no reader sees anything of, because a range tombstone of another table
/// is newer than all of it; `snapshots` are the versions at which readers are, ascending.
///
/// What the table itself hides, its range of keys being covered, the range tombstone hides too.
pub(crate) fn covered(levels: &Levels, snapshots: &[u64]) -> Vec<u64> {
    let with_ranges = || {
        let tables = levels.tables.iter();
        tables.filter(|live| !live.table.range_tombstones().is_empty())
    };
    if with_ranges().next().is_none() {
        return Vec::new();
    }
    let is_dead = |live: &&std::sync::Arc<LiveTable>| {
        let mut others = with_ranges().filter(|other| other.entry.number != live.entry.number);
        others.any(|other| covers(other.table.range_tombstones(), live, snapshots))
    };
    let dead = levels.tables.iter().filter(is_dead);
    dead.map(|live| live.entry.number).collect()
}

/// True if `fragments`, which are in order, delete all keys of `live`, for all readers.
fn covers(fragments: &[RangeTombstone], live: &LiveTable, snapshots: &[u64]) -> bool {
    let properties = live.table.properties();
    let (oldest, newest) = (properties.oldest_version, properties.newest_version);
    let hides = |fragment: &RangeTombstone| {
        let seen = snapshots.partition_point(|reader| *reader < oldest);
        let reader = snapshots.get(seen);
        // Whoever sees something of the table sees the range tombstone too.
        fragment.version > newest && reader.is_none_or(|reader| *reader >= fragment.version)
    };
    let range = &live.meta.range;
    let mut from = &*range.first;
    for fragment in fragments.iter().filter(|fragment| hides(fragment)) {
        if *fragment.end <= *from {
            continue;
        }
        if *fragment.start > *from {
            return false;
        }
        from = &fragment.end;
        let reaches = match &range.last {
            std::ops::Bound::Unbounded => false,
            std::ops::Bound::Included(last) => **last < *from,
            std::ops::Bound::Excluded(end) => **end <= *from,
        };
        if reaches {
            return true;
        }
    }
    false
}
