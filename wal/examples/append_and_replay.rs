//! A counter that survives power loss: every change is appended before it is applied, and opening
//! replays what the last run left.
//!
//! `cargo run -p wal --example append_and_replay -- DIR`

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;

use wal::{Lsn, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "counter.log".into());
    let log = Options::new().segment_size(1 << 20).open(dir)?;

    let mut counter = 0;
    for record in log.records(Lsn(0)) {
        counter = i64::from_le_bytes(record?.payload.as_slice().try_into()?);
    }
    println!(
        "replayed {} records, the counter is at {counter}",
        log.recovery().records
    );

    for _ in 0..10 {
        counter += 1;
        // Durable when this returns: only now may anybody be told the new number.
        let lsn = log.append(&i64::to_le_bytes(counter))?.lsn();
        println!("{lsn}: {counter}");
    }

    // The last record says it all: the ones before it are not needed any more.
    log.truncate_before(Lsn(log.bounds().end.0 - 1))?;
    log.close()?;
    Ok(())
}
