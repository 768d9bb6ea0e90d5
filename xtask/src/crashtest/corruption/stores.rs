//! Small stores of the hash-indexed kind, and what may be seen of a damaged one.
//!
//! Each is written by the engine, one group for each operation, with a note of what it held after
//! each. What is true of its active file is found without the engine: by its bytes and the tables of
//! `bitcask/FORMAT.md`.

use std::collections::BTreeMap;
use std::ops::Range;

use bitcask::{Background, Batch, Bitcask, Corruption, Error, MergePolicy, Options, SyncMode};
use durable_io::codec::Decoder;
use durable_io::sim::{SimDisk, World};

use super::changes::{Change, FileFacts, Target};
use super::judge::Verdict;

const DIR: &str = "/bitcask";
/// Small, so that every byte of a store of some data files can be changed.
const DATA_FILE_SIZE: u64 = 2048;
const KEYS: usize = 8;
/// What is written to a store after damage, to see whether it goes on.
const PROBE: (&[u8], &[u8]) = (b"probe", b"written after the damage");

const FILE_HEADER: usize = 64;
const GROUP_HEADER: usize = 24;
const MANIFEST_HEADER: usize = 48;
const MANIFEST_ENTRY: usize = 32;

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store to be damaged.
#[derive(Debug)]
pub(super) struct Stored {
    name: &'static str,
    files: Vec<FileFacts>,
    world: World,
    earlier: Vec<World>,
    /// What it held after each operation.
    history: Vec<Contents>,
    /// The active file, as an index, and its groups.
    active: usize,
    groups: Vec<Group>,
    /// Groups of the active file below this offset are durable, says the manifest.
    end: u64,
}

/// A group of the active file.
#[derive(Debug)]
struct Group {
    bytes: Range<usize>,
    /// What its header says was durable.
    witness: u64,
}

fn options(disk: &SimDisk) -> Options {
    Options::new()
        .data_file_size(DATA_FILE_SIZE)
        .reserve(0)
        .auto_merge(false)
        .merge_policy(MergePolicy::new().small_file_size(0))
        .background(Background::Inline)
        .disk(disk.disk())
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
        let count = u8::try_from(self.history.len()).unwrap_or(u8::MAX);
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

    fn end(self, name: &'static str, closes: bool) -> bitcask::Result<Stored> {
        if closes {
            self.store.close()?;
        } else {
            drop(self.store);
        }
        let world = self.disk.world().keep_unsynced();
        let files = FileFacts::all(DIR, &world);
        let (active, end) = active(&files).unwrap_or_default();
        let groups = files
            .get(active)
            .map_or_else(Vec::new, |file| groups(&file.bytes));
        Ok(Stored {
            name,
            files,
            world,
            earlier: self.earlier,
            history: self.history,
            active,
            groups,
            end,
        })
    }
}

/// The stores that are damaged.
pub(super) fn all() -> bitcask::Result<Vec<Stored>> {
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
pub(super) fn created() -> bitcask::Result<Stored> {
    Scribe::new(SyncMode::Always)?.end("created", false)
}

/// The active file, as an index, and its end, as the manifest says.
fn active(files: &[FileFacts]) -> Option<(usize, u64)> {
    let manifest = files.iter().find(|file| file.name == "manifest")?;
    let last = manifest.bytes.len() - MANIFEST_ENTRY;
    let mut decoder = Decoder::new(manifest.bytes.get(last.max(MANIFEST_HEADER)..)?);
    let (number, _id, end) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
    let name = format!("{number:016x}.data");
    let index = files.iter().position(|file| file.name == name)?;
    Some((index, end))
}

/// The groups of the data file `bytes`, which is whole.
fn groups(bytes: &[u8]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut at = FILE_HEADER;
    while let Some(header) = bytes.get(at..at + GROUP_HEADER) {
        let mut decoder = Decoder::new(header);
        let mut word = || decoder.u32().unwrap_or(0);
        let (_check, len, count, _zero) = (word(), word(), word(), word());
        if count == 0 {
            break;
        }
        let end = at + GROUP_HEADER + len as usize;
        groups.push(Group {
            bytes: at..end,
            witness: decoder.u64().unwrap_or(0),
        });
        at = end.next_multiple_of(8);
    }
    groups
}

/// What an open store says.
#[derive(Debug)]
struct Answer {
    /// What could be read.
    contents: Contents,
    /// The first error of reading.
    broken: Option<Error>,
    /// What `verify` complains of.
    damage: Vec<Error>,
}

type Judged<T> = Result<T, String>;

fn ask(store: &Bitcask, wanted: &Contents) -> Judged<Answer> {
    let mut contents = Contents::new();
    let mut broken = None;
    for entry in store.snapshot().entries() {
        match entry {
            Ok((key, value)) => drop(contents.insert(key, value.to_vec())),
            Err(error) => broken = Some(error),
        }
    }
    // The iterator ends at the first damage; single reads go around it.
    for key in wanted.keys() {
        match store.get(key) {
            Ok(Some(value)) => drop(contents.insert(key.clone(), value.to_vec())),
            Ok(None) if contents.contains_key(key) => {
                return Err(format!("key {key:?} is there, and is not"));
            }
            Ok(None) => {}
            Err(error) => broken = Some(error),
        }
    }
    let verified = store.verify().map_err(|error| error.to_string())?;
    Ok(Answer {
        contents,
        broken,
        damage: verified.damage,
    })
}

impl Stored {
    /// Calls `with` with the store as something to be damaged.
    pub(super) fn target<T>(&self, with: impl FnOnce(&Target<'_>) -> T) -> T {
        with(&Target {
            name: self.name,
            files: &self.files,
            world: &self.world,
            earlier: &self.earlier,
            is_used: &|file, at| self.is_used(file, at),
        })
    }

    /// Not the zeros behind the groups of a data file; what counts there is that they are not zeros.
    fn is_used(&self, file: usize, at: usize) -> bool {
        self.files.get(file).is_some_and(|file| {
            file.name.strip_suffix(".data").is_none()
                || file.bytes.iter().rposition(|&byte| byte != 0) >= Some(at)
        })
    }

    /// What the store on `world`, damaged by `change`, does about it.
    pub(super) fn judge(&self, change: &Change, world: &World) -> Verdict {
        self.verdict(change, world).unwrap_or_else(Verdict::Wrong)
    }

    fn whole(&self) -> Contents {
        self.history.last().cloned().unwrap_or_default()
    }

    fn verdict(&self, change: &Change, world: &World) -> Judged<Verdict> {
        let disk = SimDisk::boot(world.clone());
        let store = match options(&disk).open(DIR) {
            Ok(store) => store,
            Err(error) => {
                self.check_told(&error)?;
                let before = SimDisk::boot(world.clone());
                if contents_of(&before) != contents_of(&disk) {
                    return Err("refused, but a file was changed".to_owned());
                }
                return Ok(Verdict::Detected);
            }
        };
        let whole = self.whole();
        let answer = ask(&store, &whole)?;
        for error in answer.broken.iter().chain(&answer.damage) {
            self.check_told(error)?;
        }
        if answer.broken.is_some() {
            // What cannot be read is missing; nothing else may be.
            let wrong = answer
                .contents
                .iter()
                .find(|(key, value)| whole.get(*key) != Some(value));
            if let Some((key, _)) = wrong {
                return Err(format!("beside damage, {key:?} has a wrong value"));
            }
            if answer.damage.is_empty() {
                return Err("reading complains, and verify does not".to_owned());
            }
            return Ok(Verdict::Detected);
        }
        if answer.contents == whole {
            self.check_later(&disk, store, &whole)?;
            let is_detected = !answer.damage.is_empty();
            return Ok(if is_detected {
                Verdict::Detected
            } else {
                Verdict::Harmless
            });
        }
        let Some(shorter) = self.in_window(change, world) else {
            return Err(format!("it holds {:?}", summary(&answer.contents)));
        };
        if answer.contents != *shorter {
            return Err(format!(
                "a suffix may be lost, but it holds {:?}",
                summary(&answer.contents)
            ));
        }
        self.check_later(&disk, store, shorter)?;
        Ok(Verdict::InWindow)
    }

    /// What the store may hold if the damage can pass for a torn tail: if it begins in a group of the
    /// active file that nothing unchanged says was durable.
    fn in_window(&self, change: &Change, world: &World) -> Option<&Contents> {
        if change.file != self.active {
            return None;
        }
        let file = self.files.get(self.active)?;
        let now = world.file_bytes(&file.path())?;
        let same = |range: Range<usize>| now.get(range.clone()) == file.bytes.get(range);
        let first = self
            .groups
            .iter()
            .position(|group| !same(group.bytes.clone()))?;
        let cut = self.groups.get(first)?.bytes.start as u64;
        let headers = self.groups.iter().filter(|group| {
            let start = group.bytes.start;
            same(start..start + GROUP_HEADER)
        });
        let witness = headers.map(|group| group.witness).max().unwrap_or(0);
        let lost = self.groups.len() - first;
        let is_silent = witness.max(self.end) <= cut;
        let left = self.history.len().checked_sub(1 + lost)?;
        is_silent.then(|| self.history.get(left)).flatten()
    }

    /// An error must be the one that is promised for damage, and name a place in the store.
    fn check_told(&self, error: &Error) -> Judged<()> {
        let path = match error {
            Error::Corrupt { path, .. } | Error::UnsupportedVersion { path, .. } => path,
            other => return Err(format!("it answered: {other} ({other:?})")),
        };
        let name = path.strip_prefix(DIR).ok().and_then(|name| name.to_str());
        // An older manifest names files that a merge has removed.
        let is_missing = matches!(
            error,
            Error::Corrupt {
                reason: Corruption::MissingFile,
                ..
            }
        );
        if is_missing && name.is_some() {
            return Ok(());
        }
        let file = name.and_then(|name| self.files.iter().find(|file| file.name == name));
        let Some(file) = file else {
            return Err(format!("it names {}", path.display()));
        };
        match error {
            Error::Corrupt { offset, .. } if *offset > file.bytes.len() as u64 => {
                Err(format!("it names byte {offset} of {}", file.name))
            }
            _ => Ok(()),
        }
    }

    /// A store that opened goes on: closed, opened, written to and opened again.
    fn check_later(&self, disk: &SimDisk, store: Bitcask, expected: &Contents) -> Judged<()> {
        let told = |error: Error| format!("later it answered: {error}");
        store.close().map_err(told)?;
        let store = options(disk).open(DIR).map_err(told)?;
        let (key, value) = PROBE;
        store.put(key, value).map_err(told)?;
        // Not closed: the next open has to find the record by itself.
        drop(store);
        let store = options(disk).open(DIR).map_err(told)?;
        let mut expected = expected.clone();
        expected.insert(key.to_vec(), value.to_vec());
        let answer = ask(&store, &expected)?;
        if answer.contents != expected {
            return Err(format!(
                "{}: later it holds {:?}",
                self.name,
                summary(&answer.contents)
            ));
        }
        Ok(())
    }
}

/// Every file's name and bytes.
fn contents_of(disk: &SimDisk) -> Vec<(String, Option<Vec<u8>>)> {
    let world = disk.world();
    let files = disk
        .files()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("/lock"));
    let mut files: Vec<_> = files
        .map(|(path, _)| (path.clone(), world.file_bytes(&path)))
        .collect();
    files.sort();
    files
}

/// Keys, and the first byte and length of each value.
fn summary(contents: &Contents) -> Vec<(String, Option<u8>, usize)> {
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let entries = contents.iter();
    entries
        .map(|(key, value)| (text(key), value.first().copied(), value.len()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crashtest::corruption::{changes, damage_target};

    #[test]
    fn a_small_store_passes() {
        let store = created().unwrap();
        let judge = |change: &Change, world: &World| store.judge(change, world);
        let counted = store.target(|target| {
            let changes = changes::all(target, false);
            damage_target(target, &changes, &judge)
        });
        let total = counted.total();
        assert_eq!(
            (total.wrong, total.panics),
            (0, 0),
            "{:?}",
            counted.findings
        );
        assert!(total.detected > 500 && total.harmless > 50, "{total:?}");
    }

    #[test]
    fn a_silent_loss_outside_the_window_is_wrong() {
        let stores = all().unwrap();
        let window = |name: &str, at_group: usize| {
            let store = stores.iter().find(|store| store.name == name).unwrap();
            let target = |target: &Target<'_>| changes::all(target, true);
            let start = store.groups[at_group].bytes.start;
            let change = store.target(target).into_iter();
            let mut change = change.filter(|change| change.is_byte(store.active, start));
            let change = change.next().unwrap();
            let world = store.target(|target| change.apply(target)).unwrap();
            store.in_window(&change, &world).is_some()
        };
        // The last of three groups, and the first, of which the others speak.
        assert!(window("killed", 2));
        assert!(!window("killed", 0));
        assert!(!window("closed", 2));
    }
}
