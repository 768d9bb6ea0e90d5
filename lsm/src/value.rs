//! [`Value`]: bytes of a value, lent from a memtable or from a table.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A value: derefs to bytes.
///
/// It is lent, and holds what it is lent from, also when that is flushed, merged or deleted meanwhile.
/// Take [`to_vec`](slice::to_vec) of one that is kept for long.
#[derive(Clone)]
pub struct Value(Lender);

#[derive(Clone)]
enum Lender {
    Memtable(Arc<[u8]>, Range<usize>),
    Table(sstable::Value),
}

impl Value {
    /// The bytes `range` of what a memtable holds.
    #[inline]
    pub(crate) fn of_memtable(data: &Arc<[u8]>, range: Range<usize>) -> Self {
        Self(Lender::Memtable(Arc::clone(data), range))
    }

    #[inline]
    pub(crate) fn of_table(value: sstable::Value) -> Self {
        Self(Lender::Table(value))
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Lender::Memtable(data, range) => data
                .get(range.clone())
                .expect("the range was taken from the data"),
            Lender::Table(value) => value,
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
