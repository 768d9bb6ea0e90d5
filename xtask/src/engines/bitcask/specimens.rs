//! Small stores of the hash-indexed kind, to be damaged.
//!
//! Each is written by the engine, one group for each operation, with a note of what it held after
//! each. What is true of its active file is found without the engine: by its bytes and the tables of
//! `bitcask/FORMAT.md`.

use std::ops::Range;

use bitcask::{Background, Batch, Bitcask, MergePolicy, Options, SyncMode};
use crashtest::{Contents, Held, Piece, Root, Span, Specimen, files};
use durable_io::codec::Decoder;
use durable_io::sim::{SimDisk, World};

const DIR: &str = "/bitcask";
/// Small, so that every byte of a store of some data files can be changed.
const DATA_FILE_SIZE: u64 = 2048;
const KEYS: usize = 8;

const FILE_HEADER: usize = 64;
const GROUP_HEADER: usize = 24;
const MANIFEST_HEADER: usize = 48;
const MANIFEST_ENTRY: usize = 32;

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .data_file_size(DATA_FILE_SIZE)
        .reserve(0)
        .auto_merge(false)
        .merge_policy(MergePolicy::new().small_file_size(0))
        .background(Background::Inline)
        .disk(disk.disk())
}

/// Every key that a specimen has or had.
pub(super) fn keys() -> impl Iterator<Item = Vec<u8>> {
    (0..KEYS).map(key)
}

/// A store that is being written.
struct Scribe {
    disk: SimDisk,
    store: Bitcask,
    now: Contents,
    history: Vec<Contents>,
    earlier: Vec<World>,
}

fn key(nth: usize) -> Vec<u8> {
    match nth % KEYS {
        0 => Vec::new(),
        nth => format!("key {nth}").into_bytes(),
    }
}

impl Scribe {
    fn new(mode: SyncMode) -> bitcask::Result<Self> {
        let disk = SimDisk::new();
        let store = options(&disk).sync(mode).open(DIR)?;
        Ok(Self {
            disk,
            store,
            now: Contents::new(),
            history: vec![Contents::new()],
            earlier: Vec::new(),
        })
    }

    fn put(&mut self, nth: usize, len: usize) -> bitcask::Result<()> {
        let count = u8::try_from(self.history.len()).expect("few operations");
        let value = vec![count; len];
        self.store.put(&key(nth), &value)?;
        self.now.insert(key(nth), value);
        self.remember();
        Ok(())
    }

    fn delete(&mut self, nth: usize) -> bitcask::Result<()> {
        self.store.delete(&key(nth))?;
        self.now.remove(&key(nth));
        self.remember();
        Ok(())
    }

    fn batch(&mut self, first: usize, second: usize) -> bitcask::Result<()> {
        let batch = Batch::new()
            .put(&key(first), b"one of two")
            .delete(&key(second));
        self.store.write(batch)?;
        self.now.insert(key(first), b"one of two".to_vec());
        self.now.remove(&key(second));
        self.remember();
        Ok(())
    }

    fn remember(&mut self) {
        self.history.push(self.now.clone());
        self.earlier.push(self.disk.world());
    }

    fn settle(&mut self) -> bitcask::Result<()> {
        while self.store.run_background()? {}
        self.earlier.push(self.disk.world());
        Ok(())
    }

    /// Two sealed files, and an active one with a few groups.
    fn fill(&mut self) -> bitcask::Result<()> {
        self.put(1, 60)?;
        self.put(2, 0)?;
        self.put(3, 500)?;
        self.store.rotate()?;
        self.delete(1)?;
        self.put(2, 30)?;
        self.put(0, 20)?;
        self.store.rotate()?;
        self.settle()?;
        self.put(4, 40)?;
        self.batch(5, 3)?;
        self.put(4, 41)?;
        Ok(())
    }

    fn end(self, name: &'static str, closes: bool) -> bitcask::Result<Specimen> {
        if closes {
            self.store.close()?;
        } else {
            drop(self.store);
        }
        Ok(specimen(
            name,
            &self.disk.world(),
            self.earlier,
            self.history,
        ))
    }
}

/// The stores that are damaged.
pub(super) fn all() -> bitcask::Result<Vec<Specimen>> {
    let mut killed = Scribe::new(SyncMode::Always)?;
    killed.fill()?;
    let mut closed = Scribe::new(SyncMode::Manual)?;
    closed.fill()?;
    let mut hintless = Scribe::new(SyncMode::Always)?;
    hintless.put(1, 30)?;
    hintless.delete(1)?;
    hintless.put(2, 700)?;
    hintless.store.rotate()?;
    hintless.put(3, 10)?;
    let mut merged = Scribe::new(SyncMode::Always)?;
    merged.fill()?;
    merged.store.rotate()?;
    merged.put(6, 10)?;
    merged.store.merge()?;
    merged.settle()?;
    Ok(vec![
        killed.end("killed", false)?,
        closed.end("closed", true)?,
        hintless.end("without hints", false)?,
        merged.end("merged", false)?,
        created()?,
    ])
}

/// A store that was never written to.
fn created() -> bitcask::Result<Specimen> {
    Scribe::new(SyncMode::Always)?.end("created", false)
}

/// The store on `world`, which held `history` after each operation.
fn specimen(
    name: &'static str,
    world: &World,
    earlier: Vec<World>,
    history: Vec<Contents>,
) -> Specimen {
    let files = files(DIR, &world.keep_unsynced());
    let manifest = files.iter().find(|(name, _)| name == "manifest");
    let (_, manifest) = manifest.expect("every store has a manifest");
    let (active, end) = active(manifest).expect("the manifest is whole");
    let bytes = files.iter().find(|(name, _)| *name == active);
    let groups = bytes.map_or_else(Vec::new, |(_, bytes)| groups(bytes));
    // Every operation in the active file is one group.
    let base = (history.len() - 1 - groups.len()) as u64;
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
    let used = files.iter().map(|(name, bytes)| {
        // Not the zeros behind the groups of a data file; what counts there is that they are not zeros.
        let last = bytes.iter().rposition(|&byte| byte != 0);
        let end = match name.strip_suffix(".data") {
            Some(_) => last.map_or(0, |last| last + 1),
            None => bytes.len(),
        };
        Span::new(name, 0..end)
    });
    let held = history
        .into_iter()
        .zip(0..)
        .map(|(held, step)| Held::new(step, held));
    let root = Root {
        span: Span::new("manifest", 0..manifest.len()),
        witness: durable(end),
        history: held.filter(|held| held.step >= base).collect(),
    };
    Specimen::new(name, DIR, world, earlier, vec![root])
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
