//! [`Scan`] and [`Keys`]: the keys of a range with their values, in order, from either end.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use sstable::{Cursor, Visible};

use crate::cursor::{AnyCursor, sources};
use crate::error::Result;
use crate::store::Store;
use crate::tree::State;

/// Keys and values of a keyspace as of one moment, in order, from either end. After an error it ends.
///
/// It holds what it reads, and no lock: what is written, flushed, merged or dropped meanwhile changes
/// nothing of it. As an iterator it copies keys and values; [`read`](Scan::read) and
/// [`read_back`](Scan::read_back) lend them, and allocate nothing for a row.
pub struct Scan {
    /// `None`: the store was opened for reading only.
    store: Option<Arc<Store>>,
    state: Arc<State>,
    version: u64,
    range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    front: Option<Visible<AnyCursor>>,
    back: Option<Visible<AnyCursor>>,
    is_done: bool,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("range", &self.range)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

impl Scan {
    pub(crate) fn new<'k>(
        store: Option<&Arc<Store>>,
        state: Arc<State>,
        version: u64,
        range: impl RangeBounds<&'k [u8]>,
    ) -> Self {
        let owned = |bound: Bound<&&[u8]>| bound.map(|key| key.to_vec());
        Self {
            store: store.cloned(),
            state,
            version,
            range: (owned(range.start_bound()), owned(range.end_bound())),
            front: None,
            back: None,
            is_done: false,
        }
    }

    /// The next entry from the front: key and value, lent.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Disk`](crate::Error::Disk);
    /// [`Error::Poisoned`](crate::Error::Poisoned) if a write or sync has failed meanwhile, and what is
    /// scanned is newer than what was durable by then. `None` follows an error.
    #[inline]
    pub fn read(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.step(End::Front)
    }

    /// The next entry from the back: key and value, lent.
    ///
    /// # Errors
    /// As [`read`](Scan::read).
    #[inline]
    pub fn read_back(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        self.step(End::Back)
    }

    /// Only the keys.
    pub fn keys(self) -> Keys {
        Keys(self)
    }

    #[inline]
    fn step(&mut self, end: End) -> Result<Option<(&[u8], &[u8])>> {
        if self.is_done {
            return Ok(None);
        }
        let moved = self.advance(end);
        self.is_done = !matches!(moved, Ok(true));
        moved?;
        let side = match end {
            End::Front => &self.front,
            End::Back => &self.back,
        };
        let entry = side
            .as_ref()
            .filter(|_| !self.is_done)
            .and_then(Cursor::entry);
        Ok(entry.map(|entry| (entry.key, entry.value)))
    }

    /// Moves one end by one entry; false if it meets the other one.
    #[inline]
    fn advance(&mut self, end: End) -> Result<bool> {
        if let Some(store) = &self.store {
            store.check_readable(self.version)?;
        }
        let (side, other) = match end {
            End::Front => (&mut self.front, &self.back),
            End::Back => (&mut self.back, &self.front),
        };
        match side {
            Some(side) if end == End::Front => side.advance()?,
            Some(side) => side.retreat()?,
            None => {
                let visible = Visible::new(sources(&self.state), self.version);
                let bound = |bound: &Bound<Vec<u8>>| bound.clone();
                let visible =
                    visible.range::<Vec<u8>>((bound(&self.range.0), bound(&self.range.1)));
                let visible = side.insert(visible);
                if end == End::Front {
                    visible.seek_to_first()?;
                } else {
                    visible.seek_to_last()?;
                }
            }
        }
        let Some(entry) = side.as_ref().and_then(Cursor::entry) else {
            return Ok(false);
        };
        let Some(met) = other.as_ref().and_then(Cursor::entry) else {
            return Ok(true);
        };
        Ok(match end {
            End::Front => entry.key < met.key,
            End::Back => entry.key > met.key,
        })
    }

    fn copied(&mut self, end: End) -> Option<Result<(Vec<u8>, Vec<u8>)>> {
        let step = self.step(end);
        step.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
            .transpose()
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.copied(End::Front)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.copied(End::Back)
    }
}

/// The keys of a [`Scan`].
#[derive(Debug)]
pub struct Keys(Scan);

impl Keys {
    fn key(&mut self, end: End) -> Option<Result<Vec<u8>>> {
        let step = self.0.step(end);
        step.map(|entry| entry.map(|(key, _)| key.to_vec()))
            .transpose()
    }
}

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.key(End::Front)
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.key(End::Back)
    }
}

/// The keys that begin with `prefix`.
pub(crate) fn prefix_range(prefix: &[u8]) -> (Bound<&[u8]>, Bound<Vec<u8>>) {
    let end = prefix.iter().rposition(|&byte| byte < 0xff).map(|last| {
        let mut end = prefix.get(..=last).unwrap_or(prefix).to_vec();
        if let Some(byte) = end.last_mut() {
            *byte += 1;
        }
        end
    });
    (
        Bound::Included(prefix),
        end.map_or(Bound::Unbounded, Bound::Excluded),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_first_key_without_it() {
        let end = |prefix: &[u8]| prefix_range(prefix).1;
        assert_eq!(end(b"a"), Bound::Excluded(b"b".to_vec()));
        assert_eq!(end(b"a\xff"), Bound::Excluded(b"b".to_vec()));
        assert_eq!(end(b"\xff\xff"), Bound::Unbounded);
        assert_eq!(end(b""), Bound::Unbounded);
    }
}
