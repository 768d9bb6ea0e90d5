//! Plain numbers: what recovery did, what a handle has done, what a verification read.

use durable_io::engine::Trouble;

use crate::error::Error;
use crate::ids::Position;
use crate::projection::Run;

/// What opening a store found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Recovery {
    /// The last event.
    pub events: Position,
    /// True if there was no store and one was created.
    pub created: bool,
    /// True if part of an append that was never acknowledged was truncated from the log.
    pub torn_tail: bool,
    /// Events that no part of the index covered, and were read.
    pub read_events: u64,
    /// Parts of the index that the list names.
    pub parts: u64,
    /// Parts that are missing, damaged or not of this log: they are made again, in the background or when
    /// they are needed.
    pub lost_parts: u64,
    /// True if the list itself was missing or damaged.
    pub list_lost: bool,
    /// Files removed: left-overs of a crash.
    pub removed_files: u64,
}

/// What a handle has done since it was opened, and how large the store is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The last event that was acknowledged; after a failed write or sync, the last durable one.
    pub last: Position,
    /// The last event that is durable.
    pub durable: Position,
    /// Appends that went to the log.
    pub appends: u64,
    /// Their events.
    pub events: u64,
    /// Appends whose expectation or condition was not met.
    pub refused: u64,
    /// Appends that were there already.
    pub repeated: u64,
    /// Syncs of the log.
    pub syncs: u64,
    /// The last event that a part of the index covers, lost or not.
    pub indexed: Position,
    /// Events in memory, since no part of the index covers them; also those in flight, and after a failure
    /// those that nobody is shown any more.
    pub unindexed_events: u64,
    /// What they take in the log, in bytes.
    pub unindexed_bytes: u64,
    /// About what the index takes in memory, in bytes.
    pub memory_bytes: u64,
    /// Parts of the index.
    pub parts: u64,
    /// Parts that are lost and not made again yet.
    pub lost_parts: u64,
    /// Parts built, merged from others, and made again.
    pub parts_built: u64,
    /// See above.
    pub parts_merged: u64,
    /// See above.
    pub parts_restored: u64,
    /// Bytes of the log on the disk, with what is made ready for it.
    pub log_bytes: u64,
    /// Bytes of the index on the disk.
    pub index_bytes: u64,
    /// Bytes held back for a full disk.
    pub reserve_bytes: u64,
    /// Named subscriptions.
    pub subscriptions: u64,
    /// Streams whose state is saved.
    pub snapshots: u64,
    /// The projections that are at work, in the order in which they were begun.
    pub projections: Vec<ProjectionStats>,
    /// What keeps the index from being kept, if anything does; it is tried again.
    pub index_trouble: Option<Trouble>,
}

/// The state of a projection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProjectionStats {
    /// Its name.
    pub name: String,
    /// Who brings it up to date.
    pub run: Run,
    /// It has every event that it is of up to here.
    pub position: Position,
    /// Durable events after that.
    pub lag: u64,
    /// Where its state was last saved: a restart continues after it. 0 if it never was, or is kept elsewhere.
    pub saved: Position,
    /// Bytes of that in the second log.
    pub saved_bytes: u64,
    /// Why it does not continue, if it does not.
    pub stopped: Option<Error>,
    /// Why its state could not be saved when that was due last; it is tried again.
    pub save_error: Option<Error>,
}

/// What [`EventStore::verify`](crate::EventStore::verify) read, and what is wrong.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Events.
    pub events: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Parts of the index.
    pub parts: u64,
    /// Everything that is wrong, each with its place. Damage of a part of the index costs no event: it is
    /// made again.
    pub damage: Vec<Error>,
}
