//! [`Value`]: a value that was read.

use std::fmt;
use std::ops::Deref;

use crate::page::PageRef;

/// The bytes of a value. Small values are lent from their page, without a copy; the page stays in memory
/// as long as this lives.
pub struct Value(Bytes);

enum Bytes {
    InPage { page: PageRef, at: u16, len: u16 },
    Own(Vec<u8>),
}

impl Value {
    pub(crate) fn in_page(page: PageRef, at: u16, len: u16) -> Self {
        Self(Bytes::InPage { page, at, len })
    }

    pub(crate) fn own(bytes: Vec<u8>) -> Self {
        Self(Bytes::Own(bytes))
    }

    /// The bytes, for who keeps them.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Bytes::Own(bytes) => bytes,
            Bytes::InPage { .. } => self.to_vec(),
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Own(bytes) => bytes,
            Bytes::InPage { page, at, len } => {
                crate::node::slice(page, (*at).into(), (*len).into())
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
