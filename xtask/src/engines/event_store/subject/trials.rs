//! What is tried of projections and backups.

use crashtest::{AnyTrial, Trial};
use durable_io::SyncMode;

use super::{Alphabet, EventSubject, Op};

/// Everything once: the run that faults are injected into. But for backups: one that failed may show what is not
/// durable, and nobody recovers it; what its failures leave is asked by the store's own tests.
const FAULTED: &[Op] = &[
    Op::Append,
    Op::Save,
    Op::Project,
    Op::SaveStream,
    Op::AppendTwo,
    Op::Save,
    Op::ForgetStates,
    Op::Save,
    Op::Close,
    Op::Project,
    Op::SaveStream,
];

pub(crate) fn trials() -> Vec<AnyTrial> {
    let trial = |name, alphabet| {
        let subject = EventSubject {
            sync: SyncMode::Always,
            alphabet,
            reserve: 0,
        };
        Trial::new(name, subject)
            .unit(4096)
            .without_process_deaths()
    };
    vec![
        trial("event-store projections", Alphabet::Projections)
            .lengths(1, 3)
            .faulted(FAULTED)
            .soaks()
            .boxed(),
        trial("event-store backup", Alphabet::Backup)
            .lengths(1, 2)
            .shallow_removal(1)
            .boxed(),
    ]
}
