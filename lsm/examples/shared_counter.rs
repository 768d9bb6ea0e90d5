//! Counts how often it was run, durably.
//!
//! `cargo run -p lsm --example shared_counter -- DIR`

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;

use lsm::Options;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "counter".into());
    let db = Options::new().open(dir)?;
    // Nobody else has the store open, and this is the only thread: else it would need a lock from here
    // to the put.
    let runs = match db.get(b"runs")? {
        Some(value) => u64::from_le_bytes((*value).try_into()?),
        None => 0,
    };
    db.put(b"runs", &(runs + 1).to_le_bytes())?;
    // Durable: only now may anybody be told.
    println!("run {}", runs + 1);
    db.close()?;
    Ok(())
}
