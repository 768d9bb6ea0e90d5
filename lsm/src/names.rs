//! The names in a store's directory; the only place that makes or reads one ([format], section 1).
//!
//! [format]: crate::format

use std::path::{Path, PathBuf};

use durable_io::{Temp, numbered};

/// The lock file.
pub(crate) const LOCK: &str = "lock";
/// The directory of the log.
pub(crate) const LOG: &str = "log";
/// The directory of the manifest, which is a log of edits.
pub(crate) const MANIFEST: &str = "manifest";
/// The directory of the tables.
pub(crate) const TABLES: &str = "tables";
/// What holds space back for a full disk.
pub(crate) const RESERVE: &str = "reserve";

const SUFFIX: &str = ".sst";

/// The name of table `number`.
pub(crate) fn table(number: u64) -> String {
    numbered::name(number, SUFFIX)
}

/// The number of the table called `name`, and whether it is the temporary name of a table that is being
/// written; `None` if that is not how we name tables.
pub(crate) fn parse_table(name: &str) -> Option<(u64, bool)> {
    match Temp::target_of(name) {
        Some(target) => Some((numbered::parse(target, SUFFIX)?, true)),
        None => Some((numbered::parse(name, SUFFIX)?, false)),
    }
}

/// The file that says of a log where it begins, in the directory of the log or the manifest: what errors
/// of the whole name.
pub(crate) fn mark(log: &Path) -> PathBuf {
    log.join("mark")
}

/// Where the log of the store in `path` is.
pub(crate) fn log_path(path: &Path) -> PathBuf {
    path.join(LOG)
}

/// Where its manifest is.
pub(crate) fn manifest_path(path: &Path) -> PathBuf {
    path.join(MANIFEST)
}

/// Where its tables are.
pub(crate) fn tables_path(path: &Path) -> PathBuf {
    path.join(TABLES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_read() {
        assert_eq!(parse_table(&table(7)), Some((7, false)));
        let temporary = format!("~0123456789abcdef~{}", table(7));
        assert_eq!(parse_table(&temporary), Some((7, true)));
        for other in [
            "7.sst",
            "0000000000000007.sst.tmp",
            "~0123456789abcdef~notes",
            "lock",
        ] {
            assert_eq!(parse_table(other), None, "{other}");
        }
    }
}
