//! Small stores of the hash-indexed kind, to be damaged.
//!
//! Each is written by the engine, one group for each operation, with a note of what it held after
//! each. What is true of its active file is found without the engine: by its bytes and the tables of
//! `bitcask/FORMAT.md`.

use std::ops::Range;

use crashtest::{Held, Outcome, Piece, Root, Span, Specimen, Written, files, write};
use durable_io::SyncMode;
use durable_io::codec::Decoder;

use crate::engines::log_probe::not_zero;

const DIR: &str = "/bitcask";

const FILE_HEADER: usize = 64;
const GROUP_HEADER: usize = 24;
const MANIFEST_HEADER: usize = 56;
const MANIFEST_ENTRY: usize = 32;

/// Two sealed files, and an active one with a few groups.
const FILL: &str = "put key-1 60, put key-2 0, put key-3 500, rotate, delete key-1, put key-2 30, \
    put - 20, rotate, settle, put key-4 40, batch key-5 10 key-3, put key-4 41";

/// Every key that a specimen has or had.
pub(super) const KEYS: [&str; 8] = [
    "", "key-1", "key-2", "key-3", "key-4", "key-5", "key-6", "probe",
];

/// The stores that are damaged.
pub(super) fn all() -> Outcome<Vec<Specimen>> {
    let (always, manual) = (SyncMode::Always, SyncMode::Manual);
    let closed = format!("{FILL}, close");
    let hintless = "put key-1 30, delete key-1, put key-2 700, rotate, put key-3 10";
    let merged = format!("{FILL}, rotate, put key-6 10, merge, settle");
    let stores = [
        ("killed", always, FILL),
        ("closed", manual, &closed),
        ("without hints", always, hintless),
        ("merged", always, &merged),
        ("created", always, ""),
    ];
    let stores = stores.into_iter().map(|(name, sync, script)| {
        let written = write(&super::BITCASK, DIR, sync, script)?;
        Ok(specimen(name, written))
    });
    stores.collect()
}

/// The store that was `written`.
fn specimen(name: &'static str, written: Written) -> Specimen {
    let files = files(DIR, &written.world);
    let manifest = files.iter().find(|(name, _)| name == "manifest");
    let (_, manifest) = manifest.expect("every store has a manifest");
    let (active, end) = active(manifest).expect("the manifest is whole");
    let bytes = files.iter().find(|(name, _)| *name == active);
    let groups = bytes.map_or_else(Vec::new, |(_, bytes)| groups(bytes));
    // Every operation in the active file is one group.
    let base = (written.history.len() - 1 - groups.len()) as u64;
    let durable = |offset: u64| {
        let before = groups.iter();
        base + before
            .filter(|(bytes, _)| (bytes.start as u64) < offset)
            .count() as u64
    };
    let pieces = groups
        .iter()
        .zip(base + 1..)
        .map(|((bytes, witness), step)| Piece {
            span: Span::new(&active, bytes.clone()),
            header: bytes.start..bytes.start + GROUP_HEADER,
            step,
            witness: durable(*witness),
        });
    // What counts of the zeros after the groups of a data file is that they are that.
    let used = files.iter().flat_map(|(name, bytes)| not_zero(name, bytes));
    let held = written
        .history
        .into_iter()
        .zip(0..)
        .map(|(held, step)| Held::new(step, held));
    let root = Root {
        span: Span::new("manifest", 0..manifest.len()),
        witness: durable(end),
        history: held.filter(|held| held.step >= base).collect(),
    };
    Specimen::new(name, DIR, &written.world, written.earlier, vec![root])
        .pieces(pieces.collect())
        .used(used.collect())
        .sees_removal()
}

/// The active file's name, and its end, as the manifest says.
fn active(manifest: &[u8]) -> Option<(String, u64)> {
    let last = manifest.len() - MANIFEST_ENTRY;
    let mut decoder = Decoder::new(manifest.get(last.max(MANIFEST_HEADER)..)?);
    let (number, _id, end) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
    Some((format!("{number:016x}.data"), end))
}

/// The groups of the data file `bytes`, which is whole: where each is, and up to which offset its header
/// says that the file was durable.
fn groups(bytes: &[u8]) -> Vec<(Range<usize>, u64)> {
    let mut groups = Vec::new();
    let mut at = FILE_HEADER;
    while let Some((group, witness)) = bytes.get(at..).and_then(|bytes| group(at, bytes)) {
        at = group.end.next_multiple_of(8);
        groups.push((group, witness));
    }
    groups
}

fn group(at: usize, bytes: &[u8]) -> Option<(Range<usize>, u64)> {
    let mut decoder = Decoder::new(bytes);
    let _check = decoder.u32()?;
    let len = decoder.u32()? as usize;
    let count = decoder.u32()?;
    let _zero = decoder.u32()?;
    let witness = decoder.u64()?;
    (count > 0).then_some((at..at + GROUP_HEADER + len, witness))
}
