//! The names in a log's directory; the only place that makes or reads one ([format], section 1).
//!
//! [format]: crate::format

use durable_io::{Temp, numbered};

/// The lock file.
pub(crate) const LOCK: &str = "lock";
/// The superblock.
pub(crate) const SUPERBLOCK: &str = "mark";

const SUFFIX: &str = ".wal";
const TEMP_SUFFIX: &str = ".tmp";
const ASIDE: &str = ".cut";

/// The name of segment `number`.
pub(crate) fn segment(number: u64) -> String {
    numbered::name(number, SUFFIX)
}

/// The name under which a file is written that will replace the one called `name`.
pub(crate) fn temp(name: &str) -> String {
    format!("{name}{TEMP_SUFFIX}")
}

/// The name under which what was in segment `number` is kept, when the repair that begins `epoch` takes it.
pub(crate) fn aside(number: u64, epoch: u32) -> String {
    format!("{}{ASIDE}{epoch}", segment(number))
}

/// True if a crash while one of our files was replaced leaves the name `name`.
pub(crate) fn is_temp(name: &str) -> bool {
    let target = Temp::target_of(name).or_else(|| name.strip_suffix(TEMP_SUFFIX));
    target.is_some_and(|name| {
        let name = name.split_once(ASIDE).map_or(name, |(name, _)| name);
        name == SUPERBLOCK || parse_segment(name).is_some()
    })
}

/// The number of the segment called `name`; `None` if that is not how we name segments.
pub(crate) fn parse_segment(name: &str) -> Option<u64> {
    numbered::parse(name, SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        for number in [1, 2, 0xabc, u64::MAX] {
            assert_eq!(parse_segment(&segment(number)), Some(number));
        }
    }

    #[test]
    fn only_a_left_over_of_ours_is_one() {
        for name in [SUPERBLOCK, &segment(7)] {
            assert!(is_temp(&temp(name)), "{name}");
            assert!(is_temp(&format!("~0123456789abcdef~{name}")), "{name}");
            assert!(!is_temp(name), "{name}");
        }
        assert!(is_temp(&format!("~0123456789abcdef~{}", aside(7, 3))));
        assert!(!is_temp(&aside(7, 3)));
        assert!(!is_temp("notes.tmp") && !is_temp("~0123456789abcdef~notes"));
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in [
            "",
            "mark",
            "1.wal",
            "0000000000000000.wal",
            "000000000000000A.wal",
            "+00000000000000a.wal",
            "0000000000000001.wal.tmp",
            "0000000000000001.wal.cut2",
        ] {
            assert_eq!(parse_segment(name), None, "{name}");
        }
    }
}
