//! [`Visible`]: what a reader sees of several sorted runs.

use std::ops::{Bound, RangeBounds};

use crate::bounds::{end_of_prefix, is_above, is_below, seek_behind, seek_lower, seek_upper};
use crate::covering::Covering;
use crate::cursor::Cursor;
use crate::entry::{Entry, Kind};
use crate::error::Result;
use crate::merge::{Merge, Source};

/// So many entries of one key are passed by steps; then comes a seek.
const STEPS: usize = 8;

/// What a reader sees of one or several sorted runs: of each key the newest entry that is not newer than
/// the reader's version, if it is a put, and no range tombstone that the reader sees hides it.
///
/// It is a [`Cursor`] over these entries, and an iterator over copies of their keys and values, from
/// the first one or from where the cursor stands.
///
/// # Cost
/// Forward, an entry costs a step of the [`Merge`] and a copy of its key; backward also a copy of its
/// value. Nothing is allocated for each entry. A change of direction is a seek.
///
/// ```
/// use sstable::{Source, Visible};
/// # use sstable::{BlockCache, Options, Table};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// # let mut writer = Options::new().create(&dir, "older")?;
/// # writer.put(b"apple", b"3")?;
/// # writer.put(b"fig", b"7")?;
/// # writer.finish()?;
/// # let mut writer = Options::new().create(&dir, "newer")?;
/// # writer.delete(b"apple")?;
/// # writer.put(b"pear", b"1")?;
/// # writer.finish()?;
/// # let cache = BlockCache::new(1 << 20);
/// let older = Table::open(&dir, "older", &cache)?; // apple, fig
/// let newer = Table::open(&dir, "newer", &cache)?; // pear, and that apple is deleted
/// let sources = vec![Source::of(&newer), Source::of(&older)]; // the newest first
/// let keys = Visible::new(sources, u64::MAX).map(|pair| pair.map(|(key, _)| key));
/// assert_eq!(keys.collect::<Result<Vec<_>, _>>()?, [&b"fig"[..], b"pear"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Visible<C> {
    merge: Merge<C>,
    covering: Covering,
    version: u64,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    place: Place,
    /// The key that the merge has just left, or the held one.
    key: Vec<u8>,
    /// The held value, and its version.
    value: Vec<u8>,
    held_version: u64,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere yet.
    New,
    /// Nowhere, after an error.
    Lost,
    BeforeFirst,
    BehindLast,
    /// On the entry that the merge stands on.
    Merge,
    /// On the entry in `key` and `value`; the merge stands before all entries of its key.
    Held,
}

impl<C: Cursor> Visible<C> {
    /// What a reader at `version` sees of `sources`, the newest first; `u64::MAX` sees the newest of
    /// everything. It stands nowhere yet.
    pub fn new(sources: Vec<Source<C>>, version: u64) -> Self {
        Self {
            covering: Covering::new(sources.iter().map(|source| &source.range_tombstones)),
            merge: Merge::new(sources.into_iter().map(|source| source.cursor).collect()),
            version,
            lower: Bound::Unbounded,
            upper: Bound::Unbounded,
            place: Place::New,
            key: Vec::new(),
            value: Vec::new(),
            held_version: 0,
        }
    }

    /// Only the keys in `range`.
    #[must_use]
    pub fn range<K: AsRef<[u8]>>(mut self, range: impl RangeBounds<K>) -> Self {
        self.lower = range.start_bound().map(|key| key.as_ref().to_vec());
        self.upper = range.end_bound().map(|key| key.as_ref().to_vec());
        self.place = Place::New;
        self
    }

    /// Only the keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: &[u8]) -> Self {
        self.lower = Bound::Included(prefix.to_vec());
        self.upper = end_of_prefix(prefix);
        self.place = Place::New;
        self
    }

    /// Does one of the moves below; after an error it stands nowhere.
    #[inline]
    fn moved(&mut self, to: impl FnOnce(&mut Self) -> Result<Place>) -> Result<()> {
        self.place = match to(self) {
            Ok(place) => place,
            Err(error) => {
                self.place = Place::Lost;
                return Err(error);
            }
        };
        Ok(())
    }

    fn first(&mut self) -> Result<Place> {
        seek_lower(&mut self.merge, &self.lower, self.version)?;
        self.next_visible()
    }

    fn last(&mut self) -> Result<Place> {
        seek_upper(&mut self.merge, &self.upper)?;
        self.previous_visible()
    }

    /// The first visible entry of a key above `key`.
    fn first_behind_key(&mut self) -> Result<Place> {
        seek_behind(&mut self.merge, &self.key)?;
        self.next_visible()
    }

    /// The first visible entry from where the merge stands: on the newest entry of a key that the
    /// reader may see, or on one that is newer than that.
    #[inline]
    fn next_visible(&mut self) -> Result<Place> {
        let mut passed = 0_usize;
        while let Some(entry) = self.merge.entry() {
            if is_above(entry.key, &self.upper) {
                return Ok(Place::BehindLast);
            }
            if entry.version > self.version {
                passed += 1;
                if passed.is_multiple_of(STEPS) {
                    copy(&mut self.key, entry.key);
                    self.merge.seek(&self.key, self.version)?;
                } else {
                    self.merge.advance()?;
                }
                continue;
            }
            let source = self.merge.source().expect("an entry is of a source");
            let is_put = entry.kind == Kind::Put;
            if is_put && !self.covering.hides(entry, source, self.version) {
                return Ok(Place::Merge);
            }
            self.pass_key()?;
        }
        Ok(Place::BehindLast)
    }

    /// From an entry to the first one of another key.
    #[inline]
    fn pass_key(&mut self) -> Result<()> {
        let Some(entry) = self.merge.entry() else {
            return Ok(());
        };
        copy(&mut self.key, entry.key);
        for _ in 0..STEPS {
            self.merge.advance()?;
            let entry = self.merge.entry();
            if entry.is_none_or(|entry| entry.key != self.key) {
                return Ok(());
            }
        }
        self.merge.seek(&self.key, 0)?;
        let entry = self.merge.entry();
        if entry.is_some_and(|entry| entry.key == self.key) {
            self.merge.advance()?;
        }
        Ok(())
    }

    /// From the entries of `key`, or behind them, to the last one of a smaller key.
    fn pass_key_backward(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            let entry = self.merge.entry();
            if entry.is_none_or(|entry| entry.key < &*self.key) {
                return Ok(());
            }
            self.merge.retreat()?;
        }
        self.merge.seek(&self.key, u64::MAX)?;
        self.merge.retreat()
    }

    /// The last visible entry up to where the merge stands: on the oldest entry of a key. It is held,
    /// since only a newer entry says that it is the one to show.
    fn previous_visible(&mut self) -> Result<Place> {
        while let Some(entry) = self.merge.entry() {
            if is_below(entry.key, &self.lower) {
                break;
            }
            copy(&mut self.key, entry.key);
            let mut is_visible = false;
            while let Some(entry) = self.merge.entry()
                && entry.key == self.key
                && entry.version <= self.version
            {
                is_visible = entry.kind == Kind::Put;
                if is_visible {
                    copy(&mut self.value, entry.value);
                    self.held_version = entry.version;
                    let source = self.merge.source().expect("an entry is of a source");
                    is_visible = !self.covering.hides(entry, source, self.version);
                }
                self.merge.retreat()?;
            }
            self.pass_key_backward()?;
            if is_visible {
                return Ok(Place::Held);
            }
        }
        Ok(Place::BeforeFirst)
    }

    fn next_place(&mut self) -> Result<Place> {
        match self.place {
            Place::Merge => {
                self.pass_key()?;
                self.next_visible()
            }
            Place::Held => self.first_behind_key(),
            Place::BeforeFirst => self.first(),
            place @ (Place::New | Place::Lost | Place::BehindLast) => Ok(place),
        }
    }

    fn previous_place(&mut self) -> Result<Place> {
        match self.place {
            Place::Merge => {
                if let Some(entry) = self.merge.entry() {
                    copy(&mut self.key, entry.key);
                }
                self.pass_key_backward()?;
                self.previous_visible()
            }
            Place::Held => self.previous_visible(),
            Place::BehindLast => self.last(),
            place @ (Place::New | Place::Lost | Place::BeforeFirst) => Ok(place),
        }
    }
}

impl<C: Cursor> Cursor for Visible<C> {
    fn seek_to_first(&mut self) -> Result<()> {
        self.moved(Self::first)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.moved(Self::last)
    }

    fn seek(&mut self, key: &[u8], version: u64) -> Result<()> {
        if is_below(key, &self.lower) {
            return self.seek_to_first();
        }
        self.moved(|this| {
            this.merge.seek(key, this.version)?;
            this.next_visible()
        })?;
        let entry = self.entry();
        // The one visible entry of the key comes before this version.
        if entry.is_some_and(|entry| entry.key == key && entry.version > version) {
            self.advance()?;
        }
        Ok(())
    }

    #[inline]
    fn advance(&mut self) -> Result<()> {
        self.moved(Self::next_place)
    }

    fn retreat(&mut self) -> Result<()> {
        self.moved(Self::previous_place)
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        match self.place {
            Place::Merge => self.merge.entry(),
            Place::Held => Some(Entry {
                key: &self.key,
                version: self.held_version,
                kind: Kind::Put,
                value: &self.value,
            }),
            Place::New | Place::Lost | Place::BeforeFirst | Place::BehindLast => None,
        }
    }
}

impl<C: Cursor> Iterator for Visible<C> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    /// The next entry forward: copies of its key and value. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        let moved = match self.place {
            Place::New => self.seek_to_first(),
            _ => self.advance(),
        };
        match moved {
            Ok(()) => self
                .entry()
                .map(|entry| Ok((entry.key.to_vec(), entry.value.to_vec()))),
            Err(error) => Some(Err(error)),
        }
    }
}

#[inline]
fn copy(to: &mut Vec<u8>, from: &[u8]) {
    to.clear();
    to.extend_from_slice(from);
}
