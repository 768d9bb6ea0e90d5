//! Appending: what waits, what answers by a ticket, and what calls back.

use std::sync::Arc;

use durable_io::Background;

use crate::background::Committer;
use crate::batch::Batch;
use crate::commit::too_large;
use crate::delivery::Callback;
use crate::error::Result;
use crate::expectation::Expectation;
use crate::item::Item;
use crate::limits::{MAX_BATCH_SIZE, MAX_RECORD_SIZE};
use crate::location::{Appended, Location};
use crate::lsn::Lsn;
use crate::ticket::Ticket;
use crate::wal::Wal;

impl Wal {
    /// Appends `payload` as one record and returns where it is, which says its position, too.
    ///
    /// Concurrent callers share one write and one sync.
    ///
    /// # Durability
    /// As the [`SyncMode`](crate::SyncMode) says; under [`Always`](crate::SyncMode::Always) the record
    /// survives power loss once this returns.
    ///
    /// # Cost
    /// One copy of the payload, one write, and in `Always` one `fdatasync`, both shared. What is too large for
    /// the usual segments waits for one of its own to be made: two more syncs.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge): nothing was written.
    /// [`Error::Disk`](crate::Error::Disk) with [`NoSpace`](durable_io::Error::NoSpace) if there is no room
    /// for it in the segment, or for the next one: nothing was written, and a later append may succeed. So it
    /// may where a file system copies on write and the disk is full in the middle of the write: what it left
    /// is zeroed before the next append, and a torn tail to a crash. Any other
    /// `Error::Disk`: the log is poisoned, and the record may or may not survive.
    /// [`Error::Poisoned`](crate::Error::Poisoned): nothing was written.
    pub fn append(&self, payload: &[u8]) -> Result<Location> {
        self.log.check_open()?;
        self.log.append(Self::record(payload)?)
    }

    fn record(payload: &[u8]) -> Result<Item> {
        Item::new(&[payload], MAX_BATCH_SIZE)
            .map_err(|_size| too_large("record", payload.len() as u64, MAX_RECORD_SIZE))
    }

    fn batch(payloads: &[&[u8]]) -> Result<Item> {
        Item::new(payloads, MAX_BATCH_SIZE).map_err(|size| too_large("batch", size, MAX_BATCH_SIZE))
    }

    fn item(batch: Batch) -> Result<Item> {
        Item::of(batch, MAX_BATCH_SIZE).map_err(|size| too_large("batch", size, MAX_BATCH_SIZE))
    }

    /// What an append of `payloads` is if they are none.
    fn nothing(&self, payloads: &[&[u8]]) -> Result<Option<Appended>> {
        self.nothing_of(payloads.is_empty())
    }

    fn nothing_of(&self, is_empty: bool) -> Result<Option<Appended>> {
        self.log.check_open()?;
        Ok(is_empty.then(|| Appended::nothing(self.bounds().end)))
    }

    /// Appends `payloads` as one record each, all or nothing, and returns where they are. After any
    /// crash either all of them are there or none. An empty batch writes nothing.
    ///
    /// # Durability
    /// As [`append`](Wal::append).
    ///
    /// # Cost
    /// As [`append`](Wal::append), once for the whole batch.
    ///
    /// # Errors
    /// As [`append`](Wal::append).
    pub fn append_batch(&self, payloads: &[&[u8]]) -> Result<Appended> {
        if let Some(nothing) = self.nothing(payloads)? {
            return Ok(nothing);
        }
        let item = Self::batch(payloads)?;
        let count = item.count();
        Ok(Appended::new(self.log.append(item)?, count))
    }

    /// Appends `payloads` as one batch, as [`append_batch`](Wal::append_batch), without waiting: the
    /// ticket returns when it is acknowledged. One thread can so keep many appends in flight, and they
    /// share writes and syncs like those of many threads.
    ///
    /// The records are in the log in the order of the calls of one thread. If more than
    /// [`MAX_IN_FLIGHT`](crate::MAX_IN_FLIGHT) bytes are in flight, this waits until they are
    /// acknowledged, and may commit them and call back: with a lock held that a callback takes, it then
    /// never returns. [`try_submit`](Wal::try_submit) never waits.
    ///
    /// # Durability
    /// None yet. When the ticket says so, as [`append`](Wal::append).
    ///
    /// # Cost
    /// As [`append`](Wal::append). The first call starts a thread, named `wal-commit`; under
    /// [`Background::Inline`] there is none, and what is in flight is committed by
    /// [`Ticket::wait`], by an append that waits, or by [`run_background`](Wal::run_background).
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge), [`Error::Thread`](crate::Error::Thread): nothing
    /// was submitted. All others come with the ticket.
    pub fn submit(&self, payloads: &[&[u8]]) -> Result<Ticket> {
        self.ticket(payloads, |item| self.submit_item(item))
    }

    /// Like [`submit`](Wal::submit), and calls `done` with what a ticket would return, exactly once. An
    /// empty batch is answered at once.
    ///
    /// Callbacks are called in the order of the log, one at a time, in a thread that commits: so "durable
    /// up to" never goes back, whichever threads submit and commit. That thread's own call does not
    /// return before, appends of others continue meanwhile. `done` may use the log, close it and drop it;
    /// what becomes due by that is called when it has returned. It must not wait for another callback,
    /// nor for a lock that is held by somebody who submits. It must not panic: a panic is caught, and
    /// counted by [`Stats::callback_panics`](crate::Stats::callback_panics).
    ///
    /// # Errors
    /// As [`submit`](Wal::submit); `done` is then not called.
    pub fn submit_then(
        &self,
        payloads: &[&[u8]],
        done: impl FnOnce(Result<Appended>) + Send + 'static,
    ) -> Result<()> {
        self.with_callback(payloads, done, |item| self.submit_item(item))
    }

    /// What an append gets now, if no other one comes before it: the state of the log to build the first
    /// append of a chain on.
    pub fn expectation(&self) -> Expectation {
        self.log.expectation()
    }

    /// Like [`submit`](Wal::submit), but appends `payloads` only if the log is as `expected` when it is their
    /// turn; an empty batch expects nothing. For what is built on an append that is not acknowledged yet: it is
    /// refused if that one is.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let log = wal::Options::new().segment_size(1 << 20).open(dir.path().join("log"))?;
    /// let base = log.expectation();
    /// let first = log.submit_at(base, &[b"balance 70"])?;
    /// // Built on the first one, which is one record, while nobody knows whether it will be there.
    /// let second = log.submit_at(base.after(1), &[b"balance 40"])?;
    /// assert_eq!(second.wait()?.lsns().start, base.lsn().next());
    /// # first.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`submit`](Wal::submit). The ticket answers [`Error::Refused`](crate::Error::Refused) if the
    /// log is not as expected: nothing was written. What is submitted next, if it is not built on that
    /// append, takes a new [`expectation`](Wal::expectation).
    pub fn submit_at(&self, expected: Expectation, payloads: &[&[u8]]) -> Result<Ticket> {
        self.ticket(payloads, |item| self.submit_item(item.at(expected)))
    }

    /// [`submit_at`](Wal::submit_at), and calls `done` as [`submit_then`](Wal::submit_then) does.
    ///
    /// # Errors
    /// As [`submit_at`](Wal::submit_at); `done` is then not called.
    pub fn submit_at_then(
        &self,
        expected: Expectation,
        payloads: &[&[u8]],
        done: impl FnOnce(Result<Appended>) + Send + 'static,
    ) -> Result<()> {
        self.with_callback(payloads, done, |item| self.submit_item(item.at(expected)))
    }

    /// Like [`submit`](Wal::submit), but wakes no thread to commit it: for what need not be there soon, such as a
    /// hint or a counter. It is written together with whatever is appended or submitted next, before that, and
    /// acknowledged with it; or by the next [`sync`](Wal::sync), also that of an interval, by
    /// [`close`](Wal::close), or when somebody waits for its ticket. So it takes no write and no sync of its own.
    ///
    /// # Durability
    /// As [`submit`](Wal::submit). A crash before anything else is committed loses it.
    ///
    /// # Errors
    /// As [`submit`](Wal::submit).
    pub fn submit_lazy(&self, payloads: &[&[u8]]) -> Result<Ticket> {
        self.ticket(payloads, |item| self.submit_lazy_item(item))
    }

    /// [`submit_lazy`](Wal::submit_lazy), and calls `done` as [`submit_then`](Wal::submit_then) does.
    ///
    /// # Errors
    /// As [`submit_lazy`](Wal::submit_lazy); `done` is then not called.
    pub fn submit_lazy_then(
        &self,
        payloads: &[&[u8]],
        done: impl FnOnce(Result<Appended>) + Send + 'static,
    ) -> Result<()> {
        self.with_callback(payloads, done, |item| self.submit_lazy_item(item))
    }

    /// Like [`submit`](Wal::submit), but never waits: for a thread that must not, and for one that holds a
    /// lock which a callback takes. It commits nothing and calls nobody back.
    ///
    /// # Errors
    /// As [`submit`](Wal::submit); and [`Error::Full`](crate::Error::Full) where that would wait.
    pub fn try_submit(&self, payloads: &[&[u8]]) -> Result<Ticket> {
        self.ticket(payloads, |item| self.try_submit_item(item))
    }

    /// [`try_submit`](Wal::try_submit), and calls `done` as [`submit_then`](Wal::submit_then) does.
    ///
    /// # Errors
    /// As [`try_submit`](Wal::try_submit); `done` is then not called.
    pub fn try_submit_then(
        &self,
        payloads: &[&[u8]],
        done: impl FnOnce(Result<Appended>) + Send + 'static,
    ) -> Result<()> {
        self.with_callback(payloads, done, |item| self.try_submit_item(item))
    }

    /// Appends `batch`, as [`append_batch`](Wal::append_batch) does.
    ///
    /// # Errors
    /// As [`append_batch`](Wal::append_batch); and [`Error::Refused`](crate::Error::Refused) if the log is
    /// not as the batch expects.
    pub fn write(&self, batch: Batch) -> Result<Appended> {
        if let Some(nothing) = self.nothing_of(batch.is_empty())? {
            return Ok(nothing);
        }
        let item = Self::item(batch)?;
        let count = item.count();
        Ok(Appended::new(self.log.append(item)?, count))
    }

    /// Submits `batch`, as [`submit`](Wal::submit) does, or [`submit_at`](Wal::submit_at) if it expects
    /// something.
    ///
    /// # Errors
    /// As [`submit_at`](Wal::submit_at).
    pub fn send(&self, batch: Batch) -> Result<Ticket> {
        match self.nothing_of(batch.is_empty())? {
            Some(nothing) => Ok(Ticket::empty(nothing)),
            None => self.submit_item(Self::item(batch)?),
        }
    }

    /// [`send`](Wal::send), and calls `done` as [`submit_then`](Wal::submit_then) does.
    ///
    /// # Errors
    /// As [`send`](Wal::send); `done` is then not called.
    pub fn send_then(
        &self,
        batch: Batch,
        done: impl FnOnce(Result<Appended>) + Send + 'static,
    ) -> Result<()> {
        if let Some(nothing) = self.nothing_of(batch.is_empty())? {
            done(Ok(nothing));
            return Ok(());
        }
        let item = Self::item(batch)?.with_callback(Callback::new(done));
        self.submit_item(item).map(drop)
    }

    /// Makes everything durable that was submitted or acknowledged before, without waiting, and calls
    /// `done` with the last durable position then: in the order of the log, as
    /// [`submit_then`](Wal::submit_then) does.
    ///
    /// # Cost
    /// As [`sync`](Wal::sync), in the thread that commits.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed), [`Error::Thread`](crate::Error::Thread): `done` is not
    /// called. It gets what [`sync`](Wal::sync) would return.
    pub fn sync_then(&self, done: impl FnOnce(Result<Lsn>) + Send + 'static) -> Result<()> {
        let passed_on = move |passed: Result<Appended>| {
            done(passed.map(|passed| passed.lsns().start.previous()));
        };
        let item = Item::sync().with_callback(Callback::new(passed_on));
        self.submit_item(item).map(drop)
    }

    /// Submits `payloads` as `submit` does; an empty batch is answered at once.
    fn ticket(
        &self,
        payloads: &[&[u8]],
        submit: impl FnOnce(Item) -> Result<Ticket>,
    ) -> Result<Ticket> {
        match self.nothing(payloads)? {
            Some(nothing) => Ok(Ticket::empty(nothing)),
            None => submit(Self::batch(payloads)?),
        }
    }

    /// As [`ticket`](Wal::ticket), and calls `done` with what it returns.
    fn with_callback(
        &self,
        payloads: &[&[u8]],
        done: impl FnOnce(Result<Appended>) + Send + 'static,
        submit: impl FnOnce(Item) -> Result<Ticket>,
    ) -> Result<()> {
        if let Some(nothing) = self.nothing(payloads)? {
            done(Ok(nothing));
            return Ok(());
        }
        let item = Self::batch(payloads)?.with_callback(Callback::new(done));
        submit(item).map(drop)
    }

    fn submit_item(&self, item: Item) -> Result<Ticket> {
        let count = item.count();
        self.start_committer()?;
        let member = self.log.submit(item);
        Ok(Ticket::new(Arc::downgrade(&self.log), member, count))
    }

    fn submit_lazy_item(&self, item: Item) -> Result<Ticket> {
        let count = item.count();
        self.start_committer()?;
        let member = self.log.submit_lazily(item);
        Ok(Ticket::new(Arc::downgrade(&self.log), member, count))
    }

    fn try_submit_item(&self, item: Item) -> Result<Ticket> {
        let count = item.count();
        self.start_committer()?;
        let member = self.log.try_submit(item)?;
        Ok(Ticket::new(Arc::downgrade(&self.log), member, count))
    }

    fn start_committer(&self) -> Result<()> {
        if self.background == Background::Inline {
            return self.log.check_open();
        }
        let mut committer = self.log.health.lock(&self.committer);
        self.log.check_open()?;
        if committer.is_none() {
            *committer = Some(Committer::start(&self.log)?);
        }
        Ok(())
    }
}
