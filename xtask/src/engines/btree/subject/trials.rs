//! How far each alphabet is run.

use crashtest::{AnyTrial, Trial};
use durable_io::SyncMode;

use super::{Alphabet, BATCH, BtreeSubject, FAULTED};

/// Every trial, in order.
pub(in crate::engines::btree) fn all() -> Vec<AnyTrial> {
    let store = |sync, alphabet| BtreeSubject { sync, alphabet };
    let (always, manual) = (SyncMode::Always, SyncMode::Manual);
    // A checkpoint has many pages pending at once. At 512 bytes each is kept or lost alone; that is
    // very many states, and so the longer sequences tear at 4096.
    let barriers = |name, sync| {
        let trial = Trial::new(name, store(sync, Alphabet::Barriers));
        let trial = trial.unit(4096).lengths(1, 2).without_process_deaths();
        trial.shallow_removal(1)
    };
    let data = |name, sync, [short, full]: [usize; 2]| {
        let trial = Trial::new(name, store(sync, Alphabet::Data));
        trial
            .unit(4096)
            .lengths(short, full)
            .without_process_deaths()
    };
    vec![
        barriers("btree barriers", always).boxed(),
        barriers("btree manual barriers", manual).boxed(),
        data("btree always", always, [3, 4])
            .soaks()
            .faulted(FAULTED)
            .boxed(),
        data("btree batch", BATCH, [2, 4]).soaks().boxed(),
        data("btree manual", manual, [2, 4]).soaks().boxed(),
        Trial::new("btree tables", store(always, Alphabet::Tables))
            .unit(4096)
            .lengths(1, 2)
            .without_process_deaths()
            .soaks()
            .boxed(),
        Trial::new("btree backup", store(manual, Alphabet::Backup))
            .unit(4096)
            .lengths(1, 2)
            .without_process_deaths()
            .without_nested()
            .shallow_removal(1)
            .boxed(),
        Trial::new("btree 512", store(always, Alphabet::Sectors))
            .lengths(2, 2)
            .sampled_above(1 << 10)
            .shallow_removal(2)
            .boxed(),
        // Each death of a process leaves very many moments at which power can be lost.
        Trial::new("btree slots", store(always, Alphabet::Slots))
            .unit(4096)
            .lengths(1, 3)
            .sampled_above(1 << 12)
            .shallow_removal(1)
            .boxed(),
    ]
}
