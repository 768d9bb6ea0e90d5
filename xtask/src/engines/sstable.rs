//! Sorted tables before the judge: as the set with a manifest of their own example, since sorted tables do
//! nothing durable but their own publication, and it is a set that relies on it. The layer `corruption` damages
//! single tables.

mod specimens;
mod subject;

#[path = "../../../sstable/examples/table_set/manifest.rs"]
mod manifest;
#[path = "../../../sstable/examples/table_set/set.rs"]
mod set;

use std::sync::{Mutex, MutexGuard};

use crashtest::{
    AnyTrial, Change, Contents, Engine, Killing, Outcome, Place, Refusal, Setting, Specimen, Store,
    Trial,
};
use sstable::compaction::Leveled;
use sstable::{Error, Options};

use set::{Changes, TableSet};
use subject::{FAULTED, SetSubject};

pub(crate) const SSTABLE: SstableEngine = SstableEngine;

/// So many new tables are merged.
const NEW_TABLES: usize = 4;

#[derive(Debug)]
pub(crate) struct SstableEngine;

impl Engine for SstableEngine {
    fn name(&self) -> &'static str {
        "sstable"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        // Small, so that levels have several tables, and there is more than one level.
        let strategy = Leveled::new()
            .new_runs(NEW_TABLES)
            .levels(4)
            .fanout(4)
            .base_bytes(setting.size / 2)
            .table_bytes(setting.size / 2);
        let options = Options::new();
        let set = TableSet::open(&setting.disk, &setting.dir, options, strategy.into())?;
        Ok(Box::new(Opened(Mutex::new(set))))
    }

    fn damage(&self, error: &Refusal) -> Option<Place> {
        match error.downcast_ref()? {
            Error::Corrupt { path, offset, .. } => Some(Place::at(path, *offset)),
            Error::UnsupportedVersion(newer) => Some(Place::file(&newer.path)),
            Error::Disk(durable_io::Error::Io { path, source, .. }) => {
                let is_missing = source.kind() == std::io::ErrorKind::NotFound;
                is_missing.then(|| Place::missing(path))
            }
            _ => None,
        }
    }

    fn trials(&self) -> Vec<AnyTrial> {
        let trial = |name| Trial::new(name, SetSubject);
        vec![
            trial("sstable")
                .lengths(2, 4)
                .without_process_deaths()
                .soaks()
                .faulted(FAULTED)
                .boxed(),
            trial("sstable 4 KiB")
                .lengths(1, 3)
                .unit(4096)
                .without_process_deaths()
                .boxed(),
            // Each death leaves fifty moments at which power can be lost, and each of these forty states.
            trial("sstable warm").lengths(1, 2).removal(1).boxed(),
        ]
    }

    fn sources(&self) -> &'static [&'static str] {
        &[
            "xtask/src/engines/../../../sstable/examples/table_set/manifest.rs",
            "xtask/src/engines/../../../sstable/examples/table_set/set.rs",
        ]
    }

    fn specimens(&self) -> Outcome<Vec<Specimen>> {
        Ok(specimens::all()?)
    }

    fn open_specimen(&self, setting: &Setting, file: &str) -> Outcome<Box<dyn Store>> {
        specimens::open(setting, file)
    }

    fn killing(&self) -> Option<Killing> {
        None
    }

    /// A table and a manifest for each operation.
    fn weight(&self) -> u64 {
        8
    }
}

struct Opened(Mutex<TableSet>);

impl Opened {
    fn set(&self) -> MutexGuard<'_, TableSet> {
        self.0.lock().expect("no call of a set panics")
    }
}

impl Store for Opened {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        self.set().write(&Changes {
            entries: changes.iter().cloned().collect(),
            ranges: Vec::new(),
        })
    }

    fn dump(&self) -> Outcome<Contents> {
        self.set().contents()
    }

    fn maintain(&self) -> Outcome<bool> {
        Ok(self.set().compact()? > 0)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}
