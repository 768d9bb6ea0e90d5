//! [`Block`]: the entries of a data block, searched and read ([format], section 5). Pure: bytes in,
//! entries or a reason out.
//!
//! A point read goes from the key's hash to a restart by one byte of the hash index; any other search
//! compares the heads of the restarts. From the restart on, entries are read one by one: what each
//! shares with the one before says how it stands to the key that is looked for, mostly without a look at
//! its bytes.
//!
//! The hash index is that of `RocksDB`'s data blocks (`data_block_hash_index.h`), which maps to restarts
//! too.
//!
//! [format]: crate::format

use std::cmp::Ordering;
use std::ops::Range;

use durable_io::codec::Decoder;

use crate::entry::{Entry, Kind, compare};
use crate::error::Corruption;
use crate::head::{against_prefix, common, equal, head};
use crate::limits::MAX_KEY_SIZE;
use crate::varint;

type Result<T> = std::result::Result<T, Corruption>;

/// What stands at the end of a payload.
pub(crate) const TRAILER_SIZE: usize = 16;
/// Set in an entry's tag if its version is not the block's.
pub(crate) const VERSION_FLAG: u8 = 0x80;
/// No key in the block has a hash of this bucket.
pub(crate) const BUCKET_EMPTY: u8 = 255;
/// Keys of several restarts have hashes of this bucket: search by the heads.
pub(crate) const BUCKET_SHARED: u8 = 254;
/// A block with more restarts has no hash index.
pub(crate) const MOST_BUCKET_RESTARTS: usize = 254;

const _: () = assert!(MOST_BUCKET_RESTARTS <= BUCKET_SHARED as usize);

/// Bytes of entries that are loaded ahead for a search.
const SEARCHED: usize = 448;

/// The bucket of a hash among `buckets`.
#[inline]
pub(crate) fn bucket(hash: u32, buckets: u16) -> usize {
    ((u64::from(hash) * u64::from(buckets)) >> 32) as usize
}

/// Where the parts of a payload are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    base_version: u64,
    entries: usize,
    restarts: usize,
    buckets: u16,
    prefix: u16,
}

impl Layout {
    /// Reads the trailer of `payload` and checks that what it says fits.
    #[inline]
    pub(crate) fn parse(payload: &[u8]) -> Result<Self> {
        let parse = || {
            let at = payload.len().checked_sub(TRAILER_SIZE)?;
            let mut trailer = Decoder::new(payload.get(at..)?);
            let base_version = trailer.u64()?;
            let restarts = trailer.u32()? as usize;
            let [b0, b1, p0, p1] = *trailer.bytes(4)?.first_chunk::<4>()?;
            let buckets = u16::from_le_bytes([b0, b1]);
            let prefix = u16::from_le_bytes([p0, p1]);
            let tail = restarts.checked_mul(12)?.checked_add(buckets.into())?;
            let entries = at.checked_sub(tail)?;
            (restarts > 0 && usize::from(prefix) <= entries).then_some(Self {
                base_version,
                entries,
                restarts,
                buckets,
                prefix,
            })
        };
        parse().ok_or(Corruption::Length)
    }
}

/// One entry as it stands in a payload.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    pub(crate) version: u64,
    /// How many bytes of its key are those of the key before.
    pub(crate) shared: usize,
    /// Where the other bytes of its key are.
    pub(crate) suffix: Range<usize>,
    /// Where its value is: behind the suffix; the next entry comes behind it.
    pub(crate) value: Range<usize>,
}

/// What a point read finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) version: u64,
    pub(crate) value: Range<usize>,
}

/// A payload with its layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

impl<'a> Block<'a> {
    /// `layout` must be that of `bytes`.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], layout: Layout) -> Self {
        Self { bytes, layout }
    }

    #[cfg(test)]
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        Ok(Self::new(bytes, Layout::parse(bytes)?))
    }

    #[inline]
    fn part(&self, start: usize, len: usize) -> &'a [u8] {
        let part = self.bytes.get(start..start + len);
        part.expect("a layout is that of its payload")
    }

    /// The offset of each restart.
    #[inline]
    pub(crate) fn restarts(&self) -> &'a [[u8; 4]] {
        let start = self.layout.entries + self.layout.restarts * 8;
        self.part(start, self.layout.restarts * 4).as_chunks().0
    }

    /// The head of each restart.
    #[inline]
    pub(crate) fn heads(&self) -> &'a [[u8; 8]] {
        let bytes = self.part(self.layout.entries, self.layout.restarts * 8);
        bytes.as_chunks().0
    }

    /// The hash index.
    #[inline]
    pub(crate) fn buckets(&self) -> &'a [u8] {
        let start = self.layout.entries + self.layout.restarts * 12;
        self.part(start, self.layout.buckets.into())
    }

    pub(crate) fn prefix_len(&self) -> usize {
        self.layout.prefix.into()
    }

    #[inline]
    fn restart(&self, nth: usize) -> Result<usize> {
        let offset = self.restarts().get(nth).ok_or(Corruption::Length)?;
        Ok(u32::from_le_bytes(*offset) as usize)
    }

    /// The entry at `at`; `None` at the end of the entries.
    #[inline]
    pub(crate) fn step(&self, at: usize) -> Result<Option<Step>> {
        // An error rather than `part`: a step is an eighth faster.
        let entries = self.bytes.get(..self.layout.entries);
        let entries = entries.ok_or(Corruption::Length)?;
        if at == entries.len() {
            return Ok(None);
        }
        let head = entries.get(at..).and_then(<[u8]>::first_chunk::<4>);
        let &[tag, shared, unshared, value] = head.ok_or(Corruption::Length)?;
        let mut end = at + 4;
        let mut lengths = [shared, unshared, value].map(usize::from);
        if shared | unshared | value >= 0x80 {
            end = at + 1;
            lengths = long_lengths(entries, &mut end)?;
        }
        let [shared, unshared, value] = lengths;
        let kind = Kind::from_code(tag & !VERSION_FLAG).ok_or(Corruption::Kind)?;
        let mut version = self.layout.base_version;
        if tag & VERSION_FLAG != 0 {
            let difference = varint::read(entries, &mut end).ok_or(Corruption::Length)?;
            let difference = varint::unzigzag(difference);
            version = version.wrapping_add(difference.cast_unsigned());
        }
        if kind != Kind::Put && value > 0 {
            return Err(Corruption::Kind);
        }
        let suffix = end..end + unshared;
        let value = suffix.end..suffix.end + value;
        if value.end > entries.len() {
            return Err(Corruption::Length);
        }
        Ok(Some(Step {
            kind,
            version,
            shared,
            suffix,
            value,
        }))
    }

    /// The bytes of a suffix or a value.
    #[inline]
    pub(crate) fn slice(&self, range: &Range<usize>) -> &'a [u8] {
        let bytes = self.bytes.get(range.clone());
        bytes.expect("an entry was found within its block")
    }

    /// The key and version at restart `nth`, which shares nothing with the entry before.
    fn restart_key(&self, nth: usize) -> Result<(&'a [u8], u64)> {
        let step = self.step(self.restart(nth)?)?.ok_or(Corruption::Length)?;
        if step.shared != 0 {
            return Err(Corruption::Length);
        }
        Ok((self.slice(&step.suffix), step.version))
    }

    /// The restart from which a search for `key` and `version` goes forward: the last one before it, or
    /// the first; `None` if every entry is before it.
    fn restart_before(&self, key: &[u8], version: u64) -> Result<Option<usize>> {
        let (first, _) = self.restart_key(0)?;
        let prefix = first.get(..self.prefix_len()).ok_or(Corruption::Length)?;
        let (order, head) = against_prefix(key, prefix);
        match order {
            Ordering::Less => return Ok(Some(0)),
            Ordering::Greater => return Ok(None),
            Ordering::Equal => {}
        }
        self.restart_by_head(key, version, head).map(Some)
    }

    /// The last restart before `key` and `version`, or the first, if `key` has the prefix of the block
    /// and `head` behind it.
    fn restart_by_head(&self, key: &[u8], version: u64, head: u64) -> Result<usize> {
        let mut ties = equal(self.heads(), head);
        while ties.start < ties.end {
            let middle = usize::midpoint(ties.start, ties.end);
            if compare(self.restart_key(middle)?, (key, version)).is_lt() {
                ties.start = middle + 1;
            } else {
                ties.end = middle;
            }
        }
        Ok(ties.start.saturating_sub(1))
    }

    /// Where the entries begin among which `key` is if it is there; `None` if it is not. `hash` is the key's.
    #[inline]
    pub(crate) fn start_of(&self, key: &[u8], version: u64, hash: u32) -> Result<Option<usize>> {
        let nth = bucket(hash, self.layout.buckets);
        let restart = match self.buckets().get(nth) {
            Some(&BUCKET_EMPTY) => return Ok(None),
            // That `key` has the prefix of the block is only assumed: a look at it would be one more
            // miss of the processor's cache. Whole keys are compared from the restart on, and if it has
            // not, it is not found there.
            Some(&BUCKET_SHARED) | None => match key.get(self.prefix_len()..) {
                Some(suffix) => self.restart_by_head(key, version, head(suffix))?,
                None => return Ok(None),
            },
            Some(&restart) => restart.into(),
        };
        Ok(Some(self.restart(restart)?))
    }

    /// The newest entry of `key` that is not newer than `version`. `hash` is the key's.
    pub(crate) fn find(&self, key: &[u8], version: u64, hash: u32) -> Result<Option<Found>> {
        match self.start_of(key, version, hash)? {
            Some(at) => self.find_from(at, key, version),
            None => Ok(None),
        }
    }

    /// Looks at the entries from `at` on, a restart not behind `key`. At each, `matched` bytes of `key`
    /// are those of the entry before, which is below it, or of the same key and too new.
    #[inline]
    pub(crate) fn find_from(
        &self,
        mut at: usize,
        key: &[u8],
        version: u64,
    ) -> Result<Option<Found>> {
        self.load_ahead(at);
        let mut matched = 0;
        while let Some(step) = self.step(at)? {
            at = step.value.end;
            if step.shared == 0 {
                matched = 0; // A restart shares nothing, whatever it has in common.
            }
            if step.shared > matched {
                continue; // It differs from `key` where the entry before did.
            }
            if step.shared < matched {
                return Ok(None); // It is above the entry before where that still was `key`.
            }
            let suffix = self.slice(&step.suffix);
            let rest = key
                .get(matched..)
                .expect("no more is matched than there is");
            let same = common(suffix, rest);
            match (suffix.get(same), rest.get(same)) {
                (None, None) if step.version <= version => {
                    return Ok(Some(Found {
                        kind: step.kind,
                        version: step.version,
                        value: step.value,
                    }));
                }
                (Some(byte), Some(other)) if byte > other => return Ok(None),
                (Some(_), None) => return Ok(None),
                _ => matched += same,
            }
        }
        Ok(None)
    }

    /// Begins to load what is behind `at`. Where an entry is, only the one before it tells: without this,
    /// each would wait for its miss of the processor's cache after the one before (15 % of a point read).
    #[inline]
    fn load_ahead(&self, at: usize) {
        for line in [128, 256, 384] {
            std::hint::black_box(self.bytes.get(at + line).copied());
        }
    }

    /// The bytes from `at` on in which a search from there mostly ends.
    #[inline]
    pub(crate) fn entries_from(&self, at: usize) -> &'a [u8] {
        let end = self.layout.entries.min(at + SEARCHED);
        self.bytes.get(at..end).unwrap_or(&[])
    }
}

#[cold]
fn long_lengths(entries: &[u8], at: &mut usize) -> Result<[usize; 3]> {
    let mut lengths = [0; 3];
    for length in &mut lengths {
        let value = varint::read(entries, at).ok_or(Corruption::Length)?;
        // No part is longer than the entries; so the sums that follow cannot overflow either.
        *length = usize::try_from(value)
            .ok()
            .filter(|&length| length <= entries.len().max(MAX_KEY_SIZE))
            .ok_or(Corruption::Length)?;
    }
    Ok(lengths)
}

/// A place in a block: on an entry, whose key it holds.
#[derive(Debug, Default)]
pub(crate) struct Position {
    at: usize,
    key: Vec<u8>,
    version: u64,
    kind: Option<Kind>,
    value: Range<usize>,
}

impl Position {
    /// The entry it stands on, of `block`; `None` if it stands on none.
    #[inline]
    pub(crate) fn entry<'a>(&'a self, block: &Block<'a>) -> Option<Entry<'a>> {
        Some(Entry {
            key: &self.key,
            version: self.version,
            kind: self.kind?,
            value: block.slice(&self.value),
        })
    }

    /// Where the entry's value is in the payload.
    pub(crate) fn value(&self) -> Range<usize> {
        self.value.clone()
    }

    /// Leaves the block.
    pub(crate) fn clear(&mut self) {
        self.kind = None;
    }

    /// Goes to the entry at `at`, which follows the one it stands on (or is a restart, after
    /// `self.key.clear()`). False at the end, where it stands on nothing.
    #[inline]
    fn go(&mut self, block: &Block<'_>, at: usize) -> Result<bool> {
        let Some(step) = block.step(at)? else {
            self.clear();
            return Ok(false);
        };
        let suffix = block.slice(&step.suffix);
        if step.shared > self.key.len() || step.shared + suffix.len() > MAX_KEY_SIZE {
            return Err(Corruption::Length);
        }
        self.key.truncate(step.shared);
        self.key.extend_from_slice(suffix);
        self.at = at;
        self.version = step.version;
        self.kind = Some(step.kind);
        self.value = step.value;
        Ok(true)
    }

    fn go_to_restart(&mut self, block: &Block<'_>, nth: usize) -> Result<bool> {
        self.key.clear();
        self.go(block, block.restart(nth)?)
    }

    /// Goes to the first entry of `block`.
    pub(crate) fn first(&mut self, block: &Block<'_>) -> Result<bool> {
        self.key.clear();
        self.go(block, 0)
    }

    /// Goes to the last entry of `block`.
    pub(crate) fn last(&mut self, block: &Block<'_>) -> Result<bool> {
        self.before(block, block.layout.entries)
    }

    /// Goes to the next entry.
    #[inline]
    pub(crate) fn next(&mut self, block: &Block<'_>) -> Result<bool> {
        self.go(block, self.value.end)
    }

    /// Goes to the entry before; false if it stands on the first.
    pub(crate) fn previous(&mut self, block: &Block<'_>) -> Result<bool> {
        if self.at == 0 {
            self.clear();
            return Ok(false);
        }
        self.before(block, self.at)
    }

    /// Goes to the entry that ends at `end`.
    fn before(&mut self, block: &Block<'_>, end: usize) -> Result<bool> {
        let restarts = block.restarts();
        let is_before = |offset: &[u8; 4]| (u32::from_le_bytes(*offset) as usize) < end;
        let nth = restarts.partition_point(is_before).saturating_sub(1);
        self.go_to_restart(block, nth)?;
        while self.value.end < end {
            self.next(block)?;
        }
        if self.value.end != end || self.kind.is_none() {
            return Err(Corruption::Length);
        }
        Ok(true)
    }

    /// Goes to the first entry that is not before `key` and `version`; false if there is none.
    pub(crate) fn seek(&mut self, block: &Block<'_>, key: &[u8], version: u64) -> Result<bool> {
        let Some(restart) = block.restart_before(key, version)? else {
            self.clear();
            return Ok(false);
        };
        let mut stands = self.go_to_restart(block, restart)?;
        while stands && compare((&self.key, self.version), (key, version)).is_lt() {
            stands = self.next(block)?;
        }
        Ok(stands)
    }
}

#[cfg(test)]
mod tests;
