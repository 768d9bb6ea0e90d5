//! [`LostKeys`]: how a salvage names what it cannot read.

use std::fmt::{self, Display};
use std::ops::Bound;

use crate::engine::text::Shown;

/// The keys between two bounds, of which something is lost: some of them, all, or none that there was.
///
/// ```
/// use std::ops::Bound;
/// use durable_io::engine::LostKeys;
///
/// let lost = LostKeys {
///     first: Bound::Excluded(b"fig".to_vec()),
///     last: Bound::Included(b"kiwi".to_vec()),
/// };
/// assert!(lost.contains(b"grape") && !lost.contains(b"fig"));
/// assert_eq!(lost.to_string(), r#"keys after "fig" up to "kiwi""#);
/// assert_eq!(LostKeys::ALL.to_string(), "keys");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LostKeys {
    /// Where they begin.
    pub first: Bound<Vec<u8>>,
    /// Where they end.
    pub last: Bound<Vec<u8>>,
}

impl LostKeys {
    /// All keys that there can be.
    pub const ALL: Self = Self {
        first: Bound::Unbounded,
        last: Bound::Unbounded,
    };

    /// True if `key` is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        let has_begun = match &self.first {
            Bound::Included(first) => **first <= *key,
            Bound::Excluded(first) => **first < *key,
            Bound::Unbounded => true,
        };
        has_begun && !self.end_before(key)
    }

    /// True if all of them are before `key`.
    pub fn end_before(&self, key: &[u8]) -> bool {
        match &self.last {
            Bound::Included(last) => **last < *key,
            Bound::Excluded(last) => **last <= *key,
            Bound::Unbounded => false,
        }
    }
}

impl Display for LostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys")?;
        match &self.first {
            Bound::Included(first) => write!(f, " from {}", Shown(first))?,
            Bound::Excluded(first) => write!(f, " after {}", Shown(first))?,
            Bound::Unbounded => {}
        }
        match &self.last {
            Bound::Included(last) => write!(f, " up to {}", Shown(last)),
            Bound::Excluded(last) => write!(f, " before {}", Shown(last)),
            Bound::Unbounded => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_in_or_not() {
        let key = || b"b".to_vec();
        for (first, last, inside) in [
            (
                Bound::Unbounded,
                Bound::Excluded(key()),
                [true, false, false],
            ),
            (
                Bound::Unbounded,
                Bound::Included(key()),
                [true, true, false],
            ),
            (
                Bound::Included(key()),
                Bound::Unbounded,
                [false, true, true],
            ),
            (
                Bound::Excluded(key()),
                Bound::Unbounded,
                [false, false, true],
            ),
            (Bound::Unbounded, Bound::Unbounded, [true, true, true]),
        ] {
            let lost = LostKeys { first, last };
            let found = [&b"a"[..], b"b", b"ba"].map(|key| lost.contains(key));
            assert_eq!(found, inside, "{lost}");
        }
    }
}
