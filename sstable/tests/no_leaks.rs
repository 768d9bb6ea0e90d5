//! No descriptor and no file is left by an error, or by a table that is open. A file of its own, since
//! descriptors are counted for the whole process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, clippy::print_stderr, reason = "each test file uses a part")]
mod support;

use durable_io::Disk;
use sstable::{Options, RangeTombstone};
use support::{Model, dir, fast_dir, names, open, read, write};

fn descriptors() -> usize {
    Disk::os()
        .open_dir("/proc/self/fd")
        .unwrap()
        .list()
        .unwrap()
        .len()
}

#[test]
#[cfg(target_os = "linux")]
fn d38_no_error_leaves_a_descriptor_or_a_file() {
    let temp = fast_dir();
    let mut model = Model::default();
    model.put(b"key", 0, b"value");
    model.build_in(temp.path(), &Options::new());
    let whole = read(temp.path(), "table");
    let before = (descriptors(), names(temp.path()));
    let mut tables = Vec::new();
    for round in 0..50 {
        let mut cut = whole.clone();
        cut.truncate(whole.len() - round);
        write(temp.path(), "table", &cut);
        // An open table holds a map, and no descriptor.
        tables.extend(open(temp.path()).ok());
        let path = dir(temp.path());
        let create = |options: Options| options.create(&path, "new");
        create(Options::new().block_size(1)).unwrap_err();
        create(Options::new().restart_interval(0)).unwrap_err();
        create(Options::new().filter_bits(33)).unwrap_err();
        create(Options::new().filter_prefix(1 << 20)).unwrap_err();
        create(Options::new().partition_keys(0)).unwrap_err();
        create(Options::new().property("", vec![0; 1 << 20])).unwrap_err();
        create(Options::new()).unwrap().finish().unwrap_err();
        let mut unfinished = create(Options::new()).unwrap();
        let tombstone = RangeTombstone {
            start: b"a".to_vec(),
            end: b"b".to_vec(),
            version: 0,
        };
        unfinished.add_range_tombstone(&tombstone).unwrap();
    }
    assert_eq!(tables.len(), 1);
    assert_eq!((descriptors(), names(temp.path())), before);
}
