//! The record of an event in the log ([format], section 3); pure.
//!
//! [format]: crate::format

use durable_io::codec::{Decoder, Encoder, put};

use crate::ids::EventId;
use crate::limits::{MAX_EVENTS, MAX_NAME_SIZE, MAX_TAGS};

/// Bytes before the names.
pub(crate) const HEADER_SIZE: usize = 60;

const EVENT: u8 = 1;
const TOMBSTONE: u8 = 2;

/// Where the numbers are that are known only when the append has its place.
const ID: usize = 8;
const VERSION: usize = 24;
const PREVIOUS: usize = 32;
const TIMESTAMP: usize = 40;
const INDEX: usize = 48;
const COUNT: usize = 52;

/// What an event is before it has a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) is_tombstone: bool,
    pub(crate) id: EventId,
    pub(crate) stream: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) tags: &'a [&'a str],
    pub(crate) source: Option<(&'a str, u64)>,
    pub(crate) metadata: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// The place of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: u64,
    pub(crate) previous: u64,
    pub(crate) timestamp: u64,
    /// Its number in its append, from 0, and how many that has.
    pub(crate) index: u64,
    pub(crate) count: u64,
}

impl Draft<'_> {
    /// The record, without its place. The limits have been checked.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let names = self.stream.len() + self.kind.len() + self.metadata.len();
        let mut out = Encoder::with_capacity(HEADER_SIZE + names + self.payload.len() + 64);
        let kind = if self.is_tombstone { TOMBSTONE } else { EVENT };
        out.bytes(&[kind, narrow(self.tags.len())]);
        let source = self.source.map_or(0, |(name, _)| name.len());
        for len in [self.kind.len(), self.stream.len(), source] {
            put_len(&mut out, len);
        }
        out.bytes(&self.id.0).bytes(&[0; COUNT + 4 - VERSION]);
        out.u32(u32::try_from(self.metadata.len()).expect("metadata are within their limit"));
        out.bytes(self.stream.as_bytes())
            .bytes(self.kind.as_bytes());
        for tag in self.tags {
            put_len(&mut out, tag.len());
            out.bytes(tag.as_bytes());
        }
        if let Some((name, position)) = self.source {
            out.bytes(name.as_bytes()).u64(position);
        }
        out.bytes(self.metadata).bytes(self.payload);
        out.into_vec()
    }
}

impl Place {
    /// Writes the place into the record `bytes`.
    pub(crate) fn put(&self, bytes: &mut [u8]) {
        put(bytes, VERSION, &self.version.to_le_bytes());
        put(bytes, PREVIOUS, &self.previous.to_le_bytes());
        put(bytes, TIMESTAMP, &self.timestamp.to_le_bytes());
        let short = |n: u64| {
            u32::try_from(n)
                .expect("an append is within its limit")
                .to_le_bytes()
        };
        put(bytes, INDEX, &short(self.index));
        put(bytes, COUNT, &short(self.count));
    }
}

fn narrow(tags: usize) -> u8 {
    u8::try_from(tags).expect("tags are within their limit")
}

fn put_len(out: &mut Encoder, len: usize) {
    let len = u16::try_from(len).expect("names are within their limit");
    out.bytes(&len.to_le_bytes());
}

/// True if the record `there` says what `draft` does, which has no place yet; the place does not count,
/// nor, if `is_drawn`, the id.
pub(crate) fn says_the_same(there: &[u8], draft: &[u8], is_drawn: bool) -> bool {
    let range = |from: usize, to: usize| (there.get(from..to), draft.get(from..to));
    let same = |(one, other): (Option<&[u8]>, Option<&[u8]>)| one == other;
    same(range(0, ID))
        && (is_drawn || same(range(ID, VERSION)))
        && there.get(COUNT + 4..) == draft.get(COUNT + 4..)
}

/// A record that no store has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    start: usize,
    len: usize,
}

impl Part {
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start..self.start + self.len)
            .expect("a layout is that of its record")
    }

    pub(crate) fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.of(bytes)).expect("names were checked when the record was decoded")
    }
}

/// Where everything is in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) is_tombstone: bool,
    pub(crate) id: EventId,
    pub(crate) version: u64,
    pub(crate) previous: u64,
    pub(crate) timestamp: u64,
    pub(crate) index: u64,
    pub(crate) count: u64,
    pub(crate) stream: Part,
    pub(crate) kind: Part,
    tags: Part,
    tag_count: usize,
    source: Part,
    pub(crate) metadata: Part,
    pub(crate) payload: Part,
}

impl Layout {
    /// The layout of the record `bytes`, all of which it checks.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(bytes).ok_or(Malformed)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut header = Decoder::new(bytes);
        let &[form, tag_count] = header.bytes(2)? else {
            return None;
        };
        let kind_len = u16_le(&mut header)?;
        let stream_len = u16_le(&mut header)?;
        let source_len = u16_le(&mut header)?;
        let id = EventId(header.bytes(16)?.try_into().ok()?);
        let (version, previous) = (header.u64()?, header.u64()?);
        let timestamp = header.u64()?;
        let (index, count) = (u64::from(header.u32()?), u64::from(header.u32()?));
        let metadata_len = usize::try_from(header.u32()?).ok()?;
        let mut rest = Rest {
            bytes,
            at: HEADER_SIZE,
        };
        let stream = rest.name(stream_len)?;
        let kind = rest.name(kind_len)?;
        let tags_start = rest.at;
        for _ in 0..tag_count {
            let len = rest.take(2)?.of(bytes);
            let len = usize::from(u16::from_le_bytes(len.try_into().ok()?));
            rest.name(len)?;
        }
        let tags = Part {
            start: tags_start,
            len: rest.at - tags_start,
        };
        let source = rest.name(source_len)?;
        if source_len > 0 {
            rest.take(8)?;
        }
        let metadata = rest.take(metadata_len)?;
        let payload = rest.take(bytes.len().checked_sub(rest.at)?)?;
        let is_tombstone = form == TOMBSTONE;
        let is_bare = tag_count == 0 && kind_len == 0 && metadata_len == 0 && payload.len == 0;
        let is_sound = match form {
            EVENT => kind_len > 0,
            TOMBSTONE => is_bare,
            _ => false,
        };
        let first = version == 1;
        (is_sound
            && stream_len > 0
            && usize::from(tag_count) <= MAX_TAGS
            && version > 0
            && first == (previous == 0)
            && index < count
            && count <= MAX_EVENTS as u64)
            .then_some(Self {
                is_tombstone,
                id,
                version,
                previous,
                timestamp,
                index,
                count,
                stream,
                kind,
                tags,
                tag_count: usize::from(tag_count),
                source,
                metadata,
                payload,
            })
    }

    pub(crate) fn tags<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = Decoder::new(self.tags.of(bytes));
        (0..self.tag_count).map(move |_| {
            let tag = u16_le(&mut rest).and_then(|len| rest.bytes(len));
            let tag = tag.expect("tags were checked when the record was decoded");
            std::str::from_utf8(tag).expect("tags were checked when the record was decoded")
        })
    }

    pub(crate) fn source<'a>(&self, bytes: &'a [u8]) -> Option<(&'a str, u64)> {
        if self.source.len == 0 {
            return None;
        }
        let position = Part {
            start: self.source.start + self.source.len,
            len: 8,
        };
        let position = Decoder::new(position.of(bytes)).u64()?;
        Some((self.source.text(bytes), position))
    }
}

fn u16_le(decoder: &mut Decoder<'_>) -> Option<usize> {
    let bytes = decoder.bytes(2)?.try_into().ok()?;
    Some(usize::from(u16::from_le_bytes(bytes)))
}

/// What is left of a record.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Rest<'_> {
    fn take(&mut self, len: usize) -> Option<Part> {
        let end = self.at.checked_add(len)?;
        self.bytes.get(self.at..end)?;
        let part = Part {
            start: self.at,
            len,
        };
        self.at = end;
        Some(part)
    }

    fn name(&mut self, len: usize) -> Option<Part> {
        let part = self.take(len)?;
        let is_name = len <= MAX_NAME_SIZE && std::str::from_utf8(part.of(self.bytes)).is_ok();
        is_name.then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        version: 3,
        previous: 7,
        timestamp: 99,
        index: 1,
        count: 4,
    };

    fn draft() -> Draft<'static> {
        Draft {
            is_tombstone: false,
            id: EventId([9; 16]),
            stream: "order-1",
            kind: "Placed",
            tags: &["a", "", "cc"],
            source: Some(("queue", 77)),
            metadata: b"meta",
            payload: b"payload",
        }
    }

    fn record() -> Vec<u8> {
        let mut bytes = draft().encode();
        PLACE.put(&mut bytes);
        bytes
    }

    #[test]
    fn a_record_is_read_back() {
        let bytes = record();
        let layout = Layout::of(&bytes).unwrap();
        assert_eq!(layout.id, EventId([9; 16]));
        assert_eq!((layout.version, layout.previous), (3, 7));
        assert_eq!((layout.timestamp, layout.index, layout.count), (99, 1, 4));
        assert_eq!(layout.stream.text(&bytes), "order-1");
        assert_eq!(layout.kind.text(&bytes), "Placed");
        assert_eq!(layout.tags(&bytes).collect::<Vec<_>>(), ["a", "", "cc"]);
        assert_eq!(layout.source(&bytes), Some(("queue", 77)));
        assert_eq!(layout.metadata.of(&bytes), b"meta");
        assert_eq!(layout.payload.of(&bytes), b"payload");
        assert!(!layout.is_tombstone);
    }

    #[test]
    fn a_record_that_is_too_short_or_contradicts_itself_is_refused() {
        let bytes = record();
        let names_end = bytes.len() - b"metapayload".len();
        for len in 0..names_end {
            assert_eq!(Layout::of(&bytes[..len]), Err(Malformed), "{len} bytes");
        }
        for (at, byte) in [
            (0, 3),
            (0, 2),
            (VERSION, 1),
            (COUNT, 1),
            (HEADER_SIZE, 0xff),
        ] {
            let mut wrong = bytes.clone();
            wrong[at] = byte;
            assert_eq!(Layout::of(&wrong), Err(Malformed), "byte {at}");
        }
    }

    #[test]
    fn no_changed_byte_makes_decoding_panic() {
        let bytes = record();
        for at in 0..bytes.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                if let Ok(layout) = Layout::of(&changed) {
                    assert!(layout.tags(&changed).count() <= MAX_TAGS);
                    assert_eq!(layout.source(&changed).is_some(), layout.source.len > 0);
                }
            }
        }
    }
}
