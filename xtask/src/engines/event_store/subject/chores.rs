//! What a process that is to be killed does beside writing.

use std::time::Duration;

use crashtest::Outcome;
use durable_io::Background;
use event_store::{
    Event, EventStore, Failure, Position, Project, Projected, Projection, Subscribe,
};

use super::projection::Given;

/// How many readers a killed process has.
const READERS: u64 = 4;

/// How many events there were. One that does not follow the one before it stops it.
#[derive(Debug, Default)]
pub(crate) struct Total(u64);

impl Projection for Total {
    const NAME: &'static str = "total";
    const VERSION: u32 = 1;

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        self.0 += 1;
        if event.position() != Position(self.0) {
            return Err(format!("{event:?} came as number {}", self.0).into());
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        self.0.to_le_bytes().into()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        Some(Self(u64::from_le_bytes(state.try_into().ok()?)))
    }
}

/// Runs `Total` beside whatever else is done, where there are threads.
pub(crate) fn total(
    store: &EventStore,
    background: Background,
) -> Outcome<Option<Projected<Total>>> {
    if background == Background::Inline {
        return Ok(None);
    }
    let total = store.project::<Total>(Project::new().live().save_every(40))?;
    let at = total.position();
    if total.read(|total| total.0)? < at.0 {
        return Err(format!("a projection has not all events up to {at}").into());
    }
    Ok(Some(total))
}

/// It comes to the end of the log: nothing was skipped, nothing came twice.
pub(crate) fn check_total(store: &EventStore, total: &Projected<Total>) -> Outcome<()> {
    let last = store.last_position();
    if !total.wait_for(last, Duration::from_secs(60))? {
        return Err(format!("a projection does not come to {last}").into());
    }
    Ok(())
}

/// What a reader has acknowledged and a projection has saved is in the log, or this is an error.
pub(crate) fn check_marks(store: &EventStore) -> Outcome<()> {
    for (name, _) in store.subscriptions() {
        drop(store.subscribe(Subscribe::new().named(name))?);
    }
    drop(store.project::<Given>(Project::new())?);
    Ok(())
}

/// One of the readers continues where it has acknowledged: nothing is skipped.
pub(crate) fn acknowledge(store: &EventStore, drawn: u64) -> Outcome<()> {
    let name = format!("reader-{}", drawn % READERS);
    let mut reader = store.subscribe(Subscribe::new().named(&name))?;
    let marks = store.subscriptions();
    let mark = marks.iter().find(|(reader, _)| *reader == name);
    let mut before = mark.map_or(Position(0), |(_, position)| *position);
    for _ in 0..500 {
        let Some(event) = reader.try_next()? else {
            break;
        };
        if event.position() != before.next() {
            return Err(format!("{event:?} came after {before}").into());
        }
        before = event.position();
    }
    Ok(reader.acknowledge()?)
}
