//! [`Pager`]: pages in the file and in memory. It knows neither trees nor transactions.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use durable_io::File;
use durable_io::checksum::{Place, checksum_at};
use durable_io::engine::StoreDir;
use sdd::{Guard, Shared};

use crate::error::{Corruption, Error, Result};
use crate::health::Health;
use crate::node::{self, Kind, Ref};
use crate::page::{Page, PageRef, PageView};
use crate::page_table::PageTable;

/// Pages that are written with one call at most.
const RUN: usize = 64;

/// The page file.
#[derive(Debug)]
pub(crate) struct Pager {
    pub(crate) file: File,
    pub(crate) page_size: usize,
    pub(crate) store_id: u64,
    pub(crate) table: PageTable,
    pub(crate) health: Health,
    /// Clean pages in memory, by number, in the order in which they are looked at for eviction; with
    /// some that are gone already.
    clock: Mutex<VecDeque<u32>>,
    /// Pages in `clock`, and how many there may be.
    resident: AtomicUsize,
    capacity: usize,
    pub(crate) reads: AtomicU64,
    /// Of a store that is only read: as long as anybody can.
    lock: Option<StoreDir>,
}

impl Pager {
    pub(crate) fn new(file: File, page_size: u32, store_id: u64, capacity: usize) -> Self {
        Self {
            file,
            page_size: page_size as usize,
            store_id,
            table: PageTable::new(),
            health: Health::new(),
            clock: Mutex::new(VecDeque::new()),
            resident: AtomicUsize::new(0),
            capacity,
            reads: AtomicU64::new(0),
            lock: None,
        }
    }

    /// Keeps `lock` as long as anybody can read a page.
    pub(crate) fn hold(&mut self, lock: StoreDir) {
        self.lock = Some(lock);
    }

    pub(crate) fn offset(&self, page: u32) -> u64 {
        u64::from(page) * self.page_size as u64
    }

    pub(crate) fn corrupt(&self, page: u32, reason: Corruption) -> Error {
        Error::corrupt(self.file.path(), self.offset(page), reason)
    }

    /// The page that `r` refers to, lent while `guard` lives.
    #[inline]
    pub(crate) fn view<'g>(&self, r: Ref, guard: &'g Guard) -> Result<PageView<'g>> {
        match self.table.view(r.page, guard) {
            Some(page) => {
                if node::stamp(&page) != r.stamp {
                    return Err(self.corrupt(r.page, Corruption::StalePage));
                }
                page.page().touch();
                Ok(page)
            }
            None => self.load(r, guard),
        }
    }

    /// A leaf or a branch.
    #[inline]
    pub(crate) fn view_node<'g>(&self, r: Ref, guard: &'g Guard) -> Result<PageView<'g>> {
        self.must_be_node(r, self.view(r, guard)?)
    }

    /// `page`, to which `r` refers, if it is a leaf or a branch.
    #[inline]
    pub(crate) fn must_be_node<P: Deref<Target = [u8]>>(&self, r: Ref, page: P) -> Result<P> {
        match node::kind(&page) {
            Some(Kind::Leaf | Kind::Branch) => Ok(page),
            _ => Err(self.corrupt(r.page, Corruption::Kind)),
        }
    }

    /// The page that `r` refers to, for who keeps it longer.
    pub(crate) fn read(&self, r: Ref) -> Result<Shared<Page>> {
        loop {
            // It can leave memory between the two.
            if let Some(page) = self.view(r, &Guard::new())?.keep() {
                return Ok(page);
            }
        }
    }

    /// The page that `r` refers to; one that is not in memory does not stay there: for who reads everything once.
    pub(crate) fn read_once(&self, r: Ref) -> Result<PageRef> {
        let page = match self.table.get(r.page) {
            Some(page) if node::stamp(page.bytes()) != r.stamp => {
                return Err(self.corrupt(r.page, Corruption::StalePage));
            }
            Some(page) => page,
            None => Shared::new(Page::new(self.read_from_file(r)?)),
        };
        Ok(PageRef::Shared(page))
    }

    #[cold]
    fn load<'g>(&self, r: Ref, guard: &'g Guard) -> Result<PageView<'g>> {
        let page = Page::new(self.read_from_file(r)?);
        // Somebody may have been faster; it is the same page.
        let (page, is_new) = self.table.add(r.page, page, guard);
        if is_new {
            self.remember(r.page);
        }
        Ok(page)
    }

    /// Reads and checks a page of the file, whatever is in memory.
    pub(crate) fn read_from_file(&self, r: Ref) -> Result<Box<[u8]>> {
        let mut bytes = vec![0; self.page_size].into_boxed_slice();
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.file.read_exact_at(&mut bytes, self.offset(r.page))?;
        self.check(r, &bytes)
            .map_err(|reason| self.corrupt(r.page, reason))?;
        Ok(bytes)
    }

    fn check(&self, r: Ref, bytes: &[u8]) -> Result<(), Corruption> {
        if node::u32_at(bytes, 0) != self.checksum(r.page, bytes) {
            return Err(Corruption::Checksum);
        }
        if node::stamp(bytes) != r.stamp {
            return Err(Corruption::StalePage);
        }
        match node::kind(bytes) {
            Some(Kind::Leaf | Kind::Branch) => node::check(bytes),
            Some(Kind::Overflow | Kind::FreeList) => node::check_chained(bytes),
            None => Err(Corruption::Kind),
        }
    }

    fn checksum(&self, page: u32, bytes: &[u8]) -> u32 {
        let place = Place {
            id: self.store_id,
            number: 1,
            offset: self.offset(page),
        };
        checksum_at(place, bytes.get(4..).expect("a page has a header"))
    }

    /// Writes `pages`, which are in the order of their numbers. The kernel has them when this returns;
    /// the disk may not.
    pub(crate) fn write(&self, pages: &[(u32, Shared<Page>)]) -> Result<()> {
        let follows = |a: &(u32, Shared<Page>), b: &(u32, Shared<Page>)| a.0 + 1 == b.0;
        for run in pages.chunk_by(follows) {
            for run in run.chunks(RUN) {
                self.write_run(run)?;
            }
        }
        Ok(())
    }

    fn write_run(&self, run: &[(u32, Shared<Page>)]) -> Result<()> {
        let Some((first, _)) = run.first() else {
            return Ok(());
        };
        let sums: Vec<_> = run
            .iter()
            .map(|(number, page)| self.checksum(*number, page.bytes()).to_le_bytes())
            .collect();
        let mut slices = Vec::with_capacity(2 * run.len());
        for (sum, (_, page)) in sums.iter().zip(run) {
            slices.push(IoSlice::new(sum));
            let rest = page.bytes().get(4..);
            slices.push(IoSlice::new(rest.expect("a page has a header")));
        }
        Ok(self
            .file
            .write_all_vectored_at(&mut slices, self.offset(*first))?)
    }

    /// Page `number` is in the file now: it may leave memory.
    pub(crate) fn set_clean(&self, number: u32, page: &Page) {
        if page.is_dirty() {
            page.set_clean();
            self.remember(number);
        }
    }

    /// Page `number` was read into memory: others go, if there are too many.
    fn remember(&self, number: u32) {
        let mut clock = self.health.shared().lock(&self.clock);
        clock.push_back(number);
        // Each page gets one more turn if it was read since the last one.
        let mut turns = 2 * clock.len();
        while clock.len() > self.capacity && turns > 0 {
            turns -= 1;
            let Some(oldest) = clock.pop_front() else {
                break;
            };
            if !self.evict(oldest) {
                clock.push_back(oldest);
            }
        }
        self.resident.store(clock.len(), Ordering::Relaxed);
    }

    /// Forgets page `number`, unless it was read since the last time; returns whether it is gone.
    fn evict(&self, number: u32) -> bool {
        let mut has_changed = false;
        let is_gone = self.table.forget_if(number, |page| {
            // A dirty one has come to the place of a page that is gone.
            has_changed = page.is_dirty();
            !has_changed && !page.take_used()
        });
        is_gone || has_changed
    }

    /// Clean pages in memory.
    pub(crate) fn resident(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }
}
