//! The names in a state machine's directory; the only place that makes or reads one ([format], section 5).
//!
//! [format]: crate::format

use durable_io::{Temp, numbered};

/// The lock file.
pub(super) const LOCK: &str = "lock";
/// What says which store and which snapshot count.
pub(super) const ROOT: &str = "root";

const STORE: &str = ".store";
const SNAPSHOT: &str = ".snapshot";
const INCOMING: &str = ".incoming";

/// The directory of store `number`.
pub(super) fn store(number: u64) -> String {
    numbered::name(number, STORE)
}

/// The directory of snapshot `number`.
pub(super) fn snapshot(number: u64) -> String {
    numbered::name(number, SNAPSHOT)
}

/// The file in which snapshot `number` is received.
pub(super) fn incoming(number: u64) -> String {
    numbered::name(number, INCOMING)
}

/// The number in `name`, if it is one of the names above.
pub(super) fn number(name: &str) -> Option<u64> {
    let mut suffixes = [STORE, SNAPSHOT, INCOMING].into_iter();
    suffixes.find_map(|suffix| numbered::parse(name, suffix))
}

/// True if a state machine makes files of this name.
pub(super) fn is_ours(name: &str) -> bool {
    number(name).is_some() || Temp::target_of(name) == Some(ROOT)
}
