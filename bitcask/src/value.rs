//! [`Value`]: bytes of a record, lent from the store's files where they are mapped.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::data_file::DataFile;

/// The value of a key, as it was when it was read: derefs to bytes.
///
/// It is lent from a mapped file if it can be, and holds that file, also when a merge has removed it:
/// its space on the disk comes back when the value is dropped. Take [`to_vec`](slice::to_vec) of one
/// that is kept for long.
#[derive(Clone)]
pub struct Value {
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Lent {
        file: Arc<DataFile>,
        offset: u64,
        len: usize,
    },
    /// A whole record, and where its value begins.
    Owned { record: Vec<u8>, start: usize },
}

impl Value {
    /// `len` bytes of `file`, which are mapped.
    pub(crate) fn lent(file: Arc<DataFile>, offset: u64, len: usize) -> Self {
        Self {
            bytes: Bytes::Lent { file, offset, len },
        }
    }

    /// The last `len` bytes of `record`.
    pub(crate) fn owned(record: Vec<u8>, len: usize) -> Self {
        let start = record.len().saturating_sub(len);
        Self {
            bytes: Bytes::Owned { record, start },
        }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Lent { file, offset, len } => file.mapped(*offset, *len).unwrap_or_default(),
            Bytes::Owned { record, start } => record.get(*start..).unwrap_or_default(),
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
