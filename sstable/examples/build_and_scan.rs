//! Builds a table of versions, opens it, and reads it in every way.
//!
//! ```console
//! $ cargo run -p sstable --example build_and_scan [DIR]
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use durable_io::Disk;
use sstable::{BlockCache, Compression, Cursor, Entry, Kind, Options, RangeTombstone, Table};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1);
    let temp = tempfile::tempdir()?;
    let path = path.map_or_else(|| temp.path().to_owned(), Into::into);
    let disk = Disk::os();
    let dir = disk.create_dir(&path)?;

    // Entries come in order: keys ascending, the versions of one key descending.
    let options = Options::new()
        .compression(Compression::Lz4)
        .filter_prefix(4)
        .property("made by", "an example");
    let mut writer = options.create(&dir, "prices")?;
    for day in 1..=31 {
        let key = format!("2026-10-{day:02}");
        for version in [2, 1] {
            let value = format!("{} cents, revision {version}", 100 + day * version);
            writer.add(Entry {
                key: key.as_bytes(),
                version,
                kind: Kind::Put,
                value: value.as_bytes(),
            })?;
        }
    }
    writer.add_range_tombstone(&RangeTombstone {
        start: b"2026-10-10".to_vec(),
        end: b"2026-10-20".to_vec(),
        version: 3,
    })?;
    let info = writer.finish()?; // the table is on stable storage, under its name
    println!("{} entries in {} bytes", info.entries, info.file_bytes);

    let cache = BlockCache::new(8 << 20);
    let table = Table::open(&dir, "prices", &cache)?;
    let first = table.get(b"2026-10-01")?.ok_or("it was put")?;
    println!("the first: {}", String::from_utf8_lossy(&first));
    println!(
        "the tenth is deleted: {}",
        table.get(b"2026-10-10")?.is_none()
    );
    println!("but was not: {}", table.get_at(b"2026-10-10", 2)?.is_some());

    for pair in table.scan(&b"2026-10-25"[..]..).rev().take(2) {
        let (key, value) = pair?;
        println!("{}: {}", key.escape_ascii(), value.escape_ascii());
    }
    println!(
        "left in October: {}",
        table.scan_prefix(b"2026-10", u64::MAX)?.count()
    );

    // A cursor copies nothing, and sees every version.
    let mut cursor = table.cursor();
    cursor.seek(b"2026-10-31", u64::MAX)?;
    while let Some(entry) = cursor.entry() {
        println!("{} at version {}", entry.key.escape_ascii(), entry.version);
        cursor.advance()?;
    }
    let reads = table.reads();
    println!("{} blocks read, {} bytes", reads.blocks, reads.bytes);
    let verified = table.verify()?;
    println!(
        "whole: {}",
        verified.is_whole() && verified.checksum == info.checksum
    );
    Ok(())
}
