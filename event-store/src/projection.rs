//! [`Projection`] and [`Handler`]: what is made of events, and how that is kept up to date.

use std::time::Duration;

use crate::event::Event;
use crate::ids::{EventId, Position};
use crate::query::Query;

/// What a projection failed with: any error.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A state that is the sum of events. The store keeps it: as bytes that [`encode`](Projection::encode) makes of
/// it, together with the position that it is of, so that the two cannot drift apart, whatever crashes.
///
/// It is of all events that a [query](Project::query) means ([`EventStore::project`]), or of one stream
/// ([`EventStore::load`]). What was saved is only a short cut: the events say the same, and whenever it cannot
/// be used it is made of them again. So `apply` does nothing but change the state: what it does elsewhere is
/// done again then.
///
/// ```
/// use event_store::{Event, Failure, Projection};
///
/// /// How many orders are open.
/// #[derive(Default)]
/// struct OpenOrders(u64);
///
/// impl Projection for OpenOrders {
///     const NAME: &'static str = "open-orders";
///     const VERSION: u32 = 1;
///
///     fn apply(&mut self, event: &Event) -> Result<(), Failure> {
///         match event.kind() {
///             "Placed" => self.0 += 1,
///             "Shipped" => self.0 = self.0.checked_sub(1).ok_or("nothing to ship")?,
///             _ => {}
///         }
///         Ok(())
///     }
///
///     fn encode(&self) -> Vec<u8> {
///         self.0.to_le_bytes().into()
///     }
///
///     fn decode(state: &[u8]) -> Option<Self> {
///         Some(Self(u64::from_le_bytes(state.try_into().ok()?)))
///     }
/// }
/// ```
///
/// [`EventStore::project`]: crate::EventStore::project
/// [`EventStore::load`]: crate::EventStore::load
pub trait Projection: Default + Send + 'static {
    /// What its states are saved under; of one to [`MAX_NAME_SIZE`](crate::MAX_NAME_SIZE) bytes.
    const NAME: &'static str;

    /// Of the encoding and of what `apply` does: a state that was saved under another one is not used, and made
    /// of the events again.
    const VERSION: u32;

    /// Adds `event`, which may be the tombstone of its stream. Each comes once, in order.
    ///
    /// # Errors
    /// Whatever keeps it from going on: the projection stops.
    fn apply(&mut self, event: &Event) -> Result<(), Failure>;

    /// The state as bytes. With the names it fits into a segment of the second log: of the
    /// [size](crate::Options::segment_size) of those of the log, 4 MiB at most.
    fn encode(&self) -> Vec<u8>;

    /// The state that `encode` made `state` of; `None` if it cannot be read: then it is made of the events.
    fn decode(state: &[u8]) -> Option<Self>;
}

/// Whoever does something with events that the store knows nothing of: rows in another database, a search index.
/// It keeps its position itself, with what it has made, and says where it is when it starts.
pub trait Handler: Send + 'static {
    /// For messages and [`Stats`](crate::Stats); of one to [`MAX_NAME_SIZE`](crate::MAX_NAME_SIZE) bytes.
    fn name(&self) -> &str;

    /// The last event whose effects it has; `None` if it has none. Asked once, at the start. If the log does not
    /// hold that event there, the start is [`Error::Diverged`](crate::Error::Diverged).
    ///
    /// # Errors
    /// Whatever it cannot say it for: the start fails.
    fn position(&mut self) -> Result<Option<(Position, EventId)>, Failure>;

    /// Deals with `event`, and keeps its position and id together with that. Each comes once, in order; over a
    /// crash those after what [`position`](Handler::position) then says.
    ///
    /// # Errors
    /// Whatever keeps it from going on: it stops.
    fn apply(&mut self, event: &Event) -> Result<(), Failure>;
}

/// Who brings a projection up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Run {
    /// Whoever calls [`Projected::catch_up`](crate::Projected::catch_up).
    #[default]
    Pull,
    /// A thread of its own, as events become durable; with [`Background::Inline`](crate::Background::Inline),
    /// [`EventStore::run_background`](crate::EventStore::run_background).
    Live,
    /// Whoever appends, before the append returns, when it is durable: only with
    /// [`SyncMode::Always`](crate::SyncMode::Always). If it fails it stops, and the append has succeeded all the
    /// same. What [`apply`](Projection::apply) itself appends is not waited for so.
    Inline,
}

/// Which events a projection is of, who brings it up to date, and how often it is saved.
///
/// ```
/// use event_store::{Project, Query};
///
/// let orders = Project::new().query(Query::new().category("order")).live().save_every(100);
/// # drop(orders);
/// ```
#[derive(Clone, Debug)]
pub struct Project {
    pub(crate) query: Query,
    pub(crate) run: Run,
    pub(crate) every: u64,
    pub(crate) after: Option<Duration>,
}

impl Default for Project {
    fn default() -> Self {
        Self {
            query: Query::new(),
            run: Run::Pull,
            every: 10_000,
            after: None,
        }
    }
}

impl Project {
    /// Of every event, when it is [asked](crate::Projected::catch_up) to catch up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only of the events that `query` means. With another query it is another projection: a state that was saved
    /// continues with what comes.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// [`Run::Live`].
    #[must_use]
    pub fn live(mut self) -> Self {
        self.run = Run::Live;
        self
    }

    /// [`Run::Inline`].
    #[must_use]
    pub fn inline(mut self) -> Self {
        self.run = Run::Inline;
        self
    }

    /// Saves the state whenever so many events were added: what a restart adds again at most. Each time is one
    /// record, and a sync. Default: 10,000.
    #[must_use]
    pub fn save_every(mut self, events: u64) -> Self {
        self.every = events;
        self
    }

    /// Saves the state, too, when something was added and the last time is so long ago, by the
    /// [clock](crate::Options::clock) of the store. It is looked at when events were added, and by a thread that
    /// waits for some. Default: never.
    #[must_use]
    pub fn save_after(mut self, time: Duration) -> Self {
        self.after = Some(time);
        self
    }
}
