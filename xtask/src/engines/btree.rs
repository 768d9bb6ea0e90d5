//! The B+tree before the judge: to the layers of all engines, one table of it.

mod specimens;
mod subject;

use btree::{Btree, Corruption, Error, Options};
use crashtest::{
    AnyTrial, Change, Contents, Engine, Killing, Outcome, Place, Refusal, Setting, Specimen, Store,
    Trial,
};
use durable_io::SyncMode;

use subject::{Alphabet, BATCH, BtreeSubject, FAULTED};

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
        // What fills is the log: a checkpoint is due when it holds so much.
        let segment = setting.size.next_multiple_of(512).max(2048);
        let options = Options::new()
            .sync(setting.sync)
            .page_size(512)
            .cache_size(32 * setting.size)
            .log_segment_size(segment)
            .large_transaction(segment / 3)
            .checkpoint_after(setting.size)
            .growth(16 << 9)
            .reserve(setting.reserve.max(16 << 9))
            .background(setting.background)
            .disk(setting.disk.clone());
        Ok(Box::new(Opened {
            store: options.open(&setting.dir)?,
        }))
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
        let store = |sync, alphabet| BtreeSubject { sync, alphabet };
        let (always, manual) = (SyncMode::Always, SyncMode::Manual);
        // A checkpoint has many pages pending at once. At 512 bytes each is kept or lost alone; that is
        // very many states, and so the longer sequences tear at 4096.
        let barriers = |name, sync| {
            let trial = Trial::new(name, store(sync, Alphabet::Barriers));
            trial.unit(4096).lengths(1, 2).without_process_deaths()
        };
        let data = |name, sync| {
            let trial = Trial::new(name, store(sync, Alphabet::Data));
            trial.unit(4096).lengths(0, 2).without_process_deaths()
        };
        vec![
            barriers("btree barriers", always).boxed(),
            barriers("btree manual barriers", manual).boxed(),
            data("btree always", always)
                .soaks()
                .faulted(FAULTED)
                .boxed(),
            data("btree batch", BATCH).soaks().boxed(),
            data("btree manual", manual).soaks().boxed(),
            Trial::new("btree tables", store(always, Alphabet::Tables))
                .unit(4096)
                .lengths(0, 2)
                .without_process_deaths()
                .soaks()
                .boxed(),
            // Each death of a process leaves very many moments at which power can be lost.
            Trial::new("btree slots", store(always, Alphabet::Slots))
                .unit(4096)
                .lengths(1, 3)
                .boxed(),
            barriers("btree without barriers", always)
                .shallow_removal(1)
                .only_with_full()
                .boxed(),
            Trial::new(
                "btree slots without barriers",
                store(always, Alphabet::Slots),
            )
            .unit(4096)
            .lengths(1, 1)
            .shallow_removal(1)
            .only_with_full()
            .boxed(),
        ]
    }

    fn specimens(&self) -> Outcome<Vec<Specimen>> {
        Ok(specimens::all()?)
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

struct Opened {
    store: Btree,
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
        let read = self.store.begin_read();
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
        let mut write = self.store.begin_write()?;
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
        let contents = contents(&self.store)?;
        self.check(&contents)?;
        Ok(contents)
    }

    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        let (mut contents, mut errors) = (Contents::new(), Vec::<Box<Refusal>>::new());
        let read = self.store.begin_read();
        let table = match read.table(TABLE) {
            Ok(table) => table,
            Err(Error::NoTable { .. }) => return (contents, errors),
            Err(error) => return (contents, vec![error.into()]),
        };
        // A range ends at the first damage; single reads go around it.
        for key in specimens::keys() {
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
        match self.store.verify() {
            Ok(_) => Ok(Vec::new()),
            Err(error) if BTREE.damage(&error).is_some() => Ok(vec![error.into()]),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> Outcome<()> {
        Ok(self.store.sync()?)
    }

    fn unsynced(&self) -> u64 {
        self.store.stats().unsynced_commits
    }

    fn maintain(&self) -> Outcome<bool> {
        Ok(self.store.run_background()?)
    }

    fn chore(&self, _chore: &str, _drawn: u64) -> Outcome<()> {
        Ok(self.store.checkpoint()?)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.store.close()?)
    }
}
