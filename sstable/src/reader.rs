//! [`Reader`]: what a table and its cursors share.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use durable_io::Dir;
use durable_io::engine::{Lender, Value};

use crate::cache::BlockCache;
use crate::entry::RangeTombstone;
use crate::error::{Corruption, Result};
use crate::footer::{Footer, Section};
use crate::fragments;
use crate::frame::BlockKind;
use crate::partition::{Partition, Places};
use crate::properties::Properties;
use crate::separators::Separators;
use crate::source::{Payload, Source};

/// An open table.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) source: Source,
    pub(crate) footer: Footer,
    pub(crate) properties: Properties,
    pub(crate) range_tombstones: Arc<[RangeTombstone]>,
    /// The separators of the partitions, and where they are; none if there are no entries.
    top: Option<Top>,
    partitions: Box<[OnceLock<Box<Partition>>]>,
}

/// The top index.
#[derive(Debug)]
pub(crate) struct Top {
    pub(crate) separators: Separators<6>,
    pub(crate) payload: Payload,
    /// Where it is.
    at: u64,
}

impl Lender for Reader {
    fn lend(&self, range: Range<u64>) -> &[u8] {
        let at = |offset| usize::try_from(offset).ok();
        let range = at(range.start).zip(at(range.end));
        let (start, end) = range.expect("what is lent was found in the map");
        self.source.slice(&(start..end))
    }
}

impl Reader {
    /// The value at `range` of `payload`, a block of this table.
    pub(crate) fn value(self: &Arc<Self>, payload: &Payload, range: &Range<usize>) -> Value {
        match payload {
            Payload::Mapped(mapped) => {
                let start = (mapped.start + range.start) as u64;
                let lender = Arc::<Self>::clone(self);
                Value::lent(lender, start..start + range.len() as u64)
            }
            Payload::Held(block) => {
                let value = Value::shared(Arc::clone(block), range.clone());
                value.expect("an entry that was found is within its block")
            }
        }
    }

    pub(crate) fn open(dir: &Dir, name: &str, cache: &BlockCache) -> Result<Self> {
        let source = Source::open(dir, name, cache)?;
        let footer = source.footer()?;
        let id = footer.file_id;
        let properties = either(&source, footer.properties, |offset, len| {
            properties(&source, id, offset, len)
        })?;
        let mut range_tombstones = Vec::new();
        if properties.range_tombstones > 0 {
            range_tombstones = either(&source, footer.range_tombstones, |offset, len| {
                self::range_tombstones(&source, id, offset, len)
            })?;
        }
        let mut found = None;
        if footer.partitions > 0 {
            found = Some(either(&source, footer.top, |offset, len| {
                top(&source, id, offset, len)
            })?);
        }
        let partitions = found.as_ref().map_or(0, |top| top.separators.len());
        let agrees = partitions == footer.partitions as usize
            && properties.entries() == footer.entries
            && properties.range_tombstones == range_tombstones.len() as u64
            && (footer.entries > 0) == (partitions > 0);
        if !agrees {
            return Err(source.corrupt(footer.properties.a, Corruption::Contradiction));
        }
        Ok(Self {
            source,
            footer,
            properties,
            range_tombstones: range_tombstones.into(),
            top: found,
            partitions: (0..partitions).map(|_| OnceLock::new()).collect(),
        })
    }

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The partition that has the place of `key` and `version`;
    /// [`partitions`](Self::partitions) if that is behind all.
    #[inline]
    pub(crate) fn find_partition(&self, key: &[u8], version: u64) -> Result<usize> {
        let Some(top) = &self.top else {
            return Ok(0);
        };
        let payload = self.source.payload(&top.payload);
        let nth = top.separators.find(payload, key, version);
        nth.map_err(|reason| self.source.corrupt(top.at, reason))
    }

    /// What the top index says of partition `nth`, which there is.
    pub(crate) fn places(&self, nth: usize) -> Places {
        let top = self.top.as_ref();
        let top = top.expect("who has a partition has a top index");
        places(&self.source, &self.footer, top, nth)
    }

    /// Partition `nth`, which there is.
    #[inline]
    pub(crate) fn partition(&self, nth: usize) -> Result<&Partition> {
        let slot = self.partitions.get(nth);
        match slot.and_then(OnceLock::get) {
            Some(partition) => Ok(partition),
            None => self.load_partition(nth),
        }
    }

    #[cold]
    fn load_partition(&self, nth: usize) -> Result<&Partition> {
        let Some(slot) = self.partitions.get(nth) else {
            return Err(self.source.corrupt(self.footer.top.a, Corruption::Length));
        };
        // Two threads may do the same; one of them is heard.
        let loaded = Partition::load(&self.source, &self.footer, &self.places(nth))?;
        Ok(slot.get_or_init(|| Box::new(loaded)))
    }
}

/// What `top` says of partition `nth`, which there is.
pub(crate) fn places(source: &Source, footer: &Footer, top: &Top, nth: usize) -> Places {
    let payload = source.payload(&top.payload);
    let number = |column| top.separators.number(payload, column, nth);
    Places {
        start: number(0),
        index: number(1),
        index_len: number(2),
        copy: footer.index_copies.saturating_add(number(3)),
        filter: number(4),
        filter_len: number(5),
    }
}

/// What `read` makes of copy A of `section`, or else of copy B.
pub(crate) fn either<T>(
    source: &Source,
    section: Section,
    read: impl Fn(u64, u64) -> Result<T>,
) -> Result<T> {
    read(section.a, section.len).or_else(|error| {
        // Both are damaged if this fails; the first is as good an answer as the second.
        let second = read(section.b, section.len).map_err(|_second| error.clone())?;
        source.note(error);
        Ok(second)
    })
}

pub(crate) fn properties(source: &Source, id: u64, offset: u64, len: u64) -> Result<Properties> {
    let (header, payload) = source.open_plain(BlockKind::Properties, id, offset, len)?;
    let properties = Properties::decode(source.payload(&payload), header.count);
    properties.map_err(|reason| source.corrupt(offset, reason))
}

pub(crate) fn range_tombstones(
    source: &Source,
    id: u64,
    offset: u64,
    len: u64,
) -> Result<Vec<RangeTombstone>> {
    let (header, payload) = source.open_plain(BlockKind::RangeTombstones, id, offset, len)?;
    let fragments = fragments::decode(source.payload(&payload), header.count);
    fragments.map_err(|reason| source.corrupt(offset, reason))
}

pub(crate) fn top(source: &Source, id: u64, offset: u64, len: u64) -> Result<Top> {
    let (_, payload) = source.open_plain(BlockKind::Top, id, offset, len)?;
    let separators = Separators::parse(source.payload(&payload));
    let separators = separators.map_err(|reason| source.corrupt(offset, reason))?;
    Ok(Top {
        separators,
        payload,
        at: offset,
    })
}
