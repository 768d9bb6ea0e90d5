//! Numbers that look drawn and are the same in every run.

/// Scatters the bits of `state`.
///
/// Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014.
pub(crate) fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
