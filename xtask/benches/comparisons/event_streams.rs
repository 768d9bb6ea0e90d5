//! This workspace's event store.

use std::hint::black_box;
use std::path::Path;

use event_store::{
    Append, Condition, EventStore, Expected, NewEvent, Options, Position, Query, Version,
};

use crate::contender::{Contender, Role};
use crate::events::{self, EventLog, Fact};
use crate::stores::sync_mode;

pub(crate) fn contenders() -> Vec<Contender> {
    events::contenders::<EventStore>(Role::Own)
}

fn add<'a>(append: Append<'a>, fact: &Fact<'a>) -> Append<'a> {
    let event = NewEvent::new("Placed", fact.payload);
    append.stream(
        fact.stream,
        Expected::Any,
        [event.id(fact.id).tag(fact.tag)],
    )
}

/// How many events there are; each is looked at.
fn count(
    events: impl Iterator<Item = event_store::Result<event_store::Event>>,
) -> anyhow::Result<u64> {
    let mut read = 0;
    for event in events {
        black_box(event?.payload().last());
        read += 1;
    }
    Ok(read)
}

impl EventLog for EventStore {
    const NAME: &str = "event-store";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let mode = sync_mode(is_durable);
        Ok(Options::new().sync(mode).open(dir)?)
    }

    fn append(&self, facts: &[Fact<'_>]) -> anyhow::Result<()> {
        self.write(&facts.iter().fold(Append::new(), add))?;
        Ok(())
    }

    fn append_if(&self, fact: &Fact<'_>, seen: u64) -> anyhow::Result<u64> {
        let query = Query::new().tags([fact.tag]);
        let append = add(Append::new(), fact).condition(Condition::new(query, Position(seen)));
        Ok(self.write(&append)?.positions.start.0)
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn read_all(&self, _reader: &()) -> anyhow::Result<u64> {
        // Readers are given what is durable.
        self.sync()?;
        count(EventStore::read_all(self, Position(1)))
    }

    fn read_stream(&self, _reader: &(), stream: &str) -> anyhow::Result<u64> {
        count(EventStore::read_stream(self, stream, Version(1)))
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(EventStore::close(self)?)
    }
}
