//! What operations write: bytes that tell which operation wrote them, so that nothing else passes for
//! them.

use durable_io::codec::Decoder;

/// A written content's bytes: the operation, the index in the batch, the length, and a pattern of all three.
pub fn payload(n: u64, index: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(&n.to_le_bytes());
    for small in [index, len] {
        let small = u32::try_from(small).expect("small");
        bytes.extend_from_slice(&small.to_le_bytes());
    }
    for word in words(n, index).take(len.saturating_sub(bytes.len()).div_ceil(8)) {
        bytes.extend_from_slice(&word);
    }
    bytes.truncate(len);
    bytes
}

/// The pattern.
fn words(n: u64, index: usize) -> impl Iterator<Item = [u8; 8]> {
    let mut word = n.wrapping_mul(31).wrapping_add(index as u64 + 7) | 1;
    std::iter::repeat_with(move || {
        word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) | 1;
        word.to_le_bytes()
    })
}

/// The operation and index that wrote `bytes`, if these are exactly what it wrote.
pub fn identify(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut decoder = Decoder::new(bytes);
    let n = decoder.u64()?;
    let index = decoder.u32()? as usize;
    let len = decoder.u32()? as usize;
    let (whole, rest) = decoder.rest().as_chunks::<8>();
    let mut words = words(n, index);
    let is_whole = whole.iter().all(|chunk| words.next() == Some(*chunk));
    let is_written = is_whole && words.next().is_some_and(|word| word.starts_with(rest));
    (len == bytes.len() && is_written).then_some((n, index))
}
