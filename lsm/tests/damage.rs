//! A store that is refused as damaged is as it was.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use durable_io::sim::SimDisk;
use durable_io::testing::simulated::files;
use lsm::{Corruption, Error, Lsm, Options};
use support::small;

fn options(disk: &SimDisk) -> Options {
    small().disk(disk.disk())
}

/// What a process left that was killed: the manifest ends with the edit of a flush, which no close witnesses.
fn killed() -> SimDisk {
    let disk = SimDisk::new();
    let db = options(&disk).open("/store").unwrap();
    for n in 0..3_u8 {
        db.put(&[n], &[n; 100]).unwrap();
        db.flush().unwrap();
    }
    db.put(b"last", b"in the log alone").unwrap();
    drop(db);
    SimDisk::boot(disk.world().keep_unsynced())
}

/// Changes the byte at `at` of the file `name`.
fn flip(disk: &SimDisk, name: &str, at: usize) {
    let (dir, name) = name.rsplit_once('/').unwrap();
    let file = disk.disk().open_dir(dir).unwrap().open(name).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[!byte[0]], at as u64).unwrap();
}

/// Opens what `change` made of `disk`; the reason, if that is refused, and then nothing may have changed.
fn refusal(disk: &SimDisk, change: impl FnOnce(&SimDisk)) -> Option<Corruption> {
    let disk = SimDisk::boot(disk.world());
    change(&disk);
    let before = files(&disk);
    match options(&disk).open("/store").map(|_: Lsm| ()) {
        Ok(()) => None,
        Err(Error::Corrupt { reason, .. }) => {
            let after = files(&disk);
            let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
                files.iter().map(|(name, _)| name.clone()).collect()
            };
            assert_eq!(names(&before), names(&after), "{reason}");
            for (before, after) in before.iter().zip(&after) {
                assert!(before == after, "{reason}, and {} was changed", before.0);
            }
            Some(reason)
        }
        Err(error) => panic!("{error}"),
    }
}

/// The end of the manifest looked like a torn one, was cut, and only then the log and the tables said that
/// an edit was lost with it; so for the log and the manifest, and for tables.
#[test]
fn of_a_store_that_is_refused_no_byte_is_changed() {
    let disk = killed();
    let mut reasons = Vec::new();
    for (name, bytes) in files(&disk) {
        let used = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        for at in 0..used {
            reasons.extend(refusal(&disk, |disk| flip(disk, &name, at)));
        }
    }
    let has = |is: fn(&Corruption) -> bool| reasons.iter().any(is);
    assert!(has(|reason| matches!(reason, Corruption::Log(_))));
    assert!(has(|reason| matches!(reason, Corruption::LogRange { .. })));
}

#[test]
fn a_file_that_is_gone_is_not_made_again() {
    let disk = killed();
    for (name, _) in files(&disk) {
        let (dir, file) = name.rsplit_once('/').unwrap();
        let gone = refusal(&disk, |disk| {
            disk.disk().open_dir(dir).unwrap().remove(file).unwrap();
        });
        assert!(gone.is_some() || file == "reserve", "{name}");
    }
}

#[test]
fn a_store_that_is_only_read_is_as_it_was_and_others_read_beside_it() {
    let disk = killed();
    let before = disk.files();
    let lock = "/store/lock".to_owned();
    assert!(
        before.iter().all(|(name, _)| *name != lock),
        "a power loss took it"
    );
    let one = options(&disk).open_read_only("/store").unwrap();
    let other = options(&disk).open_read_only("/store").unwrap();
    for read in [&one, &other] {
        let value = read.get(b"last").unwrap();
        assert_eq!(value.as_deref(), Some(&b"in the log alone"[..]));
    }
    assert_eq!(disk.files(), before);
    drop((one, other));
    drop(options(&disk).open("/store").unwrap());
}

#[test]
fn a_store_without_the_mark_of_its_log_or_manifest_is_not_read_as_if_that_were_all() {
    for (dir, lost) in [
        ("/store/log", Corruption::LogLost),
        ("/store/manifest", Corruption::ManifestLost),
    ] {
        let disk = killed();
        let dir = disk.disk().open_dir(dir).unwrap();
        dir.remove("mark").unwrap();
        match options(&disk).open_read_only("/store") {
            Err(Error::Corrupt { reason, .. }) => assert_eq!(reason, lost),
            other => panic!("{other:?}"),
        }
    }
}
