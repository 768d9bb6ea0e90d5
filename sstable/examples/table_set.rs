//! A durable set of tables, in `table_set/set.rs`: what is written becomes a table, a manifest names the
//! tables, and compactions keep them few. `tests/table_set.rs` judges it on the simulated disk.
//!
//! `cargo run -p sstable --example table_set -- DIR`

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

#[path = "table_set/manifest.rs"]
mod manifest;
#[path = "table_set/set.rs"]
mod set;

use std::path::PathBuf;

use durable_io::Disk;
use sstable::Options;
use sstable::compaction::Leveled;

use set::{Changes, Outcome, TableSet};

fn main() -> Outcome<()> {
    let path: PathBuf = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "table_set".into())
        .into();
    let mut set = TableSet::open(&Disk::os(), &path, Options::new(), Leveled::new().into())?;
    let runs = match set.contents()?.remove(b"runs".as_slice()) {
        Some(bytes) => u64::from_le_bytes(bytes.as_slice().try_into()?) + 1,
        None => 1,
    };
    let mut changes = Changes::default();
    let mut put =
        |key: String, value: &[u8]| changes.entries.insert(key.into(), Some(value.to_vec()));
    put("runs".to_owned(), &runs.to_le_bytes());
    put(format!("run {runs:08}"), b"was here");
    if let Some(older) = runs.checked_sub(3) {
        let range = ("run ".into(), format!("run {older:08}").into());
        changes.ranges.push(range);
    }
    // Durable when it returns: only now may anybody be told.
    set.write(&changes)?;
    println!("run {runs}");
    let jobs = set.compact()?;
    println!("{jobs} compactions, {} tables", set.numbers().count());
    Ok(())
}
