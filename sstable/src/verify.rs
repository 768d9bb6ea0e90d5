//! [`Table::verify`]: reads everything, and holds it against everything that speaks of it.

use std::ops::{Bound, Range};

use crate::block::{Block, Position};
use crate::entry::{Entry, Kind, compare};
use crate::error::{Corruption, Error, Result};
use crate::filter::{self, key_hash, low_half};
use crate::footer::{FOOTER_SIZE, Section};
use crate::partition::{self, Partition};
use crate::properties::Properties;
use crate::reader::{self, Reader};
use crate::source::{Payload, Source};
use crate::table::Table;

/// What [`Table::verify`] read and found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Data blocks that are right.
    pub data_blocks: u64,
    /// Entries that are right.
    pub entries: u64,
    /// The size of the file, in bytes: all were read.
    pub bytes: u64,
    /// The CRC-32 (IEEE) of the whole file, to be held against
    /// [`TableInfo::checksum`](crate::TableInfo::checksum).
    pub checksum: u32,
    /// Every damage: [`Error::Corrupt`] each, also of what is there twice.
    pub damage: Vec<Error>,
}

impl Verified {
    /// True if nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

impl Table {
    /// Reads the whole file and checks all of it: checksums, both copies, the order of all entries, and
    /// that index, filters, properties, header and footer agree with what is there.
    ///
    /// # Errors
    /// [`Error::UnsupportedCompression`]. Damage is no error: it is in [`Verified::damage`].
    ///
    /// # Cost
    /// Reads and decompresses everything once, and looks for every entry as a reader would. The cache is
    /// left alone.
    pub fn verify(&self) -> Result<Verified> {
        let reader = &*self.reader;
        let mut verify = Verify {
            reader,
            source: &reader.source,
            id: reader.footer.file_id,
            places: Vec::new(),
            found: Properties::new(),
            last: None,
            separator: None,
            verified: Verified::default(),
        };
        verify.meta();
        for nth in 0..reader.partitions() {
            verify.partition(nth)?;
        }
        if verify.verified.is_whole() {
            verify.agrees();
            verify.gaps()?;
        }
        verify.verified.bytes = reader.source.len();
        verify.verified.checksum = reader.source.checksum()?;
        Ok(verify.verified)
    }
}

struct Verify<'a> {
    reader: &'a Reader,
    source: &'a Source,
    id: u64,
    /// What is known to be somewhere: offset and length.
    places: Vec<(u64, u64)>,
    /// What the properties should be.
    found: Properties,
    /// Key and version of the last entry.
    last: Option<(Vec<u8>, u64)>,
    /// The separator before the next entry.
    separator: Option<(Vec<u8>, u64)>,
    verified: Verified,
}

impl Verify<'_> {
    /// What `result` holds; damage is noted.
    fn check<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.verified.damage.push(error);
                None
            }
        }
    }

    fn wrong(&mut self, offset: u64, reason: Corruption) {
        let error = self.source.corrupt(offset, reason);
        self.verified.damage.push(error);
    }

    /// Header, footer, and both copies of each section.
    fn meta(&mut self) {
        let footer = &self.reader.footer;
        for end in self.source.ends() {
            self.check(end);
        }
        let ends = [0, footer.file_len.saturating_sub(FOOTER_SIZE as u64)];
        self.places.extend(ends.map(|at| (at, FOOTER_SIZE as u64)));
        let (source, id) = (self.source, self.id);
        self.section(footer.properties, |offset, len| {
            reader::properties(source, id, offset, len)
        });
        self.section(footer.range_tombstones, |offset, len| {
            reader::range_tombstones(source, id, offset, len)
        });
        self.section(footer.top, |offset, len| {
            let top = reader::top(source, id, offset, len)?;
            Ok(source.payload(&top.payload).to_vec())
        });
    }

    /// Both copies of `section` can be read, and say the same.
    fn section<T: PartialEq>(&mut self, section: Section, read: impl Fn(u64, u64) -> Result<T>) {
        if section == Section::default() {
            return;
        }
        let [a, b] = [section.a, section.b].map(|offset| {
            self.places.push((offset, section.len));
            let copy = read(offset, section.len);
            self.check(copy)
        });
        if a.is_some() && b.is_some() && a != b {
            self.wrong(section.b, Corruption::Contradiction);
        }
    }

    fn partition(&mut self, nth: usize) -> Result<()> {
        let (source, footer) = (self.source, &self.reader.footer);
        let places = self.reader.places(nth);
        let [a, b] = [places.index, places.copy].map(|offset| {
            self.places.push((offset, places.index_len));
            let copy = partition::index(source, footer, offset, places.index_len);
            self.check(copy.map(|(_, payload)| source.payload(&payload).to_vec()))
        });
        if a.is_some() && b.is_some() && a != b {
            self.wrong(places.copy, Corruption::Contradiction);
        }
        let filter = partition::filter(source, footer, &places);
        let filter = self.check(filter).flatten();
        if a.is_none() && b.is_none() {
            return Ok(()); // Where its blocks are is lost.
        }
        let partition = self.reader.partition(nth)?;
        self.found.index_bytes = self.found.index_bytes.saturating_add(places.index_len);
        self.found.filter_bytes = self.found.filter_bytes.saturating_add(places.filter_len);
        if places.filter_len > 0 {
            self.places.push((places.filter, places.filter_len));
        }
        for block in 0..partition.len() {
            self.block(partition, (nth, block), filter.as_ref())?;
        }
        Ok(())
    }

    /// A data block: its bytes, its order, its bounds, and every way that leads to its entries.
    fn block(
        &mut self,
        partition: &Partition,
        place: (usize, usize),
        filter: Option<&Payload>,
    ) -> Result<()> {
        let source = self.source;
        let (offset, len) = partition.place(source, place.1);
        self.places.push((offset, len));
        self.found.data_blocks += 1;
        self.found.data_bytes = self.found.data_bytes.saturating_add(len);
        let separator = partition.separator(source, place.1);
        let Some(separator) = self.check(separator) else {
            return Ok(());
        };
        let before = self.separator.replace(separator);
        let (header, loaded) = match source.unchecked(self.id, offset, len, false) {
            Ok(loaded) => loaded,
            Err(error @ Error::Corrupt { .. }) => {
                self.verified.damage.push(error);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let block = Block::new(source.payload(&loaded.payload), loaded.layout);
        let walk = Walk {
            place,
            before,
            filter,
        };
        match self.entries(partition, &block, &walk) {
            Ok(count) if count == u64::from(header.count) => {
                self.verified.data_blocks += 1;
                self.verified.entries += count;
            }
            Ok(_) => self.wrong(offset, Corruption::Contradiction),
            Err(reason) => self.wrong(offset, reason),
        }
        Ok(())
    }

    /// Walks through a block and returns how many entries it has.
    fn entries(
        &mut self,
        partition: &Partition,
        block: &Block<'_>,
        walk: &Walk<'_>,
    ) -> Result<u64, Corruption> {
        let mut count = 0;
        let mut position = Position::default();
        let mut other = Position::default();
        let mut stands = position.first(block)?;
        while let Some(entry) = position.entry(block).filter(|_| stands) {
            self.order(&entry, walk)?;
            self.is_found(partition, block, walk, &entry, position.value())?;
            other.seek(block, entry.key, entry.version)?;
            if other.entry(block) != Some(entry) {
                return Err(Corruption::Index);
            }
            self.count(&entry);
            count += 1;
            stands = position.next(block)?;
        }
        Ok(count)
    }

    /// `entry` is behind the one before and between its separators.
    fn order(&mut self, entry: &Entry<'_>, walk: &Walk<'_>) -> Result<(), Corruption> {
        let at = (entry.key, entry.version);
        let is_behind = |place: &Option<(Vec<u8>, u64)>| {
            place
                .as_ref()
                .is_none_or(|(key, version)| compare((key, *version), at).is_lt())
        };
        let is_right = is_behind(&self.last)
            && is_behind(&walk.before)
            && self
                .separator
                .as_ref()
                .is_some_and(|(key, version)| compare(at, (key, *version)).is_le());
        let last = self.last.get_or_insert_default();
        last.0.clear();
        last.0.extend_from_slice(entry.key);
        last.1 = entry.version;
        is_right.then_some(()).ok_or(Corruption::Order)
    }

    /// A reader finds `entry`, whose value is at `value`: filter, indexes and heads lead to it.
    fn is_found(
        &self,
        partition: &Partition,
        block: &Block<'_>,
        walk: &Walk<'_>,
        entry: &Entry<'_>,
        value: Range<usize>,
    ) -> Result<(), Corruption> {
        let (key, version) = (entry.key, entry.version);
        let hash = key_hash(self.id, key);
        let footer = &self.reader.footer;
        if let Some(filter) = walk.filter {
            let filter = self.source.payload(filter);
            let prefix_len = footer.prefix_len as usize;
            let prefix = key.get(..prefix_len).filter(|prefix| !prefix.is_empty());
            let hashes = [Some(hash), prefix.map(|prefix| key_hash(self.id, prefix))];
            let mut hashes = hashes.into_iter().flatten();
            if !hashes.all(|hash| filter::may_contain(filter, footer.probes, hash)) {
                return Err(Corruption::Filter);
            }
        }
        let found = block.find(key, version, low_half(hash))?;
        let leads = |index: Result<usize>, to| index.is_ok_and(|nth| nth == to);
        let is_found = leads(self.reader.find_partition(key, version), walk.place.0)
            && leads(partition.find(self.source, key, version), walk.place.1)
            && found.is_some_and(|found| {
                (found.version, found.kind, found.value) == (version, entry.kind, value)
            });
        is_found.then_some(()).ok_or(Corruption::Index)
    }

    fn count(&mut self, entry: &Entry<'_>) {
        let found = &mut self.found;
        if found.entries() == 0 {
            found.first = entry.key.to_vec();
        }
        match entry.kind {
            Kind::Put => found.puts += 1,
            Kind::Delete => found.tombstones += 1,
        }
        found.key_bytes += entry.key.len() as u64;
        found.value_bytes += entry.value.len() as u64;
        found.oldest_version = found.oldest_version.min(entry.version);
        found.newest_version = found.newest_version.max(entry.version);
    }

    /// The properties are those of what was found.
    fn agrees(&mut self) {
        let fragments = &*self.reader.range_tombstones;
        self.found.range_tombstones = fragments.len() as u64;
        for fragment in fragments {
            let found = &mut self.found;
            found.oldest_version = found.oldest_version.min(fragment.version);
            found.newest_version = found.newest_version.max(fragment.version);
        }
        if let Some((key, _)) = self.last.take() {
            self.found.last = Bound::Included(key);
        }
        self.found.cover(fragments.first(), fragments.last());
        self.found.user.clone_from(&self.reader.properties.user);
        if self.found != self.reader.properties {
            self.wrong(self.reader.footer.properties.a, Corruption::Contradiction);
        }
    }

    /// Nothing overlaps, and what is between blocks is zero.
    fn gaps(&mut self) -> Result<()> {
        let mut places = std::mem::take(&mut self.places);
        places.sort_unstable();
        let mut end = 0;
        for (offset, len) in places {
            if offset < end {
                self.wrong(offset, Corruption::Contradiction);
                return Ok(());
            }
            let at = |n| usize::try_from(n).expect("what is whole is in the file");
            let gap = self.source.get(at(end)..at(offset))?;
            if let Some(at) = gap.iter().position(|&byte| byte != 0) {
                self.wrong(end + at as u64, Corruption::NotZero);
            }
            end = offset.saturating_add(len);
        }
        Ok(())
    }
}

/// What a walk through a block needs to know.
struct Walk<'a> {
    place: (usize, usize),
    /// The separator before the block.
    before: Option<(Vec<u8>, u64)>,
    filter: Option<&'a Payload>,
}
