//! Names and the latch, over a directory that answers by a script.

use super::*;
use crate::replace::{create_durably, remove_durably, replace_file};
use crate::scripted::{
    Answer::{self, All, Fail},
    Script,
};

fn is_poisoned<T>(result: Result<T>) -> bool {
    matches!(result.err(), Some(Error::Poisoned { .. }))
}

#[test]
fn d30_a_failed_directory_sync_is_never_tried_again() {
    let script = Script::new(&[Fail(io::ErrorKind::Interrupted)]);
    let dir = script.dir();
    let clone = dir.clone();
    dir.sync().unwrap_err();
    assert!(is_poisoned(clone.sync()));
    assert!(is_poisoned(clone.create_new("a")));
    assert!(is_poisoned(clone.create_dir("a")));
    assert!(is_poisoned(clone.rename("a", "b")));
    assert!(is_poisoned(clone.link("a", "b")));
    assert!(is_poisoned(clone.remove("a")));
    assert!(is_poisoned(clone.remove_dir("a")));
    let healthy = Script::new(&[]).dir();
    assert!(is_poisoned(healthy.link_into("a", &clone, "b")));
    assert_eq!(script.calls(), ["sync_dir"]);
    clone.list().unwrap();
}

#[test]
fn an_interrupted_change_is_repeated_and_never_called_done_for_what_is_missing_then() {
    let interrupted = Fail(io::ErrorKind::Interrupted);
    let rename = |answers: &[Answer]| {
        let script = Script::new(answers);
        let result = script.dir().rename("a", "b");
        (result, script.calls().len())
    };
    assert!(matches!(
        rename(&[interrupted, interrupted, All]),
        (Ok(()), 3)
    ));
    let full = [interrupted, Fail(io::ErrorKind::StorageFull)];
    assert!(matches!(rename(&full), (Err(Error::NoSpace { .. }), 2)));
    // It may have been done before it was interrupted.
    let (result, calls) = rename(&[interrupted, Fail(io::ErrorKind::NotFound)]);
    let error = result.unwrap_err();
    assert!(error.is_interrupted() && !error.changed_nothing() && calls == 2);
}

#[test]
fn what_changes_nothing_is_repeated_when_interrupted() {
    let interrupted = Fail(io::ErrorKind::Interrupted);
    let script = Script::new(&[interrupted, interrupted, All, interrupted, All]);
    let dir = script.dir();
    dir.list().unwrap();
    dir.open_dir("a").unwrap();
    let expected = ["list", "list", "list", "open_dir a", "open_dir a"];
    assert_eq!(script.calls(), expected);
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_before_the_kernel_is_called() {
    let script = Script::new(&[]);
    let dir = script.dir();
    for name in ["", ".", "..", "/", "a/b", "/etc/passwd", "a\0b"] {
        let refused = [
            dir.open(name).map(drop),
            dir.create_new(name).map(drop),
            dir.open_dir(name).map(drop),
            dir.create_dir(name),
            dir.rename(name, "a"),
            dir.rename("a", name),
            dir.link(name, "a"),
            dir.link("a", name),
            dir.link_into(name, &dir, "a"),
            dir.link_into("a", &dir, name),
            dir.remove(name),
            dir.remove_dir(name),
            dir.try_lock(name).map(drop),
        ];
        for result in refused {
            let Err(Error::Io { source, .. }) = result else {
                panic!("{name:?} was accepted");
            };
            assert_eq!(source.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
    assert_eq!(script.calls(), [""; 0]);
}

#[test]
fn a_temporary_name_is_given_to_nothing_else() {
    let script = Script::new(&[]);
    let dir = script.dir();
    let name = "~0123456789abcdef~a";
    let refused = [
        dir.create_new(name).map(drop),
        dir.create_dir(name),
        dir.rename("a", name),
        dir.link("a", name),
        dir.try_lock(name).map(drop),
        replace_file(&dir, name, b"x"),
    ];
    for result in refused {
        let error = result.unwrap_err();
        assert!(error.changed_nothing(), "{error}");
    }
    assert_eq!(script.calls(), [""; 0]);
    // What a crash has left can be looked at and removed.
    dir.remove(name).unwrap();
    assert_eq!(script.calls(), ["remove ~0123456789abcdef~a"]);
}

#[test]
fn a_temporary_name_that_stands_is_somebody_elses() {
    let exists = Fail(io::ErrorKind::AlreadyExists);
    let script = Script::new(&[exists, exists]);
    replace_file(&script.dir(), "a", b"x").unwrap();
    let [first, second, third, renamed, synced] = &script.calls()[..] else {
        panic!();
    };
    assert_eq!(first, "create ~0000000000000000~a");
    assert_eq!(second, "create ~0000000000000001~a");
    assert_eq!(third, "create ~0000000000000002~a");
    assert_eq!(renamed, "rename ~0000000000000002~a a");
    assert_eq!(synced, "sync_dir name");
}

#[test]
fn the_procedures_take_their_barriers_in_order() {
    let script = Script::new(&[]);
    let dir = script.dir();
    replace_file(&dir, "a", b"x").unwrap();
    assert_eq!(
        script.calls(),
        [
            "create ~0000000000000000~a",
            "rename ~0000000000000000~a a",
            "sync_dir name"
        ]
    );
    create_durably::<Error>(&dir, "b", |file| file.write_all_at(b"x", 0)).unwrap();
    assert_eq!(script.calls(), ["create b", "sync_dir name"]);
    remove_durably(&dir, "b").unwrap();
    assert_eq!(script.calls(), ["remove b", "sync_dir name"]);
}

#[test]
fn d38_a_replacement_that_fails_at_the_rename_removes_its_temporary_file() {
    let script = Script::new(&[All, Fail(io::ErrorKind::Other)]);
    replace_file(&script.dir(), "a", b"x").unwrap_err();
    assert_eq!(
        script.calls(),
        [
            "create ~0000000000000000~a",
            "rename ~0000000000000000~a a",
            "remove ~0000000000000000~a"
        ]
    );
}
