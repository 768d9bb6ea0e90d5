//! The judgement of one damaged store: what it answers, against what its bytes allow.
//!
//! It may answer as if nothing had happened; it may name the damaged place, and then nothing else may be
//! wrong; or, only where every witness is gone too, it may hold an earlier step of its history.

use durable_io::sim::{SimDisk, World};

use super::changes::{Change, Kind};
use super::specimen::{Held, PROBE, Root, Span, Specimen};
use crate::engine::{Contents, Engine, Place, Refusal, Repaired, Setting, Store};

/// What one change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A typed error names a place in the store.
    Detected,
    /// Everything is as if nothing had happened.
    Harmless,
    /// The end of the store's history is gone and nothing is said, as its format warns.
    InWindow,
    /// With what is wrong.
    Wrong(String),
}

/// Small, so that every byte of a store of some files can be changed.
pub(super) const SIZE: u64 = 2048;

pub(super) type Judged<T> = Result<T, String>;

/// One damaged store.
pub(super) struct Case<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) specimen: &'a Specimen,
    /// The damaged file, by index.
    file: usize,
    pub(super) kind: Kind,
    left: Left,
}

/// What a change left of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// The damaged file's bytes; `None` if it is gone.
    pub(super) now: Option<Vec<u8>>,
    /// The last step before the damage.
    pub(super) before: u64,
    /// The last step that an unchanged root or header says was durable.
    pub(super) witness: u64,
    /// How many roots are changed before the first that is not.
    pub(super) lost_roots: usize,
    /// Only bytes that are given up were changed.
    pub(super) is_given_up: bool,
}

/// What a store answered.
pub(super) struct Answer {
    pub(super) contents: Contents,
    /// The errors of reading.
    broken: Vec<Box<Refusal>>,
    /// What `verify` complains of.
    damage: Vec<Box<Refusal>>,
}

pub(super) fn describe(error: &Refusal) -> String {
    format!("{error} ({error:?})")
}

impl Answer {
    pub(super) fn of(store: &dyn Store) -> Judged<Self> {
        let (contents, broken) = store.salvage();
        let damage = store.verify().map_err(|error| describe(&*error))?;
        Ok(Self {
            contents,
            broken,
            damage,
        })
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.broken.is_empty() && self.damage.is_empty()
    }
}

impl Specimen {
    /// What is left if file `file`, by index, has the bytes `now`.
    pub(super) fn left(&self, file: usize, now: Option<Vec<u8>>) -> Left {
        let damaged = self.files.get(file).expect("a change is to a file");
        let (before, bytes) = (&damaged.bytes, now.as_deref().unwrap_or(&[]));
        let same = |span: &Span| {
            let range = span.bytes.clone();
            span.file != damaged.name
                || range.end <= bytes.len() && bytes.get(range.clone()) == before.get(range)
        };
        let whole = self.whole().step;
        let intact = self.pieces.iter().take_while(|piece| same(&piece.span));
        let intact = intact.count();
        let before_damage = match self.pieces.get(intact) {
            None => whole,
            Some(_) if now.is_none() && self.sees_removal => whole,
            Some(_) => {
                let last = intact.checked_sub(1).and_then(|nth| self.pieces.get(nth));
                let first = self.roots.first().and_then(|root| root.history.first());
                let first = first.map_or(0, |held| held.step);
                last.map_or(first, |piece| piece.step.max(first))
            }
        };
        let headers = self.pieces.iter().filter(|piece| {
            let header = Span::new(&piece.span.file, piece.header.clone());
            same(&header)
        });
        let headers = headers.map(|piece| piece.witness);
        let roots = self.roots.iter().filter(|root| same(&root.span));
        let roots = roots.map(|root| root.witness);
        let is_dead = |at: usize| {
            let mut dead = self.given_up.iter();
            dead.any(|span| span.file == damaged.name && span.bytes.contains(&at))
        };
        let mut changed = (0..before.len()).filter(|at| before.get(*at) != bytes.get(*at));
        Left {
            before: before_damage,
            witness: headers.chain(roots).max().unwrap_or(0),
            lost_roots: self
                .roots
                .iter()
                .take_while(|root| !same(&root.span))
                .count(),
            is_given_up: before.len() == bytes.len() && changed.all(is_dead),
            now,
        }
    }
}

impl<'a> Case<'a> {
    /// `specimen` with `change`, which made `world` of it.
    pub(super) fn new(
        engine: &'a dyn Engine,
        specimen: &'a Specimen,
        change: &Change,
        world: &World,
    ) -> Self {
        let file = change.file;
        let path = specimen
            .files
            .get(file)
            .map(super::specimen::ProbedFile::path);
        let now = path.and_then(|path| world.file_bytes(&path));
        Self {
            engine,
            specimen,
            file,
            kind: change.kind,
            left: specimen.left(file, now),
        }
    }

    /// What the store on `world` does about it.
    pub(super) fn judge(&self, world: &World) -> Verdict {
        self.verdict(world).unwrap_or_else(Verdict::Wrong)
    }

    fn verdict(&self, world: &World) -> Judged<Verdict> {
        let salvaged = self.check_salvage(world);
        salvaged.map_err(|what| format!("a salvage: {what}"))?;
        let disk = SimDisk::boot(world.clone());
        let setting = self.setting(&disk);
        let damaged = self.specimen.files.get(self.file);
        let name = damaged.map_or("", |file| file.name.as_str());
        let store = match self.engine.open_specimen(&setting, name) {
            Ok(store) => store,
            Err(error) => {
                self.check_reported(&*error)?;
                if self.left.is_given_up {
                    return Err("refused for damage of what is given up".to_owned());
                }
                if !world.shows_the_same(&disk.world()) {
                    return Err("refused, but a file was changed".to_owned());
                }
                self.check_repair(&disk, true)?;
                return Ok(Verdict::Detected);
            }
        };
        let answer = Answer::of(&*store)?;
        for error in answer.broken.iter().chain(&answer.damage) {
            self.check_reported(&**error)?;
        }
        if !answer.broken.is_empty() {
            self.check_complaint(&answer)?;
            drop(store);
            self.check_repair(&disk, true)?;
            return Ok(Verdict::Detected);
        }
        let whole = self.specimen.whole();
        if self.specimen.checks_every_byte && answer.damage.is_empty() {
            return Err("verify says that all is well".to_owned());
        }
        if answer.contents == whole.contents {
            self.check_later(&disk, store, &[whole], answer.damage.is_empty())?;
            if answer.damage.is_empty() {
                return Ok(Verdict::Harmless);
            }
            self.check_repair(&SimDisk::boot(world.clone()), false)?;
            let is_harmless = self.specimen.checks_every_byte;
            return Ok(if is_harmless {
                Verdict::Harmless
            } else {
                Verdict::Detected
            });
        }
        let held = self.allowed(&answer.contents);
        if held.is_empty() {
            return Err(format!("it holds {}", summary(&answer.contents)));
        }
        if !answer.damage.is_empty() {
            return Err("verify complains of what reading passes over".to_owned());
        }
        self.check_later(&disk, store, &held, true)?;
        Ok(Verdict::InWindow)
    }

    pub(super) fn setting(&self, disk: &SimDisk) -> Setting {
        Setting::new(disk.disk(), self.specimen.dir, SIZE)
    }

    /// The roots that may count: all up to the first that is unchanged.
    fn roots(&self) -> &[Root] {
        let roots = &self.specimen.roots;
        roots.get(..=self.left.lost_roots).unwrap_or(roots)
    }

    fn has_root(&self) -> bool {
        self.left.lost_roots < self.specimen.roots.len()
    }

    /// The first step of the history at which a store may be that says nothing.
    pub(super) fn least(&self) -> u64 {
        self.left.before.max(self.left.witness)
    }

    /// The steps of the history at which a store may be that says nothing, if it holds `contents`.
    fn allowed(&self, contents: &Contents) -> Vec<&Held> {
        let least = self.least();
        // Without any root a store that says nothing must begin where it began.
        let roots = if self.has_root() {
            self.roots()
        } else {
            self.specimen.roots.get(..1).unwrap_or(&[])
        };
        let history = roots.iter().flat_map(|root| &root.history);
        held(history, least, contents)
    }

    /// An error must be the promised one, and name a place in the store.
    fn check_reported(&self, error: &Refusal) -> Judged<()> {
        let Some(place) = self.engine.damage(error) else {
            return Err(format!("not an error for damage: {}", describe(error)));
        };
        let Place {
            path,
            offset,
            is_missing,
        } = place;
        let name = path.strip_prefix(self.specimen.dir).ok();
        let name = name.and_then(|name| name.to_str());
        if is_missing {
            return self.check_missing(name);
        }
        let mut files = self.specimen.files.iter();
        let Some(file) = files.find(|file| Some(file.name.as_str()) == name) else {
            return Err(format!("names no file of the store: {error}"));
        };
        match offset {
            Some(offset) if offset > file.bytes.len() as u64 => {
                Err(format!("names a place after the file's end: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// A file that is said to be missing must not be there: an older root can name one that is removed since.
    fn check_missing(&self, name: Option<&str>) -> Judged<()> {
        let mut files = self.specimen.files.iter().enumerate();
        let is_there = |(nth, file): (usize, &super::specimen::ProbedFile)| {
            let is_removed = nth == self.file && self.left.now.is_none();
            Some(file.name.as_str()) == name && !is_removed
        };
        match name {
            Some(name) if files.any(is_there) => Err(format!("says that {name} is missing")),
            Some(_) => Ok(()),
            None => Err("a file is missing outside the store".to_owned()),
        }
    }

    /// The store opened, and reading complains: what could be read must be right, and verify must complain too.
    fn check_complaint(&self, answer: &Answer) -> Judged<()> {
        let whole = &self.specimen.whole().contents;
        let mut read = answer.contents.iter();
        if let Some((key, _)) = read.find(|(key, value)| whole.get(*key) != Some(value)) {
            return Err(format!("beside damage, {key:?} has a wrong value"));
        }
        if answer.damage.is_empty() {
            return Err("verify says that all is well, reading does not".to_owned());
        }
        if self.left.is_given_up {
            return Err("damage of what is given up withholds something".to_owned());
        }
        if self.specimen.reads_up_to_damage {
            let root = self.specimen.roots.first();
            let history = root.map_or(&[][..], |root| &root.history);
            let before = history.iter().find(|held| held.step == self.left.before);
            let mut before = before.iter().flat_map(|held| held.contents.keys());
            if let Some(key) = before.find(|key| !answer.contents.contains_key(*key)) {
                return Err(format!("{key:?}, which is before the damage, is withheld"));
            }
        }
        Ok(())
    }

    /// A repair, if the engine has one, must work and keep what is before the damage. `may_truncate` if it may give up
    /// anything at all.
    fn check_repair(&self, disk: &SimDisk, may_truncate: bool) -> Judged<()> {
        let repaired = match self.engine.repair(&self.setting(disk)) {
            None => return Ok(()),
            Some(Err(error)) => return Err(format!("repair fails: {}", describe(&*error))),
            Some(Ok(repaired)) => repaired,
        };
        let checked = self.check_repaired(disk, repaired, may_truncate);
        checked.map_err(|what| format!("after a repair, {what}"))
    }

    fn check_repaired(&self, disk: &SimDisk, repaired: Repaired, may_truncate: bool) -> Judged<()> {
        let Repaired {
            store,
            dropped,
            given_up,
        } = repaired;
        let is_quiet = given_up.is_empty();
        // Who gives up the front has dropped nothing after it, unless it says so.
        let dropped = dropped.or((!is_quiet).then_some(0));
        let answer = Answer::of(&*store)?;
        if let Some(error) = answer.broken.first() {
            return Err(format!("reading fails: {}", describe(&**error)));
        }
        let whole = self.specimen.whole();
        if !may_truncate {
            return match answer.damage.first() {
                _ if answer.contents != whole.contents => {
                    Err("something is gone that could be read".to_owned())
                }
                Some(error) if !self.left.is_given_up => {
                    Err(format!("verify still says {}", describe(&**error)))
                }
                _ => Ok(()),
            };
        }
        if let Some(error) = answer.damage.first().filter(|_| is_quiet) {
            return Err(format!("verify fails: {}", describe(&**error)));
        }
        let rootless = self.specimen.rootless.iter().filter(|_| !self.has_root());
        let history = self.roots().iter().flat_map(|root| &root.history);
        let without = |held: &Held| {
            let mut held = held.clone();
            held.contents.retain(|key, _| !given_up.contains(key));
            held
        };
        let history: Vec<Held> = history.chain(rootless).map(without).collect();
        let mut held = held(history.iter(), self.left.before, &answer.contents);
        if held.is_empty() {
            return Err(format!("it holds {}", summary(&answer.contents)));
        }
        held.retain(|held| dropped.is_some_and(|dropped| held.step + dropped <= whole.step));
        if held.is_empty() {
            return Err(format!("it says that it dropped {dropped:?}"));
        }
        self.check_later(disk, store, &held, is_quiet)
    }

    /// What was answered once, which is one of `held`, must be answered again, with what is written after it; and
    /// without complaint, if there `is_quiet`.
    fn check_later(
        &self,
        disk: &SimDisk,
        store: Box<dyn Store>,
        held: &[&Held],
        is_quiet: bool,
    ) -> Judged<()> {
        if !self.specimen.goes_on {
            return Ok(());
        }
        let later = |error: Box<Refusal>| format!("later: {}", describe(&*error));
        store.close().map_err(later)?;
        let open = || self.engine.open_specimen(&self.setting(disk), "");
        let store = open().map_err(later)?;
        let answer = Answer::of(&*store)?;
        let is_same = held.iter().any(|held| held.contents == answer.contents);
        if !is_same || is_quiet && !answer.is_quiet() {
            return Err(format!(
                "opened again it holds {}",
                summary(&answer.contents)
            ));
        }
        let (key, value) = PROBE;
        store
            .apply(&[(key.to_vec(), Some(value.to_vec()))])
            .map_err(later)?;
        // Not closed: the next open has to find it by itself.
        drop(store);
        let answer = Answer::of(&*open().map_err(later)?)?;
        let is_lost_later = held.iter().any(|held| {
            let mut expected = held.contents.clone();
            expected.insert(held.next.clone(), value.to_vec());
            answer.contents == expected
        });
        if !is_lost_later || is_quiet && !answer.is_quiet() {
            return Err(format!("later it holds {}", summary(&answer.contents)));
        }
        Ok(())
    }
}

/// The steps of `history`, not before `least`, at which a store holds `contents`.
fn held<'a>(
    history: impl Iterator<Item = &'a Held>,
    least: u64,
    contents: &Contents,
) -> Vec<&'a Held> {
    let is_it = |held: &&Held| held.step >= least && held.contents == *contents;
    history.filter(is_it).collect()
}

/// Keys, and the first byte and length of each value.
pub(super) fn summary(contents: &Contents) -> String {
    let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let key = String::from_utf8_lossy(key);
        format!("{key}: {} bytes from {:?}", value.len(), value.first())
    };
    let entries: Vec<_> = contents.iter().map(entry).collect();
    format!("{} entries: {}", entries.len(), entries.join(", "))
}
