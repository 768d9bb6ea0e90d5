//! A key-value store on the log, in `key_value/store.rs`: what is put survives power loss, and a
//! snapshot keeps the log short. `tests/key_value.rs` judges it on the simulated disk.
//!
//! `cargo run -p wal --example key_value -- DIR`

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

#[path = "key_value/store.rs"]
mod store;

use std::path::PathBuf;

use wal::{Disk, Options};

use store::{KeyValue, Outcome};

fn main() -> Outcome<()> {
    let path: PathBuf = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "key_value".into())
        .into();
    let options = Options::new().segment_size(1 << 20);
    let mut store = KeyValue::open(&Disk::os(), &path, options)?;
    println!(
        "{} keys, {} of the records were in the log",
        store.map().len(),
        store.log.recovery().records
    );

    let runs = match store.get(b"runs") {
        Some(bytes) => u64::from_le_bytes(bytes.try_into()?) + 1,
        None => 1,
    };
    // Durable when it returns: only now may anybody be told.
    store.put(b"runs", &runs.to_le_bytes())?;
    store.put(format!("run {runs}").as_bytes(), b"was here")?;
    if let Some(older) = runs.checked_sub(3) {
        store.delete(format!("run {older}").as_bytes())?;
    }
    println!("run {runs}");
    if runs.is_multiple_of(5) {
        store.snapshot()?;
        println!("snapshot: the log begins at {}", store.log.bounds().start);
    }
    // Not needed: what was put is durable. It makes sure that any later loss is seen.
    store.log.close()?;
    Ok(())
}
