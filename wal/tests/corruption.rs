//! Every change to a small, cleanly closed log: the answer is exact, or an error that names the file.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::path::Path;

use wal::{Error, Lsn, Options, Result, SyncMode};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

const SEGMENT: u64 = 1024;

fn options() -> Options {
    files::options().segment_size(SEGMENT)
}

/// What a reader sees: bounds and records.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    bounds: std::ops::Range<Lsn>,
    payloads: Vec<Vec<u8>>,
}

fn check(path: &Path) -> Result<Answer> {
    let log = options().open(path)?;
    Ok(Answer {
        bounds: log.bounds(),
        payloads: files::payloads(&log)?,
    })
}

/// A log of two sealed segments, an active one and a preallocated segment; its first two records are truncated.
struct Fixture {
    dir: tempfile::TempDir,
    files: Vec<(String, Vec<u8>)>,
    answer: Answer,
}

impl Fixture {
    fn new() -> Self {
        let dir = files::fast_dir();
        let log = options().open(dir.path()).unwrap();
        for n in 0..3_u8 {
            log.append(&[n; 300]).unwrap();
            log.append_batch(&[b"", &[n; 21], b"last of the batch"])
                .unwrap();
            if n < 2 {
                log.rotate().unwrap();
            }
        }
        log.truncate_before(Lsn(3)).unwrap();
        files::settle(&log);
        log.close().unwrap();
        let answer = check(dir.path()).unwrap();
        assert_eq!(answer.payloads.len(), 10);
        let files = files::snapshot(dir.path());
        assert_eq!(files.len(), 5, "four segments and the superblock");
        Self { dir, files, answer }
    }

    /// Opens the log with `bytes` in the place of file `name`. True if the damage was reported.
    fn is_detected(&self, name: &str, bytes: &[u8], what: &str) -> bool {
        let path = self.dir.path();
        files::restore(path, &self.files);
        files::write(path, name, bytes);
        match check(path) {
            Ok(answer) => {
                assert_eq!(answer, self.answer, "{name}: {what}");
                false
            }
            Err(Error::Corrupt {
                path,
                offset,
                reason,
            }) => {
                assert_eq!(
                    path.file_name().unwrap(),
                    name,
                    "{what}: byte {offset}, {reason}"
                );
                assert!(offset <= SEGMENT, "{what}");
                true
            }
            Err(other) => panic!("{name}: {what}: {other}"),
        }
    }
}

fn patterns(byte: u8) -> impl Iterator<Item = u8> {
    (0..8)
        .map(move |bit| byte ^ (1 << bit))
        .chain([0x00, 0xFF])
        .filter(move |&new| new != byte)
}

#[test]
fn every_changed_byte_is_harmless_or_named() {
    let fixture = Fixture::new();
    let mut detected = 0;
    let mut harmless = 0;
    for (name, bytes) in &fixture.files {
        for at in 0..bytes.len() {
            // Beside its slots the superblock has no meaning: one pattern is enough.
            let is_padding = name == "mark" && at % 4096 >= 140;
            for new in patterns(bytes[at]).take(if is_padding { 1 } else { 10 }) {
                let mut changed = bytes.clone();
                changed[at] = new;
                let what = format!("byte {at} is {new:#04x}");
                let is_detected = fixture.is_detected(name, &changed, &what);
                detected += usize::from(is_detected);
                harmless += usize::from(!is_detected);
            }
        }
    }
    // 1104 bytes of records and headers, at least 8 patterns each, say what the log holds.
    assert!(
        detected > 8_000 && harmless > 0,
        "{detected} detected, {harmless} harmless"
    );
}

#[test]
fn every_zeroed_sector_is_harmless_or_named() {
    let fixture = Fixture::new();
    for (name, bytes) in &fixture.files {
        for sector in 0..bytes.len() / 512 {
            let mut changed = bytes.clone();
            changed[sector * 512..(sector + 1) * 512].fill(0);
            fixture.is_detected(name, &changed, &format!("sector {sector} is zero"));
        }
    }
}

#[test]
fn every_truncation_of_every_file_is_harmless_or_named() {
    let fixture = Fixture::new();
    for (name, bytes) in &fixture.files {
        for len in 0..bytes.len() {
            let is_detected =
                fixture.is_detected(name, &bytes[..len], &format!("truncated to {len}"));
            // The first slot of the superblock is enough.
            let is_harmless = name == "mark" && len >= 140;
            assert_eq!(is_detected, !is_harmless, "{name} truncated to {len}");
        }
    }
}

#[test]
fn every_lost_file_is_reported() {
    let fixture = Fixture::new();
    for (name, _) in &fixture.files {
        let rest: Vec<_> = fixture
            .files
            .iter()
            .filter(|(other, _)| other != name)
            .cloned()
            .collect();
        files::restore(fixture.dir.path(), &rest);
        match check(fixture.dir.path()) {
            Ok(answer) => panic!("{name} is missed by nobody: {answer:?}"),
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{name}: {error}"),
        }
    }
}

/// The newest segment has no successor whose number would leave a gap: the superblock names it before a
/// group goes into it.
#[test]
fn the_loss_of_the_newest_segment_is_seen_before_it_has_a_successor() {
    let dir = files::fast_dir();
    let options = options().sync(SyncMode::Always);
    let log = options.clone().open(dir.path()).unwrap();
    log.append(b"one").unwrap();
    log.rotate().unwrap();
    log.append(b"two").unwrap();
    // Killed: no close writes a superblock, and the background had no turn.
    drop(log);
    let files = files::snapshot(dir.path());
    assert_eq!(files.len(), 3, "two segments and the superblock");
    let newest = files::segment(2);
    let cases: [fn(&Path, &str); 2] = [
        |path, name| files::dir(path).remove(name).unwrap(),
        |path, name| files::write(path, name, &files::read(path, name)[..512]),
    ];
    for damage in cases {
        files::restore(dir.path(), &files);
        damage(dir.path(), &newest);
        let opened = options.clone().open(dir.path());
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    }
    files::restore(dir.path(), &files);
    assert_eq!(check(dir.path()).unwrap().payloads, [b"one", b"two"]);
}

#[test]
fn a_segment_of_another_log_is_reported() {
    let fixture = Fixture::new();
    let other = Fixture::new();
    for (name, bytes) in other.files.iter().filter(|(name, _)| name != "mark") {
        assert!(
            fixture.is_detected(name, bytes, "from another log"),
            "{name}"
        );
    }
}

#[test]
fn swapped_segments_are_reported() {
    let fixture = Fixture::new();
    for (name, _) in &fixture.files[..3] {
        for (_, bytes) in fixture.files[..3].iter().filter(|(other, _)| other != name) {
            assert!(fixture.is_detected(name, bytes, "the bytes of another segment"));
        }
    }
}

#[test]
fn verify_sees_every_changed_byte_of_a_sealed_segment() {
    let fixture = Fixture::new();
    let (name, bytes) = &fixture.files[1];
    assert_eq!(*name, files::segment(2));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        files::restore(fixture.dir.path(), &fixture.files);
        files::write(fixture.dir.path(), name, &changed);
        let verified = options()
            .open(fixture.dir.path())
            .and_then(|log| log.verify());
        assert!(
            matches!(verified, Err(Error::Corrupt { .. })),
            "byte {at}: {verified:?}"
        );
    }
}

/// Damage among records that were given up is of no account, or is told, also by `verify`, and an
/// append changes nothing about that.
#[test]
fn verify_says_of_what_was_given_up_the_same_after_an_append() {
    let dir = files::fast_dir();
    let path = dir.path();
    let log = options().open(path).unwrap();
    for n in 0..3_u8 {
        log.append(&[n; 40]).unwrap();
    }
    log.truncate_before(Lsn(4)).unwrap();
    files::settle(&log);
    log.close().unwrap();
    let files = files::snapshot(path);
    let (name, bytes) = &files[0];
    assert_eq!(*name, files::segment(1));
    let mut reported = 0;
    for at in 0..bytes.len() {
        for new in patterns(bytes[at]) {
            let mut changed = bytes.clone();
            changed[at] = new;
            files::restore(path, &files);
            files::write(path, name, &changed);
            let Ok(log) = options().open(path) else {
                reported += 1;
                continue;
            };
            let before = log.verify();
            let lsn = log.append(b"next").unwrap().lsn();
            assert_eq!(lsn, Lsn(4), "byte {at} is {new:#04x}");
            assert_eq!(files::payloads(&log).unwrap(), [b"next"]);
            let after = log.verify();
            assert_eq!(
                before.as_ref().map_err(ToString::to_string).map(|_| ()),
                after.as_ref().map_err(ToString::to_string).map(|_| ()),
                "byte {at} is {new:#04x}"
            );
            log.close().unwrap();
            assert_eq!(check(path).unwrap().payloads, [b"next"]);
        }
    }
    assert!(reported > 0, "no damage was told at open");
}
