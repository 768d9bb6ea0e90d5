//! Little-endian numbers to and from bytes. Decoding cannot panic and cannot read past the end.

use byteorder::{ByteOrder, LittleEndian};

/// Reads numbers and byte strings from the front of a slice. Every method returns `None`, and takes
/// nothing, if too few bytes are left.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not yet taken.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `n` bytes.
    #[inline]
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes a little-endian `u32`.
    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.bytes(4).map(LittleEndian::read_u32)
    }

    /// Takes a little-endian `u64`.
    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes(8).map(LittleEndian::read_u64)
    }
}

/// Copies `bytes` to `at` in `out`; does nothing if they do not fit there.
#[inline]
pub fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = out.get_mut(at..at.saturating_add(bytes.len())) {
        to.copy_from_slice(bytes);
    }
}

/// Appends numbers and byte strings to a buffer.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
        }
    }

    /// Appends `bytes` as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends `value`, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends `value`, little-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// What has been appended so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The buffer.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn what_does_not_fit_is_not_put() {
        let mut out = [0; 4];
        put(&mut out, 1, &[1, 2]);
        for at in [3, 5, usize::MAX] {
            put(&mut out, at, &[9, 9]);
        }
        assert_eq!(out, [0, 1, 2, 0]);
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let mut encoder = Encoder::default();
        encoder.u32(0x0102_0304).u64(u64::MAX - 1).bytes(b"tail");
        assert_eq!(encoder.as_slice().first(), Some(&4), "little-endian");
        let mut decoder = Decoder::new(encoder.as_slice());
        assert_eq!(decoder.u32(), Some(0x0102_0304));
        assert_eq!(decoder.u64(), Some(u64::MAX - 1));
        assert_eq!(decoder.rest(), b"tail");
    }

    #[test]
    fn too_few_bytes_are_none_and_take_nothing() {
        let mut decoder = Decoder::new(&[1, 2, 3]);
        assert_eq!(decoder.u32(), None);
        assert_eq!(decoder.u64(), None);
        assert_eq!(decoder.bytes(4), None);
        assert_eq!(decoder.bytes(3), Some(&[1, 2, 3][..]));
    }

    proptest! {
        #[test]
        fn any_sequence_is_decoded_as_it_was_encoded(
            parts in vec((any::<u32>(), any::<u64>(), vec(any::<u8>(), 0..40)), 0..20)
        ) {
            let mut encoder = Encoder::with_capacity(7);
            for (a, b, bytes) in &parts {
                encoder.u32(*a).u64(*b).bytes(bytes);
            }
            let encoded = encoder.into_vec();
            let mut decoder = Decoder::new(&encoded);
            for (a, b, bytes) in &parts {
                prop_assert_eq!(decoder.u32(), Some(*a));
                prop_assert_eq!(decoder.u64(), Some(*b));
                prop_assert_eq!(decoder.bytes(bytes.len()), Some(&bytes[..]));
            }
            prop_assert!(decoder.rest().is_empty());
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic_and_never_beyond_the_end(
            bytes in vec(any::<u8>(), 0..64),
            takes in vec(any::<usize>(), 0..20),
        ) {
            let mut decoder = Decoder::new(&bytes);
            for n in takes {
                let before = decoder.rest();
                let (width, taken) = match n % 3 {
                    0 => (4, decoder.u32().is_some()),
                    1 => (8, decoder.u64().is_some()),
                    _ => (n, decoder.bytes(n).is_some()),
                };
                prop_assert_eq!(taken, width <= before.len());
                let left = if taken { &before[width..] } else { before };
                prop_assert_eq!(decoder.rest(), left);
            }
        }
    }
}
