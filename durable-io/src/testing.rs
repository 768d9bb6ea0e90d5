//! What the tests of every engine do in the same way (feature `testing`): files read and damaged, the
//! blocks of a `FORMAT.md`, allocations and descriptors counted, panics planted.

mod allocations;
mod files;
mod format;
mod panics;
#[cfg(feature = "sim")]
pub mod simulated;

pub use allocations::{Allocations, CountingAllocator};
pub use files::{descriptors, fast_dir, read, restore, snapshot, write};
pub use format::block;
pub use panics::{Planted, plant};

pub(crate) use panics::step;

/// The seed of a random test: the variable `SEED` of the environment, or `default`. It is printed, so
/// that a failure can be repeated.
///
/// # Panics
/// If `SEED` is no number.
#[expect(clippy::print_stderr, reason = "the harness shows it with a failure")]
pub fn seed(default: u64) -> u64 {
    let seed = std::env::var("SEED").map_or(default, |seed| {
        seed.parse().expect("SEED is a decimal number")
    });
    eprintln!("SEED={seed}");
    seed
}
