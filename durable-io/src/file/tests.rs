//! The loops and the latch, over a file that answers by a script.

use io::ErrorKind::{Interrupted, Other, StorageFull, WriteZero};

use super::*;
use crate::scripted::{
    Answer::{All, Fail, Short},
    Script,
};

/// The kind of the kernel's answer, if this is one.
fn kind<T: fmt::Debug>(result: Result<T>) -> Option<io::ErrorKind> {
    match result.unwrap_err() {
        Error::Io { source, .. } => Some(source.kind()),
        _ => None,
    }
}

fn is_poisoned<T>(result: Result<T>) -> bool {
    matches!(result.err(), Some(Error::Poisoned { .. }))
}

#[test]
fn interrupted_and_short_writes_go_on_where_they_stopped() {
    let script = Script::new(&[Short(1), Fail(Interrupted), Short(3), All]);
    let mut bufs = [&b"ab"[..], b"", b"cdef"].map(IoSlice::new);
    let file = script.file();
    file.write_all_vectored_at(&mut bufs, 10).unwrap();
    let expected = [
        "write 6 at 10",
        "write 5 at 11",
        "write 5 at 11",
        "write 2 at 14",
    ];
    assert_eq!(script.calls(), expected);
    assert_eq!(script.bytes.lock().unwrap()[10..], *b"abcdef");
}

#[test]
fn interrupted_and_short_reads_go_on_where_they_stopped() {
    let script = Script::new(&[Short(2), Fail(Interrupted), Short(1), All]);
    *script.bytes.lock().unwrap() = b"0123456789".to_vec();
    let mut buf = [0; 6];
    script.file().read_exact_at(&mut buf, 3).unwrap();
    assert_eq!(&buf, b"345678");
    let expected = ["read 6 at 3", "read 4 at 5", "read 4 at 5", "read 3 at 6"];
    assert_eq!(script.calls(), expected);
}

#[test]
fn nothing_to_write_is_no_call_and_no_endless_loop() {
    let script = Script::new(&[]);
    let file = script.file();
    file.write_all_at(b"", 7).unwrap();
    file.write_all_vectored_at(&mut [IoSlice::new(b""), IoSlice::new(b"")], 7)
        .unwrap();
    drop(file.write_durable_at(b"", 7).unwrap());
    file.allocate(7, 0).unwrap();
    file.write_zeros(7, 0).unwrap();
    file.start_writeback(7, 0);
    file.advise(7, 0, Advice::DontNeed);
    assert_eq!(script.calls(), [""; 0]);
}

#[test]
fn d30_a_write_that_takes_nothing_is_an_error_and_poisons() {
    let script = Script::new(&[Short(0)]);
    let file = script.file();
    assert_eq!(kind(file.write_all_at(b"abc", 0)), Some(WriteZero));
    assert!(is_poisoned(file.write_all_at(b"abc", 0)));
}

#[test]
fn d30_after_a_failed_write_every_clone_refuses_writes_and_syncs_but_reads() {
    let script = Script::new(&[All, Short(1), Fail(Other)]);
    let file = script.file();
    let clone = file.clone();
    file.write_all_at(b"durable", 0).unwrap();
    assert_eq!(kind(file.write_all_at(b"abc", 7)), Some(Other));
    script.calls();
    assert!(is_poisoned(clone.write_all_at(b"x", 0)));
    assert!(is_poisoned(clone.write_durable_at(b"x", 0)));
    assert!(is_poisoned(clone.write_zeros(0, 9)));
    assert!(is_poisoned(clone.allocate(0, 9)));
    assert!(is_poisoned(clone.set_len(0)));
    assert!(is_poisoned(clone.sync_data()));
    assert!(is_poisoned(clone.sync_all()));
    assert_eq!(script.calls(), [""; 0], "the kernel is not asked");
    let mut buf = [0; 7];
    clone.read_exact_at(&mut buf, 0).unwrap();
    assert_eq!(&buf, b"durable");
}

#[test]
fn a_write_that_meets_a_full_disk_poisons_unless_it_syncs() {
    for full in [StorageFull, io::ErrorKind::QuotaExceeded] {
        let script = Script::new(&[Short(1), Fail(full), All, Fail(full)]);
        let file = script.file();
        let error = file.write_all_at(b"abc", 7).unwrap_err();
        assert!(error.is_no_space() && error.changed_nothing(), "{error}");
        file.write_all_at(b"abc", 7).unwrap();
        assert_eq!(kind(file.write_durable_at(b"abc", 7)), Some(full));
        assert!(is_poisoned(file.write_all_at(b"abc", 7)));
    }
}

#[test]
fn d30_a_failed_sync_is_never_tried_again() {
    // Interrupted too: whoever interrupted it may have thrown the dirty pages away.
    for error in [Other, Interrupted] {
        let script = Script::new(&[Fail(error)]);
        let file = script.file();
        assert_eq!(kind(file.sync_data()), Some(error));
        assert!(is_poisoned(file.sync_data()));
        assert!(is_poisoned(file.write_all_at(b"x", 0)));
        assert_eq!(script.calls(), ["sync"]);
    }
}

#[test]
fn d30_a_failed_durable_write_is_never_tried_again() {
    for error in [Other, Interrupted] {
        let script = Script::new(&[Short(2), Fail(error)]);
        let file = script.file();
        assert_eq!(kind(file.write_durable_at(b"abc", 0)), Some(error));
        assert!(is_poisoned(file.sync_data()));
        assert_eq!(script.calls(), ["write 3 at 0", "write 1 at 2"]);
    }
}

#[test]
fn d30_a_full_disk_met_by_allocate_poisons_nothing() {
    let script = Script::new(&[Fail(StorageFull), Fail(io::ErrorKind::QuotaExceeded)]);
    let file = script.file();
    for _ in 0..2 {
        let error = file.write_zeros(0, 10).unwrap_err();
        assert!(
            matches!(
                error,
                Error::NoSpace {
                    op: Op::Allocate,
                    ..
                }
            ),
            "{error}"
        );
    }
    file.write_all_at(b"abc", 0).unwrap();
    drop(file.sync_data().unwrap());
}

#[test]
fn a_call_that_was_refused_poisons_nothing_and_says_what_was_missing() {
    use crate::error::Resource;
    use io::ErrorKind as Kind;

    let refusals = [
        (Kind::OutOfMemory, Resource::Memory),
        (Kind::FileTooLarge, Resource::FileSize),
        (Kind::PermissionDenied, Resource::Permission),
        (Kind::ReadOnlyFilesystem, Resource::WritableFileSystem),
        (Kind::WouldBlock, Resource::Turn),
    ];
    let calls: [fn(&File) -> Result<()>; 2] =
        [|file| file.allocate(0, 10), |file| file.set_len(10)];
    for (kind, resource) in refusals {
        for call in calls {
            let file = Script::new(&[Fail(kind)]).file();
            let error = call(&file).unwrap_err();
            assert_eq!(error.resource(), Some(resource), "{error}");
            assert!(error.changed_nothing());
            call(&file).unwrap();
            file.write_all_at(b"abc", 0).unwrap();
            drop(file.sync_data().unwrap());
        }
        // But a failed write is one, whatever the reason.
        let file = Script::new(&[Fail(kind)]).file();
        let error = file.write_all_at(b"abc", 0).unwrap_err();
        assert!(!error.changed_nothing() && error.resource().is_none());
        assert!(is_poisoned(file.sync_data()));
    }
    let file = Script::new(&[Fail(StorageFull)]).file();
    assert!(file.set_len(10).unwrap_err().is_no_space());
    file.set_len(10).unwrap();
}

#[test]
fn d30_any_other_failure_of_allocate_or_set_len_poisons() {
    let file = Script::new(&[Fail(Other)]).file();
    assert_eq!(kind(file.allocate(0, 1)), Some(Other));
    assert!(is_poisoned(file.sync_data()));
    let file = Script::new(&[Fail(Other)]).file();
    assert_eq!(kind(file.set_len(1)), Some(Other));
    assert!(is_poisoned(file.sync_data()));
}

#[test]
fn a_failed_read_or_hint_poisons_nothing() {
    let script = Script::new(&[Fail(Other), Fail(Other), Fail(Other), Fail(Other)]);
    let file = script.file();
    assert_eq!(kind(file.read_at(&mut [0; 4], 0)), Some(Other));
    assert_eq!(kind(file.len()), Some(Other));
    file.start_writeback(0, 1);
    file.advise(0, 1, Advice::Sequential);
    drop(file.sync_data().unwrap());
}

#[test]
fn zeros_are_written_in_chunks_over_exactly_the_range() {
    let script = Script::new(&[]);
    *script.bytes.lock().unwrap() = vec![1; ZERO_CHUNK * 2 + 20];
    script.file().write_zeros(5, ZERO_CHUNK as u64 + 7).unwrap();
    let bytes = script.bytes.lock().unwrap();
    let end = ZERO_CHUNK + 12;
    assert!(bytes[..5].iter().all(|byte| *byte == 1));
    assert!(bytes[5..end].iter().all(|byte| *byte == 0));
    assert!(bytes[end..].iter().all(|byte| *byte == 1));
}
