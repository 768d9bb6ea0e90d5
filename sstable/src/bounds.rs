//! The bounds of what is read: which keys are outside, and where a cursor begins.

use std::ops::Bound;

use crate::cursor::Cursor;
use crate::error::Result;

/// True if `key` comes behind all keys up to `upper`.
#[inline]
pub(crate) fn is_above(key: &[u8], upper: &Bound<Vec<u8>>) -> bool {
    match upper {
        Bound::Unbounded => false,
        Bound::Included(last) => key > &**last,
        Bound::Excluded(end) => key >= &**end,
    }
}

/// True if `key` comes before all keys from `lower` on.
#[inline]
pub(crate) fn is_below(key: &[u8], lower: &Bound<Vec<u8>>) -> bool {
    match lower {
        Bound::Unbounded => false,
        Bound::Included(first) => key < &**first,
        Bound::Excluded(before) => key <= &**before,
    }
}

/// The first key behind all that begin with `prefix`; `None` if there is none.
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte < 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// Where the keys that begin with `prefix` end.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Bound<Vec<u8>> {
    successor(prefix).map_or(Bound::Unbounded, Bound::Excluded)
}

/// Moves `cursor` to the first entry from `lower` on; of the key of a bound that is included, to the first
/// one that is not newer than `version`.
pub(crate) fn seek_lower(
    cursor: &mut impl Cursor,
    lower: &Bound<Vec<u8>>,
    version: u64,
) -> Result<()> {
    match lower {
        Bound::Unbounded => cursor.seek_to_first(),
        Bound::Included(key) => cursor.seek(key, version),
        Bound::Excluded(key) => seek_behind(cursor, key),
    }
}

/// Moves `cursor` to the last entry up to `upper`.
pub(crate) fn seek_upper(cursor: &mut impl Cursor, upper: &Bound<Vec<u8>>) -> Result<()> {
    match upper {
        Bound::Unbounded => cursor.seek_to_last(),
        Bound::Included(key) => {
            cursor.seek(key, 0)?;
            if is_on(cursor, key) {
                return Ok(());
            }
            cursor.retreat()
        }
        Bound::Excluded(key) => {
            cursor.seek(key, u64::MAX)?;
            cursor.retreat()
        }
    }
}

/// Moves `cursor` to the first entry of a key above `key`.
pub(crate) fn seek_behind(cursor: &mut impl Cursor, key: &[u8]) -> Result<()> {
    cursor.seek(key, 0)?;
    // The oldest version of the key itself, if it is 0.
    if is_on(cursor, key) {
        cursor.advance()?;
    }
    Ok(())
}

fn is_on(cursor: &impl Cursor, key: &[u8]) -> bool {
    cursor.entry().is_some_and(|entry| entry.key == key)
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn the_successor_of_a_prefix_is_the_first_key_behind_all_that_have_it() {
        for (prefix, expected) in [
            (&b"a"[..], Some(&b"b"[..])),
            (b"a\xff", Some(b"b")),
            (b"a\xff\xff\x01", Some(b"a\xff\xff\x02")),
            (b"\xff\xff", None),
            (b"", None),
        ] {
            assert_eq!(successor(prefix).as_deref(), expected, "{prefix:?}");
        }
    }
}
