//! Data blocks that nothing leads to, searched for.

use std::ops::Range;

use crate::block::{Block, Position};
use crate::error::{Corruption, Error, Result};
use crate::finder::{Finder, FoundBlock};
use crate::footer::{FOOTER_SIZE, Footer};
use crate::frame::BlockKind;
use crate::salvage::{Blocks, Open, Salvage};
use crate::source::{Loaded, Source};

/// In front of a filter there are less zeros than this.
const FILTER_ALIGN: u64 = 64;

/// The search for blocks in a part of the file.
pub(super) struct Search {
    finder: Finder,
    /// Where the next data block is, unless something is lost.
    due: u64,
    end: u64,
    /// The last entry that there may be, and its version.
    last: Option<(Vec<u8>, u64)>,
    /// What is wrong with a block that was found.
    pub(super) bad: Option<(u64, Error)>,
    /// It was an index: a filter can come before the next data block.
    is_behind_index: bool,
}

impl Search {
    pub(super) fn new(source: &Source, start: u64, end: u64, last: Option<(Vec<u8>, u64)>) -> Self {
        Self {
            finder: Finder::new(source, start, end),
            due: start,
            end: end.max(start),
            last,
            bad: None,
            is_behind_index: false,
        }
    }

    /// The search for all blocks of a table without a top index.
    pub(super) fn all(source: &Source, footer: &Footer) -> Self {
        let sections = [footer.top, footer.range_tombstones, footer.properties];
        let begin = sections
            .iter()
            .map(|section| section.a)
            .filter(|&at| at > 0);
        let end = begin.min().unwrap_or(footer.file_len);
        Self::new(source, FOOTER_SIZE as u64, end, None)
    }

    /// The next data block. What is between the partitions is passed, and is no gap.
    fn next_data(&mut self, source: &Source, id: u64) -> Result<Option<FoundBlock>> {
        while let Some(found) = self.finder.next(source, id)? {
            let is_next = found.offset == self.due
                || self.is_behind_index
                    && found.kind == BlockKind::Filter
                    && found.offset - self.due < FILTER_ALIGN;
            self.is_behind_index = found.kind == BlockKind::Index;
            match found.kind {
                BlockKind::Data => return Ok(Some(found)),
                BlockKind::Index | BlockKind::Filter if is_next => {
                    self.due = found.offset + found.len;
                }
                BlockKind::Index | BlockKind::Filter => {
                    // What is before it may have been data; the next data block says up to which key.
                }
                BlockKind::Top | BlockKind::RangeTombstones | BlockKind::Properties => {
                    self.end = found.offset;
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// What is lost before `offset`, where the next block is, or nothing any more: the bytes, and why.
    fn gap(&mut self, source: &Source, offset: u64) -> Option<(Range<u64>, Error)> {
        let bad = self.bad.take();
        let start = bad
            .as_ref()
            .map_or(self.due, |(start, _)| *start.min(&self.due));
        if bad.is_none() && start >= offset {
            return None;
        }
        let bytes = start..offset.max(start);
        let why = bad.map(|(_, error)| error);
        let why = why.or_else(|| self.finder.hole(bytes.start, bytes.end));
        let why = why.unwrap_or_else(|| source.corrupt(bytes.start, Corruption::Checksum));
        Some((bytes, why))
    }
}

impl Salvage {
    /// Opens the next block that is found, and tells what is lost before it.
    pub(super) fn search(&mut self, mut search: Search) {
        let id = self.id();
        let found = match search.next_data(&self.source, id) {
            Ok(found) => found,
            Err(error) => {
                let last = search.last.as_ref().map(|(key, _)| key.clone());
                self.lose_entries(last, search.due..search.end, error);
                self.behind = search.last.take().or_else(|| self.behind.take());
                return;
            }
        };
        let Some(found) = found else {
            if let Some((bytes, error)) = search.gap(&self.source, search.end) {
                let last = search.last.as_ref().map(|(key, _)| key.clone());
                self.lose_entries(last, bytes, error);
            }
            self.behind = search.last.take().or_else(|| self.behind.take());
            return;
        };
        let loaded = self.source.unchecked(id, found.offset, found.len, false);
        let place = found.offset..found.offset + found.len;
        let opened = loaded.and_then(|(_, loaded)| {
            let first = self.first_key(&loaded, found.offset)?;
            Ok((loaded, first))
        });
        match opened {
            Ok((loaded, first)) => {
                if let Some((bytes, error)) = search.gap(&self.source, found.offset) {
                    self.lose_entries(Some(first), bytes, error);
                }
                self.block = Some(Open {
                    loaded,
                    position: Position::default(),
                    is_new: true,
                    place: place.clone(),
                    separator: None,
                });
                search.bad = None;
                search.due = place.end;
            }
            // It is a part of what is lost before the next one.
            Err(error) => {
                let bad = search.bad.take();
                search.bad = Some(bad.unwrap_or((search.due, error)));
            }
        }
        self.blocks = Blocks::Searched(search);
    }

    fn first_key(&self, loaded: &Loaded, offset: u64) -> Result<Vec<u8>> {
        let block = Block::new(self.source.payload(&loaded.payload), loaded.layout);
        let mut position = Position::default();
        let stands = position.first(&block);
        let entry = stands.map(|_| position.entry(&block));
        let entry = entry.and_then(|entry| entry.ok_or(Corruption::Length));
        let entry = entry.map_err(|reason| self.source.corrupt(offset, reason))?;
        Ok(entry.key.to_vec())
    }
}
