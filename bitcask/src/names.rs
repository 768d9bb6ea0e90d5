//! The names in a store's directory; the only place that makes or reads one ([format], section 1).
//!
//! [format]: crate::format

use durable_io::{Temp, numbered};

/// The lock file.
pub(crate) const LOCK: &str = "lock";
/// The manifest.
pub(crate) const MANIFEST: &str = "manifest";
/// Blocks held back for a full disk.
pub(crate) const RESERVE: &str = "reserve";

const DATA: &str = ".data";
const HINT: &str = ".hint";

/// The name of data file `number`.
pub(crate) fn data(number: u64) -> String {
    numbered::name(number, DATA)
}

/// The name of the hint of data file `number`.
pub(crate) fn hint(number: u64) -> String {
    numbered::name(number, HINT)
}

/// True if a crash while the manifest was replaced leaves the name `name`, by this version or an older
/// one.
pub(crate) fn is_temp(name: &str) -> bool {
    Temp::target_of(name) == Some(MANIFEST) || name == "manifest.tmp"
}

/// One of our numbered files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbered {
    Data(u64),
    Hint(u64),
}

/// What the file called `name` is; `None` if that is not how we name files.
pub(crate) fn parse(name: &str) -> Option<Numbered> {
    let data = numbered::parse(name, DATA).map(Numbered::Data);
    data.or_else(|| numbered::parse(name, HINT).map(Numbered::Hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        for number in [1, 2, 0xabc, u64::MAX] {
            assert_eq!(parse(&data(number)), Some(Numbered::Data(number)));
            assert_eq!(parse(&hint(number)), Some(Numbered::Hint(number)));
        }
    }

    #[test]
    fn only_a_left_over_of_the_manifest_is_one() {
        assert!(is_temp("~0123456789abcdef~manifest") && is_temp("manifest.tmp"));
        for name in [
            MANIFEST,
            "~0123456789abcdef~notes",
            "notes.tmp",
            "~manifest",
        ] {
            assert!(!is_temp(name), "{name}");
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in [
            "",
            MANIFEST,
            "1.data",
            "0000000000000000.data",
            "000000000000000A.data",
            "+00000000000000a.hint",
            "0000000000000001.data.tmp",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
