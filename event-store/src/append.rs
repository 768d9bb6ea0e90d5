//! [`Append`]: what is appended together, and under which expectations.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::ids::{EventId, Position, Version};
use crate::limits::{MAX_EVENTS, MAX_NAME_SIZE, MAX_TAGS};
use crate::query::Condition;

/// What an append expects of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Nothing; but a stream that was ended takes no event.
    Any,
    /// That it has no event.
    NoStream,
    /// That it has one.
    StreamExists,
    /// That this is its last version; `Version(0)` is the same as [`NoStream`](Expected::NoStream).
    Exactly(Version),
}

impl Expected {
    pub(crate) fn is_met_by(self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => version == Version(0),
            Self::StreamExists => version > Version(0),
            Self::Exactly(expected) => version == expected,
        }
    }

    pub(crate) fn words(self) -> String {
        match self {
            Self::Any => "any version".to_owned(),
            Self::NoStream => "no stream".to_owned(),
            Self::StreamExists => "a stream".to_owned(),
            Self::Exactly(version) => format!("version {version}"),
        }
    }
}

/// An event that is to be appended.
#[derive(Clone, Debug)]
pub struct NewEvent<'a> {
    pub(crate) id: Option<EventId>,
    pub(crate) kind: &'a str,
    pub(crate) payload: Cow<'a, [u8]>,
    pub(crate) metadata: &'a [u8],
    pub(crate) tags: Vec<&'a str>,
}

impl<'a> NewEvent<'a> {
    /// An event of type `kind` that says `payload`. The store draws an id for it, unless it is given
    /// one.
    pub fn new(kind: &'a str, payload: &'a [u8]) -> Self {
        Self::with_payload(kind, payload.into())
    }

    /// An event of type `kind` that says `value`, as JSON.
    ///
    /// # Errors
    /// What `value` answers when it is asked to serialize itself; a map whose keys are no strings.
    #[cfg(feature = "serde")]
    pub fn json(kind: &'a str, value: &impl serde::Serialize) -> serde_json::Result<Self> {
        let payload = serde_json::to_vec(value)?;
        Ok(Self::with_payload(kind, payload.into()))
    }

    fn with_payload(kind: &'a str, payload: Cow<'a, [u8]>) -> Self {
        Self {
            id: None,
            kind,
            payload,
            metadata: &[],
            tags: Vec::new(),
        }
    }

    /// What makes it the same event when the append is tried again. Without it, a retry appends it a
    /// second time.
    #[must_use]
    pub fn id(mut self, id: impl Into<EventId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// What is said about it.
    #[must_use]
    pub fn metadata(mut self, metadata: &'a [u8]) -> Self {
        self.metadata = metadata;
        self
    }

    /// One more tag, by which it is found and conditions see it.
    #[must_use]
    pub fn tag(mut self, tag: &'a str) -> Self {
        self.tags.push(tag);
        self
    }
}

/// Events of one or more streams that are appended together, all or nothing, if every expectation and
/// every condition is met.
///
/// ```
/// use event_store::{Append, Condition, Expected, NewEvent, Position, Query};
///
/// let append = Append::new()
///     .stream("account-1", Expected::Any, [NewEvent::new("Withdrawn", b"10")])
///     .stream("account-2", Expected::StreamExists, [NewEvent::new("Deposited", b"10")])
///     .condition(Condition::new(Query::new().tags(["frozen"]), Position(0)));
/// # drop(append);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Append<'a> {
    pub(crate) streams: Vec<ToStream<'a>>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) source: Option<(&'a str, u64)>,
    /// Of events that are imported; that of the store's clock else.
    pub(crate) timestamp: Option<u64>,
}

/// What is appended to one stream.
#[derive(Clone, Debug)]
pub(crate) struct ToStream<'a> {
    pub(crate) name: &'a str,
    pub(crate) expected: Expected,
    pub(crate) events: Vec<NewEvent<'a>>,
    /// It is ended.
    pub(crate) ends: bool,
}

impl<'a> Append<'a> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `events` to stream `name`, which is as `expected`. Without events only that is asked of
    /// the stream. Each stream once.
    #[must_use]
    pub fn stream(
        mut self,
        name: &'a str,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent<'a>>,
    ) -> Self {
        self.streams.push(ToStream {
            name,
            expected,
            events: events.into_iter().collect(),
            ends: false,
        });
        self
    }

    pub(crate) fn tombstone(name: &'a str, expected: Expected) -> Self {
        let mut append = Self::new().stream(name, expected, []);
        append.streams.iter_mut().for_each(|to| to.ends = true);
        append
    }

    /// Asks that `condition` holds. With more than one, all must.
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Says that these events follow from position `position` of the source `name`, a queue or another
    /// store. It is recorded with the first of them, so that what was consumed and what follows from it
    /// are one. If that or a later position was recorded before, the append is refused with
    /// [`Error::SourceNotNewer`]. Where to continue says
    /// [`EventStore::source_position`](crate::EventStore::source_position).
    #[must_use]
    pub fn source(mut self, name: &'a str, position: u64) -> Self {
        self.source = Some((name, position));
        self
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.streams.iter().any(|to| to.ends)
    }

    /// The records that it makes, whatever they say.
    pub(crate) fn count(&self) -> usize {
        let records = |to: &ToStream<'_>| to.events.len() + usize::from(to.ends);
        self.streams.iter().map(records).sum()
    }

    /// Checks everything that does not depend on the store.
    pub(crate) fn check(&self) -> Result<()> {
        let count = self.count();
        if count == 0 {
            return Err(invalid("an append", "it has at least one event"));
        }
        if count > MAX_EVENTS {
            let (size, limit) = (count as u64, MAX_EVENTS as u64);
            return Err(Error::too_large("number of events", size, limit));
        }
        let mut names = HashSet::with_capacity(self.streams.len());
        for to in &self.streams {
            check_name("a stream's name", to.name)?;
            if !names.insert(to.name) {
                return Err(invalid("an append", "it names each stream once"));
            }
            to.events.iter().try_for_each(check_event)?;
        }
        if let Some((name, _)) = self.source {
            check_name("a source's name", name)?;
        }
        let mut ids: Vec<_> = self.ids().collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(&[id, _]) => Err(Error::IdConflict { id }),
            _ => Ok(()),
        }
    }

    /// The ids that were given.
    pub(crate) fn ids(&self) -> impl Iterator<Item = EventId> {
        let events = self.streams.iter().flat_map(|to| &to.events);
        events.filter_map(|event| event.id)
    }
}

fn check_event(event: &NewEvent<'_>) -> Result<()> {
    check_name("an event's type", event.kind)?;
    if event.tags.len() > MAX_TAGS {
        let (size, limit) = (event.tags.len() as u64, MAX_TAGS as u64);
        return Err(Error::too_large("number of tags", size, limit));
    }
    event
        .tags
        .iter()
        .try_for_each(|tag| check_name("a tag", tag))?;
    if u32::try_from(event.metadata.len()).is_err() {
        let size = event.metadata.len() as u64;
        return Err(Error::too_large("metadata", size, u64::from(u32::MAX)));
    }
    Ok(())
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(invalid(what, "it has at least one byte"));
    }
    if name.len() > MAX_NAME_SIZE {
        let (size, limit) = (name.len() as u64, MAX_NAME_SIZE as u64);
        return Err(Error::too_large(what, size, limit));
    }
    Ok(())
}

pub(crate) fn invalid(what: &'static str, rule: &'static str) -> Error {
    Error::Invalid { what, rule }
}

/// What an append did.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Appended {
    /// The places of its events.
    pub positions: Range<Position>,
    /// The last version of each stream that got events, in the order in which they were given.
    pub versions: Vec<Version>,
    /// True if the same append was there already: nothing was written, and the rest is what it gave
    /// then.
    pub was_there: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> NewEvent<'static> {
        NewEvent::new("Kind", b"")
    }

    #[test]
    fn what_no_store_can_append_is_refused() {
        let long = "x".repeat(MAX_NAME_SIZE + 1);
        let many = (0..=MAX_TAGS).fold(event(), |event, _| event.tag("t"));
        let one = |name, event| Append::new().stream(name, Expected::Any, [event]);
        for append in [
            Append::new(),
            Append::new().stream("s", Expected::Any, []),
            one("", event()),
            one(&long, event()),
            one("s", NewEvent::new("", b"")),
            one("s", event().tag("")),
            one("s", many),
            one("s", event()).stream("s", Expected::Any, [event()]),
            one("s", event()).source("", 1),
            one("s", event().id(1)).stream("t", Expected::Any, [event().id(1)]),
        ] {
            assert!(append.check().is_err(), "{append:?}");
        }
        let twice = one("s", event().id(1)).stream("t", Expected::Any, [event(), event()]);
        twice.check().unwrap();
    }
}
