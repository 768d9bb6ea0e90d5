//! [`Root`]: the small file that says which store and which snapshot count ([format], section 5). Replacing it is
//! the only switch from one to another.
//!
//! [format]: crate::format

use std::path::Path;

use durable_io::checksum::Place;
use durable_io::codec::{Decoder, Encoder};
use durable_io::engine::{BadHeader, Format, UnsupportedVersion};
use durable_io::{Dir, replace_file};

use super::applied::{Applied, decode_bytes, decode_flag, encode_bytes};
use super::names;
use crate::error::{Corruption, Error, Result};

const FORMAT: Format = Format {
    magic: *b"raftroot",
    version: 1,
};

/// No root is larger, by far: it holds a membership at most.
const MAX_SIZE: u64 = 16 << 20;

/// What counts in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    /// Random, of the state machine.
    pub(super) id: u64,
    /// How often it was replaced.
    pub(super) generation: u64,
    /// The number of the store.
    pub(super) store: u64,
    pub(super) snapshot: Option<SnapshotEntry>,
}

/// The snapshot that a root names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotEntry {
    /// The number of its directory.
    pub(super) number: u64,
    /// What it is called among nodes.
    pub(super) id: String,
    /// What it holds.
    pub(super) state: Applied,
}

impl Root {
    /// That of a state machine that is created now.
    pub(super) fn first(id: u64) -> Self {
        Self {
            id,
            generation: 1,
            store: 1,
            snapshot: None,
        }
    }

    /// The root behind this one.
    pub(super) fn next(&self, store: u64, snapshot: SnapshotEntry) -> Self {
        Self {
            id: self.id,
            generation: self.generation + 1,
            store,
            snapshot: Some(snapshot),
        }
    }

    /// True if the file or directory `name` counts.
    pub(super) fn names(&self, name: &str) -> bool {
        let snapshot = self.snapshot.as_ref();
        name == names::store(self.store)
            || snapshot.is_some_and(|entry| name == names::snapshot(entry.number))
    }

    fn place(fields: &mut Decoder<'_>) -> Option<Place> {
        Some(Place {
            id: fields.u64()?,
            number: fields.u64()?,
            offset: 0,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.bytes(&[0; Format::FIELDS])
            .u64(self.id)
            .u64(self.generation)
            .u64(self.store)
            .u32(u32::from(self.snapshot.is_some()));
        if let Some(entry) = &self.snapshot {
            out.u64(entry.number);
            encode_bytes(entry.id.as_bytes(), &mut out);
            entry.state.encode(&mut out);
        }
        let mut bytes = out.into_vec();
        let place = Place {
            id: self.id,
            number: self.generation,
            offset: 0,
        };
        FORMAT.seal(&mut bytes, place);
        bytes
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let fields = FORMAT.open(bytes, Self::place);
        let mut fields = fields.map_err(|bad| match bad {
            BadHeader::Version(version) => Error::UnsupportedVersion(UnsupportedVersion {
                path: path.to_owned(),
                version,
                supported: FORMAT.version,
            }),
            _ => Error::corrupt(path, Corruption::Root),
        })?;
        let root = Self::decode_fields(&mut fields).filter(|_| fields.rest().is_empty());
        root.ok_or_else(|| Error::corrupt(path, Corruption::Root))
    }

    fn decode_fields(from: &mut Decoder<'_>) -> Option<Self> {
        let (id, generation, store) = (from.u64()?, from.u64()?, from.u64()?);
        let mut snapshot = None;
        if decode_flag(from)? {
            snapshot = Some(SnapshotEntry {
                number: from.u64()?,
                id: String::from_utf8(decode_bytes(from)?.to_vec()).ok()?,
                state: Applied::decode(from)?,
            });
        }
        Some(Self {
            id,
            generation,
            store,
            snapshot,
        })
    }

    /// The root in `dir`; `None` if there is none.
    pub(super) fn read(dir: &Dir) -> Result<Option<Self>> {
        let file = match dir.open_read_only(names::ROOT) {
            Err(error) if error.is_not_found() => return Ok(None),
            file => file?,
        };
        let len = file.len()?;
        let path = dir.path().join(names::ROOT);
        let size = usize::try_from(len).ok().filter(|_| len <= MAX_SIZE);
        let size = size.ok_or_else(|| Error::corrupt(&path, Corruption::Root))?;
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, 0)?;
        Self::decode(&bytes, &path).map(Some)
    }

    /// Makes this the root of `dir`.
    pub(super) fn write(&self, dir: &Dir) -> Result<(), durable_io::Error> {
        // Durable: the root, and with it the store and the snapshot that it names, which are durable already.
        // Only now may anything rely on them.
        replace_file(dir, names::ROOT, &self.encode())
    }
}
