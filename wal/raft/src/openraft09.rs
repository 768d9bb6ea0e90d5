//! [`LogStorage`]: a [`Group`] as the log storage of openraft 0.9 (feature `openraft`).
//!
//! ```no_run
//! # use durable_raft::{Error, Options, openraft09::LogStorage};
//! # fn open<C>() -> Result<LogStorage<C>, Error> {
//! let store = Options::new().open("raft")?; // of all groups of this node; keep it
//! let group = match store.group(1) {
//!     Err(Error::NoGroup { .. }) => store.create(1)?,
//!     group => group?,
//! };
//! let log = LogStorage::new(group); // what `openraft::Raft::new` takes
//! # Ok(log)
//! # }
//! ```

#[cfg(feature = "state-machine")]
mod machine;

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, CommittedLeaderId, EntryPayload, LogId, LogState, OptionalSend, RaftLogReader,
    RaftTypeConfig, StorageError, StorageIOError, Vote,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::group::Group;
use crate::types::{Change, Entry, LogPoint};
use crate::{Corruption, types};

#[cfg(feature = "state-machine")]
pub use machine::{SnapshotStream, StateMachine};

/// Replication reads about so many bytes of entries at once.
const READ_SIZE: u64 = 4 << 20;

/// The log of one group, for openraft 0.9. Cheap to clone: it is the reader, too.
///
/// Votes, appends, truncations and purges are durable when openraft is called back; what is committed is durable
/// together with the next of them. A node that led and is started again is elected anew, in a new term: openraft 0.9
/// would let it go on in the old one, without entries that others have of it and that its power loss took. Payloads are stored as CBOR. Bytes in them want `serde_bytes`: serde takes a
/// `Vec<u8>` for a list of numbers, which is twice as long and takes twenty times as long to encode.
#[derive(Debug)]
pub struct LogStorage<C> {
    group: Group,
    #[cfg(feature = "state-machine")]
    purging: Option<machine::Purging>,
    types: PhantomData<fn() -> C>,
}

impl<C> Clone for LogStorage<C> {
    fn clone(&self) -> Self {
        Self {
            group: self.group.clone(),
            #[cfg(feature = "state-machine")]
            purging: self.purging.clone(),
            types: PhantomData,
        }
    }
}

impl<C> LogStorage<C> {
    /// The log of `group`, which nobody else writes to.
    pub fn new(group: Group) -> Self {
        Self {
            group,
            #[cfg(feature = "state-machine")]
            purging: None,
            types: PhantomData,
        }
    }

    /// The same, which purges nothing that `machine` does not hold durably: a purge waits for that. openraft 0.9
    /// purges the log up to a snapshot that it is about to install, and does not wait: a crash between the two would
    /// leave a node that has neither the entries nor what they did.
    #[cfg(feature = "state-machine")]
    #[must_use]
    pub fn purging_after<F>(mut self, machine: &StateMachine<C, F>) -> Self {
        self.purging = Some(machine.purging());
        self
    }

    /// Its group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Does `change`, and waits until it is durable.
    async fn durably(&self, change: Change<'_>) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        // If nobody waits any more, nobody gets the result.
        self.group
            .submit(change, move |result| drop(sender.send(result)))?;
        receiver.await.expect("a callback is called exactly once")
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    encode_sized(value, 0)
}

/// As [`encode`], of what is about `size` bytes long.
fn encode_sized(value: &impl Serialize, size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size);
    ciborium::into_writer(value, &mut bytes).map_err(|error| Error::Codec(error.to_string()))?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    ciborium::from_reader(bytes).map_err(|error| Error::Codec(error.to_string()))
}

impl<C> LogStorage<C>
where
    C: RaftTypeConfig<Entry = openraft::Entry<C>>,
{
    /// `entry`, which is about `size` bytes long.
    fn to_entry(entry: &openraft::Entry<C>, size: usize) -> Result<Entry> {
        let LogId { leader_id, index } = &entry.log_id;
        Ok(Entry {
            index: *index,
            term: leader_id.term,
            data: encode_sized(&(leader_id, &entry.payload), size)?,
        })
    }

    /// What of `entries` is to be appended: what is purged already, since a snapshot has it, stays purged.
    fn to_append(
        &self,
        entries: impl IntoIterator<Item = openraft::Entry<C>>,
    ) -> Result<Vec<Entry>> {
        let purged = self.group.state()?.purged.map(|point| point.index);
        let entries = entries.into_iter();
        let is_new = |entry: &openraft::Entry<C>| Some(entry.log_id.index) > purged;
        let entries = entries.filter(is_new);
        // Entries that come together are often alike.
        let mut size = 0;
        let entries = entries.map(|entry| {
            let entry = Self::to_entry(&entry, size)?;
            size = entry.data.len();
            Ok(entry)
        });
        entries.collect()
    }

    fn of_entry(entry: &Entry) -> Result<openraft::Entry<C>> {
        type Stored<C> = (
            CommittedLeaderId<<C as RaftTypeConfig>::NodeId>,
            EntryPayload<C>,
        );
        let (leader_id, payload): Stored<C> = decode(&entry.data)?;
        let log_id = LogId::new(leader_id, entry.index);
        Ok(openraft::Entry { log_id, payload })
    }

    fn to_point(log_id: &LogId<C::NodeId>) -> Result<LogPoint> {
        Ok(LogPoint {
            index: log_id.index,
            term: log_id.leader_id.term,
            leader: encode(&log_id.leader_id)?,
        })
    }

    fn of_point(point: &LogPoint) -> Result<LogId<C::NodeId>> {
        Ok(LogId::new(decode(&point.leader)?, point.index))
    }

    fn log_state(&self) -> Result<LogState<C>> {
        let state = self.group.state()?;
        let purged = state.purged.as_ref().map(Self::of_point).transpose()?;
        let last = match state.last {
            None => purged.clone(),
            Some((index, _)) => {
                let last = self.group.entries_within(index..u64::MAX, 1)?;
                let group = self.group.id();
                let hole = || Error::corrupt("log".as_ref(), Corruption::Hole { group, index });
                Some(Self::of_entry(last.first().ok_or_else(hole)?)?.log_id)
            }
        };
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last,
        })
    }

    fn read(&self, start: u64, end: u64, limit: u64) -> Result<Vec<openraft::Entry<C>>> {
        let entries = self.group.entries_within(start..end, limit)?;
        entries.iter().map(Self::of_entry).collect()
    }
}

fn reading<N: openraft::NodeId>(error: &Error) -> StorageError<N> {
    StorageIOError::read_logs(AnyError::new(error)).into()
}

fn writing<N: openraft::NodeId>(error: &Error) -> StorageError<N> {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

impl<C> RaftLogReader<C> for LogStorage<C>
where
    C: RaftTypeConfig<Entry = openraft::Entry<C>>,
{
    async fn try_get_log_entries<R>(
        &mut self,
        range: R,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, u64::MAX)
            .map_err(|error| reading(&error))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<C::Entry>, StorageError<C::NodeId>> {
        self.read(start, end, READ_SIZE)
            .map_err(|error| reading(&error))
    }
}

impl<C> RaftLogStorage<C> for LogStorage<C>
where
    C: RaftTypeConfig<Entry = openraft::Entry<C>>,
{
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<C>, StorageError<C::NodeId>> {
        self.log_state().map_err(|error| reading(&error))
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let failed = |error: &Error| StorageIOError::write_vote(AnyError::new(error));
        let vote = types::Vote {
            term: vote.leader_id.term,
            leader: encode(vote).map_err(|error| failed(&error))?,
        };
        let saved = self.durably(Change::Vote(&vote)).await;
        Ok(saved.map_err(|error| failed(&error))?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<C::NodeId>>, StorageError<C::NodeId>> {
        let vote = self.group.vote().and_then(|vote| {
            let vote = vote.as_ref().map(|vote| decode(&vote.leader));
            vote.transpose()
        });
        let vote = vote.map_err(|error| StorageIOError::read_vote(AnyError::new(&error)))?;
        // openraft asks when it starts, and goes on to lead in its old term if it did, and knows that. But entries that
        // it had sent to others and not made durable are lost, and it would give their ids to other entries; and it may
        // know of less that is committed than it had answered. So it has to be elected anew, by those who know.
        Ok(vote.map(|vote: Vote<C::NodeId>| Vote {
            committed: false,
            ..vote
        }))
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId<C::NodeId>>,
    ) -> Result<(), StorageError<C::NodeId>> {
        let point = committed.as_ref().map(Self::to_point).transpose();
        let saved = point.and_then(|point| self.group.save_committed(point.as_ref()));
        saved.map_err(|error| writing(&error))
    }

    async fn read_committed(
        &mut self,
    ) -> Result<Option<LogId<C::NodeId>>, StorageError<C::NodeId>> {
        let committed = self.group.state().and_then(|state| {
            let committed = state.committed.as_ref().map(Self::of_point);
            committed.transpose()
        });
        committed.map_err(|error| reading(&error))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<C>,
    ) -> Result<(), StorageError<C::NodeId>>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let appended = self.to_append(entries).and_then(|entries| {
            self.group.submit(Change::Append(&entries), move |result| {
                callback.log_io_completed(result.map_err(io::Error::other));
            })
        });
        appended.map_err(|error| writing(&error))
    }

    async fn truncate(&mut self, log_id: LogId<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let truncated = self.durably(Change::Truncate(log_id.index)).await;
        truncated.map_err(|error| writing(&error))
    }

    async fn purge(&mut self, log_id: LogId<C::NodeId>) -> Result<(), StorageError<C::NodeId>> {
        let point = Self::to_point(&log_id).map_err(|error| writing(&error))?;
        #[cfg(feature = "state-machine")]
        if let Some(purging) = &mut self.purging {
            let is_held = purging.wait_until_held(log_id.index).await;
            is_held.map_err(|error| writing(&error))?;
        }
        let purged = self.durably(Change::Purge(&point)).await;
        purged.map_err(|error| writing(&error))
    }
}
