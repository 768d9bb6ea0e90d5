//! What begins as a table does is a file, as it is; or a whole table is overwritten anywhere, and all checksums are made right.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sstable::Compression;
use sstable_fuzz::{Bench, FOOTER};

static BENCH: LazyLock<Bench> = LazyLock::new(|| Bench::new(Compression::None));

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"sstable") {
        BENCH.read(data);
        return;
    }
    let [seals, a, b, data @ ..] = data else {
        return;
    };
    let mut bytes = BENCH.whole();
    let at = usize::from(u16::from_le_bytes([*a, *b])) % bytes.len();
    let n = data.len().min(bytes.len() - at);
    bytes[at..at + n].copy_from_slice(&data[..n]);
    if *seals % 2 == 1 {
        for &(at, len) in BENCH.blocks() {
            BENCH.seal(&mut bytes, at, len);
        }
        for at in [0, bytes.len() - FOOTER] {
            BENCH.seal(&mut bytes, at, FOOTER);
        }
    }
    BENCH.read(&bytes);
});
