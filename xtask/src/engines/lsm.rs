//! The LSM-tree before the judge.

mod specimens;
mod subject;

use std::path::Path;

use crashtest::{
    AnyTrial, Change, Contents, Engine, Killing, Outcome, Place, Probe, Refusal, Salvaged, Setting,
    Specimen, Store,
};
use lsm::{Batch, Corruption, Error, Keyspace, KeyspaceOptions, Lsm, Options, RepairOptions};

use subject::{PROBES, trials};

pub(crate) const LSM: LsmEngine = LsmEngine;

/// Keys that begin with an odd byte are in a keyspace of their own, so that batches are of two.
const ODD: &str = "odd";

#[derive(Debug)]
pub(crate) struct LsmEngine;

impl Engine for LsmEngine {
    fn name(&self) -> &'static str {
        "lsm"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        let store = options(setting).open(&setting.dir)?;
        let odd = match store.keyspace(ODD) {
            Err(Error::NoKeyspace { name }) => {
                store.create_keyspace(&name, &KeyspaceOptions::new())?
            }
            other => other?,
        };
        Ok(Box::new(Opened { store, odd }))
    }

    fn damage(&self, error: &Refusal) -> Option<Place> {
        match error.downcast_ref()? {
            Error::Corrupt {
                path,
                reason:
                    Corruption::MissingTable | Corruption::Log(wal::Corruption::MissingSegment { .. }),
                ..
            } => Some(Place::missing(path)),
            Error::Corrupt { path, offset, .. } => Some(Place::at(path, *offset)),
            Error::UnsupportedVersion(version) => Some(Place::file(&version.path)),
            _ => None,
        }
    }

    fn trials(&self) -> Vec<AnyTrial> {
        trials::all()
    }

    fn probes(&self) -> &'static [Probe] {
        &PROBES
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
            kills: 30,
            acknowledged: 8000,
            chores: &["flush", "compact"],
            phases: &["flush", "compact"],
        })
    }

    fn weight(&self) -> u64 {
        4
    }
}

fn options(setting: &Setting) -> Options {
    Options::new()
        .sync(setting.sync)
        .background(setting.background)
        .disk(setting.disk.clone())
        .memtable_size(setting.size)
        .memory(setting.size * 8 + (1 << 20))
        .block_cache(64 << 10)
        .table_size(setting.size)
        .replay_limit(setting.size * 16)
        .log_segment_size(setting.size.max(4096).next_multiple_of(512))
        .manifest_segment_size(4096)
        .reserve(setting.reserve)
}

struct Opened {
    store: Lsm,
    odd: Keyspace,
}

impl Opened {
    fn is_odd(key: &[u8]) -> bool {
        key.last().is_some_and(|byte| byte % 2 == 1)
    }

    fn keyspace(&self, key: &[u8]) -> &Keyspace {
        if Self::is_odd(key) {
            &self.odd
        } else {
            &self.store
        }
    }
}

impl Store for Opened {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        match changes {
            [(key, Some(value))] => self.keyspace(key).put(key, value)?,
            // Now and then in the other way to delete one.
            [(key, None)] if key.len() % 2 == 0 => {
                let end = [&key[..], b"\0"].concat();
                self.keyspace(key).delete_range(key, &end)?;
            }
            [(key, None)] => self.keyspace(key).delete(key)?,
            changes => {
                let add = |batch: Batch, (key, value): &Change| {
                    let keyspace = self.keyspace(key);
                    match value {
                        Some(value) => batch.put_in(keyspace, key, value),
                        None => batch.delete_in(keyspace, key),
                    }
                };
                self.store.write(changes.iter().fold(Batch::new(), add))?;
            }
        }
        Ok(())
    }

    fn dump(&self) -> Outcome<Contents> {
        let mut contents = Contents::new();
        let snapshot = self.store.snapshot()?;
        for keyspace in [&*self.store, &self.odd] {
            let view = snapshot.view(keyspace)?;
            let forward: Vec<_> = view.scan(..).collect::<Result<_, _>>()?;
            let mut backward: Vec<_> = view.scan(..).rev().collect::<Result<_, _>>()?;
            backward.reverse();
            if forward != backward {
                return Err("forward and backward are not the same".into());
            }
            let keys: Vec<_> = forward.iter().map(|(key, _)| key).collect();
            let values = view.multi_get(&keys)?;
            for ((key, value), found) in forward.into_iter().zip(values) {
                if found.as_deref() != Some(&value[..])
                    || Self::is_odd(&key) != (keyspace.name()? == ODD)
                {
                    return Err(format!("key {key:?} is {found:?}, in a scan {value:?}").into());
                }
                contents.insert(key, value);
            }
        }
        Ok(contents)
    }

    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        let error = match self.dump() {
            Ok(contents) => return (contents, Vec::new()),
            Err(error) => error,
        };
        // Single reads go around damage.
        let (mut contents, mut errors) = (Contents::new(), vec![error]);
        for key in specimens::KEYS.map(|key| key.as_bytes().to_vec()) {
            match self.keyspace(&key).get(&key) {
                Ok(Some(value)) => drop(contents.insert(key, value.to_vec())),
                Ok(None) => {}
                Err(error) => errors.push(error.into()),
            }
        }
        (contents, errors)
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        let damage = self.store.verify()?.damage.into_iter();
        Ok(damage.map(Into::into).collect())
    }

    fn sync(&self) -> Outcome<()> {
        Ok(self.store.sync()?)
    }

    fn unsynced(&self) -> u64 {
        let stats = self.store.stats();
        stats.last_version.0 - stats.durable_version.0
    }

    fn maintain(&self) -> Outcome<bool> {
        Ok(self.store.run_background()?)
    }

    fn chore(&self, chore: &str, _drawn: u64) -> Outcome<()> {
        if chore == "flush" {
            return Ok(self.store.flush_all()?);
        }
        self.store.compact(..)?;
        self.odd.compact(..)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.store.close()?)
    }
}
