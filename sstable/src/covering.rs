//! [`Covering`]: what the range tombstones of several sources hide.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::entry::{Entry, RangeTombstone};

/// The range tombstones of several sources, asked for one key after another.
///
/// Between two borders of ranges the answer is the same for all keys: it is kept, so that a key next to
/// the one before costs two comparisons. A key beyond is looked up in each source that has any:
/// O(log n).
#[derive(Clone, Debug, Default)]
pub(crate) struct Covering {
    /// Which source, and what it has; only those that have any.
    sources: Vec<(usize, Arc<[RangeTombstone]>)>,
    /// The keys from `from` (all, if `None`) to `to` (excluded) are those that `here` is valid for.
    from: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
    is_placed: bool,
    /// Version and source of all range tombstones here, the newest first.
    here: Vec<(u64, usize)>,
}

impl Covering {
    /// What `sources` have, the newest first: fragments.
    pub(crate) fn new<'a>(sources: impl IntoIterator<Item = &'a Arc<[RangeTombstone]>>) -> Self {
        let sources = sources.into_iter().enumerate();
        Self {
            sources: sources
                .filter(|(_, ranges)| !ranges.is_empty())
                .map(|(source, ranges)| (source, Arc::clone(ranges)))
                .collect(),
            ..Self::default()
        }
    }

    /// True if a reader at version `reader` does not see `entry` of `source` because of a range
    /// tombstone that it sees.
    #[inline]
    pub(crate) fn hides(&mut self, entry: Entry<'_>, source: usize, reader: u64) -> bool {
        !self.sources.is_empty() && self.is_covered(entry, source, reader)
    }

    fn is_covered(&mut self, entry: Entry<'_>, source: usize, reader: u64) -> bool {
        self.place(entry.key);
        // The newest one that is seen hides whatever an older one does.
        let seen = self.here.iter().find(|(version, _)| *version <= reader);
        seen.is_some_and(|&(version, newer)| {
            version > entry.version || version == entry.version && newer < source
        })
    }

    fn place(&mut self, key: &[u8]) {
        let is_behind = self.from.as_deref().is_none_or(|from| from <= key);
        let is_before = self.to.as_deref().is_none_or(|to| key < to);
        if self.is_placed && is_behind && is_before {
            return;
        }
        self.is_placed = true;
        self.here.clear();
        let (mut from, mut to): (Option<&[u8]>, Option<&[u8]>) = (None, None);
        for (source, ranges) in &self.sources {
            let begun = ranges.partition_point(|range| *range.start <= *key);
            let (begun, next) = ranges.split_at(begun);
            let mut border = next.first().map(|range| &*range.start);
            if let Some(last) = begun.last() {
                if *key < *last.end {
                    let same = begun
                        .iter()
                        .rev()
                        .take_while(|range| range.start == last.start);
                    self.here.extend(same.map(|range| (range.version, *source)));
                    border = Some(&last.end);
                    from = from.max(Some(&last.start));
                } else {
                    from = from.max(Some(&last.end));
                }
            }
            to = match (to, border) {
                (Some(to), Some(border)) => Some(to.min(border)),
                (to, border) => to.or(border),
            };
        }
        self.here
            .sort_unstable_by_key(|&(version, source)| (Reverse(version), source));
        self.from = from.map(<[u8]>::to_vec);
        self.to = to.map(<[u8]>::to_vec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;

    fn ranges(ranges: &[(&str, &str, u64)]) -> Arc<[RangeTombstone]> {
        let tombstone = |&(start, end, version): &(&str, &str, u64)| RangeTombstone {
            start: start.into(),
            end: end.into(),
            version,
        };
        ranges.iter().map(tombstone).collect()
    }

    /// Whether `key` of that version and source is hidden from each reader in `readers`.
    fn check(covering: &mut Covering, key: &str, version: u64, source: usize, hidden: [bool; 3]) {
        let entry = Entry {
            key: key.as_bytes(),
            version,
            kind: Kind::Put,
            value: b"",
        };
        let found = [3, 6, 9].map(|reader| covering.hides(entry, source, reader));
        assert_eq!(
            found, hidden,
            "{key} of version {version} in source {source}"
        );
    }

    #[test]
    fn a_range_tombstone_hides_what_is_older_from_those_who_see_it() {
        let newer = ranges(&[("b", "d", 8), ("b", "d", 5), ("f", "g", 4)]);
        let older = ranges(&[("a", "c", 2), ("c", "f", 5)]);
        let mut covering = Covering::new([&newer, &Arc::default(), &older]);
        check(&mut covering, "a", 1, 2, [true, true, true]);
        check(&mut covering, "b", 1, 2, [true, true, true]);
        check(&mut covering, "b", 3, 2, [false, true, true]);
        check(&mut covering, "b", 6, 2, [false, false, true]);
        check(&mut covering, "b", 9, 2, [false, false, false]);
        // Of an equal version: only in older sources.
        check(&mut covering, "c", 5, 0, [false, false, true]);
        check(&mut covering, "c", 5, 1, [false, true, true]);
        check(&mut covering, "e", 5, 2, [false, false, false]);
        check(&mut covering, "e", 5, 3, [false, true, true]);
        check(&mut covering, "g", 0, 3, [false, false, false]);
        // Backward too.
        check(&mut covering, "f", 3, 2, [false, true, true]);
        check(&mut covering, "d", 4, 2, [false, true, true]);
        check(&mut covering, "a", 1, 1, [true, true, true]);
        check(&mut covering, "", 0, 1, [false, false, false]);
    }
}
