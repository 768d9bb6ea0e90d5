//! Merging allocates nothing for an entry: what a reader of several tables and a compaction allocate does
//! not grow with the number of entries.

#![allow(clippy::unwrap_used, reason = "test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sstable::compaction::{Action, Compaction, Job};
use sstable::{BlockCache, Cursor, Options, Source, Table, TableCursor, Visible};

#[allow(dead_code, clippy::print_stderr, reason = "each test file uses a part")]
#[allow(clippy::indexing_slicing, reason = "test")]
mod support;

use support::{Model, dir, fast_dir};

thread_local! {
    /// How many allocations this thread has made.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "the trait is unsafe; every call goes to the system's allocator as it is"
)]
// SAFETY: all methods pass their arguments on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and is none of those that are measured.
        let _counted = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Four tables of so many entries each: even keys are in all of them, odd ones in one.
fn tables(path: &std::path::Path, entries: u32) -> Vec<Table> {
    let table = |nth: u32| {
        let mut model = Model::default();
        for n in 0..entries {
            let key = if n % 2 == 0 { n * 4 } else { n * 4 + nth };
            model.put(format!("key {key:08}").as_bytes(), 0, &[7; 50]);
        }
        model.delete_range(b"x", b"y", 0);
        let name = format!("{entries} {nth}");
        let options = Options::new();
        let built = model.build(&options, &dir(path), &name);
        built.unwrap();
        Table::open(&dir(path), &name, &BlockCache::new(0)).unwrap()
    };
    (0..4).map(table).collect()
}

fn sources(tables: &[Table]) -> Vec<Source<TableCursor>> {
    tables.iter().map(Source::of).collect()
}

/// How often a reader of all entries allocates, forward and backward.
fn reading(tables: &[Table]) -> u64 {
    allocations(|| {
        let mut visible = Visible::new(sources(tables), u64::MAX);
        visible.seek_to_first().unwrap();
        while visible.entry().is_some() {
            visible.advance().unwrap();
        }
        while visible.retreat().is_ok() && visible.entry().is_some() {}
    })
}

#[test]
fn a_reader_of_many_tables_allocates_nothing_for_an_entry() {
    let temp = fast_dir();
    let [few, many] = [1000, 4000].map(|entries| tables(temp.path(), entries));
    // What is loaded once is loaded.
    reading(&few);
    reading(&many);
    assert_eq!(reading(&few), reading(&many));
}

#[test]
fn a_compaction_allocates_nothing_for_an_entry() {
    let temp = fast_dir();
    let compacting = |entries| {
        let tables = tables(temp.path(), entries);
        let job = Job {
            action: Action::Merge,
            inputs: Vec::new(),
            input_bytes: 0,
            output_level: 1,
            output_run: 1,
            output_bytes: u64::MAX,
            older: Vec::new(),
        };
        let compaction = Compaction::new(Options::new());
        let dir = dir(temp.path());
        allocations(|| {
            let name = || format!("output of {entries}");
            let run = compaction.run(&job, sources(&tables), &dir, name);
            assert_eq!(run.unwrap().len(), 1);
        })
    };
    let (few, many) = (compacting(1000), compacting(4000));
    // What grows is the writer's index: some for each block of 4096 bytes.
    let blocks = 3000 * 5 / 2 * 65 / 4096;
    assert!(many - few < 6 * blocks, "{few} and {many}, {blocks} blocks");
}
