//! [`Draft`]: the pages of a write transaction. Nobody else sees them before it commits.
//!
//! A page of an earlier version is never changed: the transaction makes a copy, on a page of its own,
//! and drops the old one. Pages that it has made itself it edits in place; one that is in the file already
//! gets another stamp, so that no page is written twice under one: a write that the disk loses leaves a
//! page that its reference does not name. What the transaction drops and what it has made becomes known to
//! the free space when it ends, in [`publish`](Draft::publish) or [`undo`](Draft::undo).

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use sdd::Shared;

use crate::error::Result;
use crate::node::{self, Node, Ref};
use crate::page::{Page, PageRef, copy_of};
use crate::page_table::reclaim;
use crate::pager::Pager;
use crate::root::Lease;
use crate::space::{Dead, Purpose, Space};

/// Page numbers are their own hashes, spread over the bits.
#[derive(Debug, Default)]
pub(crate) struct PageHasher(u64);

impl Hasher for PageHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0 ^ u64::from(n)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Something for each of some pages, by their numbers.
type ByNumber<T> = HashMap<u32, T, BuildHasherDefault<PageHasher>>;

/// Pages by their numbers.
pub(crate) type Pages = ByNumber<Shared<Page>>;

/// A page of a transaction, for everybody.
fn shared(page: Arc<Page>) -> Shared<Page> {
    let page = Arc::try_unwrap(page);
    Shared::new(page.unwrap_or_else(|page| Page::dirty(copy_of(page.bytes()))))
}

#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) pager: Arc<Pager>,
    pub(crate) space: Space,
    /// Of the transaction, when it began.
    first_version: u64,
    /// The one that pages are made under now: one more each time that pages go to the file. Their stamp is
    /// that many above the store's base; in the end it is the version of the transaction.
    version: u64,
    base: u64,
    /// Made by this transaction since the last savepoint, and edited in place.
    mine: ByNumber<Arc<Page>>,
    /// Made since the last savepoint and written to the file already, to bound the memory.
    spilled: BTreeSet<u32>,
    /// Made before the last savepoint: not changed any more, since it may be returned to.
    frozen: Vec<u32>,
    /// Pages that were dropped, of earlier versions and frozen ones.
    pub(crate) dropped: Vec<Dead>,
    /// What its pages are for; a transaction that only deletes may use the reserve.
    purpose: Purpose,
    /// It applies the log: there was room for that once.
    is_replay: bool,
    /// As many pages of its own the transaction keeps in memory.
    memory: usize,
    has_spilled: bool,
    frozen_in_memory: usize,
}

/// How much of a draft is older than a savepoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    frozen: usize,
    dropped: usize,
}

impl Draft {
    pub(crate) fn new(
        pager: Arc<Pager>,
        space: Space,
        base: u64,
        version: u64,
        memory: usize,
    ) -> Self {
        Self {
            pager,
            space,
            first_version: version,
            version,
            base,
            mine: ByNumber::default(),
            spilled: BTreeSet::new(),
            frozen: Vec::new(),
            dropped: Vec::new(),
            purpose: Purpose::Free,
            is_replay: false,
            memory,
            has_spilled: false,
            frozen_in_memory: 0,
        }
    }

    /// It does not only delete.
    pub(crate) fn begin_to_grow(&mut self) {
        if !self.is_replay {
            self.purpose = Purpose::Grow;
        }
    }

    /// It changes nothing but places.
    pub(crate) fn only_moves(&mut self) {
        self.purpose = Purpose::Move;
    }

    /// It may use the reserve, whatever it does.
    pub(crate) fn replay(&mut self) {
        self.is_replay = true;
    }

    fn stamp(&self) -> u64 {
        self.base.wrapping_add(self.version)
    }

    /// The version that made a page; 0 if that was before the store was opened.
    fn version_of(&self, stamp: u64) -> u64 {
        let version = stamp.wrapping_sub(self.base);
        if version <= self.version { version } else { 0 }
    }

    /// The transaction made it.
    fn is_mine(&self, stamp: u64) -> bool {
        self.version_of(stamp) >= self.first_version
    }

    /// What tells the transaction from others.
    pub(crate) fn first_version(&self) -> u64 {
        self.first_version
    }

    /// The version of the state that it leaves.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Pages of it are in the file already: only a checkpoint can commit it.
    pub(crate) fn has_spilled(&self) -> bool {
        self.has_spilled
    }

    pub(crate) fn reference(&self, page: u32) -> Ref {
        Ref {
            page,
            stamp: self.stamp(),
        }
    }

    /// A page to read.
    pub(crate) fn view(&self, r: Ref) -> Result<PageRef> {
        match self.mine.get(&r.page) {
            Some(page) if r.stamp == self.stamp() => Ok(PageRef::Draft(Arc::clone(page))),
            _ => Ok(PageRef::Shared(self.pager.read(r)?)),
        }
    }

    /// A leaf or a branch to read.
    pub(crate) fn view_node(&self, r: Ref) -> Result<PageRef> {
        self.pager.must_be_node(r, self.view(r)?)
    }

    /// A new page, of zeros.
    pub(crate) fn allocate(&mut self) -> Result<u32> {
        let bytes = vec![0; self.pager.page_size].into_boxed_slice();
        self.add(bytes)
    }

    fn add(&mut self, mut bytes: Box<[u8]>) -> Result<u32> {
        node::set_stamp(&mut bytes, self.stamp());
        let number = self.space.take(&self.pager, self.purpose)?;
        self.mine.insert(number, Arc::new(Page::dirty(bytes)));
        Ok(number)
    }

    /// The number of a page that holds what `r` does and can be edited: `r` itself, or a copy of it. Its
    /// [reference](Self::reference) may be another one than `r` in either case.
    pub(crate) fn own(&mut self, r: Ref) -> Result<u32> {
        if r.stamp == self.stamp() && self.mine.contains_key(&r.page) {
            return Ok(r.page);
        }
        let page = self.view_node(r)?;
        let mut bytes = copy_of(&page);
        drop(page);
        if self.is_mine(r.stamp) && self.spilled.remove(&r.page) {
            self.pager.table.clear(r.page);
            node::set_stamp(&mut bytes, self.stamp());
            self.mine.insert(r.page, Arc::new(Page::dirty(bytes)));
            return Ok(r.page);
        }
        let copy = self.add(bytes)?;
        self.discard(r);
        Ok(copy)
    }

    /// A page of this transaction.
    pub(crate) fn node(&self, page: u32) -> Node<'_> {
        let page = self.mine.get(&page);
        Node::new(page.expect("only pages that are owned are edited").bytes())
    }

    /// The bytes of a page of this transaction. If a reader of the transaction still holds it, it keeps
    /// what it has.
    pub(crate) fn bytes_mut(&mut self, page: u32) -> &mut [u8] {
        let page = self.mine.get_mut(&page);
        let page = page.expect("only pages that are owned are edited");
        if Arc::get_mut(page).is_none() {
            *page = Arc::new(Page::dirty(copy_of(page.bytes())));
        }
        let page = Arc::get_mut(page).expect("it was just made, or nobody else has it");
        page.bytes_mut()
    }

    /// Drops a page: nothing refers to it any more.
    pub(crate) fn discard(&mut self, r: Ref) {
        if r.stamp == self.stamp() && self.mine.remove(&r.page).is_some() {
            self.space.give_back(&self.pager, r.page);
            return;
        }
        if self.is_mine(r.stamp) && self.spilled.remove(&r.page) {
            // Known to the free space when the transaction ends, as what is dropped of others.
            self.frozen.push(r.page);
        }
        let birth = self.version_of(r.stamp);
        self.dropped.push(Dead {
            page: r.page,
            birth,
        });
    }

    /// Writes what the transaction has made to the file, if there is so much of it that it should not
    /// stay in memory. Only between two edits.
    pub(crate) fn relax(&mut self) -> Result<()> {
        if self.mine.len() <= self.memory {
            return Ok(());
        }
        self.spill()
    }

    fn spill(&mut self) -> Result<()> {
        self.has_spilled = true;
        self.version += 1;
        let mine = self.mine.drain();
        let mut pages: Vec<_> = mine.map(|(number, page)| (number, shared(page))).collect();
        pages.sort_unstable_by_key(|(number, _)| *number);
        // Not durable, and need not be: until a meta slot says otherwise these pages are free.
        let written = self.pager.write(&pages);
        for (number, page) in pages {
            self.spilled.insert(number);
            self.pager.table.set(number, page.clone());
            self.pager.set_clean(number, &page);
        }
        written.map_err(|error| self.pager.health.note(error))
    }

    // ---- savepoints

    /// From here on, what there is now can be returned to.
    pub(crate) fn freeze(&mut self) -> Result<Point> {
        if self.frozen_in_memory + self.mine.len() > self.memory {
            self.spill()?;
        }
        self.frozen_in_memory += self.mine.len();
        self.freeze_here();
        Ok(Point {
            frozen: self.frozen.len(),
            dropped: self.dropped.len(),
        })
    }

    fn freeze_here(&mut self) {
        for (number, page) in self.mine.drain() {
            self.pager.table.set(number, shared(page));
            self.frozen.push(number);
        }
        self.frozen.extend(std::mem::take(&mut self.spilled));
    }

    /// Returns to what there was.
    pub(crate) fn restore(&mut self, point: Point) {
        self.frozen
            .extend(self.mine.drain().map(|(number, _)| number));
        self.frozen.extend(std::mem::take(&mut self.spilled));
        for number in self.frozen.split_off(point.frozen) {
            self.space.give_back(&self.pager, number);
        }
        self.dropped.truncate(point.dropped);
    }

    // ---- the end

    /// Takes back everything.
    pub(crate) fn undo(&mut self) {
        self.restore(Point {
            frozen: 0,
            dropped: 0,
        });
    }

    /// What it has made and not written to the file. It is not edited any more.
    pub(crate) fn in_memory(&mut self) -> Pages {
        self.freeze_here();
        let frozen = self.frozen.iter().filter_map(|&number| {
            let page = self.pager.table.get(number)?;
            page.is_dirty().then_some((number, page))
        });
        frozen.collect()
    }

    /// The stamp of what else its version makes.
    pub(crate) fn stamp_of(&self, version: u64) -> u64 {
        self.base.wrapping_add(version)
    }

    /// Shows the pages to everybody who gets to know the new root, and gives up those that were dropped.
    /// Those that are not in the file yet are added to `dirty`. Returns the lease of the root.
    pub(crate) fn publish(&mut self, dirty: &mut Pages, now: Duration) -> Lease {
        for (number, page) in self.mine.drain() {
            let page = shared(page);
            self.pager.table.set(number, page.clone());
            dirty.insert(number, page);
        }
        for number in std::mem::take(&mut self.frozen) {
            let page = self.pager.table.get(number);
            if let Some(page) = page.filter(|page| page.is_dirty()) {
                dirty.insert(number, page);
            }
        }
        let lease = self.space.pin(self.version, now);
        for dead in std::mem::take(&mut self.dropped) {
            dirty.remove(&dead.page);
            self.space.bury(&self.pager, dead, self.version);
        }
        reclaim();
        lease
    }
}
