//! No length that is read from a disk causes an allocation larger than the file that holds it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use durable_io::Disk;
use sstable::{Compression, Detail, Options};

#[allow(dead_code, clippy::print_stderr, reason = "each test file uses a part")]
mod support;

use support::{Model, fast_dir, open, read, walk, write};

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

/// For messages, lists and the like.
const SMALL: usize = 4096;

fn model() -> Model {
    let mut model = Model::default();
    for n in 0..60_u8 {
        model.put(&[b'k', n], u64::from(n), &[n; 20]);
    }
    model.delete_range(b"x", b"z", 1);
    model
}

/// Reads everything, in every way.
fn read_all(dir: &std::path::Path) {
    if let Ok(table) = open(dir) {
        for (key, version) in model().entries.keys() {
            drop(table.get_at(key, version.0));
        }
        drop(walk(&mut table.cursor()));
        drop(table.scan(..).rev().collect::<Vec<_>>());
        drop(table.verify());
    }
    let mut out = std::io::sink();
    let dumped = sstable::dump(&Disk::os(), dir.join("table"), Detail::Entries, &mut out);
    drop(dumped);
}

/// A length prefix was believed: one flipped bit asked for 4 GiB.
#[test]
fn d31_no_length_read_from_a_disk_is_believed() {
    for compression in [Compression::None, Compression::Lz4] {
        let dir = fast_dir();
        let options = Options::new()
            .block_size(300)
            .partition_keys(20)
            .compression(compression)
            .property("name", "value");
        model().build_in(dir.path(), &options);
        let bytes = read(dir.path(), "table");
        LARGEST.set(0);
        read_all(dir.path());
        let usual = LARGEST.get();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            write(dir.path(), "table", &changed);
            LARGEST.set(0);
            read_all(dir.path());
            let largest = LARGEST.get();
            let limit = (bytes.len() + SMALL).max(usual);
            assert!(largest <= limit, "byte {at}: {largest} bytes at once");
        }
    }
}

/// The same for lengths that a checksum covers: a writer gone mad, not a disk.
#[test]
fn d31_no_length_under_a_right_checksum_is_believed_either() {
    let dir = fast_dir();
    model().build_in(dir.path(), &Options::new().block_size(300));
    let bytes = read(dir.path(), "table");
    let id = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
    let blocks = (4..bytes.len()).filter(|&at| bytes[at..].starts_with(b"sst"));
    for start in blocks.map(|at| at - 4) {
        let stored = u32::from_le_bytes(bytes[start + 8..start + 12].try_into().unwrap());
        let end = start + 24 + stored as usize;
        if end > bytes.len() {
            continue; // The magic of the header or footer.
        }
        for at in start + 8..end {
            let next = [bytes[at].wrapping_add(1)];
            // Eight bytes: sums of such numbers overflowed in `verify`.
            for written in [&[0][..], &[0xff], &next, &[0xff; 8]] {
                let mut changed = bytes.clone();
                let n = written.len().min(end - at);
                changed[at..at + n].copy_from_slice(&written[..n]);
                let place = durable_io::checksum::Place {
                    id,
                    number: 0,
                    offset: start as u64,
                };
                let check = durable_io::checksum::checksum_at(place, &changed[start + 4..end]);
                changed[start..start + 4].copy_from_slice(&check.to_le_bytes());
                write(dir.path(), "table", &changed);
                LARGEST.set(0);
                read_all(dir.path());
                let largest = LARGEST.get();
                // What is decompressed can be 256 times as long.
                assert!(
                    largest <= bytes.len() * 256,
                    "byte {at}: {largest} bytes at once"
                );
            }
        }
    }
}
