//! What each writer does, and what its keys must hold after a kill: pure functions.
//!
//! Each writer has keys of its own and does one operation at a time, and each operation is a function
//! of its writer and its number. So what its keys hold must be what they held after the last
//! acknowledged operation, or after the one in flight: whole or not at all, in its order, without a
//! hole, and nothing that was deleted or overwritten.

use crate::engine::{Change, Contents};
use crate::model::{mix, value};

/// Threads that write.
pub(super) const WRITERS: usize = 4;
/// Keys of each writer: few, so that most writes overwrite or delete.
const KEYS: u64 = 24;

fn key(writer: usize, nth: u64) -> Vec<u8> {
    format!("w{writer}k{}", nth % KEYS).into_bytes()
}

/// The writer that `key` belongs to.
fn writer_of(key: &[u8]) -> Option<usize> {
    let (writer, _) = std::str::from_utf8(key)
        .ok()?
        .strip_prefix('w')?
        .split_once('k')?;
    writer.parse().ok().filter(|&writer| writer < WRITERS)
}

/// What operation `n` of `writer` changes, in one step.
pub(super) fn changes(writer: usize, n: u64) -> Vec<Change> {
    let drawn = mix(writer as u64, n) >> 3;
    let nth = drawn % KEYS;
    // A number that no other writer has, so that a value tells whose it is.
    let put = |nth| {
        let number = n * WRITERS as u64 + writer as u64;
        (key(writer, nth), Some(value(number)))
    };
    match (drawn >> 16) % 10 {
        0..6 => vec![put(nth)],
        6 | 7 => vec![(key(writer, nth), None)],
        _ => vec![put(nth), put(nth + 1), (key(writer, nth + 2), None)],
    }
}

/// Does operation `n` of `writer` to what its keys hold.
fn apply(contents: &mut Contents, writer: usize, n: u64) {
    for (key, value) in changes(writer, n) {
        match value {
            Some(value) => drop(contents.insert(key, value)),
            None => drop(contents.remove(&key)),
        }
    }
}

/// One writer, as far as its acknowledgements tell.
#[derive(Debug)]
struct Writer {
    contents: Contents,
    /// The number of its next operation.
    next: u64,
}

/// What each writer's keys hold.
#[derive(Debug)]
pub(super) struct Known {
    writers: Vec<Writer>,
}

impl Known {
    /// A store that was never written.
    pub(super) fn new() -> Self {
        let writer = |_| Writer {
            contents: Contents::new(),
            next: 1,
        };
        Self {
            writers: (0..WRITERS).map(writer).collect(),
        }
    }

    /// The number each writer continues with.
    pub(super) fn next(&self) -> Vec<u64> {
        self.writers.iter().map(|writer| writer.next).collect()
    }

    /// Operation `n` of `writer` was acknowledged.
    pub(super) fn acknowledged(&mut self, writer: usize, n: u64) {
        if let Some(known) = self.writers.get_mut(writer) {
            apply(&mut known.contents, writer, n);
            known.next = n + 1;
        }
    }

    /// Compares what was found with what each writer was told, and learns what became of the operation
    /// in flight. Returns how many writers lost something.
    pub(super) fn compare(&mut self, found: &Contents, findings: &mut Vec<String>) -> u64 {
        let mut theirs = vec![Contents::new(); WRITERS];
        for (key, value) in found {
            match writer_of(key).and_then(|writer| theirs.get_mut(writer)) {
                Some(theirs) => drop(theirs.insert(key.clone(), value.clone())),
                None => findings.push(format!("nobody writes the key {key:?}")),
            }
        }
        let mut lost = 0;
        for (number, (writer, found)) in self.writers.iter_mut().zip(theirs).enumerate() {
            if found == writer.contents {
                continue;
            }
            let mut with_next = writer.contents.clone();
            apply(&mut with_next, number, writer.next);
            if found == with_next {
                writer.contents = with_next;
                writer.next += 1;
                continue;
            }
            lost += 1;
            findings.push(format!(
                "writer {number}, acknowledged up to {}: {}",
                writer.next - 1,
                difference(&writer.contents, &found)
            ));
        }
        lost
    }
}

/// The first key that is not as it should be, in words.
fn difference(expected: &Contents, found: &Contents) -> String {
    let keys = expected.keys().chain(found.keys());
    let wrong = keys
        .into_iter()
        .find(|key| expected.get(*key) != found.get(*key));
    let Some(key) = wrong else {
        return "nothing differs".to_owned();
    };
    let words = |contents: &Contents| {
        let Some(bytes) = contents.get(key) else {
            return "nothing".to_owned();
        };
        let number = bytes
            .first_chunk()
            .map(|number| u64::from_le_bytes(*number));
        match number.filter(|&number| value(number) == *bytes) {
            Some(number) => format!("the value of operation {}", number / WRITERS as u64),
            None => format!("{} bytes that nobody wrote like that", bytes.len()),
        }
    };
    let (expected, found) = (words(expected), words(found));
    let key = String::from_utf8_lossy(key);
    format!("{key} has {found} instead of {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store in which each writer's operations up to those of `done` were done.
    fn store(done: [u64; WRITERS]) -> Contents {
        let mut contents = Contents::new();
        for (writer, done) in done.into_iter().enumerate() {
            (1..=done).for_each(|n| apply(&mut contents, writer, n));
        }
        contents
    }

    fn known(done: [u64; WRITERS]) -> Known {
        let mut known = Known::new();
        for (writer, done) in done.into_iter().enumerate() {
            (1..=done).for_each(|n| known.acknowledged(writer, n));
        }
        known
    }

    #[test]
    fn a_key_names_its_writer() {
        for writer in 0..WRITERS {
            assert_eq!(writer_of(&key(writer, 77)), Some(writer));
        }
        assert_eq!(writer_of(b"w4k0"), None);
        assert_eq!(writer_of(b"\xff"), None);
    }

    #[test]
    fn the_operation_in_flight_may_be_there_and_is_known_then() {
        let mut known = known([40, 30, 20, 10]);
        let mut findings = Vec::new();
        assert_eq!(known.compare(&store([40, 31, 20, 10]), &mut findings), 0);
        assert_eq!(known.next(), [41, 32, 21, 11]);
        assert_eq!(findings, Vec::<String>::new());
    }

    #[test]
    fn a_lost_operation_half_a_batch_and_a_foreign_value_are_seen() {
        let lost = |found: &Contents| {
            let mut findings = Vec::new();
            let lost = known([40, 40, 40, 40]).compare(found, &mut findings);
            assert_eq!(findings.len() as u64, lost, "{findings:?}");
            lost
        };
        assert_eq!(lost(&store([40, 40, 40, 40])), 0);
        // Several operations, so that none of them can be the one in flight.
        assert_eq!(lost(&store([40, 30, 40, 30])), 2);
        let batch = (1..100).find(|n| changes(0, *n).len() == 3).unwrap();
        let mut half = known([batch - 1, 0, 0, 0]);
        let mut found = store([batch - 1, 0, 0, 0]);
        let (key, value) = changes(0, batch).swap_remove(0);
        found.insert(key, value.unwrap());
        assert_eq!(half.compare(&found, &mut Vec::new()), 1);
        let mut foreign = store([40, 40, 40, 40]);
        foreign.first_entry().unwrap().get_mut()[20] ^= 1;
        assert_eq!(lost(&foreign), 1);
    }
}
