//! [`Part`]: a part of the index, of events that do not change any more.
//!
//! It is a cache of the log: a part that is missing or damaged is made again. Its bytes are never written
//! again, so they are mapped; each block is checked when it is first used.

pub(crate) mod layout;
pub(crate) mod write;

use std::sync::atomic::{AtomicU64, Ordering};

use durable_io::codec::Decoder;
use durable_io::{Dir, File, Map};
use wal::Location;

use crate::error::{Corruption, Error};
use crate::ids::Position;
use crate::list::Entry;
use crate::names;
use crate::term::Term;
use layout::{
    BLOCK, Header, Listed, Run, Section, Sections, VERSION_POSTINGS, Where, filter_bits,
    filter_line, is_sealed,
};

/// An open part.
#[derive(Debug)]
pub(crate) struct Part {
    header: Header,
    sections: Sections,
    file: File,
    source: Source,
    /// A bit for each block that was checked.
    checked: Vec<AtomicU64>,
}

/// Where the bytes of a part come from.
#[derive(Debug)]
enum Source {
    Map(Map),
    /// The system refused a map.
    File,
}

/// The events of a term in a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Postings<'a> {
    part: &'a Part,
    listed: Listed,
}

impl Part {
    /// Opens the part that `entry` names, and checks its first block.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not there, or not that part; [`Error::Disk`].
    pub(crate) fn open(dir: &Dir, entry: &Entry) -> Result<Self, Error> {
        let name = names::part(entry.number);
        let corrupt = |reason| Error::corrupt(&dir.path().join(&name), 0, reason);
        let file = match dir.open_read_only(&name) {
            Err(error) if error.is_not_found() => return Err(corrupt(Corruption::ForeignPart)),
            other => other?,
        };
        let mut block = [0; BLOCK];
        let read = file.read_at(&mut block, 0)?;
        let header = (read == BLOCK).then(|| Header::decode(&block, entry));
        let header = header.flatten().ok_or(corrupt(Corruption::ForeignPart))?;
        let sections = header.sections();
        let len = sections.blocks * BLOCK as u64;
        if file.len()? != len {
            return Err(corrupt(Corruption::Length));
        }
        let words = usize::try_from(sections.blocks.div_ceil(64));
        let words = words.map_err(|_too_large| corrupt(Corruption::Length))?;
        Ok(Self {
            header,
            sections,
            // What cannot be read either says so when it is.
            source: file.map(0..len).map_or(Source::File, Source::Map),
            file,
            checked: (0..words).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn first(&self) -> Position {
        self.header.entry.first
    }

    /// Bytes of heap that it takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.checked.len() * 8 + size_of::<Self>()) as u64
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.sections.blocks * BLOCK as u64
    }

    /// Calls `f` with block `nth`, checked.
    fn with_block<T>(&self, nth: u64, f: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        let offset = nth * BLOCK as u64;
        let mut buffer = [0; BLOCK];
        let block = match &self.source {
            Source::Map(map) => {
                let at = usize::try_from(offset).expect("what is mapped has an address");
                map.get(at..at + BLOCK).expect("every block is mapped")
            }
            Source::File => {
                let read = self.file.read_at(&mut buffer, offset)?;
                buffer
                    .get(..read)
                    .expect("no more is read than was asked for")
            }
        };
        let word = usize::try_from(nth / 64).ok();
        let word = word.and_then(|at| self.checked.get(at));
        let word = word.expect("each block has a bit");
        let bit = 1 << (nth % 64);
        let is_map = matches!(self.source, Source::Map(_));
        let is_checked = is_map && word.load(Ordering::Relaxed) & bit != 0;
        if !is_checked {
            if !is_sealed(&self.header.entry, offset, block) {
                return Err(self.corrupt(offset, Corruption::Checksum));
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(f(block))
    }

    pub(crate) fn corrupt(&self, offset: u64, reason: Corruption) -> Error {
        Error::corrupt(self.file.path(), offset, reason)
    }

    /// Entry `nth` of `section`, decoded.
    fn entry<T>(
        &self,
        section: &Section,
        nth: u64,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Error> {
        let (block, within) = section.place(nth);
        let offset = block * BLOCK as u64 + within as u64;
        if nth >= section.entries {
            return Err(self.corrupt(offset, Corruption::Length));
        }
        let decoded = self.with_block(block, |bytes| {
            decode(bytes.get(within..within + section.size)?)
        })?;
        decoded.ok_or_else(|| self.corrupt(offset, Corruption::Length))
    }

    /// False if no event of the part has `term`; true for one in a hundred of those, too.
    fn may_have(&self, term: Term) -> Result<bool, Error> {
        let filter = &self.sections.filter;
        self.entry(filter, filter_line(term, filter.entries), |line| {
            let has = |bit: usize| Some(line.get(bit / 8)? & (1 << (bit % 8)) != 0);
            Some(filter_bits(term).all(|bit| has(bit) == Some(true)))
        })
    }

    /// The `nth` term, in their order.
    pub(crate) fn listed(&self, nth: u64) -> Result<Listed, Error> {
        self.entry(&self.sections.terms, nth, Listed::decode)
    }

    pub(crate) fn terms(&self) -> u64 {
        self.header.terms
    }

    /// The events that have `term`; `None` if there are none.
    pub(crate) fn find(&self, term: Term) -> Result<Option<Postings<'_>>, Error> {
        if self.header.terms == 0 || !self.may_have(term)? {
            return Ok(None);
        }
        // Terms are spread evenly: it stands close to where it should.
        let terms = self.header.terms;
        let guess = filter_line(term, terms).min(terms - 1);
        let (mut low, mut high) = (guess, guess + 1);
        let mut step = 4;
        while low > 0 && self.listed(low)?.term > term {
            low = low.saturating_sub(step);
            step *= 2;
        }
        step = 4;
        while high < terms && self.listed(high)?.term <= term {
            high = (high + step).min(terms);
            step *= 2;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            let listed = self.listed(middle)?;
            match listed.term.cmp(&term) {
                std::cmp::Ordering::Equal => {
                    return Ok(Some(Postings { part: self, listed }));
                }
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// The events of a term that the part lists.
    pub(crate) fn postings(&self, listed: Listed) -> Postings<'_> {
        Postings { part: self, listed }
    }

    fn posting(&self, nth: u64) -> Result<u32, Error> {
        self.entry(&self.sections.postings, nth, |bytes| {
            Decoder::new(bytes).u32()
        })
    }

    /// Where the event at `position` is in its segment.
    pub(crate) fn place(&self, position: Position) -> Result<Where, Error> {
        let nth = position.0.wrapping_sub(self.first().0);
        self.entry(&self.sections.places, nth, Where::decode)
    }

    pub(crate) fn run(&self, nth: u64) -> Result<Run, Error> {
        self.entry(&self.sections.runs, nth, Run::decode)
    }

    /// Where the event at `position` is in the log.
    pub(crate) fn location(&self, position: Position) -> Result<Location, Error> {
        let Where { offset, len, group } = self.place(position)?;
        let (mut low, mut high) = (0, self.header.runs);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.run(middle)?.first <= position {
                low = middle;
            } else {
                high = middle;
            }
        }
        let run = self.run(low)?;
        let wide = [position.0, run.segment].map(u64::to_le_bytes);
        let narrow = [offset, len, run.epoch, group].map(u32::to_le_bytes);
        let mut bytes = [0; Location::SIZE];
        let all = wide.as_flattened().iter().chain(narrow.as_flattened());
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = *from;
        }
        Ok(Location::from_bytes(&bytes))
    }

    /// The first events of streams that begin in this part.
    pub(crate) fn beginnings(&self) -> Result<Vec<Position>, Error> {
        let mut found = Vec::new();
        for nth in 0..self.terms() {
            let listed = self.listed(nth)?;
            let postings = self.postings(listed);
            if listed.is_stream && postings.first_version()? == 1 {
                found.push(postings.get(0)?);
            }
        }
        Ok(found)
    }

    /// Checks every block.
    pub(crate) fn check_all(&self) -> Result<(), Error> {
        (0..self.sections.blocks).try_for_each(|nth| self.with_block(nth, |_block| ()))
    }
}

impl Postings<'_> {
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.listed.count)
    }

    /// True if the last one is a tombstone.
    pub(crate) fn is_ended(&self) -> bool {
        self.listed.is_ended
    }

    /// The version of the first one, if these are the events of a stream.
    pub(crate) fn first_version(&self) -> Result<u64, Error> {
        let start = u64::from(self.listed.start);
        let low = self.part.posting(start)?;
        let high = self.part.posting(start + 1)?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// The `nth` event, numbered from the first of the part on.
    pub(crate) fn number(&self, nth: u64) -> Result<u32, Error> {
        if self.listed.is_inline() {
            return Ok(self.listed.start);
        }
        let ahead = if self.listed.is_stream {
            VERSION_POSTINGS
        } else {
            0
        };
        self.part
            .posting(u64::from(self.listed.start) + ahead + nth)
    }

    /// The `nth` event.
    pub(crate) fn get(&self, nth: u64) -> Result<Position, Error> {
        let number = u64::from(self.number(nth)?);
        Ok(Position(self.part.first().0.saturating_add(number)))
    }

    /// How many of them are before `position`.
    pub(crate) fn rank(&self, position: Position) -> Result<u64, Error> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle)? < position {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
