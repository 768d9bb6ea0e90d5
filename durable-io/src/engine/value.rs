//! [`Value`]: bytes that were read, lent from where they are or owned.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// What values are lent from: a mapped file, for instance. It does not change any more.
pub trait Lender: Send + Sync {
    /// The bytes at `range`, which a value was made of.
    fn lend(&self, range: Range<u64>) -> &[u8];
}

/// A value, as it was when it was read: derefs to bytes.
///
/// It is lent where it can be, and then holds what it is lent from: a mapped file, also when that was
/// unlinked, so that its space on the disk comes back when the value is dropped; or a block in memory.
/// Take [`to_vec`](slice::to_vec) of one that is kept for long.
#[derive(Clone)]
pub struct Value {
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Lent(Arc<dyn Lender>, Range<u64>),
    Shared(Arc<[u8]>, Range<usize>),
    Owned(Vec<u8>, Range<usize>),
}

impl Value {
    /// The bytes `range` of `lender`, which has them.
    pub fn lent(lender: Arc<dyn Lender>, range: Range<u64>) -> Self {
        Self {
            bytes: Bytes::Lent(lender, range),
        }
    }

    /// The bytes `range` of `block`; `None` if it has not so many.
    pub fn shared(block: Arc<[u8]>, range: Range<usize>) -> Option<Self> {
        block.get(range.clone())?;
        Some(Self {
            bytes: Bytes::Shared(block, range),
        })
    }

    /// The bytes `range` of `bytes`; `None` if there are not so many.
    pub fn owned(bytes: Vec<u8>, range: Range<usize>) -> Option<Self> {
        bytes.get(range.clone())?;
        Some(Self {
            bytes: Bytes::Owned(bytes, range),
        })
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self {
            bytes: Bytes::Owned(bytes, range),
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let own = match &self.bytes {
            Bytes::Lent(lender, range) => return lender.lend(range.clone()),
            Bytes::Shared(block, range) => block.get(range.clone()),
            Bytes::Owned(bytes, range) => bytes.get(range.clone()),
        };
        own.expect("a value is made of bytes that are there")
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Page([u8; 4]);

    impl Lender for Page {
        fn lend(&self, range: Range<u64>) -> &[u8] {
            let at = |n| usize::try_from(n).expect("a page is small");
            &self.0[at(range.start)..at(range.end)]
        }
    }

    #[test]
    fn a_value_is_the_same_bytes_wherever_they_are() {
        let bytes = [1, 2, 3, 4];
        let values = [
            Value::lent(Arc::new(Page(bytes)), 1..3),
            Value::shared(Arc::new(bytes), 1..3).unwrap(),
            Value::owned(bytes.to_vec(), 1..3).unwrap(),
            Value::from(vec![2, 3]),
        ];
        for value in values {
            assert_eq!(value, [2, 3]);
            assert_eq!(value.clone(), value);
            assert_eq!(format!("{value:?}"), "[2, 3]");
        }
    }

    #[test]
    fn a_value_is_not_made_of_bytes_that_are_not_there() {
        assert!(Value::shared(Arc::new([1]), 0..2).is_none());
        assert!(Value::owned(vec![1], 1..2).is_none());
    }
}
