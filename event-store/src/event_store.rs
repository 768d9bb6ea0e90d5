//! [`EventStore`]: the handle.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_io::Background;

use crate::append::{Append, Appended, Expected, NewEvent};
use crate::background::Workers;
use crate::backup::Backup;
use crate::decide::recorded_source;
use crate::error::Result;
use crate::event::Event;
use crate::ids::{Position, Version};
use crate::query::Query;
use crate::read::{Backward, Events, StreamEvents, StreamInfo, Streams};
use crate::recover::Recovered;
use crate::stats::{Recovery, Stats, Verified};
use crate::store::Store;
use crate::subscription::{Subscribe, Subscription};
use crate::term::About;
use crate::ticket::Ticket;

/// An open store. Made by [`Options::open`](crate::Options::open).
///
/// `Send + Sync`; every method takes `&self`. Share it in an [`Arc`].
///
/// # Drop
/// Dropping it joins its threads and releases the lock. It syncs nothing: what a mode acknowledges
/// without a sync stays as safe as that mode says. [`close`](EventStore::close) makes everything durable,
/// and says whether that worked.
#[derive(Debug)]
pub struct EventStore {
    workers: Option<Workers>,
    pub(crate) store: Arc<Store>,
    recovery: Recovery,
}

impl EventStore {
    pub(crate) fn start(recovered: Recovered, background: Background) -> Result<Self> {
        let store = Arc::new(recovered.store);
        let workers = match background {
            Background::Threads => Some(Workers::start(&store)?),
            Background::Inline => None,
        };
        Ok(Self {
            workers,
            store,
            recovery: recovered.recovery,
        })
    }

    /// Appends `events` to `stream`, all or nothing, if the stream is as `expected`.
    ///
    /// # Durability
    /// As the [`SyncMode`](crate::SyncMode) says; under [`Always`](crate::SyncMode::Always) the events
    /// survive power loss once this returns. The same goes for whatever a refusal rests on.
    ///
    /// # Cost
    /// A look-up of the stream, and of each id that was given, in the index; two copies of the events, one
    /// write, and in `Always` one `fdatasync`, both shared with concurrent appends.
    ///
    /// # Errors
    /// As [`write`](EventStore::write).
    pub fn append<'a>(
        &self,
        stream: &'a str,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent<'a>>,
    ) -> Result<Appended> {
        self.write(&Append::new().stream(stream, expected, events))
    }

    /// Does what `append` says, all or nothing. If the same events with the same ids are there already, in
    /// the same order and streams, the answer is the one that was given then, whatever `append` expects.
    ///
    /// # Durability, cost
    /// As [`append`](EventStore::append).
    ///
    /// # Errors
    /// [`WrongVersion`](crate::Error::WrongVersion), [`ConditionFailed`](crate::Error::ConditionFailed),
    /// [`StreamEnded`](crate::Error::StreamEnded), [`SourceNotNewer`](crate::Error::SourceNotNewer),
    /// [`IdConflict`](crate::Error::IdConflict), [`Invalid`](crate::Error::Invalid),
    /// [`TooLarge`](crate::Error::TooLarge): nothing was written.
    /// [`Disk`](crate::Error::Disk) with [`NoSpace`](durable_io::Error::NoSpace): nothing was written, and a
    /// later append may succeed. Any other `Disk`: the store is poisoned, and the events may or may not
    /// survive; try again with the same ids after opening it. [`Poisoned`](crate::Error::Poisoned): the
    /// same. [`Corrupt`](crate::Error::Corrupt): what the decision needs is damaged.
    pub fn write(&self, append: &Append<'_>) -> Result<Appended> {
        self.store.append(append)
    }

    /// Like [`write`](EventStore::write), without waiting: the ticket returns when it is acknowledged. What is
    /// decided after it counts with it; if the log refuses it (a full disk), so is what was built on it.
    ///
    /// Waits for another append only if a refusal rests on it, or if more than
    /// [`wal::MAX_IN_FLIGHT`] bytes are in flight.
    ///
    /// # Durability
    /// None yet. When the ticket says so, as [`append`](EventStore::append).
    ///
    /// # Errors
    /// As [`write`](EventStore::write); those of the disk come with the ticket.
    pub fn submit(&self, append: &Append<'_>) -> Result<Ticket> {
        let answer = self.store.start(append)?;
        self.store.log_work.notify();
        Ok(Ticket::new(Arc::clone(&self.store), answer))
    }

    /// Ends `stream` for good, if it is as `expected`: no event is appended to it any more. The tombstone is
    /// a record like an event, with a position and a version. That the stream is ended already is no error.
    ///
    /// Works on a full disk, as far as [`Options::reserve`](crate::Options::reserve) reaches.
    ///
    /// # Durability, cost
    /// As [`append`](EventStore::append).
    ///
    /// # Errors
    /// As [`append`](EventStore::append).
    pub fn tombstone(&self, stream: &str, expected: Expected) -> Result<Appended> {
        self.write(&Append::tombstone(stream, expected))
    }

    /// The events of `stream`, from version `from` on.
    ///
    /// Under [`Batch`](crate::SyncMode::Batch) and [`Manual`](crate::SyncMode::Manual) acknowledged events
    /// are seen that a power loss can still take back: those that the next decision must know.
    ///
    /// # Cost
    /// One look-up in each part of the index, and one read for each event that is not in memory.
    ///
    /// # Errors
    /// The items are [`Corrupt`](crate::Error::Corrupt) or [`Disk`](crate::Error::Disk); nothing follows one.
    pub fn read_stream(&self, stream: &str, from: Version) -> StreamEvents {
        StreamEvents::new(&self.store, stream, from, false)
    }

    /// The events of `stream` from version `from`, or from the last one if that is earlier, down to the
    /// first. As [`read_stream`](EventStore::read_stream).
    pub fn read_stream_backward(&self, stream: &str, from: Version) -> StreamEvents {
        StreamEvents::new(&self.store, stream, from, true)
    }

    /// The last event of `stream`; `None` if it has none. As [`read_stream`](EventStore::read_stream).
    ///
    /// # Errors
    /// As those of [`read_stream`](EventStore::read_stream).
    pub fn last_event(&self, stream: &str) -> Result<Option<Event>> {
        let last = Version(u64::MAX);
        self.read_stream_backward(stream, last).next().transpose()
    }

    /// The state of `stream`; `None` if it has no event. As [`read_stream`](EventStore::read_stream).
    ///
    /// # Errors
    /// As those of [`read_stream`](EventStore::read_stream).
    pub fn stream_info(&self, stream: &str) -> Result<Option<StreamInfo>> {
        let term = self.store.settings.key.term(About::Stream(stream));
        let end = self.store.acknowledged_end();
        let head = self.store.with_view(|view| view.stream_head(term, end))?;
        Ok(head.map(|head| StreamInfo {
            name: stream.to_owned(),
            version: head.version,
            last: head.last,
            is_ended: head.is_ended,
        }))
    }

    /// The names of all streams, in the order of their first events.
    ///
    /// # Cost
    /// A pass through the index, and one read for each stream.
    ///
    /// # Errors
    /// As those of [`read_stream`](EventStore::read_stream).
    pub fn streams(&self) -> Streams {
        Streams::new(&self.store)
    }

    /// Every durable event from position `from` on, of those that are durable now.
    ///
    /// # Cost
    /// Reads the log front to back; or memory, where it has got that far.
    ///
    /// # Errors
    /// The items are [`Corrupt`](crate::Error::Corrupt) or [`Disk`](crate::Error::Disk); nothing follows one.
    pub fn read_all(&self, from: Position) -> Events {
        self.query(Query::new(), from)
    }

    /// Every durable event from position `from`, or from the last one, down to the first.
    ///
    /// # Cost
    /// One look-up and one read for each event.
    ///
    /// # Errors
    /// As [`read_all`](EventStore::read_all).
    pub fn read_all_backward(&self, from: Position) -> Backward {
        Backward::new(&self.store, from)
    }

    /// The durable events that `query` means, from position `from` on.
    ///
    /// # Cost
    /// A few look-ups in each part of the index, and one read for each event that is not in memory.
    ///
    /// # Errors
    /// As [`read_all`](EventStore::read_all).
    pub fn query(&self, query: Query, from: Position) -> Events {
        Events::new(&self.store, query, from)
    }

    /// The last position of `source` that an append has recorded: where to continue. See [`Append::source`].
    ///
    /// # Errors
    /// As those of [`read_stream`](EventStore::read_stream).
    pub fn source_position(&self, source: &str) -> Result<Option<u64>> {
        let end = self.store.acknowledged_end();
        let recorded = self
            .store
            .with_view(|view| recorded_source(view, source, end))?;
        Ok(recorded.map(|(_, position)| position))
    }

    /// Gives every event that `what` means, and then those that come.
    ///
    /// # Errors
    /// [`Diverged`](crate::Error::Diverged): the log does not hold the event that the reader has seen last.
    /// [`Invalid`](crate::Error::Invalid): another subscription has the name, or it is no name.
    /// [`Closed`](crate::Error::Closed).
    pub fn subscribe(&self, what: Subscribe) -> Result<Subscription> {
        Subscription::new(&self.store, what)
    }

    /// The named subscriptions, and the last position that each has acknowledged.
    pub fn subscriptions(&self) -> Vec<(String, Position)> {
        let marks = self.store.health.lock(&self.store.marks);
        let all = marks.all();
        all.map(|(name, mark)| (name.to_owned(), mark.position))
            .collect()
    }

    /// Forgets what the subscription `name` has acknowledged: the next one begins anew.
    ///
    /// # Durability
    /// As [`Subscription::acknowledge`].
    ///
    /// # Errors
    /// As [`Subscription::acknowledge`].
    pub fn forget_subscription(&self, name: &str) -> Result<()> {
        self.store.keep_acknowledged(name, None)
    }

    /// The position of the last durable event; `Position(0)` if there is none.
    pub fn last_position(&self) -> Position {
        self.store.durable_end().previous()
    }

    /// Makes everything acknowledged so far durable, and returns the last durable position.
    ///
    /// # Cost
    /// One `fdatasync`, or nothing if everything is durable already. Appends continue meanwhile.
    ///
    /// # Errors
    /// [`Disk`](crate::Error::Disk): the store is poisoned; what was not durable may or may not survive.
    /// [`Poisoned`](crate::Error::Poisoned), [`Closed`](crate::Error::Closed).
    pub fn sync(&self) -> Result<Position> {
        self.store.check()?;
        self.store.sync_log()
    }

    /// What opening the store found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads and checks everything: each byte of the log, each event against the one before it in its
    /// stream, and that the index says of each what a new one would. Appends continue meanwhile; what was
    /// acknowledged when this was called is checked.
    ///
    /// # Cost
    /// Reads the whole store, and looks up every event in the index.
    ///
    /// # Errors
    /// [`Disk`](crate::Error::Disk) if something cannot be read. Damage is no error here: it is in
    /// [`Verified::damage`].
    pub fn verify(&self) -> Result<Verified> {
        self.store.verify()
    }

    /// What this handle has done since it was opened, and how large the store is. Cheap.
    pub fn stats(&self) -> Stats {
        self.store.stats()
    }

    /// Makes `dir`, on the same [disk](crate::Options::disk), a store with every event that is durable now, and
    /// with what its readers have acknowledged and its projections have saved; which opens like any other. If it
    /// is an earlier backup of this store only what has come since is copied. Appends continue meanwhile;
    /// whoever acknowledges or saves waits for the last part of it.
    ///
    /// Every event is checked as it is read, so a damaged one is not copied. The index is not copied: the backup
    /// makes its own when it is opened.
    ///
    /// # Durability
    /// When this returns, the backup survives power loss. A crash before leaves an earlier one with at least what
    /// it had; the first one [`Error::Unfinished`](crate::Error::Unfinished) until it is tried again.
    ///
    /// # Cost
    /// Reads the events that are not there yet, and writes them; some syncs.
    ///
    /// # Errors
    /// [`Error::Diverged`](crate::Error::Diverged): `dir` is a store, but none that began as this one; nothing was changed.
    /// [`Error::Corrupt`](crate::Error::Corrupt): an event here, or the backup, is damaged. [`Error::Disk`](crate::Error::Disk): also with
    /// [`Locked`](durable_io::Error::Locked) if `dir` is open, or with
    /// [`NoSpace`](durable_io::Error::NoSpace). [`Error::Closed`](crate::Error::Closed). None of them changes this store.
    pub fn backup(&self, dir: impl AsRef<Path>) -> Result<Backup> {
        self.store.backup(dir.as_ref())
    }

    /// Under [`Background::Inline`], runs one step of background work and returns true, or returns
    /// false if there is none. Under [`Background::Threads`], false.
    ///
    /// # Errors
    /// Whatever poisons the store. What failed and left it whole, such as for want of space, is
    /// [`Stats::index_trouble`], and is tried again after a while.
    pub fn run_background(&self) -> Result<bool> {
        if self.workers.is_some() {
            return Ok(false);
        }
        self.store.run_one_step()
    }

    /// Makes everything durable, states so in the log, so that any later loss will be noticed, joins the
    /// threads and releases the lock. Iterators and subscriptions that live on hold the files open, and the
    /// log locked.
    ///
    /// # Errors
    /// [`Disk`](crate::Error::Disk), [`Poisoned`](crate::Error::Poisoned): the handle is gone, the lock is
    /// released, and what was not durable may or may not survive.
    pub fn close(mut self) -> Result<()> {
        // Joined first: nothing is written after the last sync.
        self.store.stop_projections();
        self.workers = None;
        self.store.seal()
    }
}

impl Drop for EventStore {
    fn drop(&mut self) {
        self.store.stop_projections();
        self.workers = None;
        self.store.is_closed.store(true, Ordering::SeqCst);
        self.store.wake();
        self.store.dir.unlock();
    }
}
