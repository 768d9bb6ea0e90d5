//! Small sorted tables to be damaged, and a table as a store that is asked everything.
//!
//! Nothing excuses a table: whatever is changed, each answer is exact or a typed error that names a place
//! in it, and `verify` complains. What is there twice may be read from the other copy.

use std::ops::Bound;

use crashtest::{Change, Contents, Held, Outcome, Refusal, Root, Setting, Span, Specimen, Store};
use durable_io::codec::Decoder;
use durable_io::sim::SimDisk;
use sstable::{
    BlockCache, Compression, Cursor, Entry, Kind, MAX_RANGE_TOMBSTONES_SIZE, Options,
    RangeTombstone, Result, Table, TableCursor, fragment,
};

const DIR: &str = "/tables";
/// The size of header and footer, of a block's header, and where its magic stands (`sstable/FORMAT.md`,
/// sections 3 and 4).
const END: usize = 192;
const BLOCK_HEADER: usize = 24;
const MAGIC: (usize, &[u8]) = (4, b"sst");
/// A key that no table has.
const ABSENT: &[u8] = b"key 0!";

type Row = (Vec<u8>, u64, Option<Vec<u8>>);
type Pair = (Vec<u8>, Vec<u8>);

/// What is in a table.
#[derive(Debug)]
struct Content {
    /// Key, version, and value or `None` for a deletion; in a table's order.
    rows: Vec<Row>,
    ranges: Vec<RangeTombstone>,
}

impl Content {
    /// Versions, deletions, range tombstones; enough for a few blocks of the smallest size.
    fn new() -> Self {
        let mut rows = Vec::new();
        for nth in 0..7_u8 {
            let key = [b"key ", &[b'0' + nth][..]].concat();
            for version in (1..=u64::from(nth % 3) + 1).rev() {
                let is_put = !(u64::from(nth) + version).is_multiple_of(5);
                let value = is_put.then(|| vec![nth; usize::from(nth) * 4]);
                rows.push((key.clone(), version * 10, value));
            }
        }
        let range = |start: &[u8], end: &[u8], version| RangeTombstone {
            start: start.to_vec(),
            end: end.to_vec(),
            version,
        };
        let ranges = [
            range(b"key 2", b"key 4", 15),
            range(b"key 3", b"key 5", 25),
            range(b"x", b"z", 1),
        ];
        let ranges = fragment(ranges, MAX_RANGE_TOMBSTONES_SIZE).expect("there are three");
        Self { rows, ranges }
    }

    fn write(&self, options: &Options, disk: &SimDisk, name: &str) -> Result<()> {
        let dir = disk.disk().create_dir(DIR)?;
        let mut writer = options.create(&dir, name)?;
        for (key, version, value) in &self.rows {
            writer.add(Entry {
                key,
                version: *version,
                kind: if value.is_some() {
                    Kind::Put
                } else {
                    Kind::Delete
                },
                value: value.as_deref().unwrap_or(&[]),
            })?;
        }
        for range in &self.ranges {
            writer.add_range_tombstone(range)?;
        }
        writer.finish().map(drop)
    }

    /// What `key` holds at `version`.
    fn get(&self, key: &[u8], version: u64) -> Option<&[u8]> {
        let of_key = |row: &&Row| row.0 == key && row.1 <= version;
        let (_, written, value) = self.rows.iter().find(of_key)?;
        let mut ranges = self.ranges.iter();
        let is_hidden = ranges.any(|range| {
            let contains = *range.start <= *key && *key < *range.end;
            contains && range.version <= version && range.version > *written
        });
        value.as_deref().filter(|_| !is_hidden)
    }

    fn scan(&self, version: u64) -> Vec<Pair> {
        let mut keys: Vec<&Vec<u8>> = self.rows.iter().map(|row| &row.0).collect();
        keys.dedup();
        let pair = |key: &Vec<u8>| Some((key.clone(), self.get(key, version)?.to_vec()));
        keys.into_iter().filter_map(pair).collect()
    }
}

/// Two tables that were made alike, each twice.
fn make(name: &'static str, options: &Options) -> Result<Specimen> {
    let content = Content::new();
    let disk = SimDisk::new();
    let mut earlier = Vec::new();
    for life in 0..2 {
        if life > 0 {
            earlier.push(disk.world().keep_unsynced());
        }
        for file in ["one", "two"] {
            content.write(options, &disk, file)?;
        }
    }
    let root = Root {
        span: Span::new("one", 0..0),
        witness: 0,
        history: vec![Held::new(0, contents(&content.rows))],
    };
    let specimen = Specimen::new(name, DIR, &disk.world(), earlier, vec![root]);
    Ok(specimen.blocks(pieces).checks_every_byte().is_read_only())
}

/// The tables that are damaged.
pub(super) fn all() -> Result<Vec<Specimen>> {
    let options = Options::new().block_size(64).partition_keys(5);
    let options = options.filter_prefix(5).property("by", "crashtest");
    Ok(vec![
        make("plain", &options)?,
        make("lz4", &options.clone().compression(Compression::Lz4))?,
        make("zstd", &options.compression(Compression::Zstd))?,
        make("one block", &Options::new().filter_bits(0))?,
    ])
}

/// Where header, footer and blocks of the table `bytes` are: offsets and lengths.
fn pieces(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = vec![(0, END), (bytes.len().saturating_sub(END), END)];
    let mut at = END;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() > BLOCK_HEADER) {
        let (place, magic) = MAGIC;
        let is_block = rest.get(place..place + magic.len()) == Some(magic);
        let stored = rest.get(8..).and_then(|rest| Decoder::new(rest).u32());
        if let Some(stored) = stored.filter(|_| is_block) {
            let len = BLOCK_HEADER + stored as usize;
            found.push((at, len));
            at += len;
        } else {
            at += 1;
        }
    }
    found
}

/// Rows as a map: a key and its version, to whether there is a value, and which.
fn contents(rows: &[Row]) -> Contents {
    let entry = |(key, version, value): &Row| {
        let key = [key, format!(" at {version}").as_bytes()].concat();
        let value = value
            .as_ref()
            .map_or_else(Vec::new, |value| [b"=", &**value].concat());
        (key, value)
    };
    rows.iter().map(entry).collect()
}

/// The table in the file called `file` of the damaged directory.
pub(super) fn open(setting: &Setting, file: &str) -> Outcome<Box<dyn Store>> {
    let dir = setting.disk.open_dir(&setting.dir)?;
    Ok(Box::new(Asked {
        table: Table::open(&dir, file, &BlockCache::new(1 << 16))?,
        content: Content::new(),
    }))
}

/// A table that is asked everything.
struct Asked {
    table: Table,
    content: Content,
}

impl Store for Asked {
    fn apply(&self, _changes: &[Change]) -> Outcome<()> {
        Err("a table is written once".into())
    }

    fn dump(&self) -> Outcome<Contents> {
        let (contents, errors) = self.salvage();
        errors.into_iter().next().map_or(Ok(contents), Err)
    }

    fn salvage(&self) -> (Contents, Vec<Box<Refusal>>) {
        let mut errors = Vec::new();
        self.gets(&mut errors);
        self.scans(&mut errors);
        (contents(&self.walk(&mut errors)), errors)
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        let damage = self.table.verify()?.damage.into_iter();
        let damage = damage.chain(self.table.damage());
        Ok(damage.map(Into::into).collect())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

impl Asked {
    /// Each key alone, at each version.
    fn gets(&self, errors: &mut Vec<Box<Refusal>>) {
        let keys = self.content.rows.iter().map(|row| (&*row.0, row.1));
        for (key, version) in keys.chain([(ABSENT, 0)]) {
            for version in [version, u64::MAX] {
                match self.table.get_at(key, version) {
                    Ok(found) if found.as_deref() == self.content.get(key, version) => {}
                    Ok(found) => {
                        let found = found.map(|value| value.to_vec());
                        errors.push(format!("{key:?} at {version} is {found:?}").into());
                    }
                    Err(error) => errors.push(error.into()),
                }
            }
        }
    }

    /// Scans from either end, and of a prefix.
    fn scans(&self, errors: &mut Vec<Box<Refusal>>) {
        let pairs = self.content.scan(u64::MAX);
        let backwards: Vec<Pair> = pairs.iter().rev().cloned().collect();
        let owned = |pair: Result<(Vec<u8>, sstable::Value)>| {
            pair.map(|(key, value)| (key, value.to_vec()))
        };
        compare(&pairs, self.table.scan(..).map(owned), errors);
        compare(&backwards, self.table.scan(..).rev().map(owned), errors);
        let older = self.content.scan(20);
        compare(&older, self.table.scan_at(.., 20).map(owned), errors);
        for (prefix, expected) in [(&b"key "[..], &*pairs), (b"key 9", &[])] {
            match self.table.scan_prefix(prefix, u64::MAX) {
                Ok(scan) => drop(compare(expected, scan.map(owned), errors)),
                Err(error) => errors.push(error.into()),
            }
        }
    }

    /// Every entry by a cursor, and the range tombstones and the bounds of the properties.
    fn walk(&self, errors: &mut Vec<Box<Refusal>>) -> Vec<Row> {
        let mut cursor = self.table.cursor();
        let mut is_there = cursor.seek_to_first();
        let next = std::iter::from_fn(|| match std::mem::replace(&mut is_there, Ok(())) {
            Ok(()) => {
                let row = row(&cursor)?;
                is_there = cursor.advance();
                Some(Ok(row))
            }
            Err(error) => Some(Err(error)),
        });
        let rows = compare(&self.content.rows, next, errors);
        if self.table.range_tombstones() != self.content.ranges {
            let ranges = self.table.range_tombstones();
            errors.push(format!("range tombstones {ranges:?}").into());
        }
        let properties = self.table.properties();
        let (first, last) = (&*properties.first, &properties.last);
        if first != b"key 0" || *last != Bound::Excluded(b"z".to_vec()) {
            errors.push(format!("it says that it is from {first:?} to {last:?}").into());
        }
        rows
    }
}

/// What was found must be `expected`, up to an error. Returns it.
fn compare<T: PartialEq + std::fmt::Debug>(
    expected: &[T],
    found: impl Iterator<Item = Result<T>>,
    errors: &mut Vec<Box<Refusal>>,
) -> Vec<T> {
    let mut rows = Vec::new();
    for row in found {
        match row {
            Ok(row) if Some(&row) == expected.get(rows.len()) => rows.push(row),
            Ok(row) => {
                errors.push(format!("a scan shows {row:?}").into());
                return rows;
            }
            Err(error) => {
                errors.push(error.into());
                return rows;
            }
        }
    }
    if let Some(missing) = expected.get(rows.len()) {
        errors.push(format!("a scan leaves out {missing:?}").into());
    }
    rows
}

/// What the cursor is on.
fn row(cursor: &TableCursor) -> Option<Row> {
    let entry = cursor.entry()?;
    let value = (entry.kind == Kind::Put).then(|| entry.value.to_vec());
    Some((entry.key.to_vec(), entry.version, value))
}
