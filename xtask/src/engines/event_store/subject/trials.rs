//! What is tried of the event store, and how far.

use crashtest::{AnyTrial, Trial};
use durable_io::SyncMode;

use super::{Alphabet, BATCH, EventSubject, FAULTED, Op};

/// Everything once of projections: the run that faults are injected into. But for backups: one that failed may show
/// what is not durable, and nobody recovers it; what its failures leave is asked by the store's own tests.
const FAULTED_PROJECTIONS: &[Op] = &[
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
    use Alphabet::{Backup, Data, Projections, Readers, Syncs};
    use SyncMode::{Always, Manual};
    let always = |name, alphabet| coarse(name, Always, alphabet);
    // Each sector is kept or lost alone; nothing more is lost in the recovery.
    let sectors = |name, mode| coarse(name, mode, Data).unit(512).without_nested();
    vec![
        always("event-store always", Data)
            .lengths(2, 4)
            .faulted(FAULTED)
            .soaks()
            .boxed(),
        coarse("event-store batch", BATCH, Data)
            .lengths(1, 3)
            .faulted(FAULTED)
            .soaks()
            .boxed(),
        coarse("event-store manual", Manual, Data)
            .lengths(1, 3)
            .soaks()
            .boxed(),
        always("event-store barriers", Syncs)
            .lengths(1, 2)
            .shallow_removal(1)
            .boxed(),
        coarse("event-store barriers, manual", Manual, Syncs)
            .lengths(1, 2)
            .shallow_removal(1)
            .boxed(),
        always("event-store readers", Readers)
            .lengths(1, 3)
            .soaks()
            .boxed(),
        coarse("event-store readers, manual", Manual, Readers)
            .lengths(1, 3)
            .boxed(),
        Trial::new("event-store reserve", subject(Always, Data, 4096))
            .faulted(FAULTED)
            .boxed(),
        always("event-store projections", Projections)
            .lengths(1, 3)
            .faulted(FAULTED_PROJECTIONS)
            .soaks()
            .boxed(),
        coarse("event-store projections, manual", Manual, Projections)
            .lengths(1, 3)
            .boxed(),
        always("event-store backup", Backup)
            .lengths(1, 2)
            .shallow_removal(1)
            .boxed(),
        sectors("event-store sectors", Always)
            .whole_up_to(1 << 20)
            .lengths(1, 1)
            .boxed(),
        sectors("event-store sectors, batch", BATCH)
            .lengths(1, 1)
            .boxed(),
        sectors("event-store sectors, manual", Manual)
            .lengths(1, 1)
            .boxed(),
        Trial::new("event-store deaths", subject(Always, Data, 0))
            .unit(4096)
            .without_nested()
            .lengths(1, 2)
            .boxed(),
    ]
}

const fn subject(sync: SyncMode, alphabet: Alphabet, reserve: u64) -> EventSubject {
    EventSubject {
        sync,
        alphabet,
        reserve,
    }
}

/// What tears at 4096 bytes, and only loses power: an append, an index part and a list have many sectors pending at
/// once; at 512 bytes each is kept or lost alone, which is very many states.
fn coarse(name: &'static str, sync: SyncMode, alphabet: Alphabet) -> Trial<EventSubject> {
    let trial = Trial::new(name, subject(sync, alphabet, 0));
    trial.unit(4096).without_process_deaths()
}
