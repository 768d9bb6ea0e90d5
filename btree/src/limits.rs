//! The limits of a store, each with its reason.

use crate::node::HEADER;

/// The page size of a store that is created without [`Options::page_size`], in bytes: 8 KiB. A leaf of
/// it holds some 60 entries of 100 bytes, and three levels hold 100 million.
///
/// [`Options::page_size`]: crate::Options::page_size
pub const DEFAULT_PAGE_SIZE: u32 = 8192;

/// The smallest page size, in bytes: the smallest sector of a disk.
pub const MIN_PAGE_SIZE: u32 = 512;

/// The largest page size, in bytes: offsets in a page are 16-bit numbers.
pub const MAX_PAGE_SIZE: u32 = 32768;

/// The largest value, in bytes: 1 GiB. It is put together in memory when it is read.
pub const MAX_VALUE_SIZE: u64 = 1 << 30;

/// The smallest number of bytes of pages in memory, in pages: a path and its siblings, twice.
pub(crate) const MIN_CACHE_PAGES: usize = 64;

/// The largest key, and the longest name of a table, of a store with pages of `page_size` bytes: a
/// fourth of a page, so that a page has at least three entries. 2008 bytes with the default.
pub const fn max_key_size(page_size: u32) -> usize {
    max_cell(page_size) - crate::node::INDIRECT - crate::node::SLOT
}

/// The most that one entry takes in a page, with its slot; a value that would make it larger has pages
/// of its own.
pub(crate) const fn max_cell(page_size: u32) -> usize {
    (page_size as usize - HEADER) / 4
}

const _: () = assert!(max_key_size(DEFAULT_PAGE_SIZE) >= 1024);
const _: () = assert!(max_key_size(MIN_PAGE_SIZE) >= 64);
