//! Writing an index part: every section front to back, so that a part of any size takes little memory.

use durable_io::{Dir, File};

use super::layout::{
    BLOCK, Header, LINE_SIZE, Listed, Run, Section, Where, filter_bits, filter_line, seal,
};
use crate::error::Result;
use crate::list::Entry;
use crate::names;
use crate::term::Term;

/// How many blocks are written at a time.
const BLOCKS: usize = 128;

/// What a part says of a stream beside its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamPart {
    /// The version of the first of its events there.
    pub(crate) first_version: u64,
    /// The last one is a tombstone.
    pub(crate) is_ended: bool,
}

/// A part that is being written.
#[derive(Debug)]
pub(crate) struct PartWriter {
    file: File,
    header: Header,
    filter: Filter,
    terms: Blocks,
    postings: Blocks,
    places: Blocks,
    runs: Blocks,
    /// The number of the next posting.
    next_posting: u32,
}

impl PartWriter {
    /// The part that `header` describes, in `dir`. A full disk is met here.
    pub(crate) fn create(dir: &Dir, header: Header) -> Result<Self> {
        let file = dir.create_new(&names::part(header.entry.number))?;
        let sections = header.sections();
        file.allocate(0, sections.blocks * BLOCK as u64)?;
        let blocks = |section: Section| Blocks::new(&file, header.entry, section);
        Ok(Self {
            filter: Filter::new(blocks(sections.filter)),
            terms: blocks(sections.terms),
            postings: blocks(sections.postings),
            places: blocks(sections.places),
            runs: blocks(sections.runs),
            header,
            next_posting: 0,
            file,
        })
    }

    /// The next term, in ascending order, which has `count` events: `events`, numbered from the first of
    /// the part on.
    pub(crate) fn term(
        &mut self,
        term: Term,
        stream: Option<StreamPart>,
        count: u32,
        events: impl IntoIterator<Item = Result<u32>>,
    ) -> Result<()> {
        self.filter.add(term)?;
        let mut listed = Listed {
            term,
            start: self.next_posting,
            count,
            is_stream: stream.is_some(),
            is_ended: stream.is_some_and(|stream| stream.is_ended),
        };
        if listed.is_inline() {
            if let Some(only) = events.into_iter().next() {
                listed.start = only?;
            }
            return self.terms.push(&listed.encode());
        }
        if let Some(StreamPart {
            first_version: version,
            ..
        }) = stream
        {
            for half in [version & u64::from(u32::MAX), version >> 32] {
                self.posting(u32::try_from(half).expect("half a number fits"))?;
            }
        }
        for event in events {
            self.posting(event?)?;
        }
        self.terms.push(&listed.encode())
    }

    fn posting(&mut self, number: u32) -> Result<()> {
        self.next_posting += 1;
        self.postings.push(&number.to_le_bytes())
    }

    /// The place of the next event in its segment.
    pub(crate) fn place(&mut self, place: &Where) -> Result<()> {
        self.places.push(&place.encode())
    }

    pub(crate) fn run(&mut self, run: &Run) -> Result<()> {
        self.runs.push(&run.encode())
    }

    /// Writes the rest, and makes the part durable.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.filter.finish()?;
        let mut sections = [
            &mut self.filter.blocks,
            &mut self.terms,
            &mut self.postings,
            &mut self.places,
            &mut self.runs,
        ];
        for section in &mut sections {
            section.end();
        }
        let mut bytes = self.header.encode();
        if sections.iter().all(|blocks| blocks.is_unwritten()) {
            // A small part is one write.
            for blocks in sections {
                bytes.extend(&blocks.bytes);
            }
        } else {
            sections.iter_mut().try_for_each(|blocks| blocks.write())?;
        }
        self.file.write_all_at(&bytes, 0)?;
        // Durable: the part. Only now may the list name it.
        drop(self.file.sync_data()?);
        Ok(())
    }
}

/// The blocks of one section.
#[derive(Debug)]
struct Blocks {
    file: File,
    entry: Entry,
    section: Section,
    /// The next block to write.
    next: u64,
    /// Whole blocks, and the one that fills.
    bytes: Vec<u8>,
    /// Entries in the block that fills.
    filled: usize,
}

impl Blocks {
    fn new(file: &File, entry: Entry, section: Section) -> Self {
        Self {
            file: file.clone(),
            entry,
            section,
            next: section.block,
            bytes: Vec::new(),
            filled: 0,
        }
    }

    fn push(&mut self, entry: &[u8]) -> Result<()> {
        debug_assert_eq!(entry.len(), self.section.size);
        self.bytes.extend_from_slice(entry);
        self.filled += 1;
        if self.filled == self.section.fits() {
            self.end_block();
            if self.bytes.len() >= BLOCKS * BLOCK {
                self.write()?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self) {
        let whole = self.bytes.len().next_multiple_of(BLOCK);
        self.bytes.resize(whole, 0);
        let start = whole - BLOCK;
        let offset = self.next * BLOCK as u64 + start as u64;
        let block = self.bytes.get_mut(start..);
        let block = block.expect("what fills is a block at least");
        seal(&self.entry, offset, block);
        self.filled = 0;
    }

    fn write(&mut self) -> Result<()> {
        self.file
            .write_all_at(&self.bytes, self.next * BLOCK as u64)?;
        self.next += (self.bytes.len() / BLOCK) as u64;
        self.bytes.clear();
        Ok(())
    }

    /// Ends the last block.
    fn end(&mut self) {
        if self.filled > 0 {
            self.end_block();
        }
        debug_assert_eq!(
            self.next + (self.bytes.len() / BLOCK) as u64,
            self.section.block + self.section.blocks()
        );
    }

    fn is_unwritten(&self) -> bool {
        self.next == self.section.block
    }
}

/// The filter: one line of bits for the terms of a range.
#[derive(Debug)]
struct Filter {
    blocks: Blocks,
    line: [u8; LINE_SIZE],
    nth: u64,
}

impl Filter {
    fn new(blocks: Blocks) -> Self {
        Self {
            blocks,
            line: [0; LINE_SIZE],
            nth: 0,
        }
    }

    fn add(&mut self, term: Term) -> Result<()> {
        self.go_to(filter_line(term, self.blocks.section.entries))?;
        for bit in filter_bits(term) {
            if let Some(byte) = self.line.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
        Ok(())
    }

    fn go_to(&mut self, line: u64) -> Result<()> {
        while self.nth < line {
            self.blocks.push(&self.line)?;
            self.line = [0; LINE_SIZE];
            self.nth += 1;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.go_to(self.blocks.section.entries)
    }
}
