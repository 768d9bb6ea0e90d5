//! No descriptor and no file is left by an error. A file of its own, since descriptors are counted for
//! the whole process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, clippy::print_stderr, reason = "each test file uses a part")]
mod support;

use durable_io::{Background, Disk};
use support::{assert_holds, contents, fast_dir, names, options, read, settle, write};

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
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    for n in 0..6_u8 {
        store.put(&[n], &[n; 300]).unwrap();
        store.rotate().unwrap();
    }
    let model = contents(&store);
    settle(&store);
    let before = (descriptors(), names(dir.path()));
    for _ in 0..50 {
        options().open(dir.path()).unwrap_err();
        options()
            .memory_limit(1)
            .open_read_only(dir.path())
            .unwrap_err();
        store.put(&vec![0; 70_000], b"").unwrap_err();
        store.get(&[0]).unwrap();
        assert_holds(&store, &model);
    }
    assert_eq!((descriptors(), names(dir.path())), before);
    drop(store);
    let manifest = read(dir.path(), "manifest");
    let before = (descriptors(), names(dir.path()));
    write(dir.path(), "manifest", &manifest[..40]);
    for _ in 0..50 {
        options().open(dir.path()).unwrap_err();
        options()
            .background(Background::Threads)
            .open(dir.path())
            .unwrap_err();
    }
    assert_eq!((descriptors(), names(dir.path())), before);
}
