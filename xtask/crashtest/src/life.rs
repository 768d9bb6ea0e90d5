//! The layer `life`: what happens to a store's files beside crashes and damage, on the simulated disk. People
//! copy them while the store is open, in whatever order, and put older ones back.
//!
//! A run is recorded. Then each file of what it left, and each pair of files, is replaced by each of its
//! earlier versions; and copies are made file by file, in every order of up to six files, while the store
//! continues. The store that is opened on that answers what the run left, or refuses with a typed error and
//! has changed nothing; or, only where the engine's `FORMAT.md` says why nobody can tell, it is what the
//! run had left at some moment.

mod clauses;
mod controls;
mod images;
#[cfg(test)]
mod tests;

use durable_io::SyncMode;
use durable_io::sim::SimDisk;

use crate::Context;
use crate::corruption::{Written, files, write};
use crate::engine::{Contents, Engine, Outcome, Refusal, Setting, Store};
use crate::progress::Progress;
use crate::report::{Controls, Life};
use clauses::Clauses;
use images::{Image, Images};

/// The store's directory.
const DIR: &str = "/life";

/// Small, so that a few operations fill some files.
const SIZE: u64 = 2048;

/// What the recorded run does: every kind of change, over the borders of files, and what is due in between.
const SCRIPT: &str = "put a 300,put b 700,delete a,settle,batch c 600 b,put a 900,settle,put d 800,put b 500,\
                      settle,put e 900,delete d,put a 40,settle,put f 700,put b 30,close";

/// So many pairs and so many copies are tried in the short run, drawn by the seed.
const SHORT: usize = 1200;

/// How many findings are told; all are counted.
const SHOWN: usize = 20;

/// Judges the control engines: a right one, and ones with a planted bug.
pub(crate) fn judge_controls(context: &Context<'_>) -> Controls {
    let mut judged = Controls::default();
    for (control, is_wrong) in controls::ALL {
        let clauses = Clauses::parse(controls::CLAUSES);
        let found = try_all(control, &clauses, context);
        judged.judged += 1;
        if found.findings.is_empty() == is_wrong {
            let what = if is_wrong {
                "is not found"
            } else {
                "is accused"
            };
            let finding = format!("{control:?} {what}: {:?}", found.findings);
            judged.wrong += 1;
            judged.findings.push(finding);
        }
    }
    judged
}

/// Tries everything on a recorded run of `engine`.
pub(crate) fn run(engine: &dyn Engine, context: &Context<'_>) -> Life {
    match Clauses::read(context.workspace, engine.folder()) {
        Ok(clauses) => try_all(engine, &clauses, context),
        Err(error) => Life {
            findings: vec![format!("{error:#}")],
            ..Life::default()
        },
    }
}

fn try_all(engine: &dyn Engine, clauses: &Clauses, context: &Context<'_>) -> Life {
    let mut life = Life::default();
    let written = match write(engine, DIR, SyncMode::Always, SCRIPT) {
        Ok(written) => written,
        Err(error) => {
            life.findings
                .push(format!("no run can be recorded: {error}"));
            return life;
        }
    };
    let judge = Judge {
        engine,
        clauses,
        written,
    };
    let images = Images::new(&judge.written, DIR);
    let mut kinds = [images.single(), images.pairs(), images.copies()];
    if !context.full {
        for many in &mut kinds {
            images::draw(many, SHORT, context.seed);
        }
    }
    let count = kinds.iter().map(Vec::len).sum::<usize>() as u64;
    let progress = Progress::new(&format!("{} life", engine.name()), Some(count));
    for image in kinds.iter().flatten() {
        life.count(image, judge.verdict(&images, image));
        progress.inc(1);
    }
    progress.finish(&life.summary());
    life
}

/// What an opened store may be.
#[derive(Debug)]
enum Verdict {
    /// It is as if nothing had been replaced.
    Right,
    /// A typed error says that something is wrong.
    Refused,
    /// It is what the run left at an earlier moment, and the format says why nobody can tell, here.
    Undecidable(String),
    Wrong(String),
}

impl Life {
    fn count(&mut self, image: &Image, verdict: Verdict) {
        self.images += 1;
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Undecidable(clause) => *self.undecidable.entry(clause).or_default() += 1,
            Verdict::Wrong(what) => {
                self.wrong += 1;
                if self.findings.len() < SHOWN {
                    self.findings.push(format!("{image}: {what}"));
                }
            }
        }
    }
}

struct Judge<'a> {
    engine: &'a dyn Engine,
    clauses: &'a Clauses,
    written: Written,
}

type Judged<T> = Result<T, String>;

impl Judge<'_> {
    fn verdict(&self, images: &Images, image: &Image) -> Verdict {
        self.answer(images, image).unwrap_or_else(Verdict::Wrong)
    }

    fn open(&self, disk: &SimDisk) -> Outcome<Box<dyn Store>> {
        self.engine.open(&Setting::new(disk.disk(), DIR, SIZE))
    }

    fn answer(&self, images: &Images, image: &Image) -> Judged<Verdict> {
        let world = images.world(image);
        let disk = SimDisk::boot(world.clone());
        let store = match self.open(&disk) {
            Ok(store) => store,
            Err(error) => {
                self.check_typed(&*error)?;
                if files(DIR, &disk.world()) != files(DIR, &world) {
                    return Err(format!(
                        "it is refused ({error}), but its files were changed"
                    ));
                }
                return Ok(Verdict::Refused);
            }
        };
        let (contents, broken) = store.salvage();
        let damage = store.verify().map_err(|error| error.to_string())?;
        drop(store);
        if broken.is_empty() && damage.is_empty() {
            return self.quiet(images, image, &contents);
        }
        for error in broken.iter().chain(&damage) {
            self.check_typed(&**error)?;
        }
        self.check_restored(&SimDisk::boot(images.restored(&disk.world(), image)))?;
        Ok(Verdict::Refused)
    }

    fn check_typed(&self, error: &Refusal) -> Judged<()> {
        match self.engine.damage(error) {
            Some(_) => Ok(()),
            None => Err(format!("{error} ({error:?}) is not the error for damage")),
        }
    }

    /// The store says nothing, and holds `contents`.
    fn quiet(&self, images: &Images, image: &Image, contents: &Contents) -> Judged<Verdict> {
        let history = &self.written.history;
        let Some(at) = history.iter().rposition(|held| held == contents) else {
            return Err(format!("it holds what it never held: {:?}", keys(contents)));
        };
        if at + 1 == history.len() {
            return Ok(Verdict::Right);
        }
        let oldest = self.written.done.get(images.oldest(image));
        let oldest = oldest.copied().unwrap_or(history.len() - 1);
        if at < oldest {
            return Err(format!(
                "it holds what it held after operation {at}, before any file of it stood so"
            ));
        }
        let replaced: Vec<&str> = image.names().collect();
        let clause = self.clauses.reason(&replaced);
        let clause = clause.map(|reason| Verdict::Undecidable(reason.to_owned()));
        clause.ok_or_else(|| {
            let last = history.len() - 1;
            format!("without a word it holds what it held after operation {at} of {last}")
        })
    }

    /// After an error that came late, the right files give everything.
    fn check_restored(&self, disk: &SimDisk) -> Judged<()> {
        let wrong = |what: &dyn std::fmt::Display| {
            format!("it reported damage, but with the right files back: {what}")
        };
        let store = self.open(disk).map_err(|error| wrong(&error))?;
        let (contents, broken) = store.salvage();
        if let Some(error) = broken.first() {
            return Err(wrong(error));
        }
        match self.written.history.last() {
            Some(held) if *held == contents => Ok(()),
            _ => Err(wrong(&format!("it holds {:?}", keys(&contents)))),
        }
    }
}

fn keys(contents: &Contents) -> Vec<String> {
    let text = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        format!("{} ({} bytes)", String::from_utf8_lossy(key), value.len())
    };
    contents.iter().map(text).collect()
}
