//! [`Value`]: a value that was read.

use std::fmt;
use std::ops::Deref;

/// So many bytes are copied without an allocation.
const SMALL: usize = 126;

/// The bytes of a value. It keeps no page in memory.
pub struct Value(Bytes);

enum Bytes {
    Small { len: u8, bytes: [u8; SMALL] },
    Large(Vec<u8>),
}

impl Value {
    #[inline]
    pub(crate) fn copy(value: &[u8]) -> Self {
        let mut bytes = [0; SMALL];
        match (bytes.get_mut(..value.len()), u8::try_from(value.len())) {
            (Some(small), Ok(len)) => {
                small.copy_from_slice(value);
                Self(Bytes::Small { len, bytes })
            }
            _ => Self(Bytes::Large(value.to_vec())),
        }
    }

    pub(crate) fn own(bytes: Vec<u8>) -> Self {
        Self(Bytes::Large(bytes))
    }

    /// The bytes, for who keeps them.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Bytes::Large(bytes) => bytes,
            Bytes::Small { .. } => self.to_vec(),
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Large(bytes) => bytes,
            Bytes::Small { len, bytes } => {
                let small = bytes.get(..usize::from(*len));
                small.expect("its length is at most that of its bytes")
            }
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
