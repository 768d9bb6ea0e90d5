//! Backups of a store under test, and what its repair makes, each in a directory of its own.

use std::collections::BTreeMap;

use durable_io::Disk;
use durable_io::sim::Outcome;

/// Where they are.
const DIR: &str = "/backups";

/// The directory of the one that operation `n` makes.
pub(super) fn path(n: u64) -> String {
    format!("{DIR}/{n}")
}

/// What `read` finds in each of them, by the operation that made it; nothing in one that a crash interrupted.
pub(super) fn all<T>(
    disk: &Disk,
    read: impl Fn(String) -> Outcome<Option<T>>,
) -> Outcome<BTreeMap<u64, T>> {
    let listed = match disk.open_dir(DIR) {
        Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
        dir => dir?.list()?,
    };
    let mut found = BTreeMap::new();
    for entry in listed {
        // A crash of a repair leaves what it had not finished under another name.
        let Ok(n) = entry.name.parse() else {
            continue;
        };
        if let Some(state) = read(path(n))? {
            found.insert(n, state);
        }
    }
    Ok(found)
}
