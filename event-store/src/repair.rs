//! Repair: what is left of a damaged store, as a new store.

use std::path::Path;

use durable_io::SyncMode;
use durable_io::engine::{self, RepairOptions, create_whole};

use crate::append::{Append, Expected, NewEvent};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::event_store::EventStore;
use crate::options::Options;
use crate::salvage::Salvage;

/// What became of a damaged store in a new one: the count of its events, and what is wrong.
pub type Repaired = engine::Repaired<Error>;

impl Options {
    /// Makes a new store in the directory `into` of all events of the damaged one in `dir` that can be believed. That is
    /// read by [`salvage`](Options::salvage) and stays as it is: its medium may be failing, and what had to be given up
    /// is nowhere else. `into` must not exist, or be an empty directory; it can be on another file system, but not be
    /// the root of one. With these options the new store is made and can be opened; give the
    /// [`segment_size`](Options::segment_size) that the damaged one had, if that was not the default.
    ///
    /// Events are appended anew, in their order, those of one append together as far as they are left. They keep their
    /// stream, type, id, timestamp, tags, metadata, payload and source, and a tombstone ends its stream, under an id of
    /// its own. Positions and versions have no gap: from the first event that is missing on they are smaller than they
    /// were. Named subscriptions keep what they have acknowledged: one that had come further than that is answered
    /// [`Diverged`](Error::Diverged), as is any reader who has kept position and id. What projections have saved is made
    /// of the events again. No event is ever older than another one, so
    /// [`RepairOptions::take_older`] changes nothing here.
    ///
    /// # Durability
    /// When this returns, the new store survives power loss, whatever the mode. A crash before that leaves nothing at
    /// `into`, or all of it, and perhaps a directory of that name with `.unfinished` behind it, which can be removed.
    ///
    /// # Cost
    /// That of [`salvage`](Options::salvage), and of appending all events to a new store. In memory are the events of
    /// one append.
    ///
    /// # Errors
    /// [`Error::Disk`] of kind `DirectoryNotEmpty` if there is something in `into`, or an unfinished directory; those of
    /// [`salvage`](Options::salvage), [`open`](Options::open) and [`EventStore::write`]. There is no new store then. What
    /// is wrong with the damaged store is no error of this call: see [`Repaired`].
    pub fn repair(
        self,
        dir: impl AsRef<Path>,
        into: impl AsRef<Path>,
        how: &RepairOptions,
    ) -> Result<Repaired> {
        let salvage = self.clone().salvage(dir)?;
        let disk = self.disk.clone();
        // Durable: the name of the new store, which is whole. Only now may the caller rely on it.
        create_whole(&disk, into.as_ref(), |at| fill(self, salvage, at, how))
    }
}

/// Makes a store in `at` of what `salvage` gives.
fn fill(options: Options, salvage: Salvage, at: &Path, how: &RepairOptions) -> Result<Repaired> {
    let store = options.sync(SyncMode::Manual).open(at)?;
    let readers = salvage.readers().clone();
    let (mut repaired, mut together) = (Repaired::default(), Vec::new());
    for item in salvage {
        match item {
            Err(error) => repaired.note(error),
            Ok(event) => {
                let last: Option<&Event> = together.last();
                if last.is_some_and(|last| last.append() != event.append()) {
                    append(&store, &together)?;
                    together.clear();
                }
                repaired.takes(how, false);
                together.push(event);
            }
        }
    }
    append(&store, &together)?;
    for (name, acknowledged) in readers {
        store.store.keep_acknowledged(&name, Some(acknowledged))?;
    }
    // Durable: everything in the new store. Only now may it get its name.
    store.close()?;
    Ok(repaired)
}

/// Appends `events`, which were appended together.
fn append(store: &EventStore, events: &[Event]) -> Result<()> {
    let Some(first) = events.first() else {
        return Ok(());
    };
    let mut append = Append::new();
    if first.is_tombstone() {
        append = Append::tombstone(first.stream(), Expected::Any);
    } else {
        for of_stream in events.chunk_by(|one, other| one.stream() == other.stream()) {
            let stream = of_stream.first().map_or("", Event::stream);
            append = append.stream(stream, Expected::Any, of_stream.iter().map(anew));
        }
    }
    if let Some((name, position)) = first.source() {
        append = append.source(name, position);
    }
    append.timestamp = Some(first.timestamp_micros());
    store.write(&append)?;
    Ok(())
}

fn anew(event: &Event) -> NewEvent<'_> {
    let new = NewEvent::new(event.kind(), event.payload());
    let new = new.metadata(event.metadata()).id(event.id());
    event.tags().fold(new, NewEvent::tag)
}
