//! What is done to a store: operation `n` is a pure function of `n`, and a value tells which
//! operation wrote it.

use crate::engine::Change;
use crate::splitmix::splitmix;

/// Keys that the operations choose from.
const KEYS: u64 = 200;
/// One operation in so many deletes.
const DELETES: u64 = 6;
const SHORTEST: u64 = 64;
const LONGEST: u64 = 2060;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Which key.
    pub(crate) key: u64,
    /// The value that is put there; `None` deletes what is there, if anything.
    pub(crate) value: Option<Vec<u8>>,
}

impl Operation {
    /// What it does to a store.
    pub(crate) fn change(self) -> Change {
        (Self::key_bytes(self.key), self.value)
    }

    /// The bytes of a key: letters and digits, so that a line of text can hold them.
    pub(crate) fn key_bytes(key: u64) -> Vec<u8> {
        format!("k{key:03}").into_bytes()
    }
}

/// Operation number `n`, counted from 1.
pub(crate) fn operation(n: u64) -> Operation {
    let hash = splitmix(n);
    let deletes = (hash >> 32).is_multiple_of(DELETES);
    Operation {
        key: hash % KEYS,
        value: (!deletes).then(|| value(n)),
    }
}

/// The key and the operation, if that operation put exactly `value` under `key`.
pub(crate) fn identify(key: &[u8], value: &[u8]) -> Option<(u64, u64)> {
    let (number, _) = value.split_first_chunk::<8>()?;
    let n = u64::from_le_bytes(*number);
    let operation = operation(n);
    let matches = operation.value.as_deref() == Some(value);
    (matches && Operation::key_bytes(operation.key) == key).then_some((operation.key, n))
}

/// 64 to 2060 bytes: the operation's number (8 bytes, little-endian), then a pattern of it.
pub(crate) fn value(n: u64) -> Vec<u8> {
    let mut word = splitmix(n ^ (1 << 63));
    let len = usize::try_from(SHORTEST + word % (LONGEST - SHORTEST + 1));
    let len = len.expect("a small number");
    let mut bytes = n.to_le_bytes().to_vec();
    while bytes.len() < len {
        word = splitmix(word);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A hash of two numbers.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    splitmix(splitmix(a) ^ b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_operation_and_one_flipped_bit_of_it_is_seen() {
        let mut deletes = 0;
        for n in 1..600 {
            let Operation { key, value } = operation(n);
            let Some(mut value) = value else {
                deletes += 1;
                continue;
            };
            assert!((64..=2060).contains(&value.len()));
            let bytes = Operation::key_bytes(key);
            assert_eq!(identify(&bytes, &value), Some((key, n)));
            assert_eq!(identify(b"k999", &value), None);
            let last = value.len() - 1;
            assert_eq!(identify(&bytes, &value[..last]), None);
            value[last] ^= 1;
            assert_eq!(identify(&bytes, &value), None);
        }
        assert!((60..140).contains(&deletes), "{deletes}");
    }
}
