//! Names of files that are numbered: 16 lower-case hexadecimal digits and a suffix, so that the order of
//! the names is that of the numbers.

const DIGITS: usize = 16;

/// The name of file `number` with `suffix`.
pub fn name(number: u64, suffix: &str) -> String {
    let mut name = String::with_capacity(DIGITS + suffix.len());
    // By hand, since every call that opens a file needs a name.
    let digits = (0..DIGITS).rev().map(|digit| number >> (4 * digit) & 0xF);
    name.extend(digits.map(|digit| {
        let digit = u32::try_from(digit).expect("four bits");
        char::from_digit(digit, 16).expect("four bits are a digit")
    }));
    name.push_str(suffix);
    name
}

/// The number of the file called `name`; `None` if [`name`](fn@name) does not give this name with `suffix`
/// to any number above 0.
pub fn parse(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if digits.len() != DIGITS || !digits.bytes().all(lower_hex) {
        return None;
    }
    let number = u64::from_str_radix(digits, 16).expect("16 digits are a number");
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_no_other_is_read() {
        for number in [1, 2, 0xabc, u64::MAX] {
            assert_eq!(parse(&name(number, ".wal"), ".wal"), Some(number));
            assert_eq!(parse(&name(number, ".wal"), ".data"), None);
        }
        for other in [
            "",
            ".wal",
            "1.wal",
            "0000000000000000.wal",
            "000000000000000A.wal",
            "+00000000000000a.wal",
            "00000000000000001.wal",
            "0000000000000001.wal.tmp",
        ] {
            assert_eq!(parse(other, ".wal"), None, "{other}");
        }
    }
}
