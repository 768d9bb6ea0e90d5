//! What each writer does: every operation is a function of its writer and its number.

use std::collections::BTreeMap;

use bitcask::Bitcask;

use crate::crashtest::kill::workload::{self, mix};

/// Threads that write.
pub(crate) const WRITERS: usize = 4;
/// Keys of each writer: few, so that most writes overwrite or delete.
const KEYS: u64 = 24;

pub(crate) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// One change of a key: its new value, or `None`.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// How the changes of an operation are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    One,
    Batch,
    CompareAndSet,
}

fn key(writer: usize, nth: u64) -> Vec<u8> {
    format!("{writer}/{}", nth % KEYS).into_bytes()
}

/// The writer that `key` belongs to.
pub(crate) fn writer_of(key: &[u8]) -> Option<usize> {
    let (writer, _) = std::str::from_utf8(key).ok()?.split_once('/')?;
    writer.parse().ok().filter(|&writer| writer < WRITERS)
}

/// Operation `n` of `writer`.
fn operation(writer: usize, n: u64) -> (How, Vec<Change>) {
    let mixed = mix(writer, n) >> 3;
    let nth = mixed % KEYS;
    let put = |nth| (key(writer, nth), Some(workload::payload(writer, n)));
    match (mixed >> 16) % 10 {
        0..5 => (How::One, vec![put(nth)]),
        5 | 6 => (How::One, vec![(key(writer, nth), None)]),
        7 => (How::CompareAndSet, vec![put(nth)]),
        _ => (
            How::Batch,
            vec![put(nth), put(nth + 1), (key(writer, nth + 2), None)],
        ),
    }
}

/// Does operation `n` of `writer` to `model`.
pub(crate) fn apply(model: &mut Model, writer: usize, n: u64) {
    for (key, value) in operation(writer, n).1 {
        match value {
            Some(value) => drop(model.insert(key, value)),
            None => drop(model.remove(&key)),
        }
    }
}

/// Does operation `n` of `writer` to `store`, whose keys of this writer hold `model`.
pub(crate) fn write(store: &Bitcask, model: &Model, writer: usize, n: u64) -> anyhow::Result<()> {
    let (how, changes) = operation(writer, n);
    match (how, changes.as_slice()) {
        (How::One, [(key, Some(value))]) => store.put(key, value)?,
        (How::One, [(key, None)]) => store.delete(key)?,
        (How::CompareAndSet, [(key, new)]) => {
            let current = model.get(key).map(Vec::as_slice);
            anyhow::ensure!(
                store.compare_and_set(key, current, new.as_deref())?,
                "operation {n} of writer {writer}: the key has not the value it was given"
            );
        }
        (_, changes) => {
            let batch = changes
                .iter()
                .fold(bitcask::Batch::new(), |batch, change| match change {
                    (key, Some(value)) => batch.put(key, value),
                    (key, None) => batch.delete(key),
                });
            store.write(batch)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_writer() {
        for writer in 0..WRITERS {
            assert_eq!(writer_of(&key(writer, 77)), Some(writer));
        }
        assert_eq!(writer_of(b"4/0"), None);
        assert_eq!(writer_of(b"\xff"), None);
    }

    #[test]
    fn every_kind_of_operation_comes_soon() {
        let drawn: Vec<_> = (1..60).map(|n| operation(0, n)).collect();
        for how in [How::One, How::Batch, How::CompareAndSet] {
            assert!(drawn.iter().any(|(drawn, _)| *drawn == how), "{how:?}");
        }
        let deletes =
            |(how, changes): &&(How, Vec<Change>)| *how == How::One && changes[0].1.is_none();
        assert!(drawn.iter().any(|drawn| deletes(&drawn)));
    }
}
