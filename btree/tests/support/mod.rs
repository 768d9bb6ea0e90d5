//! What several tests need.

#![allow(
    dead_code,
    clippy::print_stderr,
    reason = "not every test needs everything; a test says which seed failed"
)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The seed of the first of the random runs: from the environment, or a fixed one.
pub(crate) fn seed() -> u64 {
    std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"))
}

/// Runs `test`, and says which seed it had if it fails.
pub(crate) fn with_seed(seed: u64, test: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(test)) {
        eprintln!("failed with SEED={seed}");
        resume_unwind(panic);
    }
}

/// A directory in memory where the system has one: of tests that do not ask what a sync does.
pub(crate) fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
