//! No length that is read from a disk causes an allocation larger than the file that holds it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use wal::Lsn;

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{SEGMENT, fast_dir, options, read, restore, segment, settle, snapshot, write};

thread_local! {
    /// The largest allocation of this thread since it was last reset.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "the trait is unsafe; every call goes to the system's allocator as it is"
)]
// SAFETY: both methods pass their arguments on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and is none of those that are measured.
        let _counted = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The largest file here is the superblock; the segments are smaller, and so are all messages and lists.
const LARGEST_FILE: usize = 8192;

/// One copy of the batch, and when it is read a buffer and one record: not the segment that was made for it.
#[test]
fn a_batch_larger_than_a_segment_takes_memory_for_itself_only() {
    const BUFFER: usize = 256 << 10;
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    let records = vec![vec![7; 1 << 20]; 8];
    let batch: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    LARGEST.set(0);
    log.append_batch(&batch).unwrap();
    let copy = 8 * ((1 << 20) + 8) + 32;
    assert!(
        (copy..copy + 1024).contains(&LARGEST.get()),
        "{}",
        LARGEST.get()
    );
    log.close().unwrap();
    LARGEST.set(0);
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.records(Lsn(0)).map(Result::unwrap).count(), 8);
    log.verify().unwrap();
    drop(log);
    drop(options().repair(dir.path()).unwrap());
    assert!(LARGEST.get() <= (1 << 20) + BUFFER, "{}", LARGEST.get());
}

/// A length prefix was believed: one flipped bit asked for 4 GiB.
#[test]
fn d31_no_length_read_from_a_disk_is_believed() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for n in 0..5_u8 {
        log.append_batch(&[&[n; 200], &[n; 3]]).unwrap();
    }
    log.rotate().unwrap();
    log.append(&[9; 100]).unwrap();
    settle(&log);
    log.close().unwrap();
    let files = snapshot(dir.path());
    for number in [1, 2] {
        restore(dir.path(), &files);
        let bytes = read(dir.path(), &segment(number));
        assert_eq!(bytes.len() as u64, SEGMENT);
        for bit in 0..400 * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            restore(dir.path(), &files);
            write(dir.path(), &segment(number), &changed);
            LARGEST.set(0);
            if let Ok(log) = options().open(dir.path()) {
                drop(log.records(Lsn(0)).collect::<Vec<_>>());
                drop(log.verify());
                drop(log);
            }
            drop(options().repair(dir.path()));
            assert!(
                LARGEST.get() <= LARGEST_FILE,
                "bit {bit}: {} bytes at once",
                LARGEST.get()
            );
        }
    }
}
