//! [`PageTable`]: the pages in memory, by their numbers. Looking one up takes no lock and writes nothing
//! that another reader writes.
//!
//! A reader holds a [`Guard`] while it looks: what leaves its place meanwhile stays in memory until every guard
//! that may have seen it is gone (reclamation by epochs, K. Fraser, "Practical lock-freedom", 2004). So a change of
//! a place costs the same whether one thread reads or a hundred do.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use sdd::{AtomicShared, Guard, Ptr, Shared, Tag};

use crate::page::{Page, PageView};

/// The first bucket has this many places, each later one twice as many.
const FIRST: u64 = 8;
const BUCKETS: usize = 30;

type Place = AtomicShared<Page>;

/// A place for each page of the file. It grows with the numbers that are asked for, and never moves.
#[derive(Debug)]
pub(crate) struct PageTable {
    buckets: [OnceLock<Box<[Place]>>; BUCKETS],
}

impl PageTable {
    pub(crate) fn new() -> Self {
        Self {
            buckets: [const { OnceLock::new() }; BUCKETS],
        }
    }

    fn place(&self, number: u32) -> &Place {
        let n = u64::from(number) + FIRST;
        let bucket = n.ilog2() - FIRST.ilog2();
        let size = FIRST << bucket;
        let places = self.buckets.get(bucket as usize);
        let places = places
            .expect("32 bits are counted in 30 buckets")
            .get_or_init(|| (0..size).map(|_| Place::null()).collect());
        let index = usize::try_from(n - size).expect("as many places as a bucket has");
        places
            .get(index)
            .expect("a bucket ends where the next one begins")
    }

    /// Page `number`, lent while `guard` lives; `None` if it is not in memory.
    #[inline]
    pub(crate) fn view<'g>(&self, number: u32, guard: &'g Guard) -> Option<PageView<'g>> {
        PageView::of(self.place(number).load(Acquire, guard))
    }

    /// Page `number`, for who keeps it longer.
    pub(crate) fn get(&self, number: u32) -> Option<Shared<Page>> {
        self.place(number).get_shared(Acquire, &Guard::new())
    }

    pub(crate) fn set(&self, number: u32, page: Shared<Page>) {
        drop(self.place(number).swap((Some(page), Tag::None), AcqRel));
    }

    /// Forgets page `number`.
    pub(crate) fn clear(&self, number: u32) {
        drop(self.place(number).swap((None, Tag::None), AcqRel));
    }

    /// Keeps `page` as page `number` unless there is one; returns the one that is there then, and whether it is
    /// `page`.
    pub(crate) fn add<'g>(
        &self,
        number: u32,
        page: Page,
        guard: &'g Guard,
    ) -> (PageView<'g>, bool) {
        let new = (Some(Shared::new(page)), Tag::None);
        let place = self.place(number);
        let (there, is_new) = match place.compare_exchange(Ptr::null(), new, AcqRel, Acquire, guard)
        {
            Ok((_, there)) => (there, true),
            Err((_, there)) => (there, false),
        };
        let there = PageView::of(there);
        (there.expect("a place that is not empty"), is_new)
    }

    /// Forgets page `number` if `is_idle` says so of the one that is there; returns whether there is none then.
    pub(crate) fn forget_if(&self, number: u32, is_idle: impl FnOnce(&Page) -> bool) -> bool {
        let guard = Guard::new();
        let place = self.place(number);
        let there = place.load(Acquire, &guard);
        match there.as_ref() {
            None => true,
            Some(page) if !is_idle(page) => false,
            Some(_) => {
                // Only the one that was looked at: another one may have come.
                drop(place.compare_exchange(there, (None, Tag::None), AcqRel, Acquire, &guard));
                true
            }
        }
    }
}

/// Gives back soon what has left its places: without this, many pages wait for their thread to look at others.
pub(crate) fn reclaim() {
    Guard::new().accelerate();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: u32) -> Page {
        Page::new(number.to_le_bytes().into())
    }

    fn set(table: &PageTable, at: u32, number: u32) {
        table.set(at, Shared::new(page(number)));
    }

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let table = PageTable::new();
        let numbers = [0_u32, 1, 7, 8, 15, 16, 63, 64, 127, 128, 5000, 70_000];
        for number in numbers {
            set(&table, number, number);
        }
        for number in numbers {
            assert_eq!(table.get(number).unwrap().bytes(), number.to_le_bytes());
        }
        table.clear(64);
        assert!(table.get(64).is_none());
        assert!(table.get(65).is_none());
    }

    #[test]
    fn what_is_lent_stays_when_its_place_is_given_to_another() {
        let table = PageTable::new();
        set(&table, 3, 3);
        let guard = Guard::new();
        let lent = table.view(3, &guard).unwrap();
        set(&table, 3, 4);
        reclaim();
        assert_eq!(*lent, 3_u32.to_le_bytes());
        assert_eq!(table.get(3).unwrap().bytes(), 4_u32.to_le_bytes());
        let (there, is_new) = table.add(3, page(5), &guard);
        assert!(!is_new && *there == 4_u32.to_le_bytes());
        assert!(!table.forget_if(3, |_| false));
        assert!(table.forget_if(3, |_| true));
        assert!(table.add(3, page(5), &guard).1);
    }

    #[test]
    fn a_page_that_has_left_is_freed_soon() {
        let table = PageTable::new();
        for number in 0..1000 {
            set(&table, 0, number);
            reclaim();
            if crate::page::spares() > 0 {
                return;
            }
        }
        panic!("no page is ever freed");
    }
}
