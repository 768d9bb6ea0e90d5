//! The trials: which sequences are tried, how long, and with which sectors.

use crashtest::{AnyTrial, Trial};
use durable_io::SyncMode;

use super::{BATCH, BitcaskSubject, FAULTED};

/// All of them.
pub(crate) fn all() -> Vec<AnyTrial> {
    let store = |sync, reserve| BitcaskSubject {
        sync,
        reserve,
        backs_up: false,
    };
    let backed_up = BitcaskSubject {
        backs_up: true,
        ..store(SyncMode::Manual, 0)
    };
    let always = store(SyncMode::Always, 0);
    // `Batch` and `Manual` have more letters, starting states and allowed answers: their sequences of
    // four take six times as long as those of `Always`.
    let mode = |name, sync, full| {
        let trial = Trial::new(name, store(sync, 0)).lengths(2, full).removal(1);
        trial.soaks().faulted(FAULTED).boxed()
    };
    vec![
        mode("bitcask always", SyncMode::Always, 4),
        mode("bitcask batch", BATCH, 3),
        mode("bitcask manual", SyncMode::Manual, 3),
        Trial::new("bitcask 4 KiB", always)
            .lengths(1, 3)
            .unit(4096)
            .boxed(),
        Trial::new("bitcask backup", backed_up)
            .lengths(1, 2)
            .unit(4096)
            .without_process_deaths()
            .without_nested()
            .removal(1)
            .boxed(),
        Trial::new("bitcask reserve", store(SyncMode::Always, 4096))
            .faulted(FAULTED)
            .boxed(),
    ]
}
