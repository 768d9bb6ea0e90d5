//! [`SalvagedKeyspace`]: what a keyspace of a damaged store is called.

use std::fmt;
use std::sync::Arc;

/// A keyspace of a damaged store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct SalvagedKeyspace {
    /// Its id, which was never given to another one.
    pub id: u32,
    /// Its name; `None` if the part of the manifest that has it is lost.
    pub name: Option<Arc<str>>,
}

impl fmt::Display for SalvagedKeyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "keyspace {name:?}"),
            None => write!(f, "keyspace {}", self.id),
        }
    }
}
