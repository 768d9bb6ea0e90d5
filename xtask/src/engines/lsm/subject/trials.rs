//! The trials: which sequences are tried, how long, and with which sectors.

use crashtest::{AnyTrial, Trial};
use durable_io::SyncMode;

use super::{Alphabet, BATCH, FAULTED, LsmSubject};

/// All of them.
pub(crate) fn all() -> Vec<AnyTrial> {
    let store = |name, mode, alphabet| {
        let subject = LsmSubject::new(mode, alphabet, 0);
        // A table that is written has many sectors pending. At 512 bytes each is kept or lost alone, which
        // is very many states.
        Trial::new(name, subject).unit(4096)
    };
    let data = |name, mode, [short, full]: [usize; 2]| {
        let trial = store(name, mode, Alphabet::Data).without_process_deaths();
        trial.lengths(short, full).shallow_removal(1).soaks()
    };
    let deaths = |name, mode| store(name, mode, Alphabet::Data).lengths(1, 2);
    let rest = |name, mode| {
        let trial = store(name, mode, Alphabet::Rest).without_process_deaths();
        trial.lengths(1, 3).boxed()
    };
    let (always, manual) = (SyncMode::Always, SyncMode::Manual);
    let torn = |name, alphabet| {
        let trial = store(name, always, alphabet).unit(512);
        trial.without_process_deaths()
    };
    let reserve = LsmSubject::new(always, Alphabet::Data, 8192);
    // With `--full` every sequence of up to 4 operations is run whole in `Always`, of up to 3 in the other modes:
    // 44,000 and 6,700 of them, of about 250 distinct states each.
    // The shorter ones first: what is broken is mostly seen in them.
    vec![
        rest("lsm always rest", always),
        rest("lsm manual rest", manual),
        data("lsm batch", BATCH, [1, 3]).boxed(),
        data("lsm manual", manual, [1, 3]).faulted(FAULTED).boxed(),
        torn("lsm log", Alphabet::Log)
            .without_nested()
            .lengths(1, 2)
            .boxed(),
        store("lsm manifest", always, Alphabet::Manifest)
            .without_process_deaths()
            .lengths(1, 2)
            .boxed(),
        store("lsm backup", manual, Alphabet::Backup)
            .without_process_deaths()
            .without_nested()
            .lengths(1, 2)
            .shallow_removal(1)
            .boxed(),
        data("lsm always", always, [2, 4]).faulted(FAULTED).boxed(),
        deaths("lsm always deaths", always).boxed(),
        deaths("lsm batch deaths", BATCH).only_with_full().boxed(),
        deaths("lsm manual deaths", manual).only_with_full().boxed(),
        torn("lsm 512", Alphabet::Data)
            .lengths(0, 1)
            .only_with_full()
            .boxed(),
        Trial::new("lsm reserve", reserve).faulted(FAULTED).boxed(),
    ]
}
