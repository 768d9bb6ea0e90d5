//! The records of the log: one for each operation ([format], section 3).
//!
//! The position of a record in the log is the version of the operation: so there is one number for each
//! operation, and nothing but the order of the log gives it.
//!
//! [format]: crate::format

use durable_io::codec::Decoder;

/// Bytes before the key.
pub(crate) const HEADER_SIZE: usize = 8;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Put,
    Delete,
    /// The value is the end of the range.
    DeleteRange,
}

impl Action {
    fn code(self) -> u8 {
        match self {
            Self::Put => PUT,
            Self::Delete => DELETE,
            Self::DeleteRange => DELETE_RANGE,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            PUT => Some(Self::Put),
            DELETE => Some(Self::Delete),
            DELETE_RANGE => Some(Self::DeleteRange),
            _ => None,
        }
    }
}

/// A record, lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The id of the keyspace.
    pub(crate) keyspace: u32,
    pub(crate) action: Action,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends the record. A key is shorter than 2^24 bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let len = u32::try_from(self.key.len()).expect("the length of a key was checked");
        out.extend_from_slice(&self.keyspace.to_le_bytes());
        let [a, b, c, _] = len.to_le_bytes();
        out.extend_from_slice(&[a, b, c, self.action.code()]);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
    }

    /// The record that is all of `payload`; `None` if there is no such record.
    pub(crate) fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut rest = Decoder::new(payload);
        let keyspace = rest.u32()?;
        let [a, b, c, code] = rest.u32()?.to_le_bytes();
        let key = rest.bytes(u32::from_le_bytes([a, b, c, 0]) as usize)?;
        let (action, value) = (Action::from_code(code)?, rest.rest());
        let is_right = key.len() <= sstable::MAX_KEY_SIZE
            && match action {
                Action::Put => true,
                Action::Delete => value.is_empty(),
                Action::DeleteRange => key < value && value.len() <= sstable::MAX_KEY_SIZE,
            };
        is_right.then_some(Self {
            keyspace,
            action,
            key,
            value,
        })
    }
}

/// Puts another keyspace's id into the record that begins `payload`.
pub(crate) fn set_keyspace(payload: &mut [u8], keyspace: u32) {
    durable_io::codec::put(payload, 0, &keyspace.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back() {
        for action in [Action::Put, Action::Delete, Action::DeleteRange] {
            let value: &[u8] = if action == Action::Delete { b"" } else { b"z" };
            let record = Record {
                keyspace: 7,
                action,
                key: b"key",
                value,
            };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Some(record));
            set_keyspace(&mut bytes, 9);
            assert_eq!(Record::decode(&bytes).map(|r| r.keyspace), Some(9));
        }
    }

    #[test]
    fn what_no_writer_makes_is_no_record() {
        let record = |code: u8, key_len: u8, rest: &[u8]| {
            [&[1, 0, 0, 0, key_len, 0, 0, code][..], rest].concat()
        };
        for (bytes, why) in [
            (record(0, 1, b"a"), "no such kind"),
            (record(4, 1, b"a"), "a kind that is reserved"),
            (record(1, 2, b"a"), "a key beyond the end"),
            (record(2, 1, b"ab"), "a deletion with a value"),
            (record(3, 1, b"ba"), "a range that ends before it begins"),
            (vec![1, 0, 0, 0, 1, 0, 0], "half a header"),
        ] {
            assert_eq!(Record::decode(&bytes), None, "{why}");
        }
    }
}
