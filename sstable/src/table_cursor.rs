//! [`TableCursor`]: a place in a table.

use std::fmt;
use std::sync::Arc;

use durable_io::engine::Value;

use crate::block::{Block, Position};
use crate::cursor::Cursor;
use crate::entry::Entry;
use crate::error::{Corruption, Result};
use crate::reader::Reader;
use crate::source::Loaded;

/// A place in a table, among all its entries. It holds the table, and lends what it stands on.
///
/// ```
/// use sstable::Cursor;
/// # use sstable::{BlockCache, Options, Table};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// # let mut writer = Options::new().create(&dir, "t")?;
/// # writer.put(b"apple", b"3")?;
/// # writer.put(b"fig", b"7")?;
/// # writer.put(b"pear", b"1")?;
/// # writer.finish()?;
/// # let table = Table::open(&dir, "t", &BlockCache::new(1 << 20))?;
/// let mut cursor = table.cursor();
/// cursor.seek(b"b", u64::MAX)?; // the first entry that is not before it
/// let mut keys = Vec::new();
/// while let Some(entry) = cursor.entry() {
///     keys.push(entry.key.to_vec());
///     cursor.advance()?;
/// }
/// assert_eq!(keys, [&b"fig"[..], b"pear"]);
/// cursor.retreat()?;
/// let kept = cursor.value(); // holds what it is lent from, and outlives the cursor
/// drop(cursor);
/// assert_eq!(kept.as_deref(), Some(&b"1"[..]));
/// # Ok(())
/// # }
/// ```
pub struct TableCursor {
    reader: Arc<Reader>,
    stand: Stand,
    /// Partition, and block in it.
    place: (usize, usize),
    /// The block, while it stands on an entry.
    block: Option<Loaded>,
    position: Position,
}

/// Where a cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Nowhere,
    BeforeFirst,
    OnEntry,
    BehindLast,
}

impl fmt::Debug for TableCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableCursor")
            .field("path", &self.reader.source.path())
            .field("entry", &self.entry())
            .finish_non_exhaustive()
    }
}

impl TableCursor {
    pub(crate) fn new(reader: &Arc<Reader>) -> Self {
        Self {
            reader: Arc::clone(reader),
            stand: Stand::Nowhere,
            place: (0, 0),
            block: None,
            position: Position::default(),
        }
    }

    /// The value of the entry it stands on, which goes on to hold what it is lent from.
    pub fn value(&self) -> Option<Value> {
        let block = self.block.as_ref()?;
        let range = self.position.value();
        Some(self.reader.value(&block.payload, &range))
    }

    /// Loads the block at `place`, unless it is loaded, and moves within it.
    #[inline]
    fn go(
        &mut self,
        place: (usize, usize),
        to: impl FnOnce(&mut Position, &Block<'_>) -> Result<bool, Corruption>,
    ) -> Result<bool> {
        let source = &self.reader.source;
        if self.block.is_none() || self.place != place {
            self.block = None;
            let partition = self.reader.partition(place.0)?;
            self.block = Some(partition.block(source, &self.reader.footer, place.1)?);
            self.place = place;
        }
        let Some(loaded) = &self.block else {
            return Ok(false);
        };
        let block = Block::new(source.payload(&loaded.payload), loaded.layout);
        match to(&mut self.position, &block) {
            Ok(stands) => {
                self.stand = Stand::OnEntry;
                Ok(stands)
            }
            Err(reason) => {
                let (offset, _) = self.reader.partition(place.0)?.place(source, place.1);
                Err(source.corrupt(offset, reason))
            }
        }
    }

    /// What `result` says, or nowhere after an error.
    #[inline]
    fn or_nowhere(&mut self, result: Result<()>) -> Result<()> {
        if result.is_err() {
            self.leave(Stand::Nowhere);
        }
        result
    }

    fn leave(&mut self, stand: Stand) {
        self.stand = stand;
        self.block = None;
        self.position.clear();
    }

    /// Goes to the first entry of the first block from `place` on.
    fn first_from(&mut self, mut place: (usize, usize)) -> Result<()> {
        loop {
            if place.0 >= self.reader.partitions() {
                self.leave(Stand::BehindLast);
                return Ok(());
            }
            if place.1 >= self.reader.partition(place.0)?.len() {
                place = (place.0 + 1, 0);
                continue;
            }
            if self.go(place, Position::first)? {
                return Ok(());
            }
            place.1 += 1; // No writer makes an empty block.
        }
    }

    /// Goes to the last entry of the block before `place`.
    fn last_before(&mut self, place: (usize, usize)) -> Result<()> {
        let place = match place {
            (partition, block) if block > 0 => (partition, block - 1),
            (0, _) => {
                self.leave(Stand::BeforeFirst);
                return Ok(());
            }
            (partition, _) => {
                let blocks = self.reader.partition(partition - 1)?.len();
                (partition - 1, blocks.saturating_sub(1))
            }
        };
        self.go(place, Position::last)?;
        Ok(())
    }

    fn seek_inner(&mut self, key: &[u8], version: u64) -> Result<()> {
        let nth = self.reader.find_partition(key, version)?;
        if nth >= self.reader.partitions() {
            self.leave(Stand::BehindLast);
            return Ok(());
        }
        let block = self.reader.partition(nth)?;
        let block = block.find(&self.reader.source, key, version)?;
        if block < self.reader.partition(nth)?.len() {
            let place = (nth, block);
            if self.go(place, |position, block| position.seek(block, key, version))? {
                return Ok(());
            }
        }
        // It is behind the last entry of the block, and not behind its separator.
        self.first_from((nth, block + 1))
    }
}

impl Cursor for TableCursor {
    fn seek_to_first(&mut self) -> Result<()> {
        let went = self.first_from((0, 0));
        self.or_nowhere(went)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        let went = self.last_before((self.reader.partitions(), 0));
        self.or_nowhere(went)
    }

    fn seek(&mut self, key: &[u8], version: u64) -> Result<()> {
        let went = self.seek_inner(key, version);
        self.or_nowhere(went)
    }

    #[inline]
    fn advance(&mut self) -> Result<()> {
        let went = match self.stand {
            Stand::OnEntry => match self.go(self.place, Position::next) {
                Ok(true) => return Ok(()),
                Ok(false) => self.first_from((self.place.0, self.place.1 + 1)),
                Err(error) => Err(error),
            },
            Stand::BeforeFirst => self.first_from((0, 0)),
            Stand::BehindLast | Stand::Nowhere => Ok(()),
        };
        self.or_nowhere(went)
    }

    fn retreat(&mut self) -> Result<()> {
        let went = match self.stand {
            Stand::OnEntry => match self.go(self.place, Position::previous) {
                Ok(true) => Ok(()),
                Ok(false) => self.last_before(self.place),
                Err(error) => Err(error),
            },
            Stand::BehindLast => self.last_before((self.reader.partitions(), 0)),
            Stand::BeforeFirst | Stand::Nowhere => Ok(()),
        };
        self.or_nowhere(went)
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        let loaded = self.block.as_ref()?;
        let payload = self.reader.source.payload(&loaded.payload);
        self.position.entry(&Block::new(payload, loaded.layout))
    }
}
