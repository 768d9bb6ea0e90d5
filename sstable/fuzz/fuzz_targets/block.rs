//! A block of a whole table, plain or compressed, is overwritten, header or payload, under a right checksum.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sstable::Compression;
use sstable_fuzz::Bench;

static PLAIN: LazyLock<Bench> = LazyLock::new(|| Bench::new(Compression::None));
static COMPRESSED: LazyLock<Bench> = LazyLock::new(|| Bench::new(Compression::Lz4));

fuzz_target!(|data: &[u8]| {
    let [which, from, data @ ..] = data else {
        return;
    };
    let bench: &Bench = if *which < 128 { &PLAIN } else { &COMPRESSED };
    let blocks = bench.blocks();
    let (at, len) = blocks[usize::from(*which) % blocks.len()];
    let mut bytes = bench.whole();
    // Behind the check and the magic, which are known to be looked at.
    let from = 8 + usize::from(*from) % (len - 8);
    let n = data.len().min(len - from);
    bytes[at + from..at + from + n].copy_from_slice(&data[..n]);
    bench.seal(&mut bytes, at, len);
    bench.read(&bytes);
});
