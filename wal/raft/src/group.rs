//! [`Group`]: the log of one Raft group.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::store::Store;
use crate::types::{Change, Entry, LogPoint, LogState, Vote};
use crate::write::Name;

/// One group of a store: a handle that is cheap to clone. Made by [`LogStore::create`](crate::LogStore::create)
/// and [`LogStore::group`](crate::LogStore::group).
///
/// What is done to it can be read when the call returns. All of it is in one order, that of the calls, over all
/// groups: what a crash takes back is its end, and nothing that was acknowledged.
///
/// If the group is destroyed every call answers [`Error::NoGroup`](crate::Error::NoGroup), also when a new one has
/// got its id.
#[derive(Clone, Debug)]
pub struct Group {
    store: Arc<Store>,
    name: Name,
}

impl Group {
    pub(crate) fn new(store: &Arc<Store>, name: Name) -> Self {
        let store = Arc::clone(store);
        Self { store, name }
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.name.group
    }

    /// Its incarnation: no other group of this store ever has it, under this id or another.
    pub fn incarnation(&self) -> u64 {
        self.name.incarnation
    }

    /// The last vote; `None` if there never was one.
    ///
    /// # Errors
    /// [`NoGroup`](crate::Error::NoGroup), [`Closed`](crate::Error::Closed). After a failure what is durable is
    /// read again, once, with the errors of that.
    pub fn vote(&self) -> Result<Option<Vote>> {
        let state = self.store.view()?;
        let group = state.group(self.name.group, self.name.incarnation)?;
        Ok(group.vote.as_ref().map(|held| held.value.clone()))
    }

    /// Where the log begins and ends, and what is committed.
    ///
    /// # Errors
    /// As [`vote`](Group::vote).
    pub fn state(&self) -> Result<LogState> {
        let state = self.store.view()?;
        let group = state.group(self.name.group, self.name.incarnation)?;
        Ok(group.log_state())
    }

    /// The entries in `range` that are there: not the purged ones, nor those after the last.
    ///
    /// # Cost
    /// Those that [`Options::cache`](crate::Options::cache) keeps are copied; others are read from the log, those
    /// that follow each other there in one read.
    ///
    /// # Errors
    /// As [`vote`](Group::vote); [`Corrupt`](crate::Error::Corrupt) if one is damaged, and
    /// [`Disk`](crate::Error::Disk).
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Entry>> {
        self.entries_within(range, u64::MAX)
    }

    /// As [`entries`](Group::entries), but the first ones up to about `bytes` bytes; one at least, if one is there.
    ///
    /// # Errors
    /// As [`entries`](Group::entries).
    pub fn entries_within(&self, range: Range<u64>, bytes: u64) -> Result<Vec<Entry>> {
        self.store.entries(self.name, range, bytes)
    }

    /// Saves a vote, and waits until it is durable.
    ///
    /// Works on a full disk, as far as [`Options::reserve`](crate::Options::reserve) reaches.
    ///
    /// # Errors
    /// As [`submit`](Group::submit), and those that its callback gets.
    pub fn save_vote(&self, vote: &Vote) -> Result<()> {
        self.change(Change::Vote(vote))
    }

    /// Appends `entries` after the last one, and waits until they are durable: all of them or none. But if they
    /// are more than a segment holds, a crash before that may leave the first ones.
    ///
    /// The first entry of a group may have any index; after what is purged, the next one.
    ///
    /// # Errors
    /// As [`submit`](Group::submit), and those that its callback gets.
    pub fn append(&self, entries: &[Entry]) -> Result<()> {
        self.change(Change::Append(entries))
    }

    /// Gives up the entries from `index` on, and waits until no crash brings them back. Does nothing if there are
    /// none.
    ///
    /// Works on a full disk, as far as [`Options::reserve`](crate::Options::reserve) reaches.
    ///
    /// # Errors
    /// [`Committed`](crate::Error::Committed) if one of them was purged or said to be committed. As
    /// [`submit`](Group::submit), and those that its callback gets.
    pub fn truncate(&self, index: u64) -> Result<()> {
        self.change(Change::Truncate(index))
    }

    /// Gives up the entries up to `point`, and waits until no crash brings them back. The log may end before: then
    /// it continues after `point`. Does nothing if so much was purged before. The disk gets the space back when the
    /// front of the log is removed: in the background, or by [`LogStore::compact`](crate::LogStore::compact).
    ///
    /// Works on a full disk, as far as [`Options::reserve`](crate::Options::reserve) reaches.
    ///
    /// # Errors
    /// As [`submit`](Group::submit), and those that its callback gets.
    pub fn purge(&self, point: &LogPoint) -> Result<()> {
        self.change(Change::Purge(point))
    }

    /// Notes what is committed, and does not wait: it is durable together with whatever is made durable next.
    /// After a crash an older one may be there; one after the last entry never is.
    ///
    /// # Errors
    /// [`Beyond`](crate::Error::Beyond); as [`submit`](Group::submit).
    pub fn save_committed(&self, point: Option<&LogPoint>) -> Result<()> {
        self.store.change(self.name, Change::Commit(point), None)?;
        Ok(())
    }

    /// Does `change`, and calls `done` when it is durable, exactly once, unless this returns an error: with what
    /// came together it shares one sync. What it did can be read when this returns.
    ///
    /// Callbacks are called in the order of the log, one at a time, by one thread; under
    /// [`Background::Inline`](wal::Background::Inline) by
    /// [`LogStore::run_background`](crate::LogStore::run_background). They may use the store. One that panics
    /// poisons it.
    ///
    /// # Errors
    /// [`NoGroup`](crate::Error::NoGroup), [`Gap`](crate::Error::Gap), [`Committed`](crate::Error::Committed),
    /// [`Beyond`](crate::Error::Beyond), [`TooLarge`](crate::Error::TooLarge): nothing was written.
    /// [`Disk`](crate::Error::Disk) with [`NoSpace`](durable_io::Error::NoSpace): nothing was changed, and a later
    /// call may succeed. Any other `Disk`: the store is poisoned, and the change may or may not survive.
    /// [`Poisoned`](crate::Error::Poisoned), [`Closed`](crate::Error::Closed). `done` gets the last three.
    pub fn submit(
        &self,
        change: Change<'_>,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) -> Result<()> {
        self.store.change(self.name, change, Some(Box::new(done)))?;
        Ok(())
    }

    fn change(&self, change: Change<'_>) -> Result<()> {
        let lsn = self.store.change(self.name, change, None)?;
        self.store.wait_until_durable(lsn)
    }
}
