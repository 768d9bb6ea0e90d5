//! [`Entry`] and [`RangeTombstone`]: what a table holds, and the order it is in.

use std::cmp::Ordering;

/// What an entry says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The key has the value from this version on.
    Put,
    /// The key is deleted from this version on; the value is empty. Also called a tombstone.
    Delete,
}

impl Kind {
    /// Its number on the disk.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Delete => 2,
        }
    }

    #[inline]
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Put),
            2 => Some(Self::Delete),
            _ => None,
        }
    }
}

/// One entry, lent.
///
/// Entries are in the order of their keys, bytewise ascending; those of one key in the order of their
/// versions, *descending*, so that the newest comes first. A table without versions has 0 everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry<'a> {
    /// Any bytes, none at all too.
    pub key: &'a [u8],
    /// When it was written: larger is newer.
    pub version: u64,
    /// What it says.
    pub kind: Kind,
    /// Any bytes; empty for a deletion.
    pub value: &'a [u8],
}

/// How two entries stand to each other in the order of all tables: key ascending, then version
/// descending.
#[inline]
pub fn compare(a: (&[u8], u64), b: (&[u8], u64)) -> Ordering {
    a.0.cmp(b.0).then_with(|| b.1.cmp(&a.1))
}

/// Deletes every key from `start` to `end`.
///
/// It hides the entries of that range that have a smaller version, and those of an equal version that
/// are in *older* sources. So in tables without versions it hides what older tables say, and never an
/// entry of its own table.
///
/// ```
/// use sstable::{BlockCache, Options, RangeTombstone, Table};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// let october = RangeTombstone {
///     start: b"2026-10".to_vec(),
///     end: b"2026-11".to_vec(),
///     version: 0,
/// };
/// assert!(october.contains(b"2026-10-31") && !october.contains(b"2026-11-01"));
/// let mut writer = Options::new().create(&dir, "t")?;
/// writer.add_range_tombstone(&october)?; // what overlaps goes through `fragment` first
/// writer.finish()?;
/// let table = Table::open(&dir, "t", &BlockCache::new(1 << 20))?;
/// assert_eq!(table.range_tombstones(), [october]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeTombstone {
    /// The first key that is deleted.
    pub start: Vec<u8>,
    /// The first key behind it that is not; above `start`.
    pub end: Vec<u8>,
    /// When it was written: larger is newer.
    pub version: u64,
}

impl RangeTombstone {
    /// True if `key` is in the range.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && *key < *self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entry_of_a_key_comes_first() {
        assert_eq!(compare((b"a", 2), (b"a", 1)), Ordering::Less);
        assert_eq!(compare((b"a", 1), (b"b", 9)), Ordering::Less);
        assert_eq!(compare((b"a", 7), (b"a", 7)), Ordering::Equal);
        assert_eq!(compare((b"ab", 0), (b"a", 0)), Ordering::Greater);
    }

    #[test]
    fn the_end_of_a_range_is_not_in_it() {
        let range = RangeTombstone {
            start: b"b".to_vec(),
            end: b"d".to_vec(),
            version: 0,
        };
        let inside = [&b"a"[..], b"b", b"c\xff", b"d"].map(|key| range.contains(key));
        assert_eq!(inside, [false, true, true, false]);
    }
}
