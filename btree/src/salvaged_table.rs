//! [`SalvagedTable`]: what a table of a damaged store is called.

use std::fmt;
use std::sync::Arc;

/// A table of a damaged store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct SalvagedTable {
    /// Its id, which was never given to another one.
    pub id: u64,
    /// Its name; `None` if what has it is lost.
    pub name: Option<Arc<str>>,
}

impl fmt::Display for SalvagedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "table {name:?}"),
            None => write!(f, "table {}", self.id),
        }
    }
}
