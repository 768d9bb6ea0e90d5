//! The range tombstones of a table: fragments in order ([format], section 8).
//!
//! Fragments are disjoint, or have the same range and different versions. They stand in the order of
//! their ranges; those of one range newest first.
//!
//! [format]: crate::format

use durable_io::codec::{Decoder, Encoder};

use crate::entry::RangeTombstone;
use crate::error::Corruption;

/// True if `next` may stand behind `last` among fragments.
pub(crate) fn is_behind(last: &RangeTombstone, next: &RangeTombstone) -> bool {
    let is_same = last.start == next.start && last.end == next.end;
    if is_same {
        next.version < last.version
    } else {
        last.end <= next.start
    }
}

/// The newest version, of those up to `version`, with which one of `fragments` deletes `key`. They are
/// in order, as [`Table::range_tombstones`](crate::Table::range_tombstones) has them.
///
/// # Cost
/// O(log n) comparisons of keys, and one step for each fragment of the range that is too new.
#[inline]
pub fn covering(fragments: &[RangeTombstone], key: &[u8], version: u64) -> Option<u64> {
    let first = fragments.partition_point(|fragment| *fragment.end <= *key);
    let (_, rest) = fragments.split_at(first);
    let mut covering = rest.iter().take_while(|fragment| *fragment.start <= *key);
    let fragment = covering.find(|fragment| fragment.version <= version)?;
    Some(fragment.version)
}

/// Appends `fragment` to a payload.
pub(crate) fn encode(out: &mut Encoder, fragment: &RangeTombstone) {
    let length = |key: &[u8]| u32::try_from(key.len()).expect("a key has at most 65,535 bytes");
    out.u64(fragment.version)
        .u32(length(&fragment.start))
        .u32(length(&fragment.end))
        .bytes(&fragment.start)
        .bytes(&fragment.end);
}

/// The `count` fragments of `payload`.
pub(crate) fn decode(payload: &[u8], count: u32) -> Result<Vec<RangeTombstone>, Corruption> {
    let mut rest = Decoder::new(payload);
    let mut fragments: Vec<RangeTombstone> = Vec::new();
    for _ in 0..count {
        let mut fragment = || {
            let version = rest.u64()?;
            let (start, end) = (rest.u32()? as usize, rest.u32()? as usize);
            Some(RangeTombstone {
                start: rest.bytes(start)?.to_vec(),
                end: rest.bytes(end)?.to_vec(),
                version,
            })
        };
        let fragment = fragment().ok_or(Corruption::Length)?;
        let is_in_order = fragment.start < fragment.end
            && fragments
                .last()
                .is_none_or(|last| is_behind(last, &fragment));
        if !is_in_order {
            return Err(Corruption::Order);
        }
        fragments.push(fragment);
    }
    if rest.rest().is_empty() {
        Ok(fragments)
    } else {
        Err(Corruption::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(start: &str, end: &str, version: u64) -> RangeTombstone {
        RangeTombstone {
            start: start.into(),
            end: end.into(),
            version,
        }
    }

    fn some() -> Vec<RangeTombstone> {
        vec![
            fragment("b", "d", 9),
            fragment("b", "d", 4),
            fragment("d", "e", 7),
            fragment("k", "kk", 1),
        ]
    }

    #[test]
    fn the_newest_fragment_that_may_be_seen_covers() {
        for (key, version, expected) in [
            ("a", 9, None),
            ("b", 9, Some(9)),
            ("b", 8, Some(4)),
            ("c", 3, None),
            ("d", 9, Some(7)),
            ("d", 6, None),
            ("e", 9, None),
            ("k", 9, Some(1)),
            ("kj", 9, Some(1)),
            ("kk", 9, None),
        ] {
            let found = covering(&some(), key.as_bytes(), version);
            assert_eq!(found, expected, "{key} {version}");
        }
    }

    #[test]
    fn fragments_are_read_back_and_cut_ones_are_not() {
        let mut out = Encoder::default();
        for fragment in some() {
            encode(&mut out, &fragment);
        }
        let bytes = out.into_vec();
        assert_eq!(decode(&bytes, 4).unwrap(), some());
        for len in 0..bytes.len() {
            decode(&bytes[..len], 4).unwrap_err();
        }
        decode(&bytes, 3).unwrap_err();
        decode(&bytes, 5).unwrap_err();
    }

    #[test]
    fn what_is_out_of_order_is_refused() {
        for (last, next, expected) in [
            (fragment("a", "b", 1), fragment("b", "c", 9), true),
            (fragment("a", "b", 2), fragment("a", "b", 1), true),
            (fragment("a", "b", 1), fragment("a", "b", 1), false),
            (fragment("a", "c", 2), fragment("b", "c", 1), false),
            (fragment("b", "c", 2), fragment("a", "b", 1), false),
        ] {
            assert_eq!(is_behind(&last, &next), expected, "{last:?} {next:?}");
            let mut out = Encoder::default();
            encode(&mut out, &last);
            encode(&mut out, &next);
            assert_eq!(decode(out.as_slice(), 2).is_ok(), expected);
        }
        let mut out = Encoder::default();
        encode(&mut out, &fragment("b", "b", 1));
        assert_eq!(decode(out.as_slice(), 1), Err(Corruption::Order));
    }
}
