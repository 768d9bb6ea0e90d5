//! Files on the real disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::error::Error as _;
use std::io::{ErrorKind, IoSlice};

use durable_io::{Advice, Dir, Disk, Error, File, Op, Result};
use tempfile::TempDir;

fn store() -> (TempDir, Dir) {
    let temp = TempDir::new().unwrap();
    let dir = Disk::os().open_dir(temp.path()).unwrap();
    (temp, dir)
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What the kernel answered.
fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    match result.unwrap_err() {
        Error::Io { source, .. } => source.kind(),
        other => panic!("{other}"),
    }
}

#[test]
fn what_was_written_and_synced_is_read_back_by_another_handle() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(b"hello", 3).unwrap();
    drop(file.sync_data().unwrap());
    drop(file.write_durable_at(b"HE", 3).unwrap());
    drop(file.sync_all().unwrap());
    dir.sync().unwrap();
    assert_eq!(contents(&dir.open("a").unwrap()), b"\0\0\0HEllo");
}

#[test]
fn a_file_opened_for_reading_is_read_and_never_changed() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(b"hello", 0).unwrap();
    // Each change by a handle of its own: after a failure a handle refuses everything.
    let file = || dir.open_read_only("a").unwrap();
    assert!(file().write_all_at(b"HE", 0).is_err());
    assert!(file().write_durable_at(b"HE", 0).is_err());
    assert!(file().set_len(2).is_err());
    assert!(file().allocate(0, 4096).is_err());
    assert_eq!(contents(&file()), b"hello");
    assert_eq!(&*file().map(0..5).unwrap(), b"hello");
    let missing = dir.open_read_only("b");
    assert!(missing.is_err_and(|error| error.is_not_found()));
}

#[test]
fn reads_stop_at_the_end_of_the_file() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    let mut buf = [9; 5];
    assert_eq!(file.read_at(&mut buf, 1).unwrap(), 2);
    assert_eq!(&buf, b"bc\x09\x09\x09");
    assert_eq!(file.read_at(&mut buf, 3).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    let error = file.read_exact_at(&mut buf, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read {} at byte 3", file.path().display())
    );
    assert_eq!(
        kind(file.read_exact_at(&mut buf, 1)),
        ErrorKind::UnexpectedEof
    );
}

#[test]
fn an_offset_read_from_a_damaged_file_is_an_error_and_no_panic() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    for offset in [u64::MAX, 1 << 63, i64::MAX.cast_unsigned()] {
        // At the largest offset there is nothing to read, which some file systems call no error.
        if let Ok(n) = file.read_at(&mut [0; 8], offset) {
            assert_eq!(n, 0);
        }
        file.map(offset..u64::MAX).unwrap_err();
        dir.open("a")
            .unwrap()
            .write_all_at(b"x", offset)
            .unwrap_err();
        dir.open("a")
            .unwrap()
            .allocate(offset, u64::MAX)
            .unwrap_err();
        dir.open("a")
            .unwrap()
            .write_zeros(offset, 1 << 63)
            .unwrap_err();
    }
    dir.open("a").unwrap().set_len(u64::MAX).unwrap_err();
    assert_eq!(file.len().unwrap(), 0);
}

#[test]
fn more_slices_than_the_kernel_takes_at_once_are_written_in_order() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    let lines: Vec<String> = (0..5000).map(|n| format!("{n}\n")).collect();
    let mut bufs: Vec<IoSlice<'_>> = Vec::new();
    for line in &lines {
        // Empty ones in between must not look like "nothing was written".
        bufs.extend([IoSlice::new(b""), IoSlice::new(line.as_bytes())]);
    }
    file.write_all_vectored_at(&mut bufs, 0).unwrap();
    assert_eq!(contents(&file), lines.concat().as_bytes());

    let mut empty_first = vec![IoSlice::new(b""); 3000];
    empty_first.push(IoSlice::new(b"end"));
    let end = file.len().unwrap();
    file.write_all_vectored_at(&mut empty_first, end).unwrap();
    assert_eq!(contents(&file)[lines.concat().len()..], *b"end");
}

#[test]
fn allocated_and_zeroed_ranges_read_as_zeros_and_make_the_file_longer() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(b"abcdef", 0).unwrap();
    file.allocate(4, 100).unwrap();
    assert_eq!(file.len().unwrap(), 104);
    assert_eq!(
        &contents(&file)[..8],
        b"abcdef\0\0",
        "nothing written is changed"
    );
    file.write_zeros(2, 1000).unwrap();
    assert_eq!(file.len().unwrap(), 1002);
    assert_eq!(&contents(&file)[..4], b"ab\0\0");
    file.allocate(0, 10).unwrap();
    assert_eq!(file.len().unwrap(), 1002, "never shorter");
}

#[test]
fn set_len_truncates_and_lengthens_with_zeros() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(b"abcdef", 0).unwrap();
    file.set_len(2).unwrap();
    file.set_len(4).unwrap();
    assert_eq!(contents(&file), b"ab\0\0");
}

#[test]
fn a_map_shows_the_range_and_outlives_the_name_and_the_handle() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    file.write_all_at(&bytes, 0).unwrap();
    let map = file.map(4097..9001).unwrap();
    assert_eq!(map[..], bytes[4097..9001]);
    assert_eq!(file.map(20_000..20_000).unwrap().len(), 0);
    file.advise(0, 20_000, Advice::Sequential);
    file.start_writeback(0, 20_000);
    file.advise(0, 20_000, Advice::DontNeed);
    file.write_all_at(b"more", 20_000).unwrap();
    dir.remove("a").unwrap();
    drop((file, dir));
    assert_eq!(map[..], bytes[4097..9001]);
}

#[test]
fn no_byte_of_a_map_is_ever_changed_or_truncated() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(&[7; 10_000], 0).unwrap();
    dir.link("a", "b").unwrap();
    let map = file.map(100..5000).unwrap();
    let refused = |result: Result<()>| matches!(result, Err(Error::Mapped { .. }));
    // By whatever handle and name.
    for file in [
        &file,
        &file.clone(),
        &dir.open("a").unwrap(),
        &dir.open("b").unwrap(),
    ] {
        assert!(refused(file.write_all_at(b"x", 100)));
        assert!(refused(file.write_all_at(&[1; 200], 0)));
        assert!(refused(file.write_zeros(4999, 10)));
        let mut parts = [[1; 60], [1; 60]].map(|_| IoSlice::new(&[1; 60]));
        assert!(refused(file.write_all_vectored_at(&mut parts, 0)));
        assert!(refused(file.write_durable_at(b"x", 4999).map(drop)));
        assert!(refused(file.set_len(4999)));
        assert!(refused(file.set_len(0)));
        // Nothing is poisoned, and what is not mapped may change.
        file.write_all_at(&[7; 100], 0).unwrap();
        file.write_all_at(&[7; 100], 5000).unwrap();
        file.set_len(5000).unwrap();
        file.set_len(10_000).unwrap();
        file.allocate(0, 20_000).unwrap();
    }
    dir.open_read_only("a").unwrap().map(0..100).unwrap();
    assert_eq!(map[..], [7; 4900]);
    drop(map);
    dir.open("b").unwrap().write_all_at(b"x", 100).unwrap();
    file.set_len(0).unwrap();
    // Another file is another file.
    let other = dir.create_new("c").unwrap();
    other.write_all_at(&[1; 100], 0).unwrap();
    let map = other.map(0..100).unwrap();
    file.write_all_at(&[2; 100], 0).unwrap();
    drop(other);
    let refused = dir.open("c").unwrap().write_all_at(b"x", 0).unwrap_err();
    let path = dir.path().join("c");
    assert_eq!(
        refused.to_string(),
        format!(
            "cannot write {} at byte 0: these bytes are mapped, and so never change",
            path.display()
        )
    );
    assert!(refused.changed_nothing());
    drop(map);
}

#[test]
fn a_map_waits_for_the_writer_and_the_writer_meets_the_map() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(&[0; 4096], 0).unwrap();
    // Threads that write and threads that map the same bytes: no mapped byte ever changes.
    std::thread::scope(|scope| {
        for byte in 1..=2_u8 {
            let file = dir.open("a").unwrap();
            scope.spawn(move || {
                for _ in 0..2000 {
                    match file.write_all_at(&[byte; 4096], 0) {
                        Ok(()) | Err(Error::Mapped { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..2000 {
                let map = file.map(0..4096).unwrap();
                let seen = map.to_vec();
                assert!(seen.iter().all(|byte| *byte == seen[0]), "half a write");
                assert_eq!(map[..], seen[..]);
            }
        });
    });
}

#[test]
fn the_proof_of_a_sync_knows_its_file() {
    let (_temp, dir) = store();
    let [a, b] = ["a", "b"].map(|name| dir.create_new(name).unwrap());
    let again = dir.open("a").unwrap();
    let proofs = [
        a.sync_data().unwrap(),
        a.clone().sync_all().unwrap(),
        a.write_durable_at(b"x", 0).unwrap(),
    ];
    for proof in proofs {
        assert!(proof.is_of(&a) && proof.is_of(&a.clone()));
        assert!(!proof.is_of(&b) && !proof.is_of(&again));
    }
}

#[test]
fn a_map_beyond_the_end_is_an_error_with_the_place() {
    let (_temp, dir) = store();
    let file = dir.create_new("a").unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    let error = file.map(1..4).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot map {} at byte 1", file.path().display())
    );
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let backwards = file.map(2..1);
    assert_eq!(kind(backwards), ErrorKind::UnexpectedEof);
}

#[test]
fn errors_name_the_operation_the_path_and_the_kernels_answer() {
    let (temp, dir) = store();
    let path = temp.path().join("a");
    let missing = dir.open("a").unwrap_err();
    assert!(missing.is_not_found() && !missing.is_already_exists());
    assert_eq!(
        missing.to_string(),
        format!("cannot open {}", path.display())
    );
    let source = missing.source().unwrap().to_string();
    assert!(source.starts_with("No such file or directory"), "{source}");

    dir.create_new("a").unwrap();
    let exists = dir.create_new("a").unwrap_err();
    assert!(exists.is_already_exists());
    assert_eq!(
        exists.to_string(),
        format!("cannot create {}", path.display())
    );
}

#[test]
fn the_other_errors_say_what_to_do() {
    let path = "store/log".into();
    let poisoned = Error::Poisoned { path };
    let text =
        "store/log is poisoned by an earlier failed write or sync; reopen the store to recover";
    assert_eq!(poisoned.to_string(), text);

    let (op, path, offset) = (Op::Allocate, "store/log".into(), Some(4096));
    let full = Error::NoSpace { op, path, offset };
    let text = "no space left on the device to allocate space for store/log at byte 4096";
    assert_eq!(full.to_string(), text);

    for (pid, text) in [
        (Some(7), "LOCK is locked by process 7"),
        (None, "LOCK is locked by another process"),
    ] {
        let path = "LOCK".into();
        assert_eq!(Error::Locked { path, pid }.to_string(), text);
    }
}

#[test]
fn handles_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Disk>();
    shared::<Dir>();
    shared::<File>();
    shared::<durable_io::Map>();
    shared::<durable_io::Lock>();
    shared::<durable_io::Synced>();
    shared::<Error>();
    shared::<durable_io::GroupCommit<Vec<u8>, Result<u64>>>();
}

#[test]
fn ids_differ_and_time_does_not_go_back() {
    let disk = Disk::os();
    assert_ne!(disk.unique_id().unwrap(), disk.unique_id().unwrap());
    let before = disk.now();
    assert!(disk.now() >= before);
}
