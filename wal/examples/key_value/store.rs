//! The store: a map in memory, a log of its changes, and a snapshot that makes the log short.
//!
//! What is on the disk, in the directory of the store:
//!
//! - `log`: one record for each change;
//! - `snapshot`: the whole map as of one record, whose position it carries.
//!
//! Opening reads the snapshot and applies the records after *its* position, whatever else the crash
//! took back: so no record is applied twice, and none is left out.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use durable_io::checksum::checksum;
use durable_io::codec::{Decoder, Encoder};
use durable_io::{Dir, Disk, replace_file};
use wal::{Lsn, Options, Wal};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A key-value store.
pub(crate) struct KeyValue {
    pub(crate) log: Wal,
    map: Map,
    dir: Dir,
}

impl KeyValue {
    /// Opens the store in the directory `path`; creates it if there is none.
    pub(crate) fn open(disk: &Disk, path: &Path, options: Options) -> Outcome<Self> {
        // The log comes first: it holds the lock, and makes the names of the directories durable.
        let log = options.disk(disk.clone()).open(path.join("log"))?;
        let dir = disk.open_dir(path)?;
        let (covered, mut map) = read_snapshot(&dir)?;
        // Older than the checkpoint: the snapshot was lost. After the end: records were, and their
        // positions would be given again.
        if !(log.checkpointed()..log.bounds().end).contains(&covered) {
            return Err(format!("the snapshot of record {covered} does not fit the log").into());
        }
        // Not `replay`: a crash may have come between the snapshot and the checkpoint.
        for record in log.records(covered.next()) {
            apply(&mut map, &mut Decoder::new(&record?.payload)).ok_or("not a record of ours")?;
        }
        Ok(Self { log, map, dir })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.map.get(key).map(Vec::as_slice)
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// As durable as the log's [`SyncMode`](wal::SyncMode) says when this returns.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        // The record comes first: if it fails, nothing has changed.
        self.log.append(entry(key, Some(value))?.as_slice())?;
        self.map.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    /// As durable as [`put`](KeyValue::put).
    pub(crate) fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        self.log.append(entry(key, None)?.as_slice())?;
        self.map.remove(key);
        Ok(())
    }

    /// Writes the whole map to a file, durably, and gives up the records that it covers.
    pub(crate) fn snapshot(&mut self) -> Outcome<()> {
        // Durable: every record that the snapshot covers. Only now may it carry their position: one
        // that a crash takes back is given again, to a record that the next open would leave out.
        let covered = self.log.sync()?;
        self.save(covered)?;
        // A crash here: the snapshot is newer than the checkpoint, and open begins after it.
        self.log.checkpoint(covered)?;
        // A crash here: as before; the records that are still there are passed over.
        Ok(self.log.truncate_before(covered.next())?)
    }

    /// Writes the map, which is that of record `covered`.
    pub(crate) fn save(&self, covered: Lsn) -> Outcome<()> {
        let mut body = Encoder::default();
        body.u64(covered.0);
        for (key, value) in &self.map {
            body.bytes(entry(key, Some(value))?.as_slice());
        }
        let mut file = Encoder::default();
        file.u32(checksum(body.as_slice())).bytes(body.as_slice());
        // Durable: the snapshot, in one atomic step. Only now may the log forget what is in it.
        Ok(replace_file(&self.dir, "snapshot", file.as_slice())?)
    }
}

/// The snapshot and the record that it is of; an empty map of `Lsn(0)` if there is none.
fn read_snapshot(dir: &Dir) -> Outcome<(Lsn, Map)> {
    let file = match dir.open("snapshot") {
        Err(error) if error.is_not_found() => return Ok((Lsn(0), Map::new())),
        other => other?,
    };
    let mut bytes = vec![0; usize::try_from(file.len()?)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(decode_snapshot(&bytes).ok_or("the snapshot is damaged")?)
}

fn decode_snapshot(bytes: &[u8]) -> Option<(Lsn, Map)> {
    let mut decoder = Decoder::new(bytes);
    if decoder.u32()? != checksum(decoder.rest()) {
        return None;
    }
    let covered = Lsn(decoder.u64()?);
    let mut map = Map::new();
    while !decoder.rest().is_empty() {
        apply(&mut map, &mut decoder)?;
    }
    Some((covered, map))
}

/// One change: the key, and the value, or nothing after the key if it is deleted.
fn entry(key: &[u8], value: Option<&[u8]>) -> Outcome<Encoder> {
    let mut entry = Encoder::default();
    for field in [Some(key), value].into_iter().flatten() {
        entry.u32(u32::try_from(field.len())?).bytes(field);
    }
    Ok(entry)
}

/// Does to `map` what the next entry says.
fn apply(map: &mut Map, entries: &mut Decoder<'_>) -> Option<()> {
    let key = field(entries)?;
    match entries.rest() {
        [] => map.remove(key),
        _ => map.insert(key.to_vec(), field(entries)?.to_vec()),
    };
    Some(())
}

fn field<'a>(entries: &mut Decoder<'a>) -> Option<&'a [u8]> {
    let len = entries.u32()?;
    entries.bytes(usize::try_from(len).ok()?)
}
