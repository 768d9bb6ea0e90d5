//! A store in ten lines, a bug in it, and the crash that shows it.
//!
//! `cargo run --release -p durable-io --features sim --example prove_your_own_store`

use durable_io::sim::{Bound, Explorer};

include!("counter.rs");

#[expect(clippy::print_stdout, reason = "an example shows what it found")]
fn main() {
    for syncs_directory in [false, true] {
        let subject = CounterSubject { syncs_directory };
        let found = Explorer::new(&subject).explore(&Bound::of_length(4), &|_counts| {});
        println!(
            "the counter that {} its directory:",
            if syncs_directory {
                "syncs"
            } else {
                "does not sync"
            }
        );
        match found.counterexample {
            Some(example) => println!("{example}"),
            None => println!(
                "no violation in {} distinct crash states of {} workloads\n",
                found.counts.unique_states, found.counts.workloads
            ),
        }
    }
}
