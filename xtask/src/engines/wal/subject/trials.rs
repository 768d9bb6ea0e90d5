//! What the log is put on trial for.

use crashtest::{AnyTrial, Trial};
use durable_io::SyncMode;

use super::repair::RepairSubject;
use super::{Alphabet, BATCH, FAULTED, FAULTED_ENDS, FAULTED_LARGE, WalSubject};

/// Every trial.
pub(crate) fn all() -> Vec<AnyTrial> {
    let log = |sync| WalSubject {
        mode: sync,
        alphabet: Alphabet::Log,
    };
    let truncating = |sync| WalSubject {
        mode: sync,
        alphabet: Alphabet::Truncation,
    };
    // Two operations from each starting state reach every barrier.
    let mode = |name, sync, length| {
        let trial = Trial::new(name, log(sync)).lengths(length, length + 1);
        trial.removal(2).soaks().faulted(FAULTED).boxed()
    };
    let truncations = |name, sync| {
        let trial = Trial::new(name, truncating(sync)).lengths(2, 3).removal(2);
        trial.soaks().faulted(FAULTED_ENDS).boxed()
    };
    let large = |name, mode| {
        let alphabet = Alphabet::Large;
        // Two operations reach every barrier of a segment that is made for a batch.
        Trial::new(name, WalSubject { mode, alphabet }).lengths(2, 3)
    };
    let repair = |name| Trial::new(name, RepairSubject).lengths(1, 1);
    // The shorter ones first: what is broken is mostly seen in them.
    vec![
        Trial::new("wal 4 KiB", log(SyncMode::Always))
            .lengths(2, 3)
            .unit(4096)
            .boxed(),
        mode("wal batch", BATCH, 2),
        mode("wal manual", SyncMode::Manual, 2),
        large("wal large", SyncMode::Always)
            .removal(2)
            .faulted(FAULTED_LARGE)
            .boxed(),
        truncations("wal truncate end", SyncMode::Always),
        // A large batch after what is not durable yet.
        large("wal large manual", SyncMode::Manual).boxed(),
        truncations("wal truncate end manual", SyncMode::Manual),
        // One damage and its repair reach far. A repair that is interrupted is repaired again: no barrier needs it.
        repair("wal repair").unit(4096).shallow_removal(1).boxed(),
        repair("wal repair 512").only_with_full().boxed(),
        mode("wal always", SyncMode::Always, 3),
    ]
}
