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
    /// Bytes that are not freed yet, less those that it freed of what was allocated before.
    pub held: i64,
    /// The most that there ever were.
    pub peak: i64,
}

const NONE: Allocations = Allocations {
    count: 0,
    largest: 0,
    held: 0,
    peak: 0,
};

thread_local! {
    static MADE: Cell<Allocations> = const { Cell::new(NONE) };
}

impl Allocations {
    /// What this thread allocates while it does `work`, with [`CountingAllocator`] as the global one.
    pub fn of<T>(work: impl FnOnce() -> T) -> (T, Self) {
        MADE.set(Self::default());
        let result = work();
        (result, MADE.get())
    }

    /// With one more, of `size` bytes.
    fn with(self, size: usize) -> Self {
        let held = self.held + size_of_block(size);
        Self {
            count: self.count + 1,
            largest: self.largest.max(size),
            held,
            peak: self.peak.max(held),
        }
    }
}

fn size_of_block(size: usize) -> i64 {
    i64::try_from(size).expect("no allocation is larger than half of the addresses")
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
        let _counted = MADE.try_with(|made| made.set(made.get().with(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _counted = MADE.try_with(|made| {
            let Allocations { held, .. } = made.get();
            made.set(Allocations {
                held: held - size_of_block(layout.size()),
                ..made.get()
            });
        });
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}
