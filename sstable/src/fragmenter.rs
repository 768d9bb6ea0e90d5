//! [`fragment`]: range tombstones in the form in which tables have them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::entry::RangeTombstone;

/// Any range tombstones as fragments, which delete the same: their ranges are disjoint and ascending, or
/// identical with descending versions. Neighbours with the same versions become one; empty ranges are
/// left out.
///
/// # Cost
/// O(n log n) comparisons, and one step for each fragment; of n range tombstones that overlap each other
/// there can be n².
pub fn fragment(tombstones: impl IntoIterator<Item = RangeTombstone>) -> Vec<RangeTombstone> {
    fragment_as_seen(tombstones, |version| version)
}

/// Like [`fragment`]; but of the versions of one range that have the same `reader`, which only grows with the
/// version, the newest alone.
pub(crate) fn fragment_as_seen(
    tombstones: impl IntoIterator<Item = RangeTombstone>,
    reader: impl Fn(u64) -> u64,
) -> Vec<RangeTombstone> {
    // What begins and what ends at each border.
    let mut borders: BTreeMap<Vec<u8>, Vec<(u64, bool)>> = BTreeMap::new();
    for tombstone in tombstones {
        if tombstone.start < tombstone.end {
            let begin = (tombstone.version, true);
            borders.entry(tombstone.start).or_default().push(begin);
            let end = (tombstone.version, false);
            borders.entry(tombstone.end).or_default().push(end);
        }
    }
    let mut fragments = Vec::new();
    // How many of each version reach over the border.
    let mut open: BTreeMap<Reverse<u64>, usize> = BTreeMap::new();
    let mut start = Vec::new();
    let seen = |open: &BTreeMap<Reverse<u64>, usize>| {
        let mut versions: Vec<u64> = open.keys().map(|version| version.0).collect();
        versions.dedup_by_key(|version| reader(*version));
        versions
    };
    for (border, changes) in borders {
        let before = seen(&open);
        for (version, is_begin) in changes {
            let count = open.entry(Reverse(version)).or_default();
            *count = if is_begin {
                *count + 1
            } else {
                count.wrapping_sub(1)
            };
        }
        open.retain(|_, count| *count > 0);
        if seen(&open) == before {
            continue;
        }
        fragments.extend(before.into_iter().map(|version| RangeTombstone {
            start: start.clone(),
            end: border.clone(),
            version,
        }));
        start = border;
    }
    fragments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compaction::Retention;
    use crate::covering;

    fn check(tombstones: &[(&str, &str, u64)], expected: &[(&str, &str, u64)]) {
        let owned = |&(start, end, version): &(&str, &str, u64)| RangeTombstone {
            start: start.into(),
            end: end.into(),
            version,
        };
        let fragments = fragment(tombstones.iter().map(owned));
        let expected: Vec<_> = expected.iter().map(owned).collect();
        assert_eq!(fragments, expected, "{tombstones:?}");
    }

    #[test]
    fn ranges_are_cut_where_others_begin_and_end() {
        check(&[], &[]);
        check(&[("b", "a", 1), ("a", "a", 1)], &[]);
        check(
            &[("a", "c", 1), ("b", "d", 2)],
            &[("a", "b", 1), ("b", "c", 2), ("b", "c", 1), ("c", "d", 2)],
        );
        check(&[("a", "d", 1), ("b", "c", 1)], &[("a", "d", 1)]);
        check(
            &[("c", "d", 3), ("a", "b", 3)],
            &[("a", "b", 3), ("c", "d", 3)],
        );
    }

    #[test]
    fn neighbours_with_the_same_versions_are_one() {
        check(&[("a", "b", 1), ("b", "c", 1)], &[("a", "c", 1)]);
        check(
            &[("a", "b", 1), ("a", "c", 2), ("b", "c", 1), ("c", "d", 2)],
            &[("a", "c", 2), ("a", "c", 1), ("c", "d", 2)],
        );
    }

    fn nested(depth: u32) -> impl Iterator<Item = RangeTombstone> {
        (0..depth).map(move |n| RangeTombstone {
            start: format!("{n:05}").into_bytes(),
            end: format!("{:05}", 2 * depth - n).into_bytes(),
            version: u64::from(n * 7 % depth),
        })
    }

    #[test]
    fn for_each_reader_one_is_enough() {
        for snapshots in [vec![], vec![0], vec![3, 9], vec![2, 3, 4, 11]] {
            let retention = Retention::new().snapshots(snapshots.iter().copied());
            let reader = |version| retention.first_reader(version);
            let mut expected = fragment(nested(12));
            expected.dedup_by(|next, last| {
                next.start == last.start && reader(next.version) == reader(last.version)
            });
            // The same deletions for each reader, whatever is joined.
            let seen = fragment_as_seen(nested(12), reader);
            assert!(seen.len() <= expected.len());
            for at in snapshots.iter().copied().chain([u64::MAX]) {
                for key in 0..25_u32 {
                    let key = format!("{key:05}");
                    let version = |all: &[RangeTombstone]| covering(all, key.as_bytes(), at);
                    assert_eq!(version(&seen), version(&expected), "{snapshots:?}, {at}");
                }
            }
        }
    }

    /// There were as many as the square of the depth in memory, whatever was left of them.
    #[test]
    fn however_deep_they_nest_there_are_not_more_than_borders_and_readers() {
        let depth = 2000;
        assert!(fragment_as_seen(nested(depth), |_| 0).len() < 2 * 2000);
        let two = fragment_as_seen(nested(depth), |version| version / 1000);
        assert!(two.len() < 2 * 2 * 2000);
    }
}
