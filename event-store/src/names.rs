//! The names in a store's directory; the only place that makes or reads one ([format], section 1).
//!
//! [format]: crate::format

use durable_io::{Temp, numbered};

/// The lock file.
pub(crate) const LOCK: &str = "lock";
/// The log of the events, a directory.
pub(crate) const EVENTS: &str = "events";
/// The log of what readers have acknowledged, a directory.
pub(crate) const MARKS: &str = "marks";
/// The list of index parts.
pub(crate) const LIST: &str = "index";
/// Blocks held back for a full disk.
pub(crate) const RESERVE: &str = "reserve";
/// Says that a backup is not finished, and no store.
pub(crate) const UNFINISHED: &str = "unfinished";

const PART: &str = ".part";

/// The name of index part `number`.
pub(crate) fn part(number: u64) -> String {
    numbered::name(number, PART)
}

/// The number of the index part called `name`; `None` if that is not how we name files.
pub(crate) fn parse_part(name: &str) -> Option<u64> {
    numbered::parse(name, PART)
}

/// True if a crash while the list was replaced leaves the name `name`.
pub(crate) fn is_temp(name: &str) -> bool {
    Temp::target_of(name) == Some(LIST)
}
