//! [`Subscription`]: every event from a position on, and then those that come.

use std::sync::Arc;
use std::time::Duration;

use crate::append::{check_name, invalid};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::ids::{EventId, Position};
use crate::marks::Mark;
use crate::query::Query;
use crate::read::Feed;
use crate::store::Store;

/// What a subscription is to give, and from where on.
///
/// ```
/// use event_store::{Position, Query, Subscribe};
///
/// // From the beginning, or from where "billing" has acknowledged:
/// let what = Subscribe::new().named("billing").query(Query::new().kinds(["Placed"]));
/// // What comes after position 7:
/// let other = Subscribe::new().after(Position(7));
/// # drop((what, other));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    name: Option<String>,
    query: Query,
    after: Position,
    id: Option<EventId>,
}

impl Subscribe {
    /// Every event, from the first one on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the events that `query` means.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Those after `position`; of a named subscription, until it has acknowledged something.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// Those after the event at `position`, which had the id `id`, as a reader has kept both: if the log
    /// holds another one there, or none, the answer is [`Error::Diverged`].
    #[must_use]
    pub fn after_event(mut self, position: Position, id: EventId) -> Self {
        self.after = position;
        self.id = Some(id);
        self
    }

    /// Continues where the subscription of this name has acknowledged, also after a crash.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// The durable events from a position on, in their order, each once; and then those that come. Made by
/// [`EventStore::subscribe`](crate::EventStore::subscribe).
///
/// It reads at the pace of whoever asks: it holds no queue, and a slow one costs nobody anything. Positions
/// have no gap and only durable events are given out, so nothing can appear later before an event that was
/// given out: no event is ever skipped.
///
/// With a name, what was [acknowledged](Subscription::acknowledge) is not given out again, not even after a
/// crash; what was not is given out again by the next subscription of that name.
///
/// As long as it lives the files stay open.
#[derive(Debug)]
pub struct Subscription {
    store: Arc<Store>,
    name: Option<String>,
    feed: Feed,
    /// The last event that was given out.
    given: Option<Mark>,
    failed: Option<Error>,
}

impl Subscription {
    pub(crate) fn new(store: &Arc<Store>, what: Subscribe) -> Result<Self> {
        store.check_open()?;
        let mut start = what.after;
        let mut id = what.id;
        if let Some(name) = &what.name {
            check_name("a subscription's name", name)?;
            // Held across I/O by those who acknowledge: a mark that is being written is waited for.
            let mut marks = store.health.lock(&store.marks);
            if let Some(mark) = marks.get(name) {
                (start, id) = (mark.position, Some(mark.id));
            }
            marks.claim(name)?;
        }
        let subscription = Self {
            store: Arc::clone(store),
            name: what.name,
            feed: Feed::new(what.query, start.next()),
            given: None,
            failed: None,
        };
        // From now on its end gives the name back.
        store.check_start(start, id)?;
        Ok(subscription)
    }

    /// The next event; waits for it for at most `timeout`. `None` if none has come by then.
    ///
    /// # Cost
    /// Nothing but a wake-up for an event that is appended meanwhile; what lies further back is read from
    /// the log.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Disk`]: the event cannot be read; it comes again with every later call.
    /// [`Error::Poisoned`]: every durable event was given out, and after a failure there will be no more.
    /// [`Error::Closed`].
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>> {
        let store = Arc::clone(&self.store);
        let give_up = store.disk.now().saturating_add(timeout);
        loop {
            // Before the look: what becomes durable while it is looked at is news.
            let end = store.durable_end();
            if let Some(event) = self.look()? {
                return Ok(Some(event));
            }
            let left = give_up.saturating_sub(store.disk.now());
            let is_over = || store.durable_end() > end || store.check().is_err();
            if left.is_zero() || !store.moved.wait_until(is_over, Some(left)) {
                return Ok(None);
            }
        }
    }

    /// The next event; after a failure and the last one, that there will be none.
    fn look(&mut self) -> Result<Option<Event>> {
        let next = self.try_next()?;
        if next.is_none() {
            self.store.check()?;
        }
        Ok(next)
    }

    /// The next event if it is there.
    ///
    /// # Errors
    /// As [`next`](Subscription::next).
    pub fn try_next(&mut self) -> Result<Option<Event>> {
        self.store.check_open()?;
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let next = self.feed.next(&self.store, self.store.durable_end());
        match &next {
            Ok(Some(event)) => self.given = Some(mark_of(event)),
            Ok(None) => {}
            Err(error) => self.failed = Some(error.clone()),
        }
        next
    }

    /// Says that everything given out so far is dealt with: none of it is given out again under this name.
    ///
    /// # Durability
    /// When this returns, no crash takes that back.
    ///
    /// # Cost
    /// One record in a log of its own, and a sync.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the subscription has no name. [`Error::Disk`] with
    /// [`NoSpace`](durable_io::Error::NoSpace): the disk is full, and the reserve is used up; nothing has
    /// changed. Any other `Error::Disk`, [`Error::Poisoned`]: it may or may not have been written.
    pub fn acknowledge(&mut self) -> Result<()> {
        let Some(name) = &self.name else {
            return Err(invalid("a subscription that acknowledges", "it has a name"));
        };
        let Some(given) = self.given else {
            return Ok(());
        };
        self.store.keep_acknowledged(name, Some(given))?;
        Ok(())
    }

    /// Says that everything up to `event`, which this subscription has given out, is dealt with. As
    /// [`acknowledge`](Subscription::acknowledge).
    ///
    /// # Errors
    /// As [`acknowledge`](Subscription::acknowledge); [`Error::Invalid`] also if it has not given that
    /// event out.
    pub fn acknowledge_up_to(&mut self, event: &Event) -> Result<()> {
        let Some(name) = &self.name else {
            return Err(invalid("a subscription that acknowledges", "it has a name"));
        };
        if self
            .given
            .is_none_or(|given| given.position < event.position())
        {
            return Err(invalid("an event to acknowledge", "it was given out"));
        }
        self.store.keep_acknowledged(name, Some(mark_of(event)))
    }

    #[cfg(feature = "stream")]
    pub(crate) fn poll(&mut self, waker: &std::task::Waker) -> std::task::Poll<Result<Event>> {
        use std::task::Poll;
        loop {
            // Before the look: what becomes durable while it is looked at is news.
            let end = self.store.durable_end();
            match self.look() {
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Err(error) => return Poll::Ready(Err(error)),
                Ok(None) => {}
            }
            let store = &self.store;
            let is_over = || store.durable_end() > end || store.check().is_err();
            // Registered first: what comes after this look wakes it.
            store.health.lock(&store.wakers).push(waker.clone());
            if !is_over() {
                return Poll::Pending;
            }
        }
    }
}

fn mark_of(event: &Event) -> Mark {
    Mark {
        position: event.position(),
        id: event.id(),
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.store.health.lock(&self.store.marks).let_go(name);
        }
    }
}

impl Store {
    /// The log must hold what a reader has seen: the event at `start`, with the id `id`.
    pub(crate) fn check_start(&self, start: Position, id: Option<EventId>) -> Result<()> {
        let diverged = Err(Error::Diverged { position: start });
        if start == Position(0) {
            return Ok(());
        }
        if start >= self.durable_end() {
            return diverged;
        }
        match id {
            Some(id) if self.event(start)?.id() != id => diverged,
            _ => Ok(()),
        }
    }

    /// Makes `mark` that of the reader `name`, durably. One that is after that which it has changes nothing.
    pub(crate) fn keep_acknowledged(&self, name: &str, mark: Option<Mark>) -> Result<()> {
        loop {
            self.check()?;
            // Held across I/O: marks are written one at a time, in their order.
            let mut marks = self.health.lock(&self.marks);
            let is_not_newer = |old: Mark| mark.is_some_and(|new| new.position <= old.position);
            if marks.get(name).is_some_and(is_not_newer) {
                return Ok(());
            }
            let set = marks.set(name, mark).and_then(|()| marks.compact());
            drop(marks);
            match set {
                Err(error) if error.is_no_space() && self.release_reserve()? => {}
                other => return other.map_err(|error| self.note(error)),
            }
        }
    }
}
