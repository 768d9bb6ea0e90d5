//! An embedded event store: streams of events in one log, with expectations, conditions over tags and
//! types, subscriptions that cannot miss an event, and projections that cannot drift from the log.
//!
//! ```
//! use std::time::Duration;
//! use event_store::{Append, Condition, Error, Expected, NewEvent, Options, Query, Subscribe, Version};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("store");
//! let store = Options::new().open(&path)?;
//! let placed = NewEvent::new("Placed", b"2 apples").id(1).tag("customer:7");
//! store.append("order-1", Expected::NoStream, [placed.clone()])?; // on stable storage when it returns
//!
//! // The same once more, as after a crash: it is there, and nothing is written.
//! assert!(store.append("order-1", Expected::NoStream, [placed])?.was_there);
//!
//! let shipped = NewEvent::new("Shipped", b"");
//! let refused = store.append("order-1", Expected::Exactly(Version(2)), [shipped.clone()]);
//! assert!(matches!(refused, Err(Error::WrongVersion { actual: Version(1), .. })));
//!
//! // Only if nothing about this customer has come since we looked:
//! let customer = Query::new().tags(["customer:7"]);
//! let seen = store.last_position();
//! let append = Append::new()
//!     .stream("order-1", Expected::Any, [shipped])
//!     .condition(Condition::new(customer, seen));
//! store.write(&append)?;
//!
//! for event in store.read_stream("order-1", Version(1)) {
//!     let event = event?;
//!     println!("{} {}: {}", event.position(), event.version(), event.kind());
//! }
//! let mut billing = store.subscribe(Subscribe::new().named("billing"))?;
//! while let Some(event) = billing.next(Duration::ZERO)? {
//!     println!("bill {}", event.stream());
//!     billing.acknowledge()?; // never given out again under this name
//! }
//! # drop(billing);
//! store.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! [`SyncMode`] says when an append returns, and so what a crash may take back:
//!
//! | mode | an append returns when | `kill -9` loses | power loss loses |
//! |---|---|---|---|
//! | [`Always`](SyncMode::Always) (default) | it is on stable storage | nothing | nothing |
//! | [`Batch`](SyncMode::Batch) | the kernel has it | nothing | fewer than `writes` appends, none older than `interval` |
//! | [`Manual`](SyncMode::Manual) | the kernel has it | nothing | the appends since the last [`EventStore::sync`] |
//!
//! - An append is there as a whole or not at all, also when it goes to several streams. What is lost is
//!   always a suffix.
//! - Positions have no gap and are the order of the commits; versions have no gap in their stream. No
//!   version is given to two events, whatever crashes and is tried again in between.
//! - **No reader can skip an event.** Positions are given in the order in which the log is written, there
//!   are no gaps that might be filled later, and [`EventStore::read_all`], [`EventStore::query`] and
//!   subscriptions give out durable events only. So when an event was given out, everything before it was
//!   there, and no crash takes it back.
//! - An append that is tried again with the same event ids is answered as the first time, as long as the
//!   store lives.
//! - Every answer is as safe as what it rests on: a refusal, too, comes only when the event that it
//!   rests on is as safe as an acknowledged one.
//! - What a named [`Subscription`] has acknowledged is not given out again. Within a process it gives each
//!   event exactly once; over a crash at least once what it has not acknowledged. If the log does not hold
//!   what it has seen, the answer is [`Error::Diverged`].
//! - The state of a [`Projection`] and the position that it is of are saved as one: after any crash it is what
//!   exactly the events up to there add up to. It only ever has durable events.
//! - A [backup](EventStore::backup) is made while the store is used: it is a store, with everything that was
//!   durable, and a crash in the middle costs an earlier one nothing.
//! - Every byte is checked before it is believed. The index is a cache of the log: what is lost or damaged
//!   of it is made again.
//! - Opening runs the same recovery after a close, a kill and a power loss, and does not depend on the size
//!   of the store.
//! - After a failed write or sync the handle is [`Error::Poisoned`]: it acknowledges nothing more, durable
//!   events can still be read, and opening it again recovers. A full disk is an error before anything
//!   changes; ending streams and acknowledging continue from a reserve.
//!
//! # Threads
//!
//! Two, named `event-store` and `event-store-index`, and `projection-` and its name for each projection that is
//! [live](Run::Live), beside those of [`wal`]. With [`Background::Inline`]
//! there are none: see [`EventStore::run_background`].

mod aggregate;
mod append;
mod background;
mod backup;
mod build;
mod clock;
mod decide;
mod dump;
mod error;
mod event;
mod event_store;
mod ids;
mod indexer;
#[cfg(feature = "serde")]
mod json;
mod limits;
mod list;
mod marks;
mod names;
mod options;
mod part;
mod pending;
mod policy;
mod projected;
mod projection;
mod query;
mod read;
mod read_only;
mod record;
mod recover;
mod repair;
mod running;
mod salvage;
mod search;
mod stats;
mod store;
#[cfg(feature = "stream")]
mod stream;
mod subscription;
mod tail;
mod term;
mod ticket;
mod verify;
mod view;
mod write;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

pub use aggregate::{Loaded, Until};
pub use append::{Append, Appended, Expected, NewEvent};
pub use backup::Backup;
pub use dump::{Detail, dump};
pub use durable_io::engine::RepairOptions;
pub use durable_io::{Background, Disk, SyncMode};
pub use error::{Corruption, Error, Result};
pub use event::Event;
pub use event_store::EventStore;
pub use ids::{EventId, Position, Version};
#[cfg(feature = "serde")]
pub use json::Imported;
pub use limits::{
    DEFAULT_INDEX_INTERVAL, DEFAULT_SEGMENT_SIZE, MAX_EVENTS, MAX_INDEX_INTERVAL, MAX_NAME_SIZE,
    MAX_PROJECTIONS, MAX_SNAPSHOTS, MAX_SUBSCRIPTIONS, MAX_TAGS,
};
pub use options::Options;
pub use projected::Projected;
pub use projection::{Failure, Handler, Project, Projection, Run};
pub use query::{Condition, Query};
pub use read::{Backward, Events, StreamEvents, StreamInfo, Streams};
pub use read_only::{ReadOnly, StoredEvents};
pub use repair::Repaired;
pub use salvage::Salvage;
pub use stats::{ProjectionStats, Recovery, Stats, Verified};
#[cfg(feature = "stream")]
pub use stream::EventStream;
pub use subscription::{Subscribe, Subscription};
pub use ticket::Ticket;

/// Compiles the examples of the read-me.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
