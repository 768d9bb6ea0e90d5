//! [`Value`]: bytes of a value, lent from the table's file or from a decompressed block.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::reader::Reader;
use crate::source::Payload;

/// A value, as it stands in its table: derefs to bytes.
///
/// It is lent, and holds what it is lent from: the mapped file, also when that is unlinked, or a
/// decompressed block. Take [`to_vec`](slice::to_vec) of one that is kept for long.
#[derive(Clone)]
pub struct Value {
    lender: Lender,
    range: Range<usize>,
}

#[derive(Clone)]
enum Lender {
    /// The range is one of the map.
    Map(Arc<Reader>),
    /// The range is one of the block.
    Block(Arc<[u8]>),
}

impl Value {
    /// The bytes `range` of `payload`.
    pub(crate) fn lent(reader: &Arc<Reader>, payload: &Payload, range: &Range<usize>) -> Self {
        match payload {
            Payload::Mapped(mapped) => Self {
                lender: Lender::Map(Arc::clone(reader)),
                range: mapped.start + range.start..mapped.start + range.end,
            },
            Payload::Cached(block) => Self {
                lender: Lender::Block(Arc::clone(block)),
                range: range.clone(),
            },
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.lender {
            Lender::Map(reader) => reader.source.slice(&self.range),
            Lender::Block(block) => block.get(self.range.clone()).unwrap_or_default(),
        }
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Value {}
