//! Events as lines of JSON ([format], section 12): [`EventStore::export`] and [`EventStore::import`].
//!
//! [format]: crate::format

use std::collections::VecDeque;
use std::io::{BufRead, Read as _, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use durable_io::engine::NoOutput;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::append::{Append, Expected, NewEvent};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::event_store::EventStore;
use crate::ids::{EventId, Position};
use crate::projection::Failure;
use crate::ticket::Ticket;

/// How many appends of an import are in flight, at most: they share syncs.
const IN_FLIGHT: usize = 256;

/// An event as a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(default)]
    position: u64,
    stream: String,
    #[serde(default)]
    version: u64,
    id: Option<String>,
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    kind: String,
    timestamp: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    /// The events that were appended together with it, and follow.
    #[serde(default, skip_serializing_if = "is_zero")]
    and_next: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    tombstone: bool,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Serialize, Deserialize)]
struct Source {
    name: String,
    position: u64,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Imported {
    /// Events and tombstones that were appended.
    pub appended: u64,
    /// Those that were there already.
    pub were_there: u64,
}

impl EventStore {
    /// Writes every event from position `from` on that is durable now to `out`, one line of JSON each, as the
    /// [format](crate::format) says in section 12; returns the last position. A payload that is JSON is there
    /// as it is, any other one as base64.
    ///
    /// # Cost
    /// As [`read_all`](EventStore::read_all). Nothing is buffered: `out` should be.
    ///
    /// # Errors
    /// [`Output`](Error::Output): `out` fails; otherwise as [`read_all`](EventStore::read_all).
    pub fn export(&self, from: Position, out: &mut dyn Write) -> Result<Position> {
        let mut last = from.previous();
        for event in self.read_all(from) {
            let event = event?;
            last = event.position();
            let mut line = serde_json::to_vec(&line(&event)).expect("it has names as keys alone");
            line.push(b'\n');
            out.write_all(&line).map_err(|error| {
                let source = Arc::new(error);
                Error::Output(NoOutput { source })
            })?;
        }
        out.flush().map_err(|error| {
            let source = Arc::new(error);
            Error::Output(NoOutput { source })
        })?;
        Ok(last)
    }

    /// Appends the events that `lines` holds, as [`export`](EventStore::export) writes them, whatever their streams
    /// hold; those that were appended together are so again. What is there already by its id is passed over: an
    /// import that was interrupted is tried again as a whole. Positions, and versions if the streams had events, are
    /// new ones; ids, timestamps and everything else are kept, but for the ids of tombstones.
    ///
    /// # Durability
    /// When this returns, as after [`append`](EventStore::append).
    ///
    /// # Errors
    /// [`Line`](Error::Line): a line cannot be read, or is no event; what is before it was appended. Otherwise as
    /// [`write`](EventStore::write); [`StreamEnded`](Error::StreamEnded) if events follow that are not there.
    pub fn import(&self, lines: impl BufRead) -> Result<Imported> {
        let mut import = Import {
            store: self,
            lines,
            number: 0,
            in_flight: VecDeque::new(),
            imported: Imported::default(),
        };
        let read = loop {
            match import.next_append() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What is before a line that is no event was appended.
        while import.conclude()? {}
        read.map(|()| import.imported)
    }
}

/// `bytes` as JSON, if they are that, in one line, to the letter; else as base64.
fn split(bytes: &[u8]) -> (Option<&RawValue>, Option<String>) {
    if bytes.is_empty() {
        return (None, None);
    }
    let is_line = !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    match serde_json::from_slice::<&RawValue>(bytes) {
        // `null` would be read as if there were none.
        Ok(raw) if is_line && raw.get().as_bytes() == bytes && bytes != b"null" => {
            (Some(raw), None)
        }
        _ => (None, Some(BASE64.encode(bytes))),
    }
}

fn line(event: &Event) -> Line<'_> {
    let (metadata, metadata_base64) = split(event.metadata());
    let (payload, payload_base64) = split(event.payload());
    let (first, count) = event.append();
    let source = event.source().map(|(name, position)| Source {
        name: name.to_owned(),
        position,
    });
    Line {
        position: event.position().0,
        stream: event.stream().to_owned(),
        version: event.version().0,
        id: Some(event.id().to_string()),
        kind: event.kind().to_owned(),
        timestamp: Some(event.timestamp_micros()),
        tags: event.tags().map(str::to_owned).collect(),
        source,
        and_next: first.0 + count - event.position().0 - 1,
        tombstone: event.is_tombstone(),
        metadata,
        metadata_base64,
        payload,
        payload_base64,
    }
}

/// An event that a line says.
struct Read {
    stream: String,
    id: Option<EventId>,
    kind: String,
    timestamp: Option<u64>,
    tags: Vec<String>,
    source: Option<Source>,
    and_next: u64,
    is_tombstone: bool,
    metadata: Vec<u8>,
    payload: Vec<u8>,
}

impl Read {
    fn new(text: &[u8]) -> Result<Self, Failure> {
        let line: Line<'_> = serde_json::from_slice(text)?;
        let id = line.id.as_deref().map(parse_id).transpose()?;
        Ok(Self {
            metadata: join(line.metadata, line.metadata_base64)?,
            payload: join(line.payload, line.payload_base64)?,
            stream: line.stream,
            id,
            kind: line.kind,
            timestamp: line.timestamp,
            tags: line.tags,
            source: line.source,
            and_next: line.and_next,
            is_tombstone: line.tombstone,
        })
    }

    fn event(&self) -> NewEvent<'_> {
        let event = NewEvent::new(&self.kind, &self.payload).metadata(&self.metadata);
        let event = self.tags.iter().fold(event, |event, tag| event.tag(tag));
        match self.id {
            Some(id) => event.id(id),
            None => event,
        }
    }
}

fn parse_id(text: &str) -> Result<EventId, Failure> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex);
    let number = number.ok_or("an id is 32 hexadecimal digits")?;
    // The first two digits are the first byte.
    Ok(EventId::from(number.swap_bytes()))
}

fn join(json: Option<&RawValue>, base64: Option<String>) -> Result<Vec<u8>, Failure> {
    match (json, base64) {
        (Some(_), Some(_)) => Err("it is there twice".into()),
        (Some(json), None) => Ok(json.get().as_bytes().to_vec()),
        (None, Some(base64)) => Ok(BASE64.decode(base64)?),
        (None, None) => Ok(Vec::new()),
    }
}

struct Import<'a, R> {
    store: &'a EventStore,
    lines: R,
    /// Of the last line that was read.
    number: u64,
    in_flight: VecDeque<Ticket>,
    imported: Imported,
}

impl<R: BufRead> Import<'_, R> {
    /// Appends what was appended together; false at the end.
    fn next_append(&mut self) -> Result<bool> {
        let Some(first) = self.next_event()? else {
            return Ok(false);
        };
        let mut events = vec![first];
        while let Some(last) = events.last().filter(|last| last.and_next > 0) {
            let left = last.and_next - 1;
            match self.next_event()? {
                Some(next) if next.and_next == left => events.push(next),
                _ => return Err(self.wrong("the events that were appended with it are missing")),
            }
        }
        self.append(&events)?;
        if self.in_flight.len() > IN_FLIGHT {
            self.conclude()?;
        }
        Ok(true)
    }

    fn append(&mut self, events: &[Read]) -> Result<()> {
        let [first, ..] = events else {
            unreachable!("there is one at least");
        };
        let mut append = Append::new();
        if first.is_tombstone {
            append = Append::tombstone(&first.stream, Expected::Any);
        } else {
            for together in events.chunk_by(|one, other| one.stream == other.stream) {
                let stream = together.first().map_or("", |event| &event.stream);
                let events = together.iter().map(Read::event);
                append = append.stream(stream, Expected::Any, events);
            }
        }
        if let Some(Source { name, position }) = &first.source {
            append = append.source(name, *position);
        }
        append.timestamp = first.timestamp;
        let ticket = self.store.submit(&append)?;
        self.in_flight.push_back(ticket);
        Ok(())
    }

    /// Waits for the oldest append; false if there is none.
    fn conclude(&mut self) -> Result<bool> {
        let Some(ticket) = self.in_flight.pop_front() else {
            return Ok(false);
        };
        let appended = ticket.wait()?;
        let events = appended.positions.end.0 - appended.positions.start.0;
        if appended.was_there {
            self.imported.were_there += events;
        } else {
            self.imported.appended += events;
        }
        Ok(true)
    }

    /// The event that the next line says; empty ones are passed over.
    fn next_event(&mut self) -> Result<Option<Read>> {
        // What one append may have, as base64 and with room for the rest.
        let limit = 2 * wal::max_batch_size(self.store.store.settings.segment_size) + 4096;
        loop {
            self.number += 1;
            let mut text = Vec::new();
            let mut line = (&mut self.lines).take(limit);
            let read = line.read_until(b'\n', &mut text);
            read.map_err(|error| self.wrong(error))?;
            if text.is_empty() {
                return Ok(None);
            }
            if text.len() as u64 == limit {
                return Err(Error::too_large("line", limit, limit - 1));
            }
            if !text.iter().all(u8::is_ascii_whitespace) {
                let event = Read::new(&text);
                return event.map(Some).map_err(|error| self.wrong(error));
            }
        }
    }

    fn wrong(&self, reason: impl Into<Failure>) -> Error {
        Error::Line {
            number: self.number,
            reason: reason.into().into(),
        }
    }
}
