//! States that projections have saved, in the log of marks ([format], section 6).
//!
//! [format]: crate::format

use std::collections::BTreeMap;

use durable_io::codec::{Decoder, Encoder};
use wal::{Location, Wal};

use crate::error::{Error, Result};
use crate::ids::{EventId, Position};
use crate::limits::{MAX_NAME_SIZE, MAX_PROJECTIONS, MAX_SNAPSHOTS};
use crate::marks::{Mark, Marks};

const SAVED: u32 = 3;
const FORGOTTEN: u32 = 4;

/// Bytes of old states, beside four times those of the others, after which the log is written anew.
const OLD_BYTES: u64 = 64 << 10;

/// What a state is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) projection: String,
    /// Empty if it is of everything that the projection has seen.
    pub(crate) stream: String,
}

impl Key {
    pub(crate) fn new(projection: &str, stream: &str) -> Self {
        Self {
            projection: projection.to_owned(),
            stream: stream.to_owned(),
        }
    }
}

/// What a record says before the state itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: Key,
    /// That of the encoding.
    pub(crate) version: u32,
    /// The last event that is in the state.
    pub(crate) mark: Mark,
}

/// A saved state, without its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    pub(crate) version: u32,
    pub(crate) mark: Mark,
    location: Location,
}

impl Saved {
    /// Bytes that it takes in the log.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.location.payload_len())
    }
}

/// Where the last state of each projection, and of each stream, is.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    all: BTreeMap<Key, Saved>,
    /// How many of them are of streams.
    of_streams: usize,
    /// Bytes of them, and of all that are in the log.
    bytes: u64,
    written: u64,
}

impl Snapshots {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn of_streams(&self) -> usize {
        self.of_streams
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Saved> {
        self.all.get(key).copied()
    }

    /// The state that was saved at `location` is the last one of its key.
    pub(crate) fn put(&mut self, header: Header, location: Location) {
        let Header { key, version, mark } = header;
        let saved = Saved {
            version,
            mark,
            location,
        };
        self.written += saved.bytes();
        self.bytes += saved.bytes();
        let is_of_stream = !key.stream.is_empty();
        match self.all.insert(key, saved) {
            Some(old) => self.bytes -= old.bytes(),
            None if is_of_stream => self.of_streams += 1,
            None => {}
        }
        if self.of_streams > MAX_SNAPSHOTS {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let of_streams = self.all.iter().filter(|(key, _)| !key.stream.is_empty());
        let oldest = of_streams.min_by_key(|(_, saved)| saved.location.lsn());
        let oldest = oldest.map(|(key, _)| key.clone());
        self.drop_key(&oldest.expect("there are more than are allowed"));
    }

    fn drop_key(&mut self, key: &Key) {
        if let Some(old) = self.all.remove(key) {
            self.bytes -= old.bytes();
            self.of_streams -= usize::from(!key.stream.is_empty());
        }
    }

    /// Forgets whatever `projection` has saved.
    pub(crate) fn remove(&mut self, projection: &str) {
        self.of(projection)
            .iter()
            .for_each(|key| self.drop_key(key));
    }

    fn of(&self, projection: &str) -> Vec<Key> {
        let from = Key::new(projection, "");
        let keys = self.all.range(from..).map(|(key, _)| key);
        keys.take_while(|key| key.projection == projection)
            .cloned()
            .collect()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.all.keys()
    }

    /// The one that was saved first before the others.
    pub(crate) fn by_age(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.all.keys().cloned().collect();
        keys.sort_by_key(|key| self.all.get(key).map(|saved| saved.location.lsn()));
        keys
    }

    fn projections(&self) -> usize {
        self.all.len() - self.of_streams
    }

    /// True if most of what is in the log was replaced since.
    pub(crate) fn are_mostly_old(&self) -> bool {
        self.written > 4 * self.bytes + OLD_BYTES
    }

    /// Appends each of them to `log` once more, the one that was saved first before the others.
    pub(crate) fn write_again(&mut self, log: &Wal) -> Result<()> {
        let keys = self.by_age();
        self.written = self.bytes;
        let limit = wal::max_batch_size(log.segment_size());
        let (mut batch, mut size) = (Vec::new(), 0);
        for key in keys {
            let Some(saved) = self.all.get(&key) else {
                continue;
            };
            let payload = log.read(saved.location)?.payload;
            // As the log counts it.
            let added = payload.len() as u64 + 8;
            if size + added > limit {
                self.write_batch(log, &batch)?;
                batch.clear();
                size = 0;
            }
            size += added;
            batch.push((key, payload));
        }
        self.write_batch(log, &batch)
    }

    fn write_batch(&mut self, log: &Wal, batch: &[(Key, Vec<u8>)]) -> Result<()> {
        let payloads: Vec<&[u8]> = batch
            .iter()
            .map(|(_, payload)| payload.as_slice())
            .collect();
        let appended = log.append_batch(&payloads)?;
        let lens = payloads.iter().map(|payload| payload.len());
        for ((key, _), location) in batch.iter().zip(appended.locations(lens)) {
            if let Some(saved) = self.all.get_mut(key) {
                saved.location = location;
            }
        }
        Ok(())
    }
}

impl Marks {
    /// The bytes of a saved state.
    pub(crate) fn state(&mut self, saved: &Saved) -> Result<Vec<u8>> {
        let mut payload = self.made()?.read(saved.location)?.payload;
        let Some(Other::Saved(header)) = decode(&payload) else {
            unreachable!("it was decoded when it was found, or encoded when it was written");
        };
        payload.drain(..header_len(&header));
        Ok(payload)
    }

    /// Saves `state`, durably.
    pub(crate) fn save(&mut self, header: Header, state: &[u8]) -> Result<()> {
        let is_new = self.snapshots.get(&header.key).is_none();
        let projections = self.snapshots.projections();
        if is_new && header.key.stream.is_empty() && projections >= MAX_PROJECTIONS {
            let (size, limit) = (projections as u64 + 1, MAX_PROJECTIONS as u64);
            return Err(Error::too_large("number of projections", size, limit));
        }
        let record = encode(&header, state);
        let (size, limit) = (
            record.len() as u64,
            wal::max_record_size(self.made()?.segment_size()),
        );
        if size > limit {
            // Each state is read and written as a whole, also when that log is written anew.
            return Err(Error::too_large("state", size, limit));
        }
        // Durable, by the mode of that log: the state, with the position that it is of. What it rests on was
        // durable before. Only now may a restart begin after it.
        let location = self.made()?.append(&record)?;
        self.snapshots.put(header, location);
        Ok(())
    }

    /// Forgets whatever `projection` has saved, durably.
    pub(crate) fn forget_projection(&mut self, projection: &str) -> Result<()> {
        if self.snapshots.of(projection).is_empty() {
            return Ok(());
        }
        let mut record = Encoder::with_capacity(4 + projection.len());
        record.u32(FORGOTTEN).bytes(projection.as_bytes());
        // Durable, by the mode of that log: that there is none. Only now may the caller rely on it.
        self.made()?.append(&record.into_vec())?;
        self.snapshots.remove(projection);
        Ok(())
    }
}

/// What a record says that is no mark of a reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Other {
    Saved(Header),
    /// Whatever this projection has saved is forgotten.
    Forgotten(String),
}

fn encode(header: &Header, state: &[u8]) -> Vec<u8> {
    let Header { key, version, mark } = header;
    let len = |name: &str| u32::try_from(name.len()).expect("names are bounded");
    let names = key.projection.len() + key.stream.len();
    let mut out = Encoder::with_capacity(FIXED + names + state.len());
    out.u32(SAVED).u32(*version);
    out.u64(mark.position.0).bytes(&mark.id.0);
    out.u32(len(&key.projection)).u32(len(&key.stream));
    out.bytes(key.projection.as_bytes());
    out.bytes(key.stream.as_bytes()).bytes(state);
    out.into_vec()
}

/// Bytes of a header without its names.
const FIXED: usize = 40;

fn header_len(header: &Header) -> usize {
    FIXED + header.key.projection.len() + header.key.stream.len()
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Other> {
    let mut decoder = Decoder::new(bytes);
    match decoder.u32()? {
        SAVED => {
            let version = decoder.u32()?;
            let mark = Mark {
                position: Position(decoder.u64()?),
                id: EventId(decoder.bytes(16)?.try_into().ok()?),
            };
            let [projection, stream] = [decoder.u32()?, decoder.u32()?];
            let mut next = |len| name(decoder.bytes(usize::try_from(len).ok()?)?);
            let (projection, stream) = (next(projection)?, next(stream)?);
            let key = Key { projection, stream };
            (!key.projection.is_empty()).then_some(Other::Saved(Header { key, version, mark }))
        }
        FORGOTTEN => {
            let projection = name(decoder.rest())?;
            (!projection.is_empty()).then_some(Other::Forgotten(projection))
        }
        _ => None,
    }
}

fn name(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?;
    (name.len() <= MAX_NAME_SIZE).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(projection: &str, stream: &str) -> Header {
        let id = EventId([3; 16]);
        Header {
            key: Key::new(projection, stream),
            version: 9,
            mark: Mark {
                position: Position(7),
                id,
            },
        }
    }

    #[test]
    fn a_state_is_read_back_and_nothing_else_passes_for_one() {
        for stream in ["", "s-1"] {
            let header = header("orders", stream);
            let bytes = encode(&header, b"state");
            assert_eq!(header_len(&header), bytes.len() - "state".len());
            assert_eq!(decode(&bytes), Some(Other::Saved(header)));
            let len = bytes.len() - "state".len();
            for at in 0..len {
                assert_eq!(decode(&bytes[..at]), None, "{at}");
            }
        }
        let mut nameless = encode(&header("", "s"), b"");
        assert_eq!(decode(&nameless), None);
        nameless[32] = 9;
        assert_eq!(decode(&nameless), None);
        assert_eq!(decode(&[4, 0, 0, 0]), None);
        assert_eq!(decode(&[4, 0, 0, 0, 0xff]), None);
    }
}
