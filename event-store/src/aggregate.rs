//! The state of one stream, now or at any time: [`EventStore::load`] and [`EventStore::reconstruct`].

use crate::append::check_name;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::event_store::EventStore;
use crate::ids::{Position, Version};
use crate::marks::Mark;
use crate::marks::snapshot::{Header, Key};
use crate::projection::Projection;
use crate::store::Store;

/// The last event of a stream that counts for [`EventStore::reconstruct`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Until {
    /// Those up to this version.
    Version(Version),
    /// Those up to this position: as the stream was when that event was the last one of the store.
    Position(Position),
    /// Those before the first one with a later timestamp, in microseconds since the Unix epoch.
    Micros(u64),
}

impl Until {
    fn includes(self, event: &Event) -> bool {
        match self {
            Self::Version(version) => event.version() <= version,
            Self::Position(position) => event.position() <= position,
            Self::Micros(micros) => event.timestamp_micros() <= micros,
        }
    }
}

/// The state of a stream. Made by [`EventStore::load`] and [`EventStore::reconstruct`].
#[derive(Clone, Debug)]
pub struct Loaded<P> {
    /// What the events add up to.
    pub state: P,
    stream: String,
    /// The last event that is in it.
    last: Option<Mark>,
    version: Version,
    replayed: u64,
}

impl<P: Projection> Loaded<P> {
    fn empty(stream: &str) -> Self {
        Self {
            state: P::default(),
            stream: stream.to_owned(),
            last: None,
            version: Version(0),
            replayed: 0,
        }
    }

    fn add(&mut self, event: &Event) -> Result<()> {
        self.state.apply(event).map_err(|reason| Error::Stopped {
            name: P::NAME.to_owned(),
            position: event.position(),
            reason: reason.into(),
        })?;
        self.last = Some(Mark {
            position: event.position(),
            id: event.id(),
        });
        self.version = event.version();
        self.replayed += 1;
        Ok(())
    }
}

impl<P> Loaded<P> {
    /// The stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The version that the state is of, for [`Expected::Exactly`](crate::Expected::Exactly); 0 if no event is in
    /// it.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many events were read to make it, after what was saved: [save](EventStore::save) it when they are
    /// many.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }
}

impl EventStore {
    /// The state of `stream`: what was [saved](EventStore::save) last, and the events after it; or all of them.
    /// As [`read_stream`](EventStore::read_stream), acknowledged events count.
    ///
    /// # Cost
    /// One read of the saved state, and of the event that it is of; then as
    /// [`read_stream`](EventStore::read_stream).
    ///
    /// # Errors
    /// [`Stopped`](Error::Stopped): [`apply`](Projection::apply) has failed. [`Diverged`](Error::Diverged): the
    /// log does not hold the event that the saved state is of; see
    /// [`forget_projection`](EventStore::forget_projection). [`Corrupt`](Error::Corrupt),
    /// [`Disk`](Error::Disk), [`Closed`](Error::Closed); [`Invalid`](Error::Invalid): that is no name.
    pub fn load<P: Projection>(&self, stream: &str) -> Result<Loaded<P>> {
        self.reconstruct(stream, Until::Version(Version(u64::MAX)))
    }

    /// The state of `stream` as it was `until` some event. What was saved counts if it is not of a later one.
    ///
    /// # Cost
    /// As [`load`](EventStore::load).
    ///
    /// # Errors
    /// As [`load`](EventStore::load).
    pub fn reconstruct<P: Projection>(&self, stream: &str, until: Until) -> Result<Loaded<P>> {
        self.store.check_open()?;
        check_name("a projection's name", P::NAME)?;
        check_name("a stream's name", stream)?;
        let mut loaded = match self.store.saved_stream(stream)? {
            Some((saved, event)) if until.includes(&event) => saved,
            _ => Loaded::empty(stream),
        };
        for event in self.read_stream(stream, loaded.version.next()) {
            let event = event?;
            if !until.includes(&event) {
                break;
            }
            loaded.add(&event)?;
        }
        Ok(loaded)
    }

    /// Saves the state of a stream, so that [`load`](EventStore::load) reads no event before it; one that is not
    /// newer than what was saved changes nothing. If states of more than [`MAX_SNAPSHOTS`](crate::MAX_SNAPSHOTS)
    /// streams are saved, the one that was saved first is forgotten.
    ///
    /// # Durability
    /// When this returns, no crash takes that back; and the events that the state is of are durable.
    ///
    /// # Cost
    /// One record in a log of its own, and a sync; now and then that log is written anew.
    ///
    /// # Errors
    /// As [`Projected::save`](crate::Projected::save).
    pub fn save<P: Projection>(&self, loaded: &Loaded<P>) -> Result<()> {
        let store = &self.store;
        store.check()?;
        let Some(mark) = loaded.last else {
            return Ok(());
        };
        let key = Key::new(P::NAME, &loaded.stream);
        let saved = store.health.lock(&store.marks).snapshots.get(&key);
        let is_newer = |position| mark.position > position;
        if saved.is_some_and(|saved| saved.version == P::VERSION && !is_newer(saved.mark.position))
        {
            return Ok(());
        }
        if mark.position >= store.durable_end() {
            store.sync_log()?;
        }
        let version = P::VERSION;
        let header = Header { key, version, mark };
        store.save_state(header, &loaded.state.encode())?;
        Ok(())
    }
}

impl Store {
    /// The state of `stream` that was saved, and the event that it is of.
    fn saved_stream<P: Projection>(&self, stream: &str) -> Result<Option<(Loaded<P>, Event)>> {
        let key = Key::new(P::NAME, stream);
        let Some((saved, state)) = self.saved::<P>(&key)? else {
            return Ok(None);
        };
        let mark = saved.mark;
        let position = mark.position;
        if position >= self.acknowledged_end() {
            return Err(Error::Diverged { position });
        }
        let event = self.event(position)?;
        if event.id() != mark.id || event.stream() != stream {
            return Err(Error::Diverged { position });
        }
        let loaded = Loaded {
            state,
            stream: stream.to_owned(),
            last: Some(mark),
            version: event.version(),
            replayed: 0,
        };
        Ok(Some((loaded, event)))
    }
}
