//! The names in a store's directory; the only place that makes or reads one ([format], section 1).
//!
//! [format]: crate::format

/// The lock file.
pub(crate) const LOCK: &str = "lock";
/// The manifest.
pub(crate) const MANIFEST: &str = "manifest";
/// What a crash leaves while the manifest is replaced.
pub(crate) const MANIFEST_TEMP: &str = "manifest.tmp";
/// Blocks held back for a full disk.
pub(crate) const RESERVE: &str = "reserve";

const DATA: &str = ".data";
const HINT: &str = ".hint";
const DIGITS: usize = 16;

/// The name of data file `number`.
pub(crate) fn data(number: u64) -> String {
    format!("{number:016x}{DATA}")
}

/// The name of the hint of data file `number`.
pub(crate) fn hint(number: u64) -> String {
    format!("{number:016x}{HINT}")
}

/// One of our numbered files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbered {
    Data(u64),
    Hint(u64),
}

/// What the file called `name` is; `None` if that is not how we name files.
pub(crate) fn parse(name: &str) -> Option<Numbered> {
    if let Some(digits) = name.strip_suffix(DATA) {
        return number(digits).map(Numbered::Data);
    }
    name.strip_suffix(HINT).and_then(number).map(Numbered::Hint)
}

fn number(digits: &str) -> Option<u64> {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.len() != DIGITS || !digits.bytes().all(lower_hex) {
        return None;
    }
    u64::from_str_radix(digits, 16)
        .ok()
        .filter(|&number| number > 0)
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
