//! A block of a whole table is overwritten, header or payload, under a right checksum.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sstable_fuzz::Bench;

static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);

fuzz_target!(|data: &[u8]| {
    let [which, from, data @ ..] = data else {
        return;
    };
    let blocks = BENCH.blocks();
    let (at, len) = blocks[usize::from(*which) % blocks.len()];
    let mut bytes = BENCH.whole();
    // Behind the check and the magic, which are known to be looked at.
    let from = 8 + usize::from(*from) % (len - 8);
    let n = data.len().min(len - from);
    bytes[at + from..at + from + n].copy_from_slice(&data[..n]);
    BENCH.seal(&mut bytes, at, len);
    BENCH.read(&bytes);
});
