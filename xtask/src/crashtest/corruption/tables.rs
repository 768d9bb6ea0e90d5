//! Small sorted tables, and what may be seen of a damaged one.
//!
//! Nothing excuses a table: whatever is changed, each answer is exact or a typed error that names a place
//! in it, and `verify` complains. What is there twice may be read from the other copy.

use std::ops::Bound;

use durable_io::codec::Decoder;
use durable_io::sim::{SimDisk, World};
use sstable::{
    BlockCache, Compression, Cursor, Entry, Error, Kind, Options, RangeTombstone, Result, Table,
    TableCursor, fragment,
};

use super::changes::{self, Change, FileFacts, Target};
use super::judge::Verdict;

const DIR: &str = "/tables";
/// The size of header and footer, of a block's header, and where its magic stands (`sstable/FORMAT.md`,
/// sections 3 and 4).
const END: usize = 192;
const BLOCK_HEADER: usize = 24;
const MAGIC: (usize, &[u8]) = (4, b"sst");
/// A key that no table has.
const ABSENT: &[u8] = b"key 0!";

/// Two tables that were made alike, each twice.
#[derive(Debug)]
pub(super) struct Tables {
    name: &'static str,
    files: Vec<FileFacts>,
    world: World,
    earlier: Vec<World>,
    content: Content,
}

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
        let ranges = fragment([
            range(b"key 2", b"key 4", 15),
            range(b"key 3", b"key 5", 25),
            range(b"x", b"z", 1),
        ]);
        Self { rows, ranges }
    }

    fn write(&self, options: &Options, disk: &SimDisk, name: &str) -> Result<()> {
        let disk = disk.disk();
        let dir = disk.create_dir(DIR)?;
        let mut writer = options.create(&disk, &dir, name)?;
        for (key, version, value) in &self.rows {
            writer.add(Entry {
                key,
                version: *version,
                kind: if value.is_some() {
                    Kind::Put
                } else {
                    Kind::Delete
                },
                value: value.as_deref().unwrap_or_default(),
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

fn make(name: &'static str, options: &Options) -> Result<Tables> {
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
    let world = disk.world().keep_unsynced();
    Ok(Tables {
        name,
        files: FileFacts::all(DIR, &world),
        world,
        earlier,
        content,
    })
}

/// The tables that are damaged.
pub(super) fn all() -> Result<Vec<Tables>> {
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

impl Tables {
    /// Calls `with` with the tables as something to be damaged.
    pub(super) fn target<T>(&self, with: impl FnOnce(&Target<'_>) -> T) -> T {
        with(&Target {
            name: self.name,
            files: &self.files,
            world: &self.world,
            earlier: &self.earlier,
            is_used: &|_, _| true,
        })
    }

    /// Every change to them: those of the layer, and each block in the place of each other one, of the
    /// same file and of the other file, and what was there in an earlier life.
    pub(super) fn changes(&self, full: bool) -> Vec<Change> {
        let mut changes = self.target(|target| changes::all(target, full));
        for (index, file) in self.files.iter().enumerate() {
            let lives = self.earlier.iter();
            let lives = lives.filter_map(|world| world.file_bytes(&file.path()));
            let lives: Vec<Vec<u8>> = lives.collect();
            let all = self.files.iter().map(|file| (&*file.name, &file.bytes));
            let all = all.chain(lives.iter().map(|bytes| ("an earlier life", bytes)));
            for (name, bytes) in all {
                for (from, len) in pieces(bytes) {
                    for (to, _) in pieces(&file.bytes) {
                        let len = len.min(file.bytes.len() - to);
                        let block = bytes.get(from..from + len).unwrap_or_default();
                        if file.bytes.get(to..to + len) != Some(block) {
                            let origin = format!("the block at {from} of {name}");
                            changes.push(Change::misplaced(index, to, block, origin));
                        }
                    }
                }
            }
        }
        changes
    }

    /// What the damaged one of the tables on `world` does about it.
    pub(super) fn judge(&self, change: &Change, world: &World) -> Verdict {
        match self.files.get(change.file) {
            Some(file) => {
                let asked = Asked {
                    content: &self.content,
                    file,
                    is_removed: world.file_bytes(&file.path()).is_none(),
                };
                asked.verdict(world).unwrap_or_else(Verdict::Wrong)
            }
            None => Verdict::Wrong("there is no such file".to_owned()),
        }
    }
}

type Judged<T> = std::result::Result<T, String>;

/// A table that is asked everything.
struct Asked<'a> {
    content: &'a Content,
    file: &'a FileFacts,
    is_removed: bool,
}

impl Asked<'_> {
    fn verdict(&self, world: &World) -> Judged<Verdict> {
        let disk = SimDisk::boot(world.clone()).disk();
        let dir = disk.open_dir(DIR).map_err(|error| error.to_string())?;
        let table = match Table::open(&dir, &self.file.name, &BlockCache::new(1 << 16)) {
            Ok(table) => table,
            Err(Error::Disk(error)) if error.is_not_found() && self.is_removed => {
                return Ok(Verdict::Detected);
            }
            Err(error) => {
                self.check_told(&error)?;
                return Ok(Verdict::Detected);
            }
        };
        let is_exact = self.gets(&table)? & self.scans(&table)? & self.walks(&table)?;
        let verified = table.verify().map_err(|error| error.to_string())?;
        for error in verified.damage.iter().chain(&table.damage()) {
            self.check_told(error)?;
        }
        if verified.is_whole() {
            return Err("verify says that all is well".to_owned());
        }
        // What is there twice was read from the copy that is right.
        Ok(if is_exact {
            Verdict::Harmless
        } else {
            Verdict::Detected
        })
    }

    /// An error must be the one that is promised for damage, and name a place in the table.
    fn check_told(&self, error: &Error) -> Judged<()> {
        let (path, offset) = match error {
            Error::Corrupt { path, offset, .. } => (path, *offset),
            Error::UnsupportedVersion { path, .. } => (path, 0),
            other => return Err(format!("it answered: {other} ({other:?})")),
        };
        if path.to_str() != Some(&*self.file.path()) {
            return Err(format!("it names {}", path.display()));
        }
        if offset > self.file.bytes.len() as u64 {
            return Err(format!("it names byte {offset} of {}", self.file.name));
        }
        Ok(())
    }

    /// Each key alone, at each version: true if no error came.
    fn gets(&self, table: &Table) -> Judged<bool> {
        let keys = self.content.rows.iter().map(|row| (&*row.0, row.1));
        let mut is_exact = true;
        for (key, version) in keys.chain([(ABSENT, 0)]) {
            for version in [version, u64::MAX] {
                match table.get_at(key, version) {
                    Ok(found) if found.as_deref() == self.content.get(key, version) => {}
                    Ok(found) => {
                        let found = found.map(|value| value.to_vec());
                        return Err(format!("{key:?} at {version} is {found:?}"));
                    }
                    Err(error) => {
                        self.check_told(&error)?;
                        is_exact = false;
                    }
                }
            }
        }
        Ok(is_exact)
    }

    /// Scans from either end, and of a prefix.
    fn scans(&self, table: &Table) -> Judged<bool> {
        let pairs = self.content.scan(u64::MAX);
        let owned = |pair: Result<(Vec<u8>, sstable::Value)>| {
            pair.map(|(key, value)| (key, value.to_vec()))
        };
        let forward = self.rows(&pairs, table.scan(..).map(owned))?;
        let backwards: Vec<Pair> = pairs.iter().rev().cloned().collect();
        let backward = self.rows(&backwards, table.scan(..).rev().map(owned))?;
        let older = self.content.scan(20);
        let older = self.rows(&older, table.scan_at(.., 20).map(owned))?;
        let mut is_exact = forward && backward && older;
        for (prefix, expected) in [(&b"key "[..], &*pairs), (b"key 9", &[])] {
            match table.scan_prefix(prefix, u64::MAX) {
                Ok(scan) => is_exact &= self.rows(expected, scan.map(owned))?,
                Err(error) => {
                    self.check_told(&error)?;
                    is_exact = false;
                }
            }
        }
        Ok(is_exact)
    }

    /// `found` must be `expected`, up to an error: false if one came.
    fn rows<T: PartialEq + std::fmt::Debug>(
        &self,
        expected: &[T],
        found: impl Iterator<Item = Result<T>>,
    ) -> Judged<bool> {
        let mut expected = expected.iter();
        for row in found {
            match row {
                Ok(row) if Some(&row) == expected.next() => {}
                Ok(row) => return Err(format!("a scan shows {row:?}")),
                Err(error) => return self.check_told(&error).map(|()| false),
            }
        }
        match expected.next() {
            None => Ok(true),
            Some(missing) => Err(format!("a scan leaves out {missing:?}")),
        }
    }

    /// Every entry by a cursor, and the range tombstones and the bounds of the properties.
    fn walks(&self, table: &Table) -> Judged<bool> {
        let mut cursor = table.cursor();
        let mut is_there = cursor.seek_to_first();
        let next = std::iter::from_fn(|| match std::mem::replace(&mut is_there, Ok(())) {
            Ok(()) => {
                let row = row(&cursor)?;
                is_there = cursor.advance();
                Some(Ok(row))
            }
            Err(error) => Some(Err(error)),
        });
        let is_exact = self.rows(&self.content.rows, next)?;
        if table.range_tombstones() != self.content.ranges {
            return Err(format!("range tombstones {:?}", table.range_tombstones()));
        }
        let properties = table.properties();
        let (first, last) = (&*properties.first, &properties.last);
        if first != b"key 0" || *last != Bound::Excluded(b"z".to_vec()) {
            return Err(format!("it says that it is from {first:?} to {last:?}"));
        }
        Ok(is_exact)
    }
}

/// What the cursor stands on.
fn row(cursor: &TableCursor) -> Option<Row> {
    let entry = cursor.entry()?;
    let value = (entry.kind == Kind::Put).then(|| entry.value.to_vec());
    Some((entry.key.to_vec(), entry.version, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crashtest::corruption::damage_target;

    #[test]
    fn a_table_of_one_block_passes() {
        let tables = make("one block", &Options::new()).unwrap();
        let judge = |change: &Change, world: &World| tables.judge(change, world);
        let changes = tables.changes(false);
        let counted = tables.target(|target| damage_target(target, &changes, &judge));
        let total = counted.total();
        let wrong = (total.wrong, total.panics, total.in_window);
        assert_eq!(wrong, (0, 0, 0), "{:?}", counted.findings);
        assert!(total.detected > 500 && total.harmless > 500, "{total:?}");
    }

    #[test]
    fn a_wrong_answer_is_seen() {
        let mut tables = make("plain", &Options::new()).unwrap();
        let changes = tables.changes(false);
        let copy = tables.files[0].bytes.len() - 1;
        let change = changes.iter().find(|change| change.is_byte(0, copy));
        let change = change.unwrap();
        let world = tables.target(|target| change.apply(target)).unwrap();
        assert_eq!(tables.judge(change, &world), Verdict::Harmless);
        tables.content.rows[0].1 += 1;
        assert!(matches!(tables.judge(change, &world), Verdict::Wrong(_)));
        // Without damage, `verify` has nothing to say.
        let tables = make("plain", &Options::new()).unwrap();
        let verdict = tables.judge(change, &tables.world);
        assert!(matches!(verdict, Verdict::Wrong(_)));
    }
}
