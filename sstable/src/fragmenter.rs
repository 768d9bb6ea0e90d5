//! [`fragment`]: range tombstones in the form in which tables have them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::entry::RangeTombstone;
use crate::error::{Error, Result};

/// Any range tombstones as fragments, which delete the same: their ranges are disjoint and ascending, or
/// identical with descending versions. Neighbours with the same versions become one; empty ranges are
/// left out. A [`Writer`](crate::Writer) takes fragments, and so does a [`Source`](crate::Source).
///
/// ```
/// use sstable::{MAX_RANGE_TOMBSTONES_SIZE, RangeTombstone, fragment};
///
/// let range = |start: &str, end: &str, version| RangeTombstone {
///     start: start.into(),
///     end: end.into(),
///     version,
/// };
/// let overlapping = [range("a", "c", 1), range("b", "d", 2)];
/// assert_eq!(
///     fragment(overlapping, MAX_RANGE_TOMBSTONES_SIZE)?,
///     [range("a", "b", 1), range("b", "c", 2), range("b", "c", 1), range("c", "d", 2)]
/// );
/// # Ok::<(), sstable::Error>(())
/// ```
///
/// # Cost
/// O(n log n) comparisons, and one step for each fragment. Of n range tombstones that overlap each other there can
/// be n² fragments, so they are counted while they are made.
///
/// # Errors
/// [`Error::TooLarge`] if the fragments have more than `limit` bytes, with 16 for each beside its keys; a table
/// takes [`MAX_RANGE_TOMBSTONES_SIZE`](crate::MAX_RANGE_TOMBSTONES_SIZE). Then fewer at a time fit, in several
/// tables.
pub fn fragment(
    tombstones: impl IntoIterator<Item = RangeTombstone>,
    limit: usize,
) -> Result<Vec<RangeTombstone>> {
    fragment_within(tombstones, |version| version, limit)
}

/// Like [`fragment`]; but of the versions of one range that have the same `reader`, which only grows with the
/// version, the newest alone.
pub(crate) fn fragment_as_seen(
    tombstones: impl IntoIterator<Item = RangeTombstone>,
    reader: impl Fn(u64) -> u64,
) -> Vec<RangeTombstone> {
    fragment_within(tombstones, reader, usize::MAX).expect("there is no limit")
}

fn fragment_within(
    tombstones: impl IntoIterator<Item = RangeTombstone>,
    reader: impl Fn(u64) -> u64,
    limit: usize,
) -> Result<Vec<RangeTombstone>> {
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
    let mut size = 0;
    // What each reader sees of the range from `start` on, and everything that reaches over the border.
    let mut seen: BTreeMap<Reverse<u64>, u64> = BTreeMap::new();
    let mut start = Vec::new();
    let mut open = Open::default();
    for (border, changes) in borders {
        for &(version, is_begin) in &changes {
            open.change(reader(version), version, is_begin);
        }
        // Nothing else is looked at than the readers of what changes here: most see something else rarely.
        let readers = changes.iter().map(|(version, _)| reader(*version));
        let readers: Vec<u64> = readers
            .filter(|&reader| open.newest(reader) != seen.get(&Reverse(reader)).copied())
            .collect();
        if readers.is_empty() {
            continue;
        }
        for &version in seen.values() {
            size += start.len() + border.len() + 16;
            if size > limit {
                return Err(Error::TooLarge {
                    what: "the sum of all range tombstones",
                    size: size as u64,
                    limit: limit as u64,
                });
            }
            fragments.push(RangeTombstone {
                start: start.clone(),
                end: border.clone(),
                version,
            });
        }
        for reader in readers {
            match open.newest(reader) {
                Some(version) => seen.insert(Reverse(reader), version),
                None => seen.remove(&Reverse(reader)),
            };
        }
        start = border;
    }
    Ok(fragments)
}

/// The range tombstones that reach over a border: by reader and version, how many.
#[derive(Debug, Default)]
struct Open(BTreeMap<(u64, u64), usize>);

impl Open {
    fn change(&mut self, reader: u64, version: u64, is_begin: bool) {
        let count = self.0.entry((reader, version)).or_default();
        // Of one border ends may come before begins.
        *count = if is_begin {
            count.wrapping_add(1)
        } else {
            count.wrapping_sub(1)
        };
        if *count == 0 {
            self.0.remove(&(reader, version));
        }
    }

    /// The newest version that `reader` sees.
    fn newest(&self, reader: u64) -> Option<u64> {
        let its = self.0.range((reader, 0)..=(reader, u64::MAX));
        its.map(|((_, version), _)| *version).next_back()
    }
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
        let fragments = fragment(tombstones.iter().map(owned), usize::MAX).unwrap();
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
            let mut expected = fragment(nested(12), usize::MAX).unwrap();
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

    #[test]
    fn more_fragments_than_are_wanted_are_an_error_before_they_are_made() {
        let all = fragment(nested(40), usize::MAX).unwrap();
        let size: usize = all
            .iter()
            .map(|it| it.start.len() + it.end.len() + 16)
            .sum();
        assert_eq!(fragment(nested(40), size).unwrap(), all);
        assert!(matches!(
            fragment(nested(40), size - 1),
            Err(Error::TooLarge { limit, .. }) if limit == size as u64 - 1
        ));
        // 20,000 that nest would be 400 million fragments: the error comes after those that fit.
        let refused = fragment(nested(20_000), 1 << 20).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { size, .. } if size < (1 << 20) + 100));
    }

    /// Each border cost a step for everything that reaches over it, also where nothing changed.
    #[test]
    fn what_reaches_over_a_border_where_nothing_changes_costs_nothing() {
        let depth = 100_000;
        let within = |n: u32| RangeTombstone {
            start: format!("{:05}", 2 * n).into_bytes(),
            end: format!("{:05}", 2 * n + 1).into_bytes(),
            version: 0,
        };
        // Seen by one reader, who sees the newest, which is over all of them.
        let over = RangeTombstone {
            start: b"".to_vec(),
            end: b"x".to_vec(),
            version: u64::MAX,
        };
        let all = nested(depth)
            .chain((0..depth).map(within))
            .chain([over.clone()]);
        assert_eq!(fragment_as_seen(all, |_| 0), [over]);
    }

    /// As it is defined: for each key and each version, one that covers it.
    #[test]
    fn random_ranges_delete_the_same_as_fragments() {
        use rand::rngs::StdRng;
        use rand::{RngExt, SeedableRng};
        for seed in 0..300 {
            let mut rng = StdRng::seed_from_u64(seed);
            let count = rng.random_range(0..12);
            let mut range = || RangeTombstone {
                start: vec![rng.random_range(0..10)],
                end: vec![rng.random_range(0..10)],
                version: rng.random_range(0..6),
            };
            let ranges: Vec<_> = (0..count).map(|_| range()).collect();
            let fragments = fragment(ranges.iter().cloned(), usize::MAX).unwrap();
            let in_order = fragments
                .windows(2)
                .all(|two| crate::fragments::is_behind(&two[0], &two[1]));
            assert!(in_order, "{seed}: {fragments:?}");
            for (key, version) in
                (0..10).flat_map(|key| (0..6).map(move |version| ([key], version)))
            {
                let covers = |it: &&RangeTombstone| it.contains(&key) && it.version <= version;
                let expected = ranges.iter().filter(covers).map(|it| it.version).max();
                let found = covering(&fragments, &key, version);
                assert_eq!(found, expected, "{seed}: {ranges:?}");
            }
        }
    }
}
