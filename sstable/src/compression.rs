//! [`Compression`]: how blocks are made smaller, and made whole again.

#[cfg(feature = "zstd")]
use std::cell::RefCell;

use crate::error::Corruption;

/// How the data blocks of a table are compressed. A block that would hardly become smaller is stored as
/// it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all: values are lent from the mapped file. The default.
    #[default]
    None,
    /// LZ4: cheap to decompress, about 1 µs for a block of 4 KiB.
    Lz4,
    /// Zstandard, level 3: smaller, and several times dearer.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// The codes on the disk.
pub(crate) const RAW: u8 = 0;
const LZ4: u8 = 1;
const ZSTD: u8 = 2;

/// A payload is at most this many times as long as it is stored. LZ4 cannot do better; so a stored
/// length, which the file bounds, bounds what is allocated.
const MOST_RATIO: usize = 256;

/// What can be wrong with a compressed payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Corrupt(Corruption),
    /// The program was built without it.
    #[cfg(not(feature = "zstd"))]
    Unsupported(&'static str),
}

/// True if a payload of `raw` bytes, stored in `stored`, can be.
pub(crate) fn is_possible(code: u8, stored: usize, raw: usize) -> bool {
    match code {
        RAW => stored == raw,
        LZ4 | ZSTD => raw <= stored.saturating_mul(MOST_RATIO),
        _ => false,
    }
}

/// Appends `raw`, compressed, to `out` and returns the code; appends nothing and returns `None` if that
/// would not save an eighth.
pub(crate) fn compress(compression: Compression, raw: &[u8], out: &mut Vec<u8>) -> Option<u8> {
    let start = out.len();
    let code = match compression {
        Compression::None => return None,
        Compression::Lz4 => lz4(raw, out)?,
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd(raw, out).or_else(|| {
            out.truncate(start);
            lz4(raw, out)
        })?,
    };
    let stored = out.len() - start;
    if stored <= raw.len() - raw.len() / 8 && is_possible(code, stored, raw.len()) {
        return Some(code);
    }
    out.truncate(start);
    None
}

fn lz4(raw: &[u8], out: &mut Vec<u8>) -> Option<u8> {
    let start = out.len();
    out.resize(
        start + lz4_flex::block::get_maximum_output_size(raw.len()),
        0,
    );
    let len = lz4_flex::block::compress_into(raw, out.get_mut(start..)?).ok();
    out.truncate(start + len.unwrap_or(0));
    len.map(|_| LZ4)
}

// To make a context takes longer than a block does, which is why each thread keeps its own: about 100 KiB if it reads
// such blocks, and 1 MiB if it writes them.
#[cfg(feature = "zstd")]
thread_local! {
    static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new(
        zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL).expect("the level is known"),
    );
    static DECOMPRESSOR: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::new(
        zstd::bulk::Decompressor::new().expect("no dictionary can be wrong"),
    );
}

/// `None` also where it is better than [`MOST_RATIO`], which LZ4 then gets close to.
#[cfg(feature = "zstd")]
fn zstd(raw: &[u8], out: &mut Vec<u8>) -> Option<u8> {
    let compressed = COMPRESSOR.with_borrow_mut(|context| context.compress(raw).ok())?;
    out.extend_from_slice(&compressed);
    is_possible(ZSTD, compressed.len(), raw.len()).then_some(ZSTD)
}

/// The payload of `raw` bytes that is stored as `stored`, which must be [possible](is_possible).
pub(crate) fn decompress(code: u8, stored: &[u8], raw: usize) -> Result<Vec<u8>, Failure> {
    let damaged = Failure::Corrupt(Corruption::Compression);
    let mut out = vec![0; raw];
    let len = match code {
        LZ4 => lz4_flex::block::decompress_into(stored, &mut out).ok(),
        #[cfg(feature = "zstd")]
        ZSTD => DECOMPRESSOR
            .with_borrow_mut(|context| context.decompress_to_buffer(stored, &mut out).ok()),
        #[cfg(not(feature = "zstd"))]
        ZSTD => return Err(Failure::Unsupported("zstd")),
        _ => None,
    };
    if len == Some(raw) {
        Ok(out)
    } else {
        Err(damaged)
    }
}

/// The name of a code, for people.
pub(crate) fn name(code: u8) -> &'static str {
    match code {
        RAW => "none",
        LZ4 => "lz4",
        ZSTD => "zstd",
        _ => "unknown",
    }
}

impl Compression {
    /// Its number on the disk.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::None => RAW,
            Self::Lz4 => LZ4,
            #[cfg(feature = "zstd")]
            Self::Zstd => ZSTD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Compression] = &[
        Compression::Lz4,
        #[cfg(feature = "zstd")]
        Compression::Zstd,
    ];

    #[test]
    fn what_was_compressed_is_decompressed_and_never_beyond_the_ratio() {
        let text = b"so it goes ".repeat(500);
        for &compression in ALL {
            for raw in [text.clone(), vec![0; 1 << 20], vec![7; 64]] {
                let mut out = b"before".to_vec();
                let code = compress(compression, &raw, &mut out).unwrap();
                let stored = &out[6..];
                assert!(is_possible(code, stored.len(), raw.len()));
                assert_eq!(decompress(code, stored, raw.len()).unwrap(), raw);
                let cut = &stored[..stored.len() - 1];
                decompress(code, cut, raw.len()).unwrap_err();
                decompress(code, stored, raw.len() + 1).unwrap_err();
                decompress(code, stored, raw.len() - 1).unwrap_err();
            }
        }
    }

    #[test]
    fn what_does_not_become_smaller_stays_as_it_is() {
        let noise: Vec<u8> = (0_u32..500)
            .map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes()[3])
            .collect();
        for &compression in ALL {
            let mut out = Vec::new();
            assert_eq!(compress(compression, &noise, &mut out), None);
            assert_eq!(compress(compression, b"", &mut out), None);
            assert!(out.is_empty());
        }
    }
}
