//! The hash-indexed store before the judge.

mod left;
mod specimens;
mod subject;

use std::path::Path;

use bitcask::{Batch, Bitcask, Corruption, Error, MergePolicy, Options, RepairOptions};
use crashtest::{
    AnyTrial, Change, Contents, Engine, Killing, Outcome, Place, Refusal, Salvaged, Setting,
    Specimen, Store,
};

use subject::trials;

pub(crate) const BITCASK: BitcaskEngine = BitcaskEngine;

#[derive(Debug)]
pub(crate) struct BitcaskEngine;

impl Engine for BitcaskEngine {
    fn name(&self) -> &'static str {
        "bitcask"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        Ok(Box::new(Opened(options(setting).open(&setting.dir)?)))
    }

    fn damage(&self, error: &Refusal) -> Option<Place> {
        match error.downcast_ref()? {
            // An older manifest names files that a merge has removed.
            Error::Corrupt {
                path,
                reason: Corruption::MissingFile,
                ..
            } => Some(Place::missing(path)),
            Error::Corrupt { path, offset, .. } => Some(Place::at(path, *offset)),
            Error::UnsupportedVersion(newer) => Some(Place::file(&newer.path)),
            _ => None,
        }
    }

    fn trials(&self) -> Vec<AnyTrial> {
        trials::all()
    }

    fn specimens(&self) -> Outcome<Vec<Specimen>> {
        specimens::all()
    }

    fn salvage(&self, setting: &Setting) -> Option<Outcome<Salvaged>> {
        Some(subject::salvage(setting))
    }

    fn rebuild(&self, setting: &Setting, into: &Path) -> Outcome<Option<Box<dyn Store>>> {
        options(setting).repair(&setting.dir, into, &RepairOptions::new())?;
        Ok(Some(self.open(&setting.at(into))?))
    }

    fn killing(&self) -> Option<Killing> {
        Some(Killing {
            kills: 40,
            acknowledged: 12_000,
            chores: &["rotate", "merge"],
            phases: left::PHASES,
        })
    }

    fn phase(&self, dir: &Path, chore: Option<&str>) -> Outcome<Option<&'static str>> {
        left::phase(dir, chore == Some("merge"))
    }
}

fn options(setting: &Setting) -> Options {
    // With nothing in reserve it is one of a few small files that are to stay: it merges when it is told to.
    let policy = MergePolicy::new();
    let policy = match setting.reserve {
        0 => policy.small_file_size(0),
        _ => policy.trigger_dead_percent(40).threshold_dead_percent(20),
    };
    Options::new()
        .auto_merge(setting.reserve > 0)
        .sync(setting.sync)
        .data_file_size(setting.size)
        .reserve(setting.reserve)
        .merge_policy(policy)
        .background(setting.background)
        .disk(setting.disk.clone())
}

struct Opened(Bitcask);

impl Store for Opened {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        match changes {
            // Now and then in the other way to put one value.
            [(key, Some(value))] if value.len() % 10 == 0 => {
                self.0.update(key, |_| Some(value))?;
            }
            [(key, Some(value))] => self.0.put(key, value)?,
            [(key, None)] => self.0.delete(key)?,
            changes => {
                let add = |batch: Batch, (key, value): &Change| match value {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                };
                self.0.write(changes.iter().fold(Batch::new(), add))?;
            }
        }
        Ok(())
    }

    fn dump(&self) -> Outcome<Contents> {
        let contents = self.0.fold(Contents::new(), |mut contents, key, value| {
            contents.insert(key.to_vec(), value.to_vec());
            contents
        })?;
        Ok(contents)
    }

    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        let (mut contents, mut errors) = (Contents::new(), Vec::<Box<Refusal>>::new());
        let snapshot = self.0.snapshot().expect("the store is open");
        for entry in snapshot.entries() {
            match entry {
                Ok((key, value)) => drop(contents.insert(key, value.to_vec())),
                Err(error) => errors.push(error.into()),
            }
        }
        // Single reads must say the same.
        for key in specimens::KEYS.map(|key| key.as_bytes().to_vec()) {
            match self.0.get(&key) {
                Ok(Some(value)) => drop(contents.insert(key, value.to_vec())),
                Ok(None) if contents.contains_key(&key) => {
                    errors.push(format!("key {key:?} is there, and is not").into());
                }
                Ok(None) => {}
                Err(error) => errors.push(error.into()),
            }
        }
        (contents, errors)
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        let damage = self.0.verify()?.damage.into_iter();
        Ok(damage.map(Into::into).collect())
    }

    fn sync(&self) -> Outcome<()> {
        Ok(self.0.sync()?)
    }

    fn unsynced(&self) -> u64 {
        self.0.stats().unsynced_writes
    }

    fn maintain(&self) -> Outcome<bool> {
        Ok(self.0.run_background()?)
    }

    fn chore(&self, chore: &str, _drawn: u64) -> Outcome<()> {
        match chore {
            "rotate" => self.0.rotate()?,
            _ => drop(self.0.merge()?),
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.0.close()?)
    }
}
