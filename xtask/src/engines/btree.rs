//! The B+tree before the judge: to the layers of all engines, one table of it.

mod specimens;
mod subject;

use std::path::Path;

use btree::{Btree, Corruption, Error, Options, RepairOptions};
use crashtest::{
    AnyTrial, Change, Contents, Engine, Killing, Outcome, Place, Probe, Refusal, Salvaged, Setting,
    Specimen, Store,
};

pub(crate) const BTREE: BtreeEngine = BtreeEngine;

/// The table that the layers of all engines work in.
const TABLE: &str = "entries";

#[derive(Debug)]
pub(crate) struct BtreeEngine;

impl Engine for BtreeEngine {
    fn name(&self) -> &'static str {
        "btree"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        Ok(Box::new(Opened(options(setting).open(&setting.dir)?)))
    }

    fn damage(&self, error: &Refusal) -> Option<Place> {
        match error.downcast_ref()? {
            Error::Corrupt {
                path,
                reason: Corruption::PagesLost,
                ..
            } => Some(Place::missing(path)),
            Error::Corrupt { path, offset, .. }
            | Error::Log(wal::Error::Corrupt { path, offset, .. }) => {
                Some(Place::at(path, *offset))
            }
            Error::UnsupportedVersion(refused)
            | Error::Log(wal::Error::UnsupportedVersion(refused)) => {
                Some(Place::file(&refused.path))
            }
            _ => None,
        }
    }

    fn trials(&self) -> Vec<AnyTrial> {
        subject::trials::all()
    }

    fn probes(&self) -> &'static [Probe] {
        &subject::PROBES
    }

    fn specimens(&self) -> Outcome<Vec<Specimen>> {
        specimens::all()
    }

    fn salvage(&self, setting: &Setting) -> Option<Outcome<Salvaged>> {
        Some(subject::salvage(setting))
    }

    fn rebuild(&self, setting: &Setting, into: &Path) -> Outcome<Option<Box<dyn Store>>> {
        options(setting).repair(&setting.dir, into, &RepairOptions::new())?;
        let store = options(setting).open(into)?;
        name_the_table(&store)?;
        Ok(Some(Box::new(Opened(store))))
    }

    fn killing(&self) -> Option<Killing> {
        Some(Killing {
            kills: 30,
            acknowledged: 8000,
            chores: &["checkpoint"],
            phases: &["checkpoint"],
        })
    }

    fn weight(&self) -> u64 {
        2
    }
}

fn options(setting: &Setting) -> Options {
    // What fills is the log: a checkpoint is due when it holds so much.
    let segment = setting.size.next_multiple_of(512).max(2048);
    Options::new()
        .sync(setting.sync)
        .page_size(512)
        .cache_size(32 * setting.size)
        .log_segment_size(segment)
        .large_transaction(segment / 3)
        .checkpoint_after(setting.size)
        .growth(16 << 9)
        .reserve(setting.reserve.max(16 << 9))
        .background(setting.background)
        .disk(setting.disk.clone())
}

struct Opened(Btree);

/// Gives the one table its name, if that was lost.
fn name_the_table(store: &Btree) -> Outcome<()> {
    let mut write = store.begin_write()?;
    if let [name] = &write.tables()?[..]
        && name != TABLE
    {
        write.rename_table(name, TABLE)?;
    }
    Ok(write.commit()?)
}

/// Everything in the table, forwards and backwards; nothing if there is none.
fn contents(store: &Btree) -> Result<Contents, Error> {
    let read = store.begin_read();
    let table = match read.table(TABLE) {
        Err(Error::NoTable { .. }) => return Ok(Contents::new()),
        table => table?,
    };
    let own = |entry: btree::Result<(Vec<u8>, btree::Value)>| {
        entry.map(|(key, value)| (key, value.into_vec()))
    };
    table.range(..).map(own).collect()
}

impl Opened {
    fn check(&self, contents: &Contents) -> Outcome<()> {
        let read = self.0.begin_read();
        let Ok(table) = read.table(TABLE) else {
            return Ok(());
        };
        let backwards = table.range(..).rev();
        let mut expected = contents.iter().rev();
        for entry in backwards {
            let (key, value) = entry?;
            if expected.next() != Some((&key, &value.to_vec())) {
                return Err(format!("{key:?} is another one backwards").into());
            }
        }
        for (key, value) in contents {
            if table.get(key)?.as_deref() != Some(value) {
                return Err(format!("{key:?} has another value when it is asked for").into());
            }
        }
        if table.len() != contents.len() as u64 || expected.next().is_some() {
            return Err(format!("{} entries are counted", table.len()).into());
        }
        Ok(())
    }
}

impl Store for Opened {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        let mut write = self.0.begin_write()?;
        let mut table = write.create_table(TABLE)?;
        for (key, value) in changes {
            match value {
                Some(value) => table.put(key, value)?,
                None => table.delete(key)?,
            }
        }
        Ok(write.commit()?)
    }

    fn dump(&self) -> Outcome<Contents> {
        // Whoever writes beside this is seen by both or by none.
        let contents = contents(&self.0)?;
        self.check(&contents)?;
        Ok(contents)
    }

    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        let (mut contents, mut errors) = (Contents::new(), Vec::<Box<Refusal>>::new());
        let read = self.0.begin_read();
        let table = match read.table(TABLE) {
            Ok(table) => table,
            Err(Error::NoTable { .. }) => return (contents, errors),
            Err(error) => return (contents, vec![error.into()]),
        };
        // A range ends at the first damage; single reads go around it.
        for key in specimens::KEYS.map(|key| key.as_bytes().to_vec()) {
            match table.get(&key) {
                Ok(Some(value)) => drop(contents.insert(key, value.into_vec())),
                Ok(None) => {}
                Err(error) => errors.push(error.into()),
            }
        }
        for entry in table.range(..) {
            match entry {
                Ok((key, value)) => drop(contents.insert(key, value.into_vec())),
                Err(error) => errors.push(error.into()),
            }
        }
        (contents, errors)
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        match self.0.verify() {
            Ok(_) => Ok(Vec::new()),
            Err(error) if BTREE.damage(&error).is_some() => Ok(vec![error.into()]),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> Outcome<()> {
        Ok(self.0.sync()?)
    }

    fn unsynced(&self) -> u64 {
        self.0.stats().unsynced_commits
    }

    fn maintain(&self) -> Outcome<bool> {
        Ok(self.0.run_background()?)
    }

    fn chore(&self, _chore: &str, _drawn: u64) -> Outcome<()> {
        Ok(self.0.checkpoint()?)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.0.close()?)
    }
}
