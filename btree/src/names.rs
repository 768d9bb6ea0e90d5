//! The names in a store's directory.

/// The lock file.
pub(crate) const LOCK: &str = "lock";
/// The page file.
pub(crate) const PAGES: &str = "pages";
/// The directory of the log.
pub(crate) const LOG: &str = "log";
