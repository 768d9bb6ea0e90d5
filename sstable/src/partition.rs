//! [`Partition`]: index and filter of a run of data blocks, checked when they are first used.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Corruption, Result};
use crate::filter::{self, LINE_SIZE};
use crate::footer::Footer;
use crate::frame::BlockKind;
use crate::separators::Separators;
use crate::source::{Loaded, Payload, Source};

/// What the top index says of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Where the first data block is.
    pub(crate) start: u64,
    pub(crate) index: u64,
    pub(crate) index_len: u64,
    /// The second copy of the index.
    pub(crate) copy: u64,
    pub(crate) filter: u64,
    /// 0 if there is no filter.
    pub(crate) filter_len: u64,
}

/// About so many bytes at the end of a data block have its layout, its hash index, and the heads of its restarts.
const TAIL: u64 = 192;

/// Index and filter.
#[derive(Debug)]
pub(crate) struct Partition {
    start: u64,
    index: Separators<1>,
    payload: Payload,
    /// Where the index is.
    at: u64,
    /// `None` if there is none, or if it is damaged: then keys are looked for in their block.
    filter: Option<Payload>,
    /// A bit for each data block: set if it is not compressed and was checked.
    checked: Box<[AtomicU64]>,
}

impl Partition {
    /// Checks index and filter. A damaged index is read from its other copy.
    pub(crate) fn load(source: &Source, footer: &Footer, places: &Places) -> Result<Self> {
        let mut at = places.index;
        let (index, payload) = match index(source, footer, at, places.index_len) {
            Ok(index) => index,
            Err(error) => {
                // Both are damaged if this fails; the first is as good an answer as the second.
                at = places.copy;
                let copy = index(source, footer, at, places.index_len);
                let copy = copy.map_err(|_second| error.clone())?;
                source.note(error);
                copy
            }
        };
        let filter = match filter(source, footer, places) {
            Ok(filter) => filter,
            Err(error) => {
                source.note(error);
                None
            }
        };
        let words = index.len().div_ceil(64);
        Ok(Self {
            start: places.start,
            index,
            payload,
            at,
            filter,
            checked: (0..words).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// How many data blocks it has, at least 1.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// False if no key of this hash is here.
    #[inline]
    pub(crate) fn may_contain(&self, source: &Source, footer: &Footer, hash: u64) -> bool {
        match &self.filter {
            Some(filter) => filter::may_contain(source.payload(filter), footer.probes, hash),
            None => true,
        }
    }

    /// The line of the filter that a question for `hash` looks at.
    #[inline]
    pub(crate) fn filter_line<'a>(&'a self, source: &'a Source, hash: u64) -> &'a [u8] {
        let filter = self.filter.as_ref();
        filter.map_or(&[], |filter| filter::line(source.payload(filter), hash))
    }

    /// The block that has the place of `key` and `version`; [`len`](Self::len) if that is behind all.
    #[inline]
    pub(crate) fn find(&self, source: &Source, key: &[u8], version: u64) -> Result<usize> {
        let nth = self.index.find(source.payload(&self.payload), key, version);
        nth.map_err(|reason| source.corrupt(self.at, reason))
    }

    /// The separator behind data block `nth`, which there is, and its version.
    pub(crate) fn separator(&self, source: &Source, nth: usize) -> Result<(Vec<u8>, u64)> {
        let payload = source.payload(&self.payload);
        let separator = self.index.separator(payload, nth);
        let separator = separator.map_err(|reason| source.corrupt(self.at, reason));
        let (suffix, version) = separator?;
        Ok(([self.index.prefix(payload), suffix].concat(), version))
    }

    /// Offset and length of data block `nth`, which there is.
    #[inline]
    pub(crate) fn place(&self, source: &Source, nth: usize) -> (u64, u64) {
        let payload = source.payload(&self.payload);
        let before = nth.checked_sub(1);
        let start = before.map_or(self.start, |nth| self.index.number(payload, 0, nth));
        let end = self.index.number(payload, 0, nth);
        (start, end.saturating_sub(start))
    }

    /// The end of data block `nth`, which there is, if it is in the map: with that each look into it begins.
    #[inline]
    pub(crate) fn tail<'a>(&self, source: &'a Source, nth: usize) -> &'a [u8] {
        let (offset, len) = self.place(source, nth);
        source.mapped_end(offset, len, TAIL)
    }

    /// Data block `nth`.
    #[inline]
    pub(crate) fn block(&self, source: &Source, footer: &Footer, nth: usize) -> Result<Loaded> {
        let (offset, len) = self.place(source, nth);
        let bit = 1 << (nth % 64);
        let word = self.checked.get(nth / 64);
        if word.is_some_and(|word| word.load(Ordering::Acquire) & bit != 0) {
            return source.checked(offset, len);
        }
        if (footer.compression != 0 || !source.is_mapped())
            && let Some(cached) = source.cached(offset, len)
        {
            return cached;
        }
        let (_, loaded) = source.unchecked(footer.file_id, offset, len, true)?;
        if let (Payload::Mapped(_), Some(word)) = (&loaded.payload, word) {
            word.fetch_or(bit, Ordering::Release);
        }
        Ok(loaded)
    }
}

/// The index block at `offset`.
pub(crate) fn index(
    source: &Source,
    footer: &Footer,
    offset: u64,
    len: u64,
) -> Result<(Separators<1>, Payload)> {
    let (_, payload) = source.open_plain(BlockKind::Index, footer.file_id, offset, len)?;
    let index = Separators::parse(source.payload(&payload));
    let index = index.map_err(|reason| source.corrupt(offset, reason))?;
    Ok((index, payload))
}

/// The payload of the filter block, if there is one.
pub(crate) fn filter(source: &Source, footer: &Footer, places: &Places) -> Result<Option<Payload>> {
    if places.filter_len == 0 {
        return Ok(None);
    }
    let (kind, offset) = (BlockKind::Filter, places.filter);
    let (_, payload) = source.open_plain(kind, footer.file_id, offset, places.filter_len)?;
    let len = source.payload(&payload).len();
    if len == 0 || !len.is_multiple_of(LINE_SIZE) {
        return Err(source.corrupt(offset, Corruption::Length));
    }
    Ok(Some(payload))
}
