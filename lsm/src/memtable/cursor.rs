//! [`MemtableCursor`]: a place in a memtable.

use std::sync::Arc;

use sstable::{Cursor, Entry};

use super::{Items, Memtable, Place};

/// A place in a memtable. It holds the memtable, and the leaf that it stands in as that was when it came
/// there: what is inserted later may be missing, but it is newer than whoever reads.
#[derive(Clone, Debug)]
pub(crate) struct MemtableCursor {
    table: Arc<Memtable>,
    leaf: Arc<Items>,
    stand: Stand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Nowhere,
    BeforeFirst,
    On(usize),
    BehindLast,
}

impl MemtableCursor {
    pub(crate) fn new(table: &Arc<Memtable>) -> Self {
        Self {
            table: Arc::clone(table),
            leaf: Arc::default(),
            stand: Stand::Nowhere,
        }
    }

    /// Goes to the first entry that is not before `place`, or that is behind it.
    fn forward_to(&mut self, place: Option<Place<'_>>, is_behind: bool) {
        let index = self.table.index();
        let mut at = place.map_or(0, |place| index.find(place));
        self.stand = loop {
            let Some(leaf) = index.leaves.get(at) else {
                break Stand::BehindLast;
            };
            let items = leaf.items();
            let nth = place.map_or(0, |place| items.before(place, is_behind));
            if nth < items.items.len() {
                self.leaf = Arc::clone(&items);
                break Stand::On(nth);
            }
            at += 1;
        };
    }

    /// Goes to the last entry, or to the last one before `place`.
    fn backward_to(&mut self, place: Option<Place<'_>>) {
        let index = self.table.index();
        let mut at = place.map_or(index.leaves.len() - 1, |place| index.find(place));
        self.stand = loop {
            let Some(leaf) = index.leaves.get(at) else {
                break Stand::BeforeFirst;
            };
            let items = leaf.items();
            let end = place.map_or(items.items.len(), |place| items.before(place, false));
            if let Some(nth) = end.checked_sub(1) {
                self.leaf = Arc::clone(&items);
                break Stand::On(nth);
            }
            match at.checked_sub(1) {
                Some(before) => at = before,
                None => break Stand::BeforeFirst,
            }
        };
    }
}

impl Cursor for MemtableCursor {
    fn seek_to_first(&mut self) -> sstable::Result<()> {
        self.forward_to(None, false);
        Ok(())
    }

    fn seek_to_last(&mut self) -> sstable::Result<()> {
        self.backward_to(None);
        Ok(())
    }

    fn seek(&mut self, key: &[u8], version: u64) -> sstable::Result<()> {
        self.forward_to(Some(Place::new(key, version)), false);
        Ok(())
    }

    #[inline]
    fn advance(&mut self) -> sstable::Result<()> {
        match self.stand {
            Stand::On(nth) if nth + 1 < self.leaf.items.len() => self.stand = Stand::On(nth + 1),
            Stand::On(nth) => {
                let leaf = Arc::clone(&self.leaf);
                if let Some(item) = leaf.items.get(nth) {
                    self.forward_to(Some(item.place()), true);
                }
            }
            Stand::BeforeFirst => self.forward_to(None, false),
            Stand::Nowhere | Stand::BehindLast => {}
        }
        Ok(())
    }

    fn retreat(&mut self) -> sstable::Result<()> {
        match self.stand {
            Stand::On(0) => {
                let leaf = Arc::clone(&self.leaf);
                if let Some(item) = leaf.items.first() {
                    self.backward_to(Some(item.place()));
                }
            }
            Stand::On(nth) => self.stand = Stand::On(nth - 1),
            Stand::BehindLast => self.backward_to(None),
            Stand::Nowhere | Stand::BeforeFirst => {}
        }
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        match self.stand {
            Stand::On(nth) => Some(self.leaf.items.get(nth)?.entry()),
            Stand::Nowhere | Stand::BeforeFirst | Stand::BehindLast => None,
        }
    }
}
