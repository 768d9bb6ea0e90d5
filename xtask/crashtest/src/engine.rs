//! What the judge must know of an engine: [`Engine`] and its open [`Store`]. Every layer works through
//! them and knows nothing else of any engine.
//!
//! To every layer a store is a map from keys to values, changed by atomic steps. An engine that is
//! something else (a log, a table) says in its adapter how it is one. What it can do beyond that is
//! judged by subjects of its own: [`Trial`](crate::Trial).

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use durable_io::{Background, Disk, SyncMode};

use crate::corruption::Specimen;
use crate::trial::AnyTrial;

/// What a store says it holds.
pub type Contents = BTreeMap<Vec<u8>, Vec<u8>>;
/// An error of a store, of whatever type.
pub type Refusal = dyn Error + Send + Sync;
/// What a store answers.
pub type Outcome<T> = Result<T, Box<Refusal>>;
/// What an operation does to one key: its new value, or `None` if it is deleted.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// How a store is to be opened. Whatever else an engine can be told, its adapter decides.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where the store is: the real disk or a simulated one.
    pub disk: Disk,
    /// The store's directory; its parent exists.
    pub dir: PathBuf,
    /// When a write is acknowledged.
    pub sync: SyncMode,
    /// Who does what is done in the background. `Inline`: nobody but [`Store::maintain`].
    pub background: Background,
    /// How many bytes should fill what the engine fills before it continues elsewhere (a segment, a
    /// data file, a memtable, a table): small, so that it does often.
    pub size: u64,
    /// How many bytes are held back for a full disk, by an engine that can.
    pub reserve: u64,
}

impl Setting {
    /// A store in `dir` of `disk` in [`SyncMode::Always`], without threads of its own, of `size` bytes a
    /// file, and with nothing held back.
    pub fn new(disk: Disk, dir: impl Into<PathBuf>, size: u64) -> Self {
        Self {
            disk,
            dir: dir.into(),
            sync: SyncMode::Always,
            background: Background::Inline,
            size,
            reserve: 0,
        }
    }

    /// The same for a store in `dir`.
    #[must_use]
    pub fn at(&self, dir: &Path) -> Self {
        let dir = dir.to_owned();
        Self {
            dir,
            ..self.clone()
        }
    }
}

/// An engine before the judge. All but the first three has an answer that does for a plain key-value
/// store.
pub trait Engine: Debug + Sync {
    /// The engine's name on the command line and in reports, and the first word of the names of its trials.
    fn name(&self) -> &'static str;

    /// The crate's folder in the workspace.
    fn folder(&self) -> &'static str {
        self.name()
    }

    /// Opens the store; creates it if there is none.
    ///
    /// # Errors
    /// Whatever the engine returns.
    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>>;

    /// Which place on the disk `error` says is damaged, if it is the error that the engine promises for
    /// damage. `None` for every other error.
    fn damage(&self, error: &Refusal) -> Option<Place>;

    /// What the layers `sim`, `barriers` and `faults` run, in order.
    fn trials(&self) -> Vec<AnyTrial> {
        Vec::new()
    }

    /// The branches of the engine's recovery, of which each must be taken in some crash state of the trials.
    fn probes(&self) -> &'static [Probe] {
        &[]
    }

    /// Files outside the crate's folder whose barriers are judged too, as the compiler names them.
    fn sources(&self) -> &'static [&'static str] {
        &[]
    }

    /// Small stores for the layer `corruption`; none, and the layer is left out.
    ///
    /// # Errors
    /// Whatever the engine returns.
    fn specimens(&self) -> Outcome<Vec<Specimen>> {
        Ok(Vec::new())
    }

    /// Opens a specimen of which the file called `file` is damaged.
    ///
    /// # Errors
    /// Whatever the engine returns.
    fn open_specimen(&self, setting: &Setting, _file: &str) -> Outcome<Box<dyn Store>> {
        self.open(setting)
    }

    /// Repairs a damaged store and opens it; `None` if the engine repairs nothing.
    fn repair(&self, _setting: &Setting) -> Option<Outcome<Repaired>> {
        None
    }

    /// What a salvage gives out of a damaged store, which it leaves as it is; `None` if the engine has none, or it is
    /// not asked here.
    fn salvage(&self, _setting: &Setting) -> Option<Outcome<Salvaged>> {
        None
    }

    /// Makes a new store in the directory `into` of what is certain in a damaged one, which stays as it is, and opens
    /// it; `None` if the engine has no such repair, or it is not asked here.
    ///
    /// # Errors
    /// Whatever the engine returns.
    fn rebuild(&self, _setting: &Setting, _into: &Path) -> Outcome<Option<Box<dyn Store>>> {
        Ok(None)
    }

    /// What the layer `kill` does; `None`, and the layer is left out.
    fn killing(&self) -> Option<Killing> {
        Some(Killing::default())
    }

    /// Where a process stands, or has been killed, as far as the files in `dir` tell: one of
    /// [`Killing::phases`]. `chore` is what it had said it was doing. `None`: nothing but what it said.
    ///
    /// # Errors
    /// Files that cannot be read, as they come and go in a process that runs.
    fn phase(&self, _dir: &Path, _chore: Option<&str>) -> Outcome<Option<&'static str>> {
        Ok(None)
    }

    /// How many times as many calls an operation makes as one of a log: so many times fewer operations
    /// are done where each call is looked at.
    fn weight(&self) -> u64 {
        1
    }

    /// What the layer `trace` has the engine do, on both disks; `None`, and the layer is left out. What
    /// it shows of one engine's calls, it shows of all.
    fn script(&self) -> Option<Script> {
        None
    }
}

/// What is left of a damaged store.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// What it held, without a warning.
    pub contents: Contents,
    /// What it held once, and perhaps no more.
    pub older: Contents,
    /// What is said to be wrong.
    pub errors: Vec<Box<Refusal>>,
}

impl Salvaged {
    /// What the items of a salvage give: keys and values, and of each whether it may be older.
    pub fn of<E>(items: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>, bool), E>>) -> Self
    where
        E: Into<Box<Refusal>>,
    {
        let mut left = Self::default();
        for item in items {
            match item {
                Ok((key, value, may_be_older)) => left.add(key, value, may_be_older),
                Err(error) => left.errors.push(error.into()),
            }
        }
        left
    }

    /// Adds a key and its value.
    pub fn add(&mut self, key: Vec<u8>, value: Vec<u8>, may_be_older: bool) {
        let to = if may_be_older {
            &mut self.older
        } else {
            &mut self.contents
        };
        to.insert(key, value);
    }
}

/// A branch of an engine's recovery: its adapter counts how often it is taken.
#[derive(Debug)]
pub struct Probe {
    name: &'static str,
    taken: AtomicU64,
}

impl Probe {
    /// The branch that is described by `name`.
    pub const fn new(name: &'static str) -> Self {
        let taken = AtomicU64::new(0);
        Self { name, taken }
    }

    /// Counts it, if it `was_taken`.
    pub fn note(&self, was_taken: bool) {
        self.taken
            .fetch_add(u64::from(was_taken), Ordering::Relaxed);
    }

    /// What is wrong, if it was never taken.
    pub(crate) fn untaken(&self) -> Option<String> {
        let was_taken = self.taken.load(Ordering::Relaxed) > 0;
        (!was_taken).then(|| format!("no state takes this branch of recovery: {}", self.name))
    }
}

/// Does something to a store below a directory of a disk, and calls back with the name of each part
/// before it begins.
pub type Script =
    fn(&Disk, &Path, &mut dyn FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()>;

/// An open store. Dropping it is the death of its process: it must make nothing durable.
pub trait Store: Send + Sync {
    /// Makes all of `changes`, or none. When it returns they are as durable as the [`SyncMode`] says.
    ///
    /// # Errors
    /// Whatever the store returns: the operation is not acknowledged.
    fn apply(&self, changes: &[Change]) -> Outcome<()>;

    /// Everything the store holds, in every way in which it can be read: ways that contradict each
    /// other are an error.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn dump(&self) -> Outcome<Contents>;

    /// Everything that can be read beside damage, and the errors of the rest.
    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        match self.dump() {
            Ok(contents) => (contents, Vec::new()),
            Err(error) => (Contents::new(), vec![error]),
        }
    }

    /// Reads and checks everything; returns the damage that it found.
    ///
    /// # Errors
    /// Whatever the store returns; not damage.
    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        Ok(Vec::new())
    }

    /// Makes every acknowledged write durable.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn sync(&self) -> Outcome<()> {
        Ok(())
    }

    /// How many acknowledged writes the store does not call durable yet.
    fn unsynced(&self) -> u64 {
        0
    }

    /// One step of the work that nobody waits for: what a background thread would do next. False if there is
    /// none.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn maintain(&self) -> Outcome<bool> {
        Ok(false)
    }

    /// One of [`Killing::chores`], whole. What it leaves open, how much to give up for instance,
    /// `drawn` decides.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn chore(&self, chore: &str, _drawn: u64) -> Outcome<()> {
        Err(format!("there is no {chore} here").into())
    }

    /// Ends the store in good order.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn close(self: Box<Self>) -> Outcome<()>;
}

/// What the layer `kill` does to an engine.
#[derive(Clone, Copy, Debug)]
pub struct Killing {
    /// So many kills make the short run done, with so many acknowledged operations.
    pub kills: u64,
    /// See `kills`.
    pub acknowledged: u64,
    /// What a thread of the process does beside those that write, by name: `rotate`, `merge`.
    pub chores: &'static [&'static str],
    /// The phases that must be hit beside `write` and `recovery`: a chore, or a chore and words after it
    /// that [`Engine::phase`] tells from the files.
    pub phases: &'static [&'static str],
}

impl Default for Killing {
    fn default() -> Self {
        Self {
            kills: 30,
            acknowledged: 8000,
            chores: &[],
            phases: &[],
        }
    }
}

/// A damaged place, as an error names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The byte, if the error names one.
    pub offset: Option<u64>,
    /// What is wrong is that the file is not there.
    pub is_missing: bool,
}

impl Place {
    /// Byte `offset` of the file at `path`.
    pub fn at(path: &Path, offset: u64) -> Self {
        Self {
            path: path.to_owned(),
            offset: Some(offset),
            is_missing: false,
        }
    }

    /// The file at `path`, as a whole.
    pub fn file(path: &Path) -> Self {
        Self {
            offset: None,
            ..Self::at(path, 0)
        }
    }

    /// The file at `path`, which is not there.
    pub fn missing(path: &Path) -> Self {
        Self {
            is_missing: true,
            ..Self::file(path)
        }
    }
}

/// A store after its repair.
#[expect(missing_debug_implementations, reason = "a store has none")]
pub struct Repaired {
    /// It, open.
    pub store: Box<dyn Store>,
    /// How many steps of its history the repair says it gave up; `None` if it says nothing.
    pub dropped: Option<u64>,
    /// Keys that it says it gave up from the front, since the user has them elsewhere: what was wrong with them
    /// may still be wrong.
    pub given_up: Vec<Vec<u8>>,
}
