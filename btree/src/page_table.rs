//! [`PageTable`]: the pages in memory, by their numbers. Looking one up takes no lock and writes nothing
//! that another reader writes.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use crate::page::Page;

/// The first bucket has this many places, each later one twice as many.
const FIRST: u64 = 64;
const BUCKETS: usize = 27;

type Place = ArcSwapOption<Page>;

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

    /// The place of page `number`.
    pub(crate) fn place(&self, number: u32) -> &Place {
        let n = u64::from(number) + FIRST;
        let bucket = n.ilog2() - FIRST.ilog2();
        let size = FIRST << bucket;
        let places = self.buckets.get(bucket as usize);
        let places = places
            .expect("32 bits are counted in 27 buckets")
            .get_or_init(|| (0..size).map(|_| Place::const_empty()).collect());
        let index = usize::try_from(n - size).expect("as many places as a bucket has");
        places
            .get(index)
            .expect("a bucket ends where the next one begins")
    }

    /// Forgets page `number`.
    pub(crate) fn clear(&self, number: u32) {
        self.place(number).store(None);
    }

    pub(crate) fn set(&self, number: u32, page: Arc<Page>) {
        self.place(number).store(Some(page));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let table = PageTable::new();
        let numbers = [0_u32, 1, 63, 64, 127, 128, 191, 192, 5000, 70_000];
        for number in numbers {
            let bytes = number.to_le_bytes().into();
            table.set(number, Arc::new(Page::new(bytes)));
        }
        for number in numbers {
            let page = table.place(number).load_full().unwrap();
            assert_eq!(page.bytes(), number.to_le_bytes());
        }
        table.clear(64);
        assert!(table.place(64).load().is_none());
        assert!(table.place(65).load().is_none());
    }
}
