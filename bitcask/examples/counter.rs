//! Counters that several threads count up, without a lock of their own.
//!
//! ```console
//! $ cargo run --release -p bitcask --example counter
//! ```

use std::thread;

use bitcask::{Bitcask, Options};

const THREADS: u64 = 4;
const EACH: u64 = 200;

/// Adds one to the counter `name` and returns its new value, on stable storage.
fn count_up(store: &Bitcask, name: &[u8]) -> bitcask::Result<u64> {
    let mut next = 0;
    store.update(name, |old| {
        let old = old.and_then(|bytes| bytes.try_into().ok());
        next = old.map_or(0, u64::from_le_bytes) + 1;
        Some(next.to_le_bytes())
    })?;
    Ok(next)
}

#[allow(clippy::print_stdout, reason = "an example")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let store = Options::new().open(dir.path())?;
    thread::scope(|scope| {
        let count = || (0..EACH).try_for_each(|_| count_up(&store, b"visits").map(drop));
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    let total = count_up(&store, b"visits")?;
    println!("{total} visits, none lost");
    assert_eq!(total, THREADS * EACH + 1);
    store.close()?;
    Ok(())
}
