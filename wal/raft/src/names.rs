//! The names in a store's directory; the only place that makes one.

/// The lock file.
pub(crate) const LOCK: &str = "lock";
/// The log, a directory.
pub(crate) const LOG: &str = "log";
/// Blocks held back for a full disk.
pub(crate) const RESERVE: &str = "reserve";
