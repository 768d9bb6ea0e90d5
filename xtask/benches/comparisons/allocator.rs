//! The system's allocator, which counts while it is asked to.

#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Not always: the peers should not pay for it.
static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn count(bytes: usize, sign: i64) {
        if IS_COUNTING.load(Ordering::Relaxed) {
            BYTES.fetch_add(
                sign * i64::try_from(bytes).unwrap_or(i64::MAX),
                Ordering::Relaxed,
            );
        }
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 1);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size(), 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Self::count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Self::count(layout.size(), -1);
        Self::count(new_size, 1);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// Counts from now on until it is dropped.
#[derive(Debug)]
pub(crate) struct Count {
    start: i64,
}

impl Count {
    pub(crate) fn start() -> Self {
        IS_COUNTING.store(true, Ordering::Relaxed);
        let start = BYTES.load(Ordering::Relaxed);
        Self { start }
    }

    /// Bytes that were allocated since, and not freed.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(BYTES.load(Ordering::Relaxed) - self.start).unwrap_or(0)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        IS_COUNTING.store(false, Ordering::Relaxed);
    }
}
