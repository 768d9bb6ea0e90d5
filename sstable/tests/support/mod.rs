//! Tables, what they should hold, and verbs on their files, shared by the tests.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use durable_io::{Dir, Disk};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sstable::{
    BlockCache, Cursor, Entry, Kind, Options, RangeTombstone, Table, TableCursor, TableInfo,
};
use tempfile::TempDir;

/// A directory in memory where the system has one: these tests open thousands of tables, and none of
/// them asks what a sync does.
pub(crate) fn fast_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(crate) fn dir(path: &Path) -> Dir {
    Disk::os().open_dir(path).unwrap()
}

pub(crate) fn read(path: &Path, name: &str) -> Vec<u8> {
    let file = dir(path).open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Makes a new file `name` that holds `bytes`; what had that name is unlinked.
pub(crate) fn write(path: &Path, name: &str, bytes: &[u8]) {
    let dir = dir(path);
    drop(dir.remove(name));
    dir.create_new(name)
        .unwrap()
        .write_all_at(bytes, 0)
        .unwrap();
}

/// The names in the directory, in their order.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let entries = dir(path).list().unwrap().into_iter();
    let mut names: Vec<_> = entries.map(|entry| entry.name).collect();
    names.sort();
    names
}

/// `SEED` of the environment, or a new one; printed, so that a failure can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => Disk::os().unique_id().unwrap(),
    };
    eprintln!("SEED={seed}");
    seed
}

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

pub(crate) type Owned = (Vec<u8>, u64, Kind, Vec<u8>);

pub(crate) fn owned(entry: Option<Entry<'_>>) -> Option<Owned> {
    entry.map(|e| (e.key.to_vec(), e.version, e.kind, e.value.to_vec()))
}

/// Key, then version, newest first.
pub(crate) type Place = (Vec<u8>, Reverse<u64>);

/// What a table should hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) entries: BTreeMap<Place, (Kind, Vec<u8>)>,
    pub(crate) range_tombstones: Vec<RangeTombstone>,
}

impl Model {
    pub(crate) fn put(&mut self, key: &[u8], version: u64, value: &[u8]) {
        let place = (key.to_vec(), Reverse(version));
        self.entries.insert(place, (Kind::Put, value.to_vec()));
    }

    pub(crate) fn delete(&mut self, key: &[u8], version: u64) {
        let place = (key.to_vec(), Reverse(version));
        self.entries.insert(place, (Kind::Delete, Vec::new()));
    }

    pub(crate) fn delete_range(&mut self, start: &[u8], end: &[u8], version: u64) {
        self.range_tombstones.push(RangeTombstone {
            start: start.to_vec(),
            end: end.to_vec(),
            version,
        });
    }

    pub(crate) fn owned(&self) -> Vec<Owned> {
        let entries = self.entries.iter();
        entries
            .map(|((key, version), (kind, value))| (key.clone(), version.0, *kind, value.clone()))
            .collect()
    }

    /// The newest entry of `key` up to `version`.
    pub(crate) fn find(&self, key: &[u8], version: u64) -> Option<(u64, Kind, &[u8])> {
        let from = (key.to_vec(), Reverse(version));
        let ((found, version), (kind, value)) = self.entries.range(from..).next()?;
        (found == key).then_some((version.0, *kind, value))
    }

    pub(crate) fn get(&self, key: &[u8], version: u64) -> Option<&[u8]> {
        let (written, kind, value) = self.find(key, version)?;
        let mut tombstones = self.range_tombstones.iter();
        let is_deleted =
            tombstones.any(|t| t.contains(key) && t.version <= version && t.version > written);
        (kind == Kind::Put && !is_deleted).then_some(value)
    }

    /// All keys and values at `version`.
    pub(crate) fn scan(&self, version: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut keys: Vec<_> = self.entries.keys().map(|(key, _)| key.clone()).collect();
        keys.dedup();
        let values = keys.into_iter().filter_map(|key| {
            let value = self.get(&key, version)?.to_vec();
            Some((key, value))
        });
        values.collect()
    }

    /// Writes it as a table.
    pub(crate) fn build(
        &self,
        options: &Options,
        dir: &Dir,
        name: &str,
    ) -> sstable::Result<TableInfo> {
        let mut writer = options.create(dir, name)?;
        let mut tombstones = self.range_tombstones.iter();
        for (key, version, kind, value) in &self.owned() {
            writer.add(Entry {
                key,
                version: *version,
                kind: *kind,
                value,
            })?;
            // Entries and range tombstones come in any turn.
            if let Some(tombstone) = tombstones.next() {
                writer.add_range_tombstone(tombstone)?;
            }
        }
        for tombstone in tombstones {
            writer.add_range_tombstone(tombstone)?;
        }
        writer.finish()
    }

    pub(crate) fn build_in(&self, path: &Path, options: &Options) -> TableInfo {
        self.build(options, &dir(path), "table").unwrap()
    }
}

pub(crate) fn open(path: &Path) -> sstable::Result<Table> {
    Table::open(&dir(path), "table", &BlockCache::new(1 << 20))
}

/// Everything forward, then everything backward, by a cursor.
pub(crate) fn walk(cursor: &mut TableCursor) -> sstable::Result<(Vec<Owned>, Vec<Owned>)> {
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    cursor.seek_to_first()?;
    while let Some(entry) = owned(cursor.entry()) {
        forward.push(entry);
        cursor.advance()?;
    }
    cursor.retreat()?;
    while let Some(entry) = owned(cursor.entry()) {
        backward.push(entry);
        cursor.retreat()?;
    }
    Ok((forward, backward))
}

/// The table holds exactly `model`, by every way of reading; an error of the table ends it.
pub(crate) fn holds(table: &Table, model: &Model) -> sstable::Result<()> {
    let entries = model.owned();
    let (forward, mut backward) = walk(&mut table.cursor())?;
    assert_eq!(forward, entries);
    backward.reverse();
    assert_eq!(backward, entries);
    assert_eq!(table.range_tombstones(), model.range_tombstones);
    for (key, version, ..) in &entries {
        for version in [*version, u64::MAX] {
            let found = table.get_at(key, version)?;
            assert_eq!(found.as_deref(), model.get(key, version), "{key:?}");
        }
    }
    let scanned: sstable::Result<Vec<_>> = table
        .scan(..)
        .map(|pair| pair.map(|(key, value)| (key, value.to_vec())))
        .collect();
    assert_eq!(scanned?, model.scan(u64::MAX));
    Ok(())
}

pub(crate) fn assert_whole(table: &Table, info: &TableInfo) {
    let verified = table.verify().unwrap();
    assert!(verified.is_whole(), "{:?}", verified.damage);
    assert_eq!(verified.checksum, info.checksum);
    assert_eq!(verified.bytes, info.file_bytes);
    assert_eq!(verified.entries, info.entries);
    assert_eq!(table.damage().len(), 0);
}

/// A key of few bytes that are often the same; sometimes a long one.
pub(crate) fn key(rng: &mut StdRng) -> Vec<u8> {
    let len = match rng.random_range(0..30) {
        0 => 0,
        1 => 300,
        n => n % 7,
    };
    let mut key = vec![b'k'; rng.random_range(0..4) * 4];
    key.extend((0..len).map(|_| [0, b'a', b'b', 0xff][rng.random_range(0..4)]));
    key
}

pub(crate) fn value(rng: &mut StdRng) -> Vec<u8> {
    let len = match rng.random_range(0..20) {
        0 => 0,
        1 => 2000,
        n => n * 5,
    };
    let byte = rng.random();
    let noise = rng.random_bool(0.5);
    let byte = |rng: &mut StdRng| if noise { rng.random() } else { byte };
    (0..len).map(|_| byte(rng)).collect()
}

/// The bounds of a range that contain `key`.
pub(crate) fn contains(bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>), key: &[u8]) -> bool {
    let start = match &bounds.0 {
        Bound::Included(start) => key >= &start[..],
        Bound::Excluded(start) => key > &start[..],
        Bound::Unbounded => true,
    };
    let end = match &bounds.1 {
        Bound::Included(end) => key <= &end[..],
        Bound::Excluded(end) => key < &end[..],
        Bound::Unbounded => true,
    };
    start && end
}
