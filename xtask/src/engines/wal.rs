//! The write-ahead log before the judge.

mod key_value;
mod records;
mod specimens;
mod subject;

use crashtest::{
    AnyTrial, Engine, Killing, Outcome, Place, Refusal, Repaired, Script, Setting, Specimen, Store,
};
use wal::{Error, Options};

pub(crate) const WAL: WalEngine = WalEngine;

#[derive(Debug)]
pub(crate) struct WalEngine;

fn options(setting: &Setting) -> Options {
    Options::new()
        .sync(setting.sync)
        .segment_size(setting.size)
        .zero_step(setting.size / 4)
        .background(setting.background)
        .disk(setting.disk.clone())
}

impl Engine for WalEngine {
    fn name(&self) -> &'static str {
        "wal"
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
        subject::trials::all()
    }

    fn specimens(&self) -> Outcome<Vec<Specimen>> {
        specimens::all()
    }

    fn open_specimen(&self, setting: &Setting, _file: &str) -> Outcome<Box<dyn Store>> {
        Ok(Box::new(records::Records(
            options(setting).open(&setting.dir)?,
        )))
    }

    fn repair(&self, setting: &Setting) -> Option<Outcome<Repaired>> {
        Some(records::repair(setting))
    }

    fn killing(&self) -> Option<Killing> {
        Some(Killing {
            kills: 48,
            acknowledged: 15_000,
            chores: &["rotate", "truncate"],
            phases: &["rotate", "truncate"],
        })
    }

    fn script(&self) -> Option<Script> {
        Some(subject::script::run)
    }
}

#[cfg(test)]
mod tests {
    use super::subject::{Alphabet, BATCH, FAULTED, FAULTED_ENDS, FAULTED_LARGE, WalSubject};
    use durable_io::SyncMode;
    use durable_io::sim::{Bound, Explorer, fill_the_disk, inject_everywhere};

    const MODES: [SyncMode; 3] = [SyncMode::Always, BATCH, SyncMode::Manual];

    fn subjects() -> impl Iterator<Item = WalSubject> {
        let alphabets = [Alphabet::Log, Alphabet::Truncation, Alphabet::Large];
        let subject = |alphabet| MODES.map(|mode| WalSubject { mode, alphabet });
        alphabets.into_iter().flat_map(subject)
    }

    #[test]
    fn every_mode_survives_every_single_operation() {
        for subject in subjects() {
            let explored = Explorer::new(&subject).explore(&Bound::of_length(1), &|_| {});
            if let Some(example) = explored.counterexample {
                panic!("{subject:?}:\n{example}");
            }
            let counts = explored.counts;
            assert!(counts.unique_states > 1000, "{counts:?}");
            assert_eq!(counts.sampled_points, 0);
        }
    }

    #[test]
    fn d30_every_failing_call_leaves_a_healthy_or_a_poisoned_log() {
        let mut injected = 0;
        for subject in subjects() {
            let ops = match subject.alphabet {
                Alphabet::Log => FAULTED,
                Alphabet::Truncation => FAULTED_ENDS,
                Alphabet::Large => FAULTED_LARGE,
            };
            for injection in [
                inject_everywhere(&subject, ops, &|_| {}),
                fill_the_disk(&subject, ops, &|_| {}),
            ] {
                assert_eq!(injection.violations, Vec::<String>::new());
                injected += injection.injected;
            }
        }
        assert!(injected > 1000, "{injected}");
    }
}
