//! What a transaction writes to the log: the results of its calls.

use std::ops::Bound;

use durable_io::codec::{Decoder, Encoder};

use crate::remove_range::Bounds;

/// Bytes before the first change: format, store, generation.
pub(crate) const HEADER: usize = 4 + 8 + 8;
const FORMAT: u32 = 1;

const PUT: u32 = 1;
const DELETE: u32 = 2;
const DELETE_RANGE: u32 = 3;
const CREATE: u32 = 4;
const DROP: u32 = 5;
const RENAME: u32 = 6;

const UNBOUNDED: u32 = 0;
const INCLUDED: u32 = 1;
const EXCLUDED: u32 = 2;

/// One change. Tables are named by their ids, which are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Put {
        table: u64,
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        table: u64,
        key: &'a [u8],
    },
    /// Every key in the range.
    DeleteRange {
        table: u64,
        bounds: Bounds<'a>,
    },
    Create {
        table: u64,
        name: &'a [u8],
    },
    Drop {
        table: u64,
    },
    Rename {
        table: u64,
        name: &'a [u8],
    },
}

/// The changes of a transaction, as they are written.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    encoder: Encoder,
}

impl Changes {
    pub(crate) fn new(store_id: u64) -> Self {
        let mut encoder = Encoder::with_capacity(256);
        // The generation is put in when it is known.
        encoder.u32(FORMAT).u64(store_id).u64(0);
        Self { encoder }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == HEADER
    }

    pub(crate) fn len(&self) -> usize {
        self.encoder.as_slice().len()
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Encoder {
        let len = u32::try_from(bytes.len()).expect("keys and values are at most 1 GiB");
        self.encoder.u32(len).bytes(bytes)
    }

    fn bound(&mut self, bound: Bound<&[u8]>) {
        match bound {
            Bound::Unbounded => {
                self.encoder.u32(UNBOUNDED);
            }
            Bound::Included(key) => {
                self.encoder.u32(INCLUDED);
                self.bytes(key);
            }
            Bound::Excluded(key) => {
                self.encoder.u32(EXCLUDED);
                self.bytes(key);
            }
        }
    }

    pub(crate) fn push(&mut self, change: Change<'_>) {
        match change {
            Change::Put { table, key, value } => {
                self.encoder.u32(PUT).u64(table);
                self.bytes(key);
                self.bytes(value);
            }
            Change::Delete { table, key } => {
                self.encoder.u32(DELETE).u64(table);
                self.bytes(key);
            }
            Change::DeleteRange { table, bounds } => {
                self.encoder.u32(DELETE_RANGE).u64(table);
                self.bound(bounds.0);
                self.bound(bounds.1);
            }
            Change::Create { table, name } => {
                self.encoder.u32(CREATE).u64(table);
                self.bytes(name);
            }
            Change::Drop { table } => {
                self.encoder.u32(DROP).u64(table);
            }
            Change::Rename { table, name } => {
                self.encoder.u32(RENAME).u64(table);
                self.bytes(name);
            }
        }
    }

    /// Forgets what was pushed since there were `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        let mut bytes = std::mem::take(&mut self.encoder).into_vec();
        bytes.truncate(len);
        self.encoder.bytes(&bytes);
    }

    /// The record, written under generation `generation` of the meta slots.
    pub(crate) fn into_record(self, generation: u64) -> Vec<u8> {
        let mut bytes = self.encoder.into_vec();
        durable_io::codec::put(&mut bytes, 12, &generation.to_le_bytes());
        bytes
    }
}

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) store_id: u64,
    /// Of the meta slots that were durable when it was written.
    pub(crate) generation: u64,
    rest: Decoder<'a>,
}

impl<'a> Record<'a> {
    /// `None` if it is none.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Decoder::new(bytes);
        if rest.u32()? != FORMAT {
            return None;
        }
        Some(Self {
            store_id: rest.u64()?,
            generation: rest.u64()?,
            rest,
        })
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.rest.u32()?).ok()?;
        self.rest.bytes(len)
    }

    fn bound(&mut self) -> Option<Bound<&'a [u8]>> {
        Some(match self.rest.u32()? {
            UNBOUNDED => Bound::Unbounded,
            INCLUDED => Bound::Included(self.bytes()?),
            EXCLUDED => Bound::Excluded(self.bytes()?),
            _ => return None,
        })
    }

    /// The next change: `Some(Ok(None))`-like at the end, `Err` if what follows cannot be understood.
    pub(crate) fn next(&mut self) -> Result<Option<Change<'a>>, ()> {
        if self.rest.rest().is_empty() {
            return Ok(None);
        }
        self.change().map(Some).ok_or(())
    }

    fn change(&mut self) -> Option<Change<'a>> {
        let (kind, table) = (self.rest.u32()?, self.rest.u64()?);
        Some(match kind {
            PUT => Change::Put {
                table,
                key: self.bytes()?,
                value: self.bytes()?,
            },
            DELETE => Change::Delete {
                table,
                key: self.bytes()?,
            },
            DELETE_RANGE => Change::DeleteRange {
                table,
                bounds: (self.bound()?, self.bound()?),
            },
            CREATE => Change::Create {
                table,
                name: self.bytes()?,
            },
            DROP => Change::Drop { table },
            RENAME => Change::Rename {
                table,
                name: self.bytes()?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let changes = [
            Change::Create {
                table: 7,
                name: b"t",
            },
            Change::Put {
                table: 7,
                key: b"",
                value: b"",
            },
            Change::Put {
                table: 7,
                key: b"k",
                value: &[9; 300],
            },
            Change::Delete {
                table: 7,
                key: b"k",
            },
            Change::DeleteRange {
                table: 7,
                bounds: (Bound::Included(b"a"), Bound::Excluded(b"b")),
            },
            Change::DeleteRange {
                table: 7,
                bounds: (Bound::Unbounded, Bound::Unbounded),
            },
            Change::Rename {
                table: 7,
                name: b"u",
            },
            Change::Drop { table: 7 },
        ];
        let mut written = Changes::new(5);
        assert!(written.is_empty());
        for change in changes {
            written.push(change);
        }
        let len = written.len();
        written.push(Change::Drop { table: 8 });
        written.truncate(len);
        let bytes = written.into_record(3);
        let mut record = Record::decode(&bytes).unwrap();
        assert_eq!((record.store_id, record.generation), (5, 3));
        for change in changes {
            assert_eq!(record.next(), Ok(Some(change)));
        }
        assert_eq!(record.next(), Ok(None));
        // No length in it leads anywhere.
        for len in 0..bytes.len() {
            if let Some(mut record) = Record::decode(&bytes[..len]) {
                while let Ok(Some(_)) = record.next() {}
            }
        }
    }
}
