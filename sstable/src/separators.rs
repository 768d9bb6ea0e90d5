//! Separators: which of the things in order (blocks of a partition, partitions of a table) has the place
//! of a key ([format], section 6).
//!
//! A thing's separator is not before its last entry and before the first entry of the next thing.
//! Searches compare the heads of separators, behind the prefix that all have in common.
//!
//! [format]: crate::format

use std::cmp::Ordering;
use std::ops::Range;

use durable_io::codec::Decoder;

use crate::entry::compare;
use crate::error::Corruption;
use crate::head::{against_prefix, common, equal, head};

/// What stands at the end of a payload.
const TRAILER_SIZE: usize = 8;

/// The shortest key that is not below `last` and below `next`, which is above `last`.
pub(crate) fn shortest_between<'a>(last: &'a [u8], next: &'a [u8]) -> &'a [u8] {
    // One byte more of `next` than they have in common is above `last`. It is below `next` if `next`
    // goes on behind it.
    let len = common(last, next) + 1;
    match next.get(..len) {
        Some(key) if len < next.len() && len < last.len() => key,
        _ => last,
    }
}

/// Separators that are being gathered, each with `C` numbers.
#[derive(Debug)]
pub(crate) struct SeparatorsBuilder<const C: usize> {
    keys: Vec<u8>,
    ends: Vec<usize>,
    versions: Vec<u64>,
    numbers: Vec<[u64; C]>,
}

impl<const C: usize> SeparatorsBuilder<C> {
    pub(crate) fn new() -> Self {
        Self {
            keys: Vec::new(),
            ends: Vec::new(),
            versions: Vec::new(),
            numbers: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// About how long the payload will be, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.keys.len() + self.len() * (20 + 8 * C)
    }

    /// Appends a separator: behind it is what is above `key`, or has a version below `version` of it.
    pub(crate) fn push(&mut self, key: &[u8], version: u64, numbers: [u64; C]) {
        self.keys.extend_from_slice(key);
        self.ends.push(self.keys.len());
        self.versions.push(version);
        self.numbers.push(numbers);
    }

    fn key(&self, nth: usize) -> &[u8] {
        let end = |nth| *self.ends.get(nth).expect("each separator has an end");
        let start = nth.checked_sub(1).map_or(0, end);
        let key = self.keys.get(start..end(nth));
        key.expect("each separator begins where the one before ends")
    }

    /// What all separators begin with.
    fn prefix(&self) -> &[u8] {
        let Some(last) = self.len().checked_sub(1) else {
            return &[];
        };
        let first = self.key(0);
        let (prefix, _) = first.split_at(common(first, self.key(last)));
        prefix
    }

    /// The payload; the builder is then empty.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let len = self.len();
        let prefix = self.prefix();
        let suffix = |nth| {
            let suffix = self.key(nth).get(prefix.len()..);
            suffix.expect("what the first and the last have in common, all between have")
        };
        let mut out = Vec::with_capacity(self.size() + TRAILER_SIZE);
        for nth in 0..len {
            out.extend_from_slice(&head(suffix(nth)).to_le_bytes());
        }
        for column in 0..C {
            for number in self.numbers.iter().filter_map(|row| row.get(column)) {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        let has_versions = self.versions.iter().any(|&version| version != 0);
        if has_versions {
            for version in &self.versions {
                out.extend_from_slice(&version.to_le_bytes());
            }
        }
        let mut end = 0;
        for nth in 0..len {
            end += suffix(nth).len();
            let end = u32::try_from(end).expect("a partition's index is small");
            out.extend_from_slice(&end.to_le_bytes());
        }
        for nth in 0..len {
            out.extend_from_slice(suffix(nth));
        }
        out.extend_from_slice(prefix);
        let short = |n: usize| u16::try_from(n).expect("a key has at most 65,535 bytes");
        let len = u32::try_from(len).expect("a partition's index is small");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&short(prefix.len()).to_le_bytes());
        out.extend_from_slice(&u16::from(has_versions).to_le_bytes());
        *self = Self::new();
        out
    }
}

const ALL_IS_INSIDE: &str = "`parse` found all parts inside, and the payload is as long as then";

/// Where the parts of a payload with `C` numbers for each separator are.
#[derive(Clone, Debug)]
pub(crate) struct Separators<const C: usize> {
    len: usize,
    has_versions: bool,
    keys: Range<usize>,
    prefix: Range<usize>,
}

impl<const C: usize> Separators<C> {
    /// Reads the trailer of `payload` and checks that everything is inside. The order is not checked.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Corruption> {
        let parse = || {
            let at = payload.len().checked_sub(TRAILER_SIZE)?;
            let mut trailer = Decoder::new(payload.get(at..)?);
            let len = trailer.u32()? as usize;
            let [p0, p1, v0, v1] = *trailer.bytes(4)?.first_chunk::<4>()?;
            let prefix = usize::from(u16::from_le_bytes([p0, p1]));
            let has_versions = match u16::from_le_bytes([v0, v1]) {
                0 => false,
                1 => true,
                _ => return None,
            };
            let numbers = 1 + C + usize::from(has_versions);
            let keys = len.checked_mul(numbers * 8 + 4)?;
            let prefix = at.checked_sub(prefix)?..at;
            (len > 0 && keys <= prefix.start).then_some(Self {
                len,
                has_versions,
                keys: keys..prefix.start,
                prefix,
            })
        };
        let this = parse().ok_or(Corruption::Length)?;
        let mut before = 0;
        for end in this.ends(payload) {
            if u32::from_le_bytes(*end) < before {
                return Err(Corruption::Length);
            }
            before = u32::from_le_bytes(*end);
        }
        if before as usize != this.keys.len() {
            return Err(Corruption::Length);
        }
        Ok(this)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn words<'a>(&self, payload: &'a [u8], nth: usize) -> &'a [[u8; 8]] {
        let start = nth * self.len * 8;
        let bytes = payload.get(start..start + self.len * 8);
        bytes.expect(ALL_IS_INSIDE).as_chunks().0
    }

    pub(crate) fn heads<'a>(&self, payload: &'a [u8]) -> &'a [[u8; 8]] {
        self.words(payload, 0)
    }

    fn ends<'a>(&self, payload: &'a [u8]) -> &'a [[u8; 4]] {
        let bytes = payload.get(self.keys.start - self.len * 4..self.keys.start);
        bytes.expect(ALL_IS_INSIDE).as_chunks().0
    }

    /// A number of separator `nth`, which there is.
    #[inline]
    pub(crate) fn number(&self, payload: &[u8], column: usize, nth: usize) -> u64 {
        let word = self.words(payload, 1 + column).get(nth);
        u64::from_le_bytes(*word.expect("who asks for a number knows how many there are"))
    }

    fn version(&self, payload: &[u8], nth: usize) -> u64 {
        if self.has_versions {
            self.number(payload, C, nth)
        } else {
            0
        }
    }

    pub(crate) fn prefix<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        payload.get(self.prefix.clone()).expect(ALL_IS_INSIDE)
    }

    /// Separator `nth`, which there is, behind the prefix, and its version.
    ///
    /// # Errors
    /// The payload has changed since it was parsed.
    pub(crate) fn separator<'a>(
        &self,
        payload: &'a [u8],
        nth: usize,
    ) -> Result<(&'a [u8], u64), Corruption> {
        let ends = self.ends(payload);
        let end = |nth| {
            let end = ends.get(nth).ok_or(Corruption::Length)?;
            Ok(u32::from_le_bytes(*end) as usize)
        };
        let start = nth.checked_sub(1).map_or(Ok(0), end)?;
        let keys = payload.get(self.keys.clone()).expect(ALL_IS_INSIDE);
        let suffix = keys.get(start..end(nth)?).ok_or(Corruption::Length)?;
        Ok((suffix, self.version(payload, nth)))
    }

    /// The first thing whose separator is not before `key` and `version`: the one that has their place.
    /// [`len`](Self::len) if there is none.
    ///
    /// # Errors
    /// The payload has changed since it was parsed.
    #[inline]
    pub(crate) fn find(
        &self,
        payload: &[u8],
        key: &[u8],
        version: u64,
    ) -> Result<usize, Corruption> {
        let prefix = self.prefix(payload);
        let (order, head) = against_prefix(key, prefix);
        match order {
            Ordering::Less => return Ok(0),
            Ordering::Greater => return Ok(self.len),
            Ordering::Equal => {}
        }
        let mut ties = equal(self.heads(payload), head);
        let (_, suffix) = key.split_at(prefix.len());
        while ties.start < ties.end {
            let middle = usize::midpoint(ties.start, ties.end);
            if compare(self.separator(payload, middle)?, (suffix, version)).is_lt() {
                ties.start = middle + 1;
            } else {
                ties.end = middle;
            }
        }
        Ok(ties.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(keys: &[(&str, u64)]) -> Vec<u8> {
        let mut builder = SeparatorsBuilder::<2>::new();
        for (n, (key, version)) in (0..).zip(keys) {
            builder.push(key.as_bytes(), *version, [n, n * 100]);
        }
        builder.finish()
    }

    #[test]
    fn a_separator_is_as_short_as_it_can_be() {
        for (last, next, expected) in [
            ("apple", "banana", "b"),
            ("apple", "applet", "apple"),
            ("abc", "abe", "abc"),
            ("abc", "abex", "abc"),
            ("abcc", "abexy", "abe"),
            ("", "a", ""),
            ("", "abc", ""),
            ("a", "abc", "a"),
            ("az", "b", "az"),
            ("az", "bc", "b"),
        ] {
            let found = shortest_between(last.as_bytes(), next.as_bytes());
            assert_eq!(found, expected.as_bytes(), "{last} {next}");
            assert!(last.as_bytes() <= found && found < next.as_bytes());
        }
    }

    #[test]
    fn the_thing_that_has_the_place_is_found() {
        let keys = [
            ("ka", 0),
            ("kb", 9),
            ("kb", 4),
            ("kb12345678x", 0),
            ("kc", 0),
        ];
        let payload = build(&keys);
        let found = Separators::<2>::parse(&payload).unwrap();
        let all = [
            "",
            "j",
            "k",
            "ka",
            "kaa",
            "kb",
            "kb1",
            "kb12345678",
            "kb12345678x",
            "kb12345678y",
            "kc",
            "kca",
            "l",
            "zzzzzzzzzzz",
        ];
        for key in all {
            for version in [0, 3, 4, 5, 9, 10, u64::MAX] {
                let is_before = |(k, v): &&(&str, u64)| {
                    compare((k.as_bytes(), *v), (key.as_bytes(), version)).is_lt()
                };
                let expected = keys.iter().take_while(is_before).count();
                let nth = found.find(&payload, key.as_bytes(), version);
                assert_eq!(nth, Ok(expected), "{key} {version}");
            }
        }
        assert_eq!(found.number(&payload, 1, 3), 300);
        assert_eq!(found.separator(&payload, 1), Ok((&b"b"[..], 9)));
    }

    /// A mapped file is checked once, and read from the disk again if its pages were needed elsewhere.
    #[test]
    fn no_byte_that_changes_after_the_check_makes_a_panic() {
        let keys = [("ka", 0), ("kb", 9), ("kb", 4), ("kc", 0)];
        let payload = build(&keys);
        let found = Separators::<2>::parse(&payload).unwrap();
        let mut refused = 0;
        for at in 0..payload.len() {
            for byte in [0, 0x7f, 0xff] {
                let mut payload = payload.clone();
                payload[at] = byte;
                for (key, version) in keys {
                    let nth = found.find(&payload, key.as_bytes(), version);
                    refused += usize::from(nth.is_err());
                    assert!(nth.is_err() || nth.is_ok_and(|nth| nth <= keys.len()));
                }
                for nth in 0..keys.len() {
                    refused += usize::from(found.separator(&payload, nth).is_err());
                }
            }
        }
        assert!(refused > 0);
    }

    #[test]
    fn a_cut_payload_is_refused() {
        let payload = build(&[("ka", 0), ("kb", 0)]);
        assert!(!Separators::<2>::parse(&payload).unwrap().has_versions);
        for len in 0..payload.len() {
            drop(Separators::<2>::parse(&payload[..len]));
            Separators::<2>::parse(&payload[payload.len() - len..]).unwrap_err();
        }
    }
}
