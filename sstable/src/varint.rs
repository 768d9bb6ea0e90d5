//! Numbers of 1 to 10 bytes, 7 bits in each, the lowest first; the top bit says that more follow.

/// Appends `value`.
#[inline]
pub(crate) fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

fn low_bits(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// Reads a number at `*at` and moves `at` behind it; `None` if the bytes end first or it has more than
/// 64 bits.
#[inline]
pub(crate) fn read(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Small numbers for small differences of either sign.
#[inline]
pub(crate) fn zigzag(difference: i64) -> u64 {
    (difference.wrapping_shl(1) ^ (difference >> 63)).cast_unsigned()
}

/// The difference behind [`zigzag`].
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back_and_a_cut_one_is_not() {
        for value in [
            0,
            1,
            127,
            128,
            300,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            push(&mut bytes, value);
            let mut at = 0;
            assert_eq!(read(&bytes, &mut at), Some(value));
            assert_eq!(at, bytes.len());
            assert_eq!(read(&bytes[..at - 1], &mut 0), None);
        }
    }

    #[test]
    fn more_than_64_bits_are_no_number() {
        assert_eq!(read(&[0xff; 12], &mut 0), None);
        let two_to_the_64 = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2];
        assert_eq!(read(&two_to_the_64, &mut 0), None);
    }

    #[test]
    fn a_difference_of_either_sign_is_read_back() {
        for (difference, value) in [(0, 0), (-1, 1), (1, 2), (i64::MAX, u64::MAX - 1)] {
            assert_eq!(zigzag(difference), value);
            assert_eq!(unzigzag(value), difference);
        }
        assert_eq!(unzigzag(zigzag(i64::MIN)), i64::MIN);
    }
}
