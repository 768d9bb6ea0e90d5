//! A small store to be damaged, and what its bytes say: which of them hold which step of its history, and
//! which say how much was durable. An adapter finds that without the engine, by the tables of its
//! `FORMAT.md`; the judge concludes from it what may be answered when they change.

use std::fmt;
use std::ops::Range;

use durable_io::sim::{SimDisk, World};

use crate::engine::Contents;

/// Finds the blocks of a file: where each begins, and how long it is.
pub type Blocks = fn(&[u8]) -> Vec<(usize, usize)>;

/// A store to be damaged. A new one allows no silent loss at all.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something else of a format"
)]
pub struct Specimen {
    pub(super) name: &'static str,
    pub(super) dir: &'static str,
    pub(super) files: Vec<ProbedFile>,
    /// The disk it is on; everything there is durable.
    pub(super) world: World,
    pub(super) earlier: Vec<World>,
    pub(super) pieces: Vec<Piece>,
    pub(super) roots: Vec<Root>,
    pub(super) rootless: Vec<Held>,
    pub(super) used: Option<Vec<Span>>,
    pub(super) given_up: Vec<Span>,
    pub(super) blocks: Option<Blocks>,
    pub(super) reads_up_to_damage: bool,
    pub(super) sees_removal: bool,
    pub(super) checks_every_byte: bool,
    pub(super) goes_on: bool,
}

/// Some bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file's name in the store's directory.
    pub file: String,
    /// Which bytes.
    pub bytes: Range<usize>,
}

impl Span {
    /// `bytes` of the file called `file`.
    pub fn new(file: &str, bytes: Range<usize>) -> Self {
        let file = file.to_owned();
        Self { file, bytes }
    }
}

/// One step of the store's history, as it is in a log.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its bytes. If one of them changes, this step and those after it may be gone.
    pub span: Span,
    /// Those of them that say what was durable.
    pub header: Range<usize>,
    /// The step: which [`Held::step`] the store is in if this is the last one.
    pub step: u64,
    /// The last step that the header says was durable.
    pub witness: u64,
}

/// What says of the whole store where it begins and what was durable: a mark, a manifest, a superblock.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its bytes.
    pub span: Span,
    /// The last step that it says was durable.
    pub witness: u64,
    /// What the store holds by it after each step, the last of them last.
    pub history: Vec<Held>,
}

/// What a store holds after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The step, counted in any way that grows.
    pub step: u64,
    /// Everything in it.
    pub contents: Contents,
    /// The key under which the next write is found: that of [`PROBE`], or what the store gives it.
    pub next: Vec<u8>,
}

/// What is written to a store after damage, to see whether it continues.
pub const PROBE: (&[u8], &[u8]) = (b"probe", b"written after the damage");

impl Held {
    /// `contents` after `step`, in a store of keys that its user gives.
    pub fn new(step: u64, contents: Contents) -> Self {
        let next = PROBE.0.to_vec();
        Self {
            step,
            contents,
            next,
        }
    }
}

impl Specimen {
    /// What the store in `dir` of `world` is: everything there counts as durable. `earlier` is the disk at
    /// earlier moments, where a lost write comes from; `roots` say what it holds, the newest first.
    pub fn new(
        name: &'static str,
        dir: &'static str,
        world: &World,
        earlier: Vec<World>,
        roots: Vec<Root>,
    ) -> Self {
        let world = world.keep_unsynced();
        Self {
            name,
            dir,
            files: ProbedFile::all(dir, &world),
            world,
            earlier,
            pieces: Vec::new(),
            roots,
            rootless: Vec::new(),
            used: None,
            given_up: Vec::new(),
            blocks: None,
            reads_up_to_damage: false,
            sees_removal: false,
            checks_every_byte: false,
            goes_on: true,
        }
    }

    /// The end of the store's history is in these pieces, oldest first: so much of it may be gone
    /// without a word as no unchanged root or header says was durable.
    #[must_use]
    pub fn pieces(mut self, pieces: Vec<Piece>) -> Self {
        self.pieces = pieces;
        self
    }

    /// What a repair may find where no root is left.
    #[must_use]
    pub fn rootless(mut self, held: Vec<Held>) -> Self {
        self.rootless = held;
        self
    }

    /// Only these bytes were ever written to: in the others, one pattern is tried, not all.
    #[must_use]
    pub fn used(mut self, spans: Vec<Span>) -> Self {
        self.used = Some(spans);
        self
    }

    /// What is in these bytes is given up: damage of them withholds nothing and is no reason to refuse.
    #[must_use]
    pub fn given_up(mut self, spans: Vec<Span>) -> Self {
        self.given_up = spans;
        self
    }

    /// Each of these blocks is also put in the place of each other one.
    #[must_use]
    pub fn blocks(mut self, blocks: Blocks) -> Self {
        self.blocks = Some(blocks);
        self
    }

    /// It is read in order: what is before the damage is always there.
    #[must_use]
    pub fn reads_up_to_damage(mut self) -> Self {
        self.reads_up_to_damage = true;
        self
    }

    /// A root names every file: none can be missing without a word.
    #[must_use]
    pub fn sees_removal(mut self) -> Self {
        self.sees_removal = true;
        self
    }

    /// No byte means nothing: `verify` complains of every change, and what was read from a second copy is
    /// harmless.
    #[must_use]
    pub fn checks_every_byte(mut self) -> Self {
        self.checks_every_byte = true;
        self
    }

    /// It cannot be written to.
    #[must_use]
    pub fn is_read_only(mut self) -> Self {
        self.goes_on = false;
        self
    }

    /// The names and bytes of its files.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let files = self.files.iter();
        files.map(|file| (file.name.as_str(), file.bytes.as_slice()))
    }

    /// What the undamaged store holds.
    pub(super) fn whole(&self) -> &Held {
        let newest = self.roots.first().and_then(|root| root.history.last());
        newest.expect("a specimen has a root with a history")
    }

    /// True if byte `at` of file `file`, by index, was ever written to.
    pub(super) fn is_used(&self, file: usize, at: usize) -> bool {
        let name = self.files.get(file).map(|file| file.name.as_str());
        self.used.as_ref().is_none_or(|used| {
            let mut used = used.iter();
            used.any(|span| Some(span.file.as_str()) == name && span.bytes.contains(&at))
        })
    }
}

impl fmt::Debug for Specimen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Specimen")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A file that means something.
#[derive(Debug)]
pub(super) struct ProbedFile {
    pub(super) dir: &'static str,
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

impl ProbedFile {
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.dir, self.name)
    }

    /// The files of the directory `dir` on `world`, by name.
    fn all(dir: &'static str, world: &World) -> Vec<Self> {
        let files = files(dir, world).into_iter();
        files
            .map(|(name, bytes)| Self { dir, name, bytes })
            .collect()
    }
}

/// The files of the directory `dir` on `world`, by name: names and bytes. Not the lock file, whose bytes mean
/// nothing, and which nobody reads.
pub fn files(dir: &str, world: &World) -> Vec<(String, Vec<u8>)> {
    let files = SimDisk::boot(world.clone()).files().into_iter();
    let mut files: Vec<_> = files
        .filter_map(|(path, _)| {
            let name = path.strip_prefix(dir)?.trim_start_matches('/').to_owned();
            let bytes = world.file_bytes(&path)?;
            let last = name.rsplit('/').next()?;
            (!last.eq_ignore_ascii_case("lock")).then_some((name, bytes))
        })
        .collect();
    files.sort();
    files
}
