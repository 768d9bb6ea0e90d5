//! What a store is made of: positions, versions, ids and events.

use std::fmt;
use std::sync::Arc;

use crate::record::{Layout, Malformed};

/// The place of an event in the whole store: 1, 2, 3, … without a gap, in the order of the commits.
/// `Position(0)` stands before the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Position(pub u64);

/// The place of an event in its stream: 1, 2, 3, … without a gap; so also the number of the stream's
/// events up to it. `Version(0)` is a stream without an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Version(pub u64);

/// What makes an event the same one when its append is tried again: 16 bytes that the caller draws, a
/// UUID for example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EventId(pub [u8; 16]);

impl Position {
    /// The position behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; of `Position(0)`, itself.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Version {
    /// The version behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl From<u128> for EventId {
    fn from(id: u128) -> Self {
        Self(id.to_le_bytes())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An event that was recorded. Cheap to clone: clones share its bytes.
#[derive(Clone)]
pub struct Event {
    position: Position,
    bytes: Arc<[u8]>,
    layout: Layout,
}

impl Event {
    /// The event in `bytes`, the record at `position`, which it checks.
    pub(crate) fn decode(position: Position, bytes: Arc<[u8]>) -> Result<Self, Malformed> {
        let layout = Layout::of(&bytes)?;
        if layout.index >= position.0 || layout.previous >= position.0 {
            return Err(Malformed);
        }
        Ok(Self {
            position,
            bytes,
            layout,
        })
    }

    /// Its place in the store.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Its place in its stream.
    pub fn version(&self) -> Version {
        Version(self.layout.version)
    }

    /// What it was appended under.
    pub fn id(&self) -> EventId {
        self.layout.id
    }

    /// When it was appended, in microseconds since the Unix epoch, as the store's clock had it.
    pub fn timestamp_micros(&self) -> u64 {
        self.layout.timestamp
    }

    /// True for the record that ends a stream: it has no type, no payload, no metadata and no tags.
    pub fn is_tombstone(&self) -> bool {
        self.layout.is_tombstone
    }

    /// Its stream.
    pub fn stream(&self) -> &str {
        self.layout.stream.text(&self.bytes)
    }

    /// Its type.
    pub fn kind(&self) -> &str {
        self.layout.kind.text(&self.bytes)
    }

    /// Its tags, in the order in which they were given.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.layout.tags(&self.bytes)
    }

    /// What it says.
    pub fn payload(&self) -> &[u8] {
        self.layout.payload.of(&self.bytes)
    }

    /// What it says, if that is JSON of a `T`.
    ///
    /// # Errors
    /// The payload is no JSON, or not that of a `T`: another program may have written the event, or an older
    /// version of this one.
    #[cfg(feature = "serde")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(self.payload())
    }

    /// What is said about it.
    pub fn metadata(&self) -> &[u8] {
        self.layout.metadata.of(&self.bytes)
    }

    /// The source that its append came from, and the position there; only with the first event of an
    /// append.
    pub fn source(&self) -> Option<(&str, u64)> {
        self.layout.source(&self.bytes)
    }

    /// The place of the event before it in its stream; `None` for the first one.
    pub fn previous(&self) -> Option<Position> {
        (self.layout.previous > 0).then_some(Position(self.layout.previous))
    }

    /// The positions of its append: all or nothing of them is there.
    pub(crate) fn append(&self) -> (Position, u64) {
        (
            Position(self.position.0 - self.layout.index),
            self.layout.count,
        )
    }

    pub(crate) fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position && self.bytes == other.bytes
    }
}

impl Eq for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("position", &self.position)
            .field("stream", &self.stream())
            .field("version", &self.version())
            .field("kind", &self.kind())
            .field("id", &self.id())
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}
