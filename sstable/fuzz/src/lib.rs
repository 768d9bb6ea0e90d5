//! What the targets share: a whole table, parts of it overwritten under right checksums, and everything
//! that a reader can do with the result. Nothing may panic; an error must be of the kinds that damage has.

use std::path::Path;

use durable_io::checksum::{Place, checksum_at};
use durable_io::{Dir, Disk};
use sstable::{
    BlockCache, Compression, Cursor, Detail, Entry, Error, Kind, Options, RangeTombstone, Table,
};
use tempfile::TempDir;

/// The size of header and footer.
pub const FOOTER: usize = 192;
/// The size of a block's header.
pub const BLOCK_HEADER: usize = 24;

/// A directory in memory, and a whole table to begin with.
pub struct Bench {
    temp: TempDir,
    dir: Dir,
    whole: Vec<u8>,
    /// Where its blocks are: offset and length.
    blocks: Vec<(usize, usize)>,
}

impl Bench {
    /// A table with a few blocks of every kind; its data blocks compressed in that way.
    pub fn new(compression: Compression) -> Self {
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let temp = temp.expect("a temporary directory");
        let disk = Disk::os();
        let dir = disk.open_dir(temp.path()).expect("it was made");
        let options = Options::new().block_size(256).partition_keys(10);
        let options = options.compression(compression);
        let mut writer = options.create(&dir, "table").expect("a table");
        for n in 0..20_u8 {
            let entry = Entry {
                key: &[b'k', n / 4, n],
                version: u64::from(n),
                kind: Kind::Put,
                // Long enough to be compressed.
                value: &[n; 40],
            };
            writer.add(entry).expect("in order");
        }
        let tombstone = RangeTombstone {
            start: b"k\x01".to_vec(),
            end: b"k\x02".to_vec(),
            version: 4,
        };
        writer.add_range_tombstone(&tombstone).expect("in order");
        writer.finish().expect("a table");
        let file = dir.open("table").expect("it was made");
        let mut whole = vec![0; file.len().expect("a length") as usize];
        file.read_exact_at(&mut whole, 0).expect("its bytes");
        let blocks = blocks(&whole);
        Self {
            temp,
            dir,
            whole,
            blocks,
        }
    }

    /// The bytes of the whole table.
    pub fn whole(&self) -> Vec<u8> {
        self.whole.clone()
    }

    /// Where the blocks of the whole table are: offset and length.
    pub fn blocks(&self) -> &[(usize, usize)] {
        &self.blocks
    }

    /// Makes the check of the header, the footer, or the block at `at` right again.
    pub fn seal(&self, bytes: &mut [u8], at: usize, len: usize) {
        let id = u64::from_le_bytes(self.whole[16..24].try_into().expect("8 bytes"));
        let place = |id| Place {
            id,
            number: 0,
            offset: at as u64,
        };
        if len == FOOTER {
            // Their own id counts, whatever it is.
            let own = bytes[at + 16..at + 24].try_into().expect("8 bytes");
            bytes[at + 12..at + 16].fill(0);
            let check = checksum_at(place(u64::from_le_bytes(own)), &bytes[at..at + len]);
            bytes[at + 12..at + 16].copy_from_slice(&check.to_le_bytes());
        } else {
            let check = checksum_at(place(id), &bytes[at + 4..at + len]);
            bytes[at..at + 4].copy_from_slice(&check.to_le_bytes());
        }
    }

    /// Does everything with a table of `bytes` that can be done with one.
    pub fn read(&self, bytes: &[u8]) {
        drop(self.dir.remove("fuzzed"));
        let file = self.dir.create_new("fuzzed").expect("a file");
        file.write_all_at(bytes, 0).expect("memory");
        let cache = BlockCache::new(1 << 16);
        let result =
            Table::open(&self.dir, "fuzzed", &cache).and_then(|table| self.use_table(&table));
        if let Err(error) = result {
            check(&error);
        }
        let path: &Path = self.temp.path();
        let mut out = std::io::sink();
        let dumped = sstable::dump(&Disk::os(), path.join("fuzzed"), Detail::Entries, &mut out);
        if let Err(error) = dumped {
            check(&error);
        }
    }

    fn use_table(&self, table: &Table) -> sstable::Result<()> {
        let mut result = Ok(());
        let mut note = |step: sstable::Result<()>| {
            if let Err(error) = step {
                check(&error);
                result = Err(error);
            }
        };
        for n in 0..22_u8 {
            for version in [0, u64::from(n), u64::MAX] {
                note(table.get_at(&[b'k', n / 4, n], version).map(drop));
            }
        }
        note(walk(table));
        note(table.scan(..).try_for_each(|pair| pair.map(drop)));
        note(table.scan(..).rev().try_for_each(|pair| pair.map(drop)));
        note(table.verify().map(drop));
        result
    }
}

fn blocks(whole: &[u8]) -> Vec<(usize, usize)> {
    let found = (4..whole.len()).filter(|&at| whole[at..].starts_with(b"sst"));
    let blocks = found.map(|at| {
        let stored = &whole[at + 4..at + 8];
        let stored = u32::from_le_bytes(stored.try_into().expect("4 bytes"));
        (at - 4, BLOCK_HEADER.saturating_add(stored as usize))
    });
    blocks.filter(|(at, len)| at + len <= whole.len()).collect()
}

fn walk(table: &Table) -> sstable::Result<()> {
    let mut cursor = table.cursor();
    cursor.seek(b"k\x02\x09", 9)?;
    cursor.seek_to_first()?;
    while cursor.entry().is_some() {
        cursor.advance()?;
    }
    cursor.seek_to_last()?;
    while cursor.entry().is_some() {
        cursor.retreat()?;
    }
    Ok(())
}

/// Damage is one of these.
fn check(error: &Error) {
    assert!(
        matches!(
            error,
            Error::Corrupt { .. }
                | Error::UnsupportedVersion { .. }
                | Error::UnsupportedCompression { .. }
        ),
        "{error}"
    );
}
