//! [`Salvage`]: everything that can still be read of a damaged table.

mod ends;
mod search;

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Bound, Range};

use durable_io::Dir;
use durable_io::engine::LostKeys;

use crate::block::{Block, Position};
use crate::entry::{Kind, RangeTombstone};
use crate::error::{Corruption, Error, Lost, Result};
use crate::footer::Footer;
use crate::partition;
use crate::properties::Properties;
use crate::reader::{self, Top};
use crate::salvage::search::Search;
use crate::separators::Separators;
use crate::source::{Loaded, Payload, Source};
use crate::table::Table;

/// An entry of a damaged table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// Its key.
    pub key: Vec<u8>,
    /// When it was written.
    pub version: u64,
    /// What it says of its key.
    pub kind: Kind,
    /// Empty for a deletion.
    pub value: Vec<u8>,
}

/// The entries of a table that can be read, whatever is damaged, in the order of all tables. Made by
/// [`Table::salvage`].
///
/// Each entry is of a block whose check holds. Where some are missing there is an [`Error::Lost`], which says between
/// which keys and in which bytes, and the entries behind it follow. Any other error is of something that was there
/// twice, or led to what is found all the same: nothing is lost by it.
///
/// ```
/// use sstable::{Error, Options, Table};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// # let mut writer = Options::new().create(&dir, "t")?;
/// # for n in 0..1000_u32 {
/// #     writer.put(&n.to_be_bytes(), &[7; 100])?;
/// # }
/// # writer.finish()?;
/// // A disk has forgotten what was in one of the blocks.
/// dir.open("t")?.write_all_at(&[0; 100], 20_000)?;
/// let (mut left, mut lost) = (0, Vec::new());
/// for item in Table::salvage(&dir, "t")? {
///     match item {
///         Ok(_entry) => left += 1,
///         Err(Error::Lost(what)) => lost.push(what), // between which keys, and in which bytes
///         Err(other) => println!("nothing is lost by it: {other}"),
///     }
/// }
/// assert!(left > 900 && left < 1000);
/// assert_eq!(lost.len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Salvage {
    source: Source,
    footer: Option<Footer>,
    /// Header or footer could be read; else what is found has the place of what they say.
    has_end: bool,
    properties: Option<Properties>,
    range_tombstones: Vec<RangeTombstone>,
    top: Option<Top>,
    /// The next partition; all are one if the top index is lost.
    partition: usize,
    blocks: Blocks,
    block: Option<Open>,
    /// What comes next is behind this key and version.
    behind: Option<(Vec<u8>, u64)>,
    /// What is to be told before anything else.
    told: VecDeque<Error>,
}

/// Where data blocks come from.
enum Blocks {
    /// There are none left.
    None,
    /// From the index of a partition, the next one of it.
    Indexed {
        index: Separators<1>,
        payload: Payload,
        start: u64,
        next: usize,
    },
    /// They are searched for.
    Searched(Search),
}

/// A data block, read up to `position`.
struct Open {
    loaded: Loaded,
    position: Position,
    is_new: bool,
    place: Range<u64>,
    /// The separator behind it, if there is an index.
    separator: Option<(Vec<u8>, u64)>,
}

impl fmt::Debug for Salvage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salvage")
            .field("path", &self.source.path())
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// Reads what is left of the table `name` of `dir`, whatever is damaged, and changes nothing: for a table that
    /// [`open`](Self::open) refuses, or that has damaged blocks. The right to read is enough.
    ///
    /// Every data block that passes its check is there, also one that nothing leads to any more: blocks are then
    /// searched for. A place that cannot be read takes no other with it. What a filter says is not asked.
    ///
    /// If header and footer are both damaged nothing but [`salvage_as`](Self::salvage_as) can read the rest: every
    /// check depends on the id that they have.
    ///
    /// # Cost
    /// Reads header, footer, properties, range tombstones and top index now, and each block once, as its entries are
    /// asked for; a part of the file that is searched is read twice. Nothing is mapped: it holds the file, and in
    /// memory one block, one index, and the range tombstones.
    ///
    /// # Errors
    /// [`Error::Disk`] if the file cannot be opened; [`Error::UnsupportedVersion`]. All else is an item of
    /// [`Salvage`].
    pub fn salvage(dir: &Dir, name: &str) -> Result<Salvage> {
        Salvage::open(dir, name, None)
    }

    /// As [`salvage`](Self::salvage), of a table of which something else has kept the
    /// [`file_id`](Self::file_id): it can be read without header and footer.
    ///
    /// # Cost
    /// As [`salvage`](Self::salvage). Without header and footer the file is read once more.
    ///
    /// # Errors
    /// As [`salvage`](Self::salvage).
    pub fn salvage_as(dir: &Dir, name: &str, file_id: u64) -> Result<Salvage> {
        Salvage::open(dir, name, Some(file_id))
    }
}

impl Salvage {
    fn open(dir: &Dir, name: &str, file_id: Option<u64>) -> Result<Self> {
        let mut this = Self {
            source: Source::open_unmapped(dir, name)?,
            footer: None,
            has_end: false,
            properties: None,
            range_tombstones: Vec::new(),
            top: None,
            partition: 0,
            blocks: Blocks::None,
            block: None,
            behind: None,
            told: VecDeque::new(),
        };
        this.footer = this.read_footer(file_id)?;
        if let Some(footer) = this.footer.clone() {
            this.read_meta(&footer);
        }
        Ok(this)
    }

    /// The random id of the file, if it is known.
    pub fn file_id(&self) -> Option<u64> {
        Some(self.footer.as_ref()?.file_id)
    }

    fn id(&self) -> u64 {
        self.file_id().expect("there are no blocks without it")
    }

    /// What the table says about itself, if that can be read.
    pub fn properties(&self) -> Option<&Properties> {
        self.properties.as_ref()
    }

    /// The fragments of range tombstones, in order; none if there are none or they are lost, which an item says.
    pub fn range_tombstones(&self) -> &[RangeTombstone] {
        &self.range_tombstones
    }

    fn lose(&mut self, what: &'static str, keys: LostKeys, bytes: Range<u64>, source: Error) {
        let path = self.source.path().to_owned();
        self.told.push_back(Error::Lost(Box::new(Lost {
            path,
            what,
            keys,
            bytes,
            source,
        })));
    }

    /// The bound behind which the next entry is.
    fn first(&self) -> Bound<Vec<u8>> {
        match (&self.behind, &self.properties) {
            (Some((key, 0)), _) => Bound::Excluded(key.clone()),
            (Some((key, _)), _) => Bound::Included(key.clone()),
            (None, Some(properties)) => Bound::Included(properties.first.clone()),
            (None, None) => Bound::Unbounded,
        }
    }

    /// Entries up to `last` are lost, or, without that, up to the end.
    fn lose_entries(&mut self, last: Option<Vec<u8>>, bytes: Range<u64>, source: Error) {
        let end = || self.properties.as_ref().map(|all| all.last.clone());
        let last = last.map(Bound::Included).or_else(end);
        let keys = LostKeys {
            first: self.first(),
            last: last.unwrap_or(Bound::Unbounded),
        };
        self.lose("entries", keys, bytes, source);
    }

    /// The next entry of the block that is open; `None` if that has no more.
    fn step(&mut self) -> Option<Salvaged> {
        let open = self.block.as_mut()?;
        let block = Block::new(
            self.source.payload(&open.loaded.payload),
            open.loaded.layout,
        );
        let stands = if std::mem::replace(&mut open.is_new, false) {
            open.position.first(&block)
        } else {
            open.position.next(&block)
        };
        if let Ok(true) = stands
            && let Some(entry) = open.position.entry(&block)
        {
            let salvaged = Salvaged {
                key: entry.key.to_vec(),
                version: entry.version,
                kind: entry.kind,
                value: entry.value.to_vec(),
            };
            let behind = self.behind.get_or_insert_default();
            behind.0.clone_from(&salvaged.key);
            behind.1 = salvaged.version;
            return Some(salvaged);
        }
        let bad = stands.err();
        self.leave_block(bad);
        None
    }

    /// Leaves the block, of which the rest is lost if it is `bad`.
    fn leave_block(&mut self, bad: Option<Corruption>) {
        let Some(open) = self.block.take() else {
            return;
        };
        let bad = bad.map(|reason| self.source.corrupt(open.place.start, reason));
        match (open.separator, &mut self.blocks) {
            (Some(separator), _) => {
                if let Some(error) = bad {
                    self.lose_entries(Some(separator.0.clone()), open.place, error);
                }
                self.behind = Some(separator);
            }
            (None, Blocks::Searched(search)) => {
                search.bad = bad.map(|error| (open.place.start, error));
            }
            (None, _) => {}
        }
    }

    /// Opens the next block, or tells why not; false if there is none.
    fn enter_block(&mut self) -> bool {
        match std::mem::replace(&mut self.blocks, Blocks::None) {
            Blocks::None => return self.enter_partition(),
            Blocks::Searched(search) => self.search(search),
            Blocks::Indexed {
                index,
                payload,
                start,
                next,
            } => {
                if next < index.len() {
                    self.enter_indexed(&index, &payload, start, next);
                    self.blocks = Blocks::Indexed {
                        index,
                        payload,
                        start,
                        next: next + 1,
                    };
                }
            }
        }
        true
    }

    fn enter_indexed(&mut self, index: &Separators<1>, payload: &Payload, start: u64, nth: usize) {
        let (place, separator) = {
            let payload = self.source.payload(payload);
            let end = |nth| index.number(payload, 0, nth);
            let place = nth.checked_sub(1).map_or(start, end)..end(nth);
            let separator = index.separator(payload, nth);
            let separator = separator
                .map(|(suffix, version)| ([index.prefix(payload), suffix].concat(), version));
            (place, separator)
        };
        let id = self.id();
        let len = place.end.saturating_sub(place.start);
        let loaded = self.source.unchecked(id, place.start, len, false);
        match (loaded, separator) {
            (Ok((_, loaded)), separator) => {
                self.block = Some(Open {
                    loaded,
                    position: Position::default(),
                    is_new: true,
                    place,
                    separator: separator.ok(),
                });
            }
            (Err(error), Ok(separator)) => {
                self.lose_entries(Some(separator.0.clone()), place, error);
                self.behind = Some(separator);
            }
            (Err(error), Err(_)) => self.lose_entries(None, place, error),
        }
    }

    /// Goes on to the index of the next partition; false if there is none.
    fn enter_partition(&mut self) -> bool {
        let (Some(footer), Some(top)) = (self.footer.clone(), &self.top) else {
            return false;
        };
        let nth = self.partition;
        if nth == top.separators.len() {
            return false;
        }
        self.partition += 1;
        let places = reader::places(&self.source, &footer, top, nth);
        let mut found = None;
        let copies = [
            Some(places.index),
            Some(places.copy).filter(|_| self.has_end),
        ];
        for at in copies.into_iter().flatten() {
            match partition::index(&self.source, &footer, at, places.index_len) {
                Ok(index) => {
                    found = Some(index);
                    break;
                }
                Err(error) => self.told.push_back(error),
            }
        }
        self.blocks = if let Some((index, payload)) = found {
            Blocks::Indexed {
                index,
                payload,
                start: places.start,
                next: 0,
            }
        } else {
            let last = self.partition_end(nth);
            Blocks::Searched(Search::new(&self.source, places.start, places.index, last))
        };
        true
    }

    /// The separator behind partition `nth`.
    fn partition_end(&self, nth: usize) -> Option<(Vec<u8>, u64)> {
        let top = self.top.as_ref()?;
        let payload = self.source.payload(&top.payload);
        let (suffix, version) = top.separators.separator(payload, nth).ok()?;
        Some(([top.separators.prefix(payload), suffix].concat(), version))
    }
}

impl Iterator for Salvage {
    type Item = Result<Salvaged>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.told.pop_front() {
                return Some(Err(error));
            }
            if let Some(entry) = self.step() {
                return Some(Ok(entry));
            }
            if self.told.is_empty() && self.block.is_none() && !self.enter_block() {
                return None;
            }
        }
    }
}
