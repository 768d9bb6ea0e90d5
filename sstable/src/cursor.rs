//! [`Cursor`]: a place in a sorted run of entries.

use crate::entry::Entry;
use crate::error::Result;

/// A place in a sorted run of entries: a table, a merge of several, or anything else in that order
/// (key ascending, then version descending).
///
/// It stands on an entry, or before the first, or behind the last one. A new cursor stands nowhere, and
/// must be placed by one of the `seek` methods before it is moved. After an error it stands nowhere
/// again.
pub trait Cursor {
    /// Goes to the first entry.
    ///
    /// # Errors
    /// What reading the run can meet.
    fn seek_to_first(&mut self) -> Result<()>;

    /// Goes to the last entry.
    ///
    /// # Errors
    /// What reading the run can meet.
    fn seek_to_last(&mut self) -> Result<()>;

    /// Goes to the first entry that is not before `key` and `version` in the order; behind the last one
    /// if there is none. Version `u64::MAX` is the first entry of a key.
    ///
    /// # Errors
    /// What reading the run can meet.
    fn seek(&mut self, key: &[u8], version: u64) -> Result<()>;

    /// Goes to the next entry, or behind the last one. From before the first it goes to the first;
    /// behind the last, and nowhere, it stays.
    ///
    /// # Errors
    /// What reading the run can meet.
    fn advance(&mut self) -> Result<()>;

    /// Goes to the entry before, or before the first one. From behind the last it goes to the last;
    /// before the first, and nowhere, it stays.
    ///
    /// # Errors
    /// What reading the run can meet.
    fn retreat(&mut self) -> Result<()>;

    /// The entry it stands on; `None` before the first, behind the last, and nowhere.
    fn entry(&self) -> Option<Entry<'_>>;
}
