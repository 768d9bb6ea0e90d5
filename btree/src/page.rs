//! [`Page`]: a page in memory, and [`PageRef`], by which it is read.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sdd::{Ptr, Shared};

/// Buffers of pages that are gone which a thread keeps for its next ones, at most.
const SPARES: usize = 64;

thread_local! {
    /// A commit copies some pages and gives up as many.
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// How many of them this thread has.
#[cfg(test)]
pub(crate) fn spares() -> usize {
    SPARE.with_borrow(Vec::len)
}

/// A copy of the bytes of a page.
pub(crate) fn copy_of(bytes: &[u8]) -> Box<[u8]> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    match spare.filter(|spare| spare.len() == bytes.len()) {
        Some(mut copy) => {
            copy.copy_from_slice(bytes);
            copy
        }
        None => bytes.into(),
    }
}

/// The bytes of a page. They never change while anybody else can see them.
#[derive(Debug)]
pub(crate) struct Page {
    bytes: Box<[u8]>,
    /// It was read since the cache last looked.
    is_used: AtomicBool,
    /// The file does not hold it yet, for sure: it must stay in memory.
    is_dirty: AtomicBool,
}

impl Page {
    /// A page that is in the file.
    pub(crate) fn new(bytes: Box<[u8]>) -> Self {
        Self {
            bytes,
            is_used: AtomicBool::new(true),
            is_dirty: AtomicBool::new(false),
        }
    }

    /// A page that is not in the file yet.
    pub(crate) fn dirty(bytes: Box<[u8]>) -> Self {
        let page = Self::new(bytes);
        page.is_dirty.store(true, Ordering::Relaxed);
        page
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Notes that it is read. Writes only if nobody has since the cache looked: readers of a hot page do
    /// not take its cache line from each other.
    #[inline]
    pub(crate) fn touch(&self) {
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was read since this was last asked.
    pub(crate) fn take_used(&self) -> bool {
        self.is_used.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty.load(Ordering::Acquire)
    }

    pub(crate) fn set_clean(&self) {
        self.is_dirty.store(false, Ordering::Release);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // A thread that ends has no need of it.
        _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES {
                spare.push(bytes);
            }
        });
    }
}

/// A page that is being read: it stays what it is as long as this lives.
#[derive(Clone, Debug)]
pub(crate) enum PageRef {
    /// Of a state that was committed, or a part of a transaction that a savepoint keeps.
    Shared(Shared<Page>),
    /// Of a transaction that is going on.
    Draft(Arc<Page>),
}

impl Deref for PageRef {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(page) => page.bytes(),
            Self::Draft(page) => page.bytes(),
        }
    }
}

/// A page that is lent by the table of pages: looking at it writes nothing that others read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageView<'g> {
    page: &'g Page,
    place: Ptr<'g, Page>,
}

impl<'g> PageView<'g> {
    /// `None` of an empty place.
    #[inline]
    pub(crate) fn of(place: Ptr<'g, Page>) -> Option<Self> {
        let page = place.as_ref()?;
        Some(Self { page, place })
    }

    #[inline]
    pub(crate) fn page(&self) -> &'g Page {
        self.page
    }

    /// The page, for who keeps it longer; `None` if it has left its place meanwhile.
    pub(crate) fn keep(self) -> Option<Shared<Page>> {
        self.place.get_shared()
    }
}

impl Deref for PageView<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.page.bytes()
    }
}
