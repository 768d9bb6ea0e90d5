//! The set of tables of `sstable`'s own example: sorted tables do nothing durable but their own
//! publication, and it is a set with a manifest that relies on it.

#[path = "../../../sstable/examples/table_set/manifest.rs"]
mod manifest;
#[path = "../../../sstable/examples/table_set/set.rs"]
mod set;

pub(crate) use set::{Changes, Edit, TableSet, file_name};

/// The sources of the set that hold barriers, as the compiler names them.
pub(crate) const SOURCES: [&str; 2] = [
    "xtask/src/crashtest/../../../sstable/examples/table_set/manifest.rs",
    "xtask/src/crashtest/../../../sstable/examples/table_set/set.rs",
];
