//! The text of a log: exact for one without damage; with any damage it has a line for it, and the
//! files stay as they are.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use wal::{Detail, Disk, Error, Lsn, Options, Tail};

#[path = "support/files.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod files;

use files::{fast_dir, read, restore, segment, settle, snapshot, write};

const SEGMENT: u64 = 1024;

fn options() -> Options {
    files::options().segment_size(SEGMENT)
}

/// The text of the log in `path`, with `DIR` for the directory and `ID` for the log id.
fn text(path: &Path, detail: Detail) -> String {
    let mut out = Vec::new();
    wal::dump(&Disk::os(), path, detail, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let text = text.replace(&path.display().to_string(), "DIR");
    let text = without_times(&text);
    match text.split_once("log id ") {
        Some((_, rest)) => text.replace(&rest[..16], "ID"),
        None => text,
    }
}

/// `text` without the times in it, which are those of the machine.
fn without_times(text: &str) -> String {
    let mut parts = text.split(", time ");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

/// The offsets of the `!` lines that the part of `text` on file `name` has.
fn damage(text: &str, name: &str) -> Vec<u64> {
    let parts = text.split("\n\n");
    let part = parts
        .filter(|part| part.lines().next().unwrap().contains(name))
        .collect::<Vec<_>>()
        .concat();
    let offset = |line: &str| line.strip_prefix("! ")?.split_once(':')?.0.parse().ok();
    part.lines().filter_map(offset).collect()
}

/// Two segments and a preallocated segment. Record 1 is truncated; what followed record 5 was truncated, and 6 is new.
fn small() -> TempDir {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    log.append(b"one").unwrap();
    log.append_batch(&[b"two \"2\"", b"", &[7; 33]]).unwrap();
    log.rotate().unwrap();
    log.append(b"five").unwrap();
    log.append_batch(&[b"six", b"seven"]).unwrap();
    log.truncate_before(Lsn(2)).unwrap();
    log.truncate_after(Lsn(5)).unwrap();
    log.append(b"new six").unwrap();
    settle(&log);
    log.close().unwrap();
    dir
}

/// The text of its superblock; how often that was written is not what is tested.
fn superblock(path: &Path) -> String {
    let bytes = read(path, "mark");
    let sequence = |at: usize| u64::from_le_bytes(bytes[at + 16..at + 24].try_into().unwrap());
    let newest = sequence(0).max(sequence(4096));
    let slot = |at: usize| {
        let sequence = sequence(at);
        let holds = if sequence == newest { ", holds" } else { "" };
        format!(
            "  {at}: slot, sequence {sequence}{holds}; log id ID\n    durable LSN 6, \
             low segment 1, low LSN 2, epoch 2 from LSN 6, older ones up to \
             segment 2, checkpoint 0, newest segment 3\n"
        )
    };
    format!(
        "log DIR\n\nsuperblock: mark, 4608 bytes\n{}{}",
        slot(0),
        slot(4096)
    )
}

const SEGMENTS: &str = r#"
segment 1: 0000000000000001.wal
  0: header; 1024 bytes, complete
  64: group, LSN 1..=1, count 1, bytes 11, epoch 1, durable LSN 0, truncated
    96: LSN 1, 3 bytes, "one"
  112: group, LSN 2..=4, count 3, bytes 64, epoch 1, durable LSN 0
    144: LSN 2, 7 bytes, "two \"2\""
    159: LSN 3, 0 bytes, ""
    167: LSN 4, 33 bytes, "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"...
  208: end

segment 2: 0000000000000002.wal
  0: header; 1024 bytes, complete
  64: group, LSN 5..=5, count 1, bytes 12, epoch 1, durable LSN 4
    96: LSN 5, 4 bytes, "five"
  112: group, LSN 6..=6, count 1, bytes 15, epoch 2, durable LSN 5
    144: LSN 6, 7 bytes, "new six"
  160: end

segment 3: 0000000000000003.wal
  0: header; 1024 bytes, complete
  64: end

open: clean; LSN 2 up to 7, exclusive
"#;

#[test]
fn the_text_of_a_log() {
    let dir = small();
    let all = text(dir.path(), Detail::Records).replace(r"\x07", "X");
    assert_eq!(all, superblock(dir.path()) + SEGMENTS);
    let groups: Vec<_> = all.lines().filter(|l| !l.contains(" bytes, \"")).collect();
    let text = text(dir.path(), Detail::Groups);
    assert_eq!(text.lines().collect::<Vec<_>>(), groups);
}

/// The part of the text of the log in `path` on segment `number`, without the lines on the header.
fn groups(path: &Path, number: u64) -> String {
    let text = text(path, Detail::Groups);
    let mut parts = text.split("\n\n");
    let part = parts.find(|part| part.contains(&segment(number))).unwrap();
    part.lines().skip(2).collect::<Vec<_>>().join("\n")
}

fn last_line(path: &Path) -> String {
    let text = text(path, Detail::Groups);
    text.lines().last().unwrap().to_owned()
}

#[test]
fn what_a_truncation_removed_is_stale() {
    let dir = fast_dir();
    let log = options().open(dir.path()).unwrap();
    for payload in [b"one", b"two"] {
        log.append(payload).unwrap();
    }
    log.sync().unwrap();
    let before = read(dir.path(), &segment(1));
    log.truncate_after(Lsn(1)).unwrap();
    log.close().unwrap();
    write(dir.path(), &segment(1), &before);
    let expected = "  \
  64: group, LSN 1..=1, count 1, bytes 11, epoch 1, durable LSN 0
  112: group, LSN 2..=2, count 1, bytes 11, epoch 1, durable LSN 0, stale
  160: end";
    assert_eq!(groups(dir.path(), 1), expected);
    assert_eq!(
        last_line(dir.path()),
        "open: torn, 43 bytes go; LSN 1 up to 2, exclusive"
    );
}

#[test]
fn the_text_continues_after_damage() {
    let dir = small();
    let name = segment(1);
    let whole = read(dir.path(), &name);
    let second = "  112: group, LSN 2..=4, count 3, bytes 64, epoch 1, durable LSN 0\n";
    let check = |at: usize, expected: String| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        write(dir.path(), &name, &bytes);
        assert_eq!(groups(dir.path(), 1), expected, "byte {at}");
    };
    let wrong = "a checksum does not match";
    let first = "  64: group, LSN 1..=1, count 1, bytes 11, epoch 1, durable LSN 0, truncated\n";
    let not_zero = "unused bytes are not zero";
    let passed = "bytes were passed over";
    check(
        70,
        format!("! 64: {wrong}\n  48 {passed}\n{second}  208: end"),
    );
    check(
        106,
        format!("{first}! 96: {wrong}\n  16 {passed}\n{second}  208: end"),
    );
    check(108, format!("{first}! 108: {not_zero}\n{second}  208: end"));
    let none = format!("{passed}; no group follows");
    let long = "a length does not fit into what holds it";
    check(
        160,
        format!("{first}{second}! 159: {long}\n  49 {none}\n  208: end"),
    );
    check(
        700,
        format!("{first}{second}! 700: {not_zero}\n  493 {none}\n  701: end"),
    );
    check(
        1023,
        format!("{first}{second}! 1023: {not_zero}\n  816 {none}\n  1024: end"),
    );
    let mut bytes = whole.clone();
    bytes[64..96].fill(0);
    write(dir.path(), &name, &bytes);
    let expected = format!("! 96: {not_zero}\n  48 {passed}\n{second}  208: end");
    assert_eq!(groups(dir.path(), 1), expected);
}

/// Dumps the log in `dir`, which must change nothing; its last line must be what opening then says.
/// Leaves the log opened, and so changed.
fn check_harmless(dir: &Path, what: &str) -> String {
    let before = snapshot(dir);
    let text = text(dir, Detail::Records);
    assert!(snapshot(dir) == before, "{what}: a file was changed");
    let said = match options().open(dir) {
        Ok(log) => {
            let tail = match log.recovery().tail {
                Tail::Torn { bytes } => format!("torn, {bytes} bytes go"),
                _ => "clean".to_owned(),
            };
            let bounds = log.bounds();
            format!(
                "{tail}; LSN {} up to {}, exclusive",
                bounds.start, bounds.end
            )
        }
        Err(error) => format!("refused; {error}").replace(&dir.display().to_string(), "DIR"),
    };
    let last = text.lines().last().unwrap();
    assert_eq!(last, format!("open: {said}"), "{what}\n{text}");
    text
}

#[test]
fn every_changed_byte_is_shown_in_its_place() {
    let dir = small();
    let files = snapshot(dir.path());
    for (name, bytes) in &files {
        // Beside its slots the superblock has no meaning: a part of it is enough.
        let means_nothing = |at: usize| name == "mark" && at % 4096 >= 140;
        for at in (0..bytes.len()).filter(|&at| !means_nothing(at) || at % 64 == 5) {
            for new in [bytes[at] ^ 1, bytes[at] ^ 0xFF] {
                let mut changed = bytes.clone();
                changed[at] = new;
                restore(dir.path(), &files);
                write(dir.path(), name, &changed);
                let what = format!("{name}: byte {at} is {new:#04x}");
                let text = check_harmless(dir.path(), &what);
                let shown = damage(&text, name);
                if means_nothing(at) {
                    assert_eq!(shown, [0; 0], "{what}: it means nothing");
                    continue;
                }
                // The byte itself, or the beginning of what it is part of.
                let near = at.saturating_sub(139) as u64..=at as u64;
                assert!(shown.iter().any(|at| near.contains(at)), "{what}\n{text}");
            }
        }
    }
}

#[test]
fn every_truncation_of_every_file_is_shown() {
    let dir = small();
    let files = snapshot(dir.path());
    for (name, bytes) in &files {
        for len in 0..bytes.len() {
            restore(dir.path(), &files);
            write(dir.path(), name, &bytes[..len]);
            let what = format!("{name} truncated to {len}");
            let text = check_harmless(dir.path(), &what);
            let means_nothing = name == "mark" && len >= 4096 + 140;
            assert_eq!(
                damage(&text, name).is_empty(),
                means_nothing,
                "{what}\n{text}"
            );
        }
    }
}

#[test]
fn files_of_anything_are_shown() {
    let dir = small();
    let files = snapshot(dir.path());
    let mut rng = StdRng::seed_from_u64(1);
    for run in 0..3000 {
        restore(dir.path(), &files);
        for _ in 0..rng.random_range(1..4) {
            let (name, bytes) = &files[rng.random_range(0..files.len())];
            let mut bytes = bytes.clone();
            // A piece of some file, or noise, at a place where something may be.
            let (_, other) = &files[rng.random_range(0..files.len())];
            let mut piece = other[rng.random_range(0..other.len())..].to_vec();
            piece.truncate(rng.random_range(0..256));
            if rng.random() {
                rng.fill(&mut piece[..]);
            }
            let at = rng.random_range(0..bytes.len()) / 8 * 8;
            let len = piece.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&piece[..len]);
            write(dir.path(), name, &bytes);
        }
        check_harmless(dir.path(), &format!("run {run}"));
    }
}

#[test]
fn what_is_missing_is_shown() {
    let dir = small();
    let files = snapshot(dir.path());
    let without = |missing: &str| {
        let rest = files.iter().filter(|(name, _)| name != missing);
        restore(dir.path(), &rest.cloned().collect::<Vec<_>>());
        check_harmless(dir.path(), missing)
    };
    assert!(without("mark").contains("\nsuperblock: mark is missing\n"));
    assert!(without("mark").contains("  112: group, LSN 6..=6"));
    assert!(without(&segment(1)).contains("\n! segment 1: missing\n"));
    assert!(without(&segment(2)).contains("\n! segment 2: missing\n"));
}

#[test]
fn a_segment_of_another_log_is_shown_as_one() {
    let (dir, other) = (small(), small());
    write(dir.path(), &segment(2), &read(other.path(), &segment(2)));
    let text = check_harmless(dir.path(), "foreign");
    assert_eq!(damage(&text, &segment(2)), [0]);
    assert!(text.contains("  112: group, LSN 6..=6"), "{text}");
}

#[test]
fn an_open_log_is_shown_and_no_lock_is_made() {
    let dir = fast_dir();
    let open = |path: &Path| last_line(path);
    assert_eq!(open(dir.path()), "open: creates the log");
    assert_eq!(files::dir(dir.path()).list().unwrap(), []);
    let log = options().open(dir.path()).unwrap();
    log.append(b"one").unwrap();
    assert_eq!(open(dir.path()), "open: clean; LSN 1 up to 2, exclusive");
}

#[test]
fn a_directory_that_is_not_there_and_a_writer_that_fails_are_errors() {
    let dir = small();
    let nowhere = dir.path().join("nowhere");
    let dump = |path: &Path, out: &mut dyn std::io::Write| {
        wal::dump(&Disk::os(), path, Detail::Groups, out)
    };
    let error = dump(&nowhere, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Disk(_)), "{error}");
    let mut full = [0; 100];
    let error = dump(dir.path(), &mut full.as_mut_slice()).unwrap_err();
    assert!(matches!(error, Error::Output { .. }), "{error}");
}
