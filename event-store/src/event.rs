//! [`Event`]: what was recorded.

use std::fmt;
use std::sync::Arc;

use crate::ids::{EventId, Position, Version};
use crate::record::{Layout, Malformed};

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
