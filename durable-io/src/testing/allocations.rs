//! [`CountingAllocator`]: what a test's thread asks of the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread allocated since it began to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// How many there were.
    pub count: u64,
    /// The largest, in bytes.
    pub largest: usize,
}

thread_local! {
    static MADE: Cell<Allocations> = const { Cell::new(Allocations { count: 0, largest: 0 }) };
}

impl Allocations {
    /// What this thread allocates while it does `work`, with [`CountingAllocator`] as the global one.
    pub fn of<T>(work: impl FnOnce() -> T) -> (T, Self) {
        MADE.set(Self::default());
        let result = work();
        (result, MADE.get())
    }
}

/// The system's allocator, which counts: `#[global_allocator] static ALLOCATOR: CountingAllocator =
/// CountingAllocator;`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

#[expect(
    unsafe_code,
    reason = "the trait is unsafe; every call goes to the system's allocator as it is"
)]
// SAFETY: both methods pass their arguments on unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and is none of those that are measured.
        let _counted = MADE.try_with(|made| {
            let Allocations { count, largest } = made.get();
            made.set(Allocations {
                count: count + 1,
                largest: largest.max(layout.size()),
            });
        });
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}
