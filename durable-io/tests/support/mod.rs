//! What the tests of the simulated disk share.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test; each binary uses a part of it"
)]

pub mod crash_states;
pub mod files;
pub mod log;
pub mod machine;
pub mod picture;

use durable_io::sim::{Bound, Exploration, Explorer, Subject};

/// Everything within `length` operations, on one thread.
pub fn bound(length: usize) -> Bound {
    Bound {
        threads: 1,
        ..Bound::of_length(length)
    }
}

pub fn explore<S: Subject>(subject: &S, bound: &Bound) -> Exploration {
    let explored = Explorer::new(subject).explore(bound, &|_counts| {});
    assert!(!explored.timed_out);
    explored
}

/// Explores a subject that must keep every promise.
pub fn passes<S: Subject>(subject: &S, bound: &Bound) -> Exploration {
    let explored = explore(subject, bound);
    if let Some(example) = &explored.counterexample {
        panic!("{example}");
    }
    assert!(explored.counts.unique_states > 0);
    explored
}

/// A number drawn from `seed`; the seed becomes the next one.
pub fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 11) % below
}
