//! Edits as bytes ([format], section 4).
//!
//! [format]: crate::format

use durable_io::codec::{Decoder, Encoder};
use wal::Lsn;

use crate::limits::MAX_NAME_SIZE;
use crate::options::KeyspaceOptions;

/// Flags of a part.
const SNAPSHOT: u32 = 1;
const CONTINUES: u32 = 2;
const MORE: u32 = 4;

/// The kinds of changes.
const STORE: u32 = 1;
const NUMBERS: u32 = 2;
const FLOOR: u32 = 3;
const CREATE: u32 = 4;
const OPTIONS: u32 = 5;
const DROP: u32 = 6;
const FLUSHED: u32 = 7;
const ADD: u32 = 8;
const REMOVE: u32 = 9;

/// What the manifest says of a table; the rest is in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) number: u64,
    pub(crate) level: u32,
    pub(crate) run: u64,
    /// The random id of the file.
    pub(crate) file_id: u64,
    /// Its size.
    pub(crate) bytes: u64,
    /// The CRC-32 of all of it.
    pub(crate) checksum: u32,
}

/// A part of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The id of the store.
    Store(u64),
    /// Ids and numbers from these on were never given.
    Numbers {
        next_keyspace: u32,
        next_table: u64,
    },
    /// Every record of the log up to this one is in tables, or of a keyspace that is gone.
    Floor(Lsn),
    Create {
        id: u32,
        name: String,
        options: KeyspaceOptions,
    },
    Options {
        id: u32,
        options: KeyspaceOptions,
    },
    /// With all of its tables.
    Drop {
        id: u32,
    },
    /// Every record of the keyspace up to this one is in tables.
    Flushed {
        id: u32,
        lsn: Lsn,
    },
    Add {
        id: u32,
        table: TableEntry,
    },
    Remove {
        id: u32,
        number: u64,
    },
}

impl Change {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Store(id) => out.u32(STORE).u64(*id),
            Self::Numbers {
                next_keyspace,
                next_table,
            } => out.u32(NUMBERS).u32(*next_keyspace).u64(*next_table),
            Self::Floor(lsn) => out.u32(FLOOR).u64(lsn.0),
            Self::Create { id, name, options } => {
                let len = u32::try_from(name.len()).expect("the length of a name was checked");
                out.u32(CREATE).u32(*id);
                options.encode(out);
                out.u32(len).bytes(name.as_bytes())
            }
            Self::Options { id, options } => {
                out.u32(OPTIONS).u32(*id);
                options.encode(out);
                out
            }
            Self::Drop { id } => out.u32(DROP).u32(*id),
            Self::Flushed { id, lsn } => out.u32(FLUSHED).u32(*id).u64(lsn.0),
            Self::Add { id, table } => out
                .u32(ADD)
                .u32(*id)
                .u64(table.number)
                .u32(table.level)
                .u64(table.run)
                .u64(table.file_id)
                .u64(table.bytes)
                .u32(table.checksum),
            Self::Remove { id, number } => out.u32(REMOVE).u32(*id).u64(*number),
        };
    }

    fn decode(rest: &mut Decoder<'_>) -> Option<Self> {
        let kind = rest.u32()?;
        if kind == STORE {
            return Some(Self::Store(rest.u64()?));
        }
        if kind == FLOOR {
            return Some(Self::Floor(Lsn(rest.u64()?)));
        }
        let id = rest.u32()?;
        Some(match kind {
            NUMBERS => Self::Numbers {
                next_keyspace: id,
                next_table: rest.u64()?,
            },
            CREATE => {
                let options = KeyspaceOptions::decode(rest)?;
                let len = rest.u32()? as usize;
                let name = std::str::from_utf8(rest.bytes(len)?).ok()?.to_owned();
                if name.len() > MAX_NAME_SIZE {
                    return None;
                }
                Self::Create { id, name, options }
            }
            OPTIONS => Self::Options {
                id,
                options: KeyspaceOptions::decode(rest)?,
            },
            DROP => Self::Drop { id },
            FLUSHED => Self::Flushed {
                id,
                lsn: Lsn(rest.u64()?),
            },
            ADD => Self::Add {
                id,
                table: TableEntry {
                    number: rest.u64()?,
                    level: rest.u32()?,
                    run: rest.u64()?,
                    file_id: rest.u64()?,
                    bytes: rest.u64()?,
                    checksum: rest.u32()?,
                },
            },
            REMOVE => Self::Remove {
                id,
                number: rest.u64()?,
            },
            _ => return None,
        })
    }

    fn options(&self) -> Option<&KeyspaceOptions> {
        match self {
            Self::Create { options, .. } | Self::Options { options, .. } => Some(options),
            _ => None,
        }
    }
}

/// A record of the manifest: an edit, or a part of one that is too large for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The changes are all there is, from nothing on.
    pub(crate) is_snapshot: bool,
    /// It belongs to the record before it.
    pub(crate) continues: bool,
    /// The next record belongs to it: only the last one makes them count.
    pub(crate) has_more: bool,
    pub(crate) changes: Vec<Change>,
}

impl Part {
    /// The records, of at most `size` bytes, that say `changes`.
    pub(crate) fn split(changes: &[Change], is_snapshot: bool, size: usize) -> Vec<Vec<u8>> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for change in changes {
            let mut encoded = Encoder::default();
            change.encode(&mut encoded);
            let encoded = encoded.into_vec();
            match parts.last_mut() {
                Some(part) if part.len() + encoded.len() <= size => part.extend(encoded),
                _ => {
                    let mut part = vec![0; 4];
                    part.extend(encoded);
                    parts.push(part);
                }
            }
        }
        if parts.is_empty() {
            parts.push(vec![0; 4]);
        }
        let last = parts.len() - 1;
        for (nth, part) in parts.iter_mut().enumerate() {
            let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
            let flags = flag(is_snapshot && nth == 0, SNAPSHOT)
                | flag(nth > 0, CONTINUES)
                | flag(nth < last, MORE);
            durable_io::codec::put(part, 0, &flags.to_le_bytes());
        }
        parts
    }

    /// The record that is all of `payload`; `None` if there is no such record.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut rest = Decoder::new(payload);
        let flags = rest.u32()?;
        let (is_snapshot, continues) = (flags & SNAPSHOT != 0, flags & CONTINUES != 0);
        if flags & !(SNAPSHOT | CONTINUES | MORE) != 0 || is_snapshot && continues {
            return None;
        }
        let mut changes = Vec::new();
        while !rest.rest().is_empty() {
            changes.push(Change::decode(&mut rest)?);
        }
        Some(Self {
            is_snapshot,
            continues,
            has_more: flags & MORE != 0,
            changes,
        })
    }

    /// True if a keyspace's tables are compressed by zstd.
    pub(crate) fn needs_zstd(&self) -> bool {
        let mut options = self.changes.iter().filter_map(Change::options);
        options.any(KeyspaceOptions::needs_zstd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<Change> {
        let (id, options) = (3, KeyspaceOptions::new());
        let table = TableEntry {
            number: 9,
            level: 1,
            run: 8,
            file_id: 77,
            bytes: 4096,
            checksum: 5,
        };
        vec![
            Change::Store(1),
            Change::Numbers {
                next_keyspace: 4,
                next_table: 10,
            },
            Change::Floor(Lsn(6)),
            Change::Create {
                id,
                name: "users".to_owned(),
                options: options.clone(),
            },
            Change::Options { id, options },
            Change::Flushed { id, lsn: Lsn(7) },
            Change::Add { id, table },
            Change::Remove { id, number: 9 },
            Change::Drop { id },
        ]
    }

    #[test]
    fn every_change_is_read_back_in_parts_of_any_size() {
        let changes = changes();
        for size in [60, 100, 4096] {
            let parts = Part::split(&changes, true, size);
            let mut read = Vec::new();
            for (nth, part) in parts.iter().enumerate() {
                assert!(part.len() <= size);
                let part = Part::decode(part).unwrap();
                assert_eq!(part.is_snapshot, nth == 0);
                assert_eq!(part.continues, nth > 0);
                assert_eq!(part.has_more, nth + 1 < parts.len());
                read.extend(part.changes);
            }
            assert_eq!(read, changes);
        }
    }

    #[test]
    fn a_record_cut_short_is_none() {
        let parts = Part::split(&changes(), false, 4096);
        let whole = parts.first().unwrap();
        for len in 0..whole.len() {
            if let Some(part) = Part::decode(&whole[..len]) {
                // Cut between two changes: the checksum of the log is what covers this.
                assert!(part.changes.len() < changes().len());
            }
        }
        for flags in [8_u32, 3, 1 << 31] {
            assert_eq!(Part::decode(&flags.to_le_bytes()), None);
        }
    }
}
