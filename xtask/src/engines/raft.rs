//! The Raft log store before the judge. To the layers of all engines it has keys: each operation is an entry.

mod key_value;
mod specimens;
mod subject;

use crashtest::{
    AnyTrial, Engine, Killing, Outcome, Place, Refusal, Setting, Specimen, Store, Trial,
};
use durable_raft::{Error, Options};

use subject::{Alphabet, FAULTED, RaftSubject, machine};

pub(crate) const RAFT: RaftEngine = RaftEngine;

#[derive(Debug)]
pub(crate) struct RaftEngine;

/// There is one mode: everything is durable when it is acknowledged.
fn options(setting: &Setting) -> Options {
    Options::new()
        .segment_size(setting.size)
        .cache(setting.size)
        .reserve(setting.reserve)
        .background(setting.background)
        .disk(setting.disk.clone())
}

impl Engine for RaftEngine {
    fn name(&self) -> &'static str {
        "raft"
    }

    fn folder(&self) -> &'static str {
        "wal/raft"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        Ok(Box::new(key_value::KeyValue::open(setting)?))
    }

    fn damage(&self, error: &Refusal) -> Option<Place> {
        match error.downcast_ref()? {
            Error::Corrupt { path, offset, .. } => Some(Place::at(path, *offset)),
            Error::UnsupportedVersion(newer) => Some(Place::file(&newer.path)),
            _ => None,
        }
    }

    fn trials(&self) -> Vec<AnyTrial> {
        let store = |alphabet, reserve| RaftSubject { alphabet, reserve };
        let mut trials = vec![
            Trial::new("raft groups", store(Alphabet::Groups, 0))
                .lengths(2, 3)
                .without_process_deaths()
                .removal(1)
                .soaks()
                .faulted(FAULTED)
                .boxed(),
            Trial::new("raft large", store(Alphabet::Large, 0))
                .lengths(2, 4)
                .unit(4096)
                .boxed(),
            Trial::new("raft reserve", store(Alphabet::Groups, 4096))
                .faulted(FAULTED)
                .boxed(),
        ];
        trials.extend(machine::trials());
        trials
    }

    fn specimens(&self) -> Outcome<Vec<Specimen>> {
        specimens::all()
    }

    fn killing(&self) -> Option<Killing> {
        Some(Killing {
            kills: 30,
            acknowledged: 8000,
            chores: &["purge", "overrule", "destroy"],
            phases: &["purge", "overrule", "destroy"],
        })
    }
}
