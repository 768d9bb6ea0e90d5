//! A projection that is tried: its state is all that it was given, so that whatever is skipped, comes twice or
//! belongs to another position is seen.

use crashtest::content::identify;
use durable_io::sim::Outcome;
use event_store::{Event, EventStore, Expected, Failure, Position, Project, Projected, Projection};

use super::Op;
use super::records::{append, drafts};

/// Where each event stood, and what it said, in a few bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Given(Vec<[u8; SIZE]>);

pub(super) const NAME: &str = "given";

const SIZE: usize = 24;

fn entry(event: &Event) -> [u8; SIZE] {
    let (n, index) = identify(event.payload()).unwrap_or((u64::MAX, 0));
    let mut entry = [0; SIZE];
    let numbers = [event.position().0, n, index as u64];
    for (bytes, number) in entry.chunks_mut(8).zip(numbers) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    entry
}

impl Projection for Given {
    const NAME: &'static str = NAME;
    const VERSION: u32 = 1;

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        self.0.push(entry(event));
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        self.0.concat()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        let entries = state.chunks(SIZE).map(|entry| entry.try_into().ok());
        entries.collect::<Option<_>>().map(Self)
    }
}

/// The projection `given`, which is exactly the sum of the events up to where it is.
pub(super) fn given(store: &EventStore, what: Project) -> Outcome<Projected<Given>> {
    let given = store.project::<Given>(what)?;
    check(store, &given)?;
    Ok(given)
}

pub(super) fn check(store: &EventStore, given: &Projected<Given>) -> Outcome<()> {
    let at = given.position();
    if at > store.last_position() {
        return Err(format!(
            "a projection is at {at}, and the log at {}",
            store.stats().last
        )
        .into());
    }
    let events = store.read_all(Position(1)).take(usize::try_from(at.0)?);
    let entries = events.map(|event| Ok(entry(&event?)));
    let sum = Given(entries.collect::<Outcome<_>>()?);
    if given.read(|state| *state != sum)? {
        return Err(format!("the state at {at} is not the sum of the events up to there").into());
    }
    Ok(())
}

/// The stream whose state is saved.
pub(super) const STREAM: &str = "s-1";

/// What was saved of the projection: the position, and of its stream the version.
pub(super) fn saved(store: &EventStore) -> Outcome<[u64; 2]> {
    let at = given(store, Project::new())?.position();
    let loaded = store.load::<Given>(STREAM)?;
    let events = store.read_stream(STREAM, event_store::Version(1));
    let entries = events.map(|event| Ok(entry(&event?)));
    if loaded.state != Given(entries.collect::<Outcome<_>>()?) {
        return Err(format!("{:?} is not the sum of the stream's events", loaded.state).into());
    }
    Ok([at.0, loaded.version().0 - loaded.replayed()])
}

/// Appends an event that an inline projection has when that returns.
pub(super) fn inline(store: &EventStore, n: u64) -> Outcome<()> {
    let given = given(store, Project::new().inline())?;
    let appended = store.write(&append(&drafts(Op::Project, n), Expected::Any))?;
    let at = given.position().next();
    if at != appended.positions.end {
        return Err(format!("an inline projection is before {at} after {appended:?}").into());
    }
    check(store, &given)
}

/// Brings the projection up to date, and saves it.
pub(crate) fn save(store: &EventStore) -> Outcome<()> {
    let given = given(store, Project::new())?;
    // What is not durable yet is given to no projection.
    given.catch_up()?;
    check(store, &given)?;
    store.sync()?;
    given.catch_up()?;
    check(store, &given)?;
    given.save()?;
    Ok(())
}

/// Saves the state of a stream.
pub(super) fn save_stream(store: &EventStore) -> Outcome<()> {
    let last = store.last_event(STREAM)?;
    if last.is_none_or(|last| last.position() < store.stats().last) {
        // What came after it could be lost alone.
        store.sync()?;
    }
    Ok(store.save(&store.load::<Given>(STREAM)?)?)
}
