//! What a salvage reads first: header and footer, and what everything else depends on.

use std::ops::Bound;

use durable_io::engine::LostKeys;

use crate::error::{Corruption, Error, Result};
use crate::finder::Finder;
use crate::footer::{FOOTER_SIZE, Footer, Section};
use crate::frame::BlockKind;
use crate::reader;
use crate::salvage::search::Search;
use crate::salvage::{Blocks, Salvage};
use crate::source::Source;

impl Salvage {
    /// What header or footer says, or, without both, what is found of a table that is called `file_id`.
    pub(super) fn read_footer(&mut self, file_id: Option<u64>) -> Result<Option<Footer>> {
        let len = self.source.len();
        let mut right = Vec::new();
        let Some(last) = len.checked_sub(FOOTER_SIZE as u64) else {
            let short = self.source.corrupt(len, Corruption::Length);
            self.told.push_back(short);
            return Ok(None);
        };
        for at in [0, last] {
            let at = usize::try_from(at).expect("a file that could be opened fits into memory");
            match self.source.end(at) {
                Ok(footer) => right.push(footer),
                Err(newer @ Error::UnsupportedVersion(_)) => return Err(newer),
                Err(error) => self.told.push_back(error),
            }
        }
        if let [header, footer] = &*right
            && header != footer
        {
            let differs = self.source.corrupt(0, Corruption::Contradiction);
            self.told.push_back(differs);
        }
        let Some(footer) = right.pop() else {
            return Ok(file_id.map(|id| self.find_footer(id)));
        };
        if footer.file_len != len {
            let end = footer.file_len.min(len);
            let differs = self.source.corrupt(end, Corruption::Length);
            self.told.push_back(differs);
        }
        self.has_end = true;
        Ok(Some(footer))
    }

    /// What a footer would say, of the blocks that are found.
    fn find_footer(&mut self, id: u64) -> Footer {
        let len = self.source.len();
        let mut footer = Footer {
            file_id: id,
            file_len: len,
            ..Footer::default()
        };
        let mut finder = Finder::new(&self.source, 0, len);
        loop {
            let found = match finder.next(&self.source, id) {
                Ok(Some(found)) => found,
                Ok(None) => return footer,
                Err(error) => {
                    self.told.push_back(error);
                    return footer;
                }
            };
            let section = match found.kind {
                BlockKind::Top => &mut footer.top,
                BlockKind::RangeTombstones => &mut footer.range_tombstones,
                BlockKind::Properties => &mut footer.properties,
                _ => continue,
            };
            if *section == Section::default() {
                let (a, len) = (found.offset, found.len);
                *section = Section { a, b: a, len };
            }
        }
    }

    /// Properties, range tombstones and top index, each from either copy.
    pub(super) fn read_meta(&mut self, footer: &Footer) {
        let id = footer.file_id;
        self.properties = self.either(footer.properties, |source, offset, len| {
            reader::properties(source, id, offset, len)
        });
        let section = footer.range_tombstones;
        let count = self.properties.as_ref().map(|all| all.range_tombstones);
        if section != Section::default() {
            let read = self.either(section, |source, offset, len| {
                reader::range_tombstones(source, id, offset, len)
            });
            match read {
                Some(fragments) => self.range_tombstones = fragments,
                None => self.lose_range_tombstones(section),
            }
        } else if count != Some(0) && !self.has_end {
            // Nothing says that there were none.
            self.lose_range_tombstones(section);
        }
        self.top = self.either(footer.top, |source, offset, len| {
            reader::top(source, id, offset, len)
        });
        if self.top.is_none() && (footer.partitions > 0 || !self.has_end) {
            self.blocks = Blocks::Searched(Search::all(&self.source, footer));
        }
    }

    /// What `read` makes of copy A of `section`, or else of copy B; what is wrong is told.
    fn either<T>(
        &mut self,
        section: Section,
        read: impl Fn(&Source, u64, u64) -> Result<T>,
    ) -> Option<T> {
        if section == Section::default() {
            return None;
        }
        let copies = [Some(section.a), Some(section.b).filter(|_| self.has_end)];
        for offset in copies.into_iter().flatten() {
            match read(&self.source, offset, section.len) {
                Ok(read) => return Some(read),
                Err(error) => self.told.push_back(error),
            }
        }
        None
    }

    fn lose_range_tombstones(&mut self, section: Section) {
        let keys = self
            .properties
            .as_ref()
            .map_or(LostKeys::ALL, |all| LostKeys {
                first: Bound::Included(all.first.clone()),
                last: all.last.clone(),
            });
        let bytes = section.a..section.a.saturating_add(section.len);
        let source = self.source.corrupt(section.a, Corruption::Checksum);
        self.lose("range tombstones", keys, bytes, source);
    }
}
