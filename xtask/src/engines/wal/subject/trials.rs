//! What the log is put on trial for.

use crashtest::{AnyTrial, Trial};
use durable_io::SyncMode;

use super::repair::RepairSubject;
use super::{Alphabet, BATCH, FAULTED, FAULTED_CUTS, FAULTED_LARGE, WalSubject};

/// Every trial.
pub(crate) fn all() -> Vec<AnyTrial> {
    let log = |sync| WalSubject {
        mode: sync,
        alphabet: Alphabet::Log,
    };
    let cut = |sync| WalSubject {
        mode: sync,
        alphabet: Alphabet::Cut,
    };
    // Two operations from each starting state reach every barrier.
    let mode = |name, sync, length| {
        let trial = Trial::new(name, log(sync)).lengths(length, length + 1);
        trial.removal(2).soaks().faulted(FAULTED).boxed()
    };
    let cuts = |name, sync| {
        let trial = Trial::new(name, cut(sync)).lengths(2, 3).removal(2);
        trial.soaks().faulted(FAULTED_CUTS).boxed()
    };
    let large = WalSubject {
        mode: SyncMode::Always,
        alphabet: Alphabet::Large,
    };
    // Two operations reach every barrier of a segment that is made for a batch.
    let large = Trial::new("wal large", large).lengths(2, 3).removal(2);
    let repair = |name| Trial::new(name, RepairSubject).lengths(1, 1);
    vec![
        mode("wal always", SyncMode::Always, 3),
        mode("wal batch", BATCH, 2),
        mode("wal manual", SyncMode::Manual, 2),
        cuts("wal cut", SyncMode::Always),
        cuts("wal cut manual", SyncMode::Manual),
        large.faulted(FAULTED_LARGE).boxed(),
        // One damage and its repair reach far. A repair that is cut short is repaired again: no barrier needs it.
        repair("wal repair").unit(4096).shallow_removal(1).boxed(),
        repair("wal repair 512").only_with_full().boxed(),
        Trial::new("wal 4 KiB", log(SyncMode::Always))
            .lengths(2, 3)
            .unit(4096)
            .boxed(),
    ]
}
