//! FORMAT.md is executed: a store made of its `hex` blocks is read, and a store that does what it
//! describes holds the very bytes of its `hex` blocks.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::path::Path;

use bitcask::{Batch, Detail, Disk, Options};
use support::{contents, data, fast_dir, hint, read, settle, write};

const FORMAT: &str = include_str!("../FORMAT.md");
const VERSION_1: &str = include_str!("version-1/store.md");
/// What is zeroed ahead in a store with the smallest data files.
const WINDOW: usize = 512;

fn options() -> Options {
    support::options().data_file_size(1024)
}

/// The bytes of the block of FORMAT.md that begins with ```` ```hex NAME ````.
fn block(name: &str) -> Vec<u8> {
    block_of(FORMAT, name)
}

fn block_of(page: &str, name: &str) -> Vec<u8> {
    let mut lines = page
        .lines()
        .skip_while(|line| *line != format!("```hex {name}"));
    assert!(lines.next().is_some(), "FORMAT.md has no block {name}");
    let bytes = lines.take_while(|line| *line != "```").flat_map(|line| {
        line.split('#')
            .next()
            .unwrap()
            .split_whitespace()
            .map(|hex| u8::from_str_radix(hex, 16).unwrap())
    });
    bytes.collect()
}

/// `parts` one after the other, and zeros up to the end of the window.
fn file(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(WINDOW, 0);
    bytes
}

/// A store of data file 1, sealed, and data file 2.
fn write_rotated(dir: &Path) {
    write(dir, &data(1), &file(&[block("data-1"), block("group")]));
    write(dir, &data(2), &file(&[block("data-2")]));
    write(dir, "manifest", &block("manifest-3"));
}

#[test]
fn the_documented_bytes_are_read() {
    let dir = fast_dir();
    write_rotated(dir.path());
    write(dir.path(), &hint(1), &block("hint"));
    let store = options().open(dir.path()).unwrap();
    assert_eq!(store.recovery().hinted_files, 1);
    assert_eq!(
        contents(&store),
        [(b"apple".to_vec(), b"3".to_vec())].into()
    );
    assert!(store.verify().unwrap().is_whole());
}

/// Also after the first manifest of this version.
#[test]
fn a_store_of_version_1_is_read_and_goes_on() {
    let dir = fast_dir();
    let block = |name| block_of(VERSION_1, name);
    write(
        dir.path(),
        &data(1),
        &file(&[block("data-1"), block("group")]),
    );
    write(dir.path(), &data(2), &file(&[block("data-2")]));
    write(dir.path(), &hint(1), &block("hint"));
    write(dir.path(), "manifest", &block("manifest-3"));
    let mut expected = support::Model::from([(b"apple".to_vec(), b"3".to_vec())]);
    for key in [b"fig", b"nut"] {
        let store = options().open(dir.path()).unwrap();
        assert_eq!(contents(&store), expected);
        assert_eq!(store.recovery().hinted_files, 1);
        store.put(key, b"1").unwrap();
        expected.insert(key.to_vec(), b"1".to_vec());
        store.close().unwrap();
    }
    let store = options().open(dir.path()).unwrap();
    store.rotate().unwrap();
    store.merge().unwrap();
    drop(store);
    let store = options().open(dir.path()).unwrap();
    assert_eq!(contents(&store), expected);
    drop(store);
    // The manifest of version 1, put back: what it names has been merged.
    write(dir.path(), "manifest", &block("manifest-3"));
    let error = options().open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("older"), "{error}");
}

#[test]
fn the_documented_bytes_are_written() {
    let dir = fast_dir();
    write(dir.path(), &data(1), &file(&[block("data-1")]));
    write(dir.path(), "manifest", &block("manifest-1"));
    let store = options().open(dir.path()).unwrap();
    let batch = Batch::new().put(b"apple", b"3").delete(b"pear");
    store.write(batch).unwrap();
    store.close().unwrap();
    let expected = file(&[block("data-1"), block("group")]);
    assert_eq!(read(dir.path(), &data(1)), expected);
    assert_eq!(read(dir.path(), "manifest"), block("manifest-2"));
}

#[test]
fn the_documented_hint_is_made_of_the_documented_file() {
    let dir = fast_dir();
    write_rotated(dir.path());
    let store = options().open(dir.path()).unwrap();
    assert_eq!(store.recovery().hinted_files, 0);
    settle(&store);
    assert_eq!(read(dir.path(), &hint(1)), block("hint"));
}

#[test]
fn a_new_store_is_as_documented_but_for_its_ids() {
    let dir = fast_dir();
    drop(options().open(dir.path()).unwrap());
    let made = read(dir.path(), &data(1));
    let documented = file(&[block("data-1")]);
    // Check, store id and file id are its own.
    for range in [0..12, 24..32, 40..WINDOW] {
        assert_eq!(made[range.clone()], documented[range]);
    }
    let (made, documented) = (read(dir.path(), "manifest"), block("manifest-1"));
    assert_eq!(made.len(), documented.len());
    for range in [0..12, 32..64, 72..88] {
        assert_eq!(made[range.clone()], documented[range]);
    }
}

#[test]
fn every_sync_of_the_write_order_says_what_it_protects() {
    let mut sections = FORMAT.split("\n## ");
    let section = sections
        .find(|section| section.starts_with("8. Write order"))
        .unwrap();
    let is_step = |line: &str| line.as_bytes().get(1) == Some(&b'.');
    let mut steps: Vec<String> = Vec::new();
    for line in section.lines().skip(1) {
        match steps.last_mut() {
            Some(step) if line.starts_with("   ") => step.push_str(line),
            _ if is_step(line) => steps.push(line.to_owned()),
            _ => {}
        }
    }
    let is_sync = |step: &&String| step.contains("made durable") || step.contains(", durably");
    let syncs: Vec<_> = steps.iter().filter(is_sync).collect();
    assert_eq!((steps.len(), syncs.len()), (22, 13));
    for step in syncs {
        assert!(step.contains("Protects: "), "{step}");
    }
}

/// Runs `f` once, when the first `lines` lines have been written.
struct Interrupted<'a, F> {
    text: &'a mut Vec<u8>,
    lines: usize,
    f: Option<F>,
}

impl<F: FnOnce()> std::io::Write for Interrupted<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        let lines = String::from_utf8_lossy(self.text).lines().count();
        if lines >= self.lines
            && let Some(f) = self.f.take()
        {
            f();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// By a merge, at every line of it: it broke off where a hint was gone.
#[test]
fn a_dump_goes_on_where_a_file_was_removed_meanwhile() {
    let (mut lines, mut gone) = (0, 0);
    loop {
        let dir = fast_dir();
        let store = options().open(dir.path()).unwrap();
        for n in 0..9_u8 {
            store.put(&[n % 3], &[n; 300]).unwrap();
        }
        settle(&store);
        let mut text = Vec::new();
        let f = || _ = store.merge().unwrap();
        let mut out = Interrupted {
            text: &mut text,
            lines,
            f: Some(f),
        };
        bitcask::dump(&Disk::os(), dir.path(), Detail::Groups, &mut out).unwrap();
        let is_over = out.f.is_some();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains('!'), "after {lines} lines: {text}");
        gone += text.matches("was removed meanwhile").count();
        lines += 1;
        if is_over {
            break;
        }
    }
    assert!(lines > 10 && gone > 10, "{lines} lines, {gone} files gone");
}

#[test]
fn a_dump_shows_what_stands_in_the_files_and_what_is_wrong() {
    let dir = fast_dir();
    write_rotated(dir.path());
    write(dir.path(), &hint(1), &block("hint"));
    let dump = |detail| {
        let mut text = Vec::new();
        bitcask::dump(&Disk::os(), dir.path(), detail, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let whole = dump(Detail::Records);
    for line in [
        "put     \"apple\" = 1 bytes",
        "delete  \"pear\"",
        "group of 2 records, 34 bytes; durable up to 64",
        "0000000000000001.hint: 96 bytes, 2 entries",
    ] {
        assert!(whole.contains(line), "{whole}");
    }
    assert!(!whole.contains('!'), "{whole}");
    assert!(!dump(Detail::Groups).contains("apple"));
    let mut damaged = file(&[block("data-1"), block("group")]);
    damaged[100] ^= 1;
    write(dir.path(), &data(1), &damaged);
    write(dir.path(), &hint(1), b"no hint");
    write(dir.path(), &data(9), &file(&[block("data-2")]));
    let text = dump(Detail::Groups);
    for line in [
        "!         88  a checksum does not match",
        "! 0000000000000001.hint: 7 bytes",
        "0000000000000009.data: 512 bytes, an orphan",
    ] {
        assert!(text.contains(line), "{text}");
    }
    support::dir(dir.path()).remove("manifest").unwrap();
    assert!(dump(Detail::Groups).contains("! manifest is missing"));
}
