//! Header and footer of a whole table are overwritten, both alike, under right checksums.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sstable::Compression;
use sstable_fuzz::{Bench, FOOTER};

static BENCH: LazyLock<Bench> = LazyLock::new(|| Bench::new(Compression::None));

fuzz_target!(|data: &[u8]| {
    let [from, data @ ..] = data else {
        return;
    };
    let mut bytes = BENCH.whole();
    // Behind the magic.
    let from = 8 + usize::from(*from) % (FOOTER - 8);
    let n = data.len().min(FOOTER - from);
    for at in [0, bytes.len() - FOOTER] {
        bytes[at + from..at + from + n].copy_from_slice(&data[..n]);
        BENCH.seal(&mut bytes, at, FOOTER);
    }
    BENCH.read(&bytes);
});
