//! [`KeyRange`]: from which key to which a table reaches.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::bounds::is_above;
use crate::table_info::TableInfo;

/// The keys from `first` to `last`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The smallest key.
    pub first: Vec<u8>,
    /// Where it ends: a key that is in it, or the first one that is not.
    pub last: Bound<Vec<u8>>,
}

impl KeyRange {
    /// The keys of a table: of its entries, and those that its range tombstones delete.
    pub fn of(table: &TableInfo) -> Self {
        Self {
            first: table.first.clone(),
            last: table.last.clone(),
        }
    }

    /// True if `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.first <= *key && self.reaches(key)
    }

    /// True if some key is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.reaches(&other.first) && other.reaches(&self.first)
    }

    /// True if its end is not before `key`.
    pub(crate) fn reaches(&self, key: &[u8]) -> bool {
        !is_above(key, &self.last)
    }

    /// Grows until it contains `other`.
    pub(crate) fn include(&mut self, other: &Self) {
        if other.first < self.first {
            self.first.clone_from(&other.first);
        }
        if compare_ends(&self.last, &other.last).is_lt() {
            self.last.clone_from(&other.last);
        }
    }
}

/// `ranges` as few disjoint ones, in order.
pub fn union(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.sort_by(|a, b| a.first.cmp(&b.first));
    let mut union: Vec<KeyRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match union.last_mut().filter(|last| last.reaches(&range.first)) {
            Some(last) => last.include(&range),
            None => union.push(range),
        }
    }
    union
}

fn compare_ends(a: &Bound<Vec<u8>>, b: &Bound<Vec<u8>>) -> Ordering {
    end(a).cmp(&end(b))
}

/// In the order of ends: what includes a key ends behind what excludes it.
fn end(bound: &Bound<Vec<u8>>) -> (bool, &[u8], bool) {
    match bound {
        Bound::Unbounded => (true, &[], true),
        Bound::Included(key) => (false, key, true),
        Bound::Excluded(key) => (false, key, false),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `"a..c"` is without `c`, `"a..=c"` with it.
    pub(crate) fn range(text: &str) -> KeyRange {
        let (first, last) = text.split_once("..").unwrap();
        let last = match last.strip_prefix('=') {
            Some(last) => Bound::Included(last.into()),
            None => Bound::Excluded(last.into()),
        };
        let first = first.into();
        KeyRange { first, last }
    }

    #[test]
    fn ranges_that_share_a_key_overlap() {
        for (a, b, expected) in [
            ("a..=c", "c..=d", true),
            ("a..c", "c..=d", false),
            ("a..cc", "c..=d", true),
            ("b..=b", "a..=c", true),
            ("a..=b", "c..=d", false),
        ] {
            assert_eq!(range(a).overlaps(&range(b)), expected, "{a} {b}");
            assert_eq!(range(b).overlaps(&range(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_union_is_disjoint_and_has_the_same_keys() {
        let union = |texts: &[&str]| union(texts.iter().map(|text| range(text)).collect());
        let found = union(&["x..=y", "a..c", "b..=c", "c..d", "d..=d"]);
        assert_eq!(found, [range("a..d"), range("d..=d"), range("x..=y")]);
        assert_eq!(union(&["a..=c", "b..c"]), [range("a..=c")]);
    }
}
