//! What operations write: bytes that tell which operation wrote them, so that nothing else passes for
//! them.

/// A written content's bytes: the operation, the index in the batch, the length, and a pattern of all three.
pub fn payload(n: u64, index: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(&n.to_le_bytes());
    for small in [index, len] {
        let small = u32::try_from(small).expect("small");
        bytes.extend_from_slice(&small.to_le_bytes());
    }
    let mut word = n.wrapping_mul(31).wrapping_add(index as u64 + 7) | 1;
    while bytes.len() < len {
        word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) | 1;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The operation and index that wrote `bytes`, if these are exactly what it wrote.
pub fn identify(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut decoder = durable_io::codec::Decoder::new(bytes);
    let n = decoder.u64()?;
    let index = decoder.u32()? as usize;
    let len = decoder.u32()? as usize;
    (len == bytes.len() && payload(n, index, len) == bytes).then_some((n, index))
}
