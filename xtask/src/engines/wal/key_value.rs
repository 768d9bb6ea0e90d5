//! The log as a key-value store: a record for each change, and a snapshot that makes the log short. What
//! it holds is read from the disk each time, so writers need no lock beside the log's own.

use std::sync::atomic::{AtomicU64, Ordering};

use crashtest::{Change, Contents, Outcome, Refusal, Setting, Store};
use durable_io::checksum::checksum;
use durable_io::codec::{Decoder, Encoder};
use durable_io::{Dir, replace_file};
use wal::{Lsn, Wal};

/// A snapshot is taken after so many operations.
const SNAPSHOT_EVERY: u64 = 40;

pub(super) struct KeyValue {
    log: Wal,
    dir: Dir,
    since_snapshot: AtomicU64,
}

impl KeyValue {
    pub(super) fn open(setting: &Setting) -> Outcome<Self> {
        // The log comes first: it holds the lock, and makes the names of the directories durable.
        let log = super::options(setting).open(setting.dir.join("log"))?;
        let store = Self {
            log,
            dir: setting.disk.open_dir(&setting.dir)?,
            since_snapshot: AtomicU64::new(0),
        };
        let (covered, _) = store.snapshot()?;
        // Older than the checkpoint: the snapshot was lost. After the end: records were, and their
        // positions would be given again.
        if !(store.log.checkpointed()..store.log.bounds().end).contains(&covered) {
            return Err(format!("the snapshot of record {covered} does not fit the log").into());
        }
        Ok(store)
    }

    /// The snapshot and the record that it is of; nothing of `Lsn(0)` if there is none.
    fn snapshot(&self) -> Outcome<(Lsn, Contents)> {
        let file = match self.dir.open("snapshot") {
            Err(error) if error.is_not_found() => return Ok((Lsn(0), Contents::new())),
            other => other?,
        };
        let mut bytes = vec![0; usize::try_from(file.len()?)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(decode(&bytes).ok_or("the snapshot is damaged")?)
    }

    /// What the store holds after record `last`.
    fn contents(&self, last: Lsn) -> Outcome<Contents> {
        let (covered, mut contents) = self.snapshot()?;
        if self.log.bounds().start > covered.next() {
            return Err(format!("the records after {covered} are gone").into());
        }
        for record in self.log.records(covered.next()) {
            let record = record?;
            if record.lsn > last {
                break;
            }
            let mut entry = Decoder::new(&record.payload);
            apply(&mut contents, &mut entry).ok_or("not a record of ours")?;
        }
        Ok(contents)
    }

    /// Writes everything to a file, durably, and gives up the records that it covers but the last `kept`.
    fn shorten(&self, kept: u64) -> Outcome<()> {
        // Asked first: a sync also covers records of other threads that nobody can read yet.
        let covered = Lsn(self.log.bounds().end.0 - 1);
        // Durable: every record that the snapshot covers. Only now may it carry their position.
        self.log.sync()?;
        let mut body = Encoder::default();
        body.u64(covered.0);
        for (key, value) in &self.contents(covered)? {
            body.bytes(entry(key, Some(value))?.as_slice());
        }
        let mut file = Encoder::default();
        file.u32(checksum(body.as_slice())).bytes(body.as_slice());
        // Durable: the snapshot, in one atomic step. Only now may the log forget what is in it.
        replace_file(&self.dir, "snapshot", file.as_slice())?;
        self.log.checkpoint(covered)?;
        let first = covered.next().0.saturating_sub(kept).max(1);
        Ok(self.log.truncate_before(Lsn(first))?)
    }
}

impl Store for KeyValue {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        let records = changes
            .iter()
            .map(|(key, value)| entry(key, value.as_deref()));
        let records = records.collect::<Outcome<Vec<_>>>()?;
        match records.as_slice() {
            [record] => drop(self.log.append(record.as_slice())?),
            records => {
                let batch: Vec<_> = records.iter().map(Encoder::as_slice).collect();
                self.log.append_batch(&batch)?;
            }
        }
        self.since_snapshot.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn dump(&self) -> Outcome<Contents> {
        self.contents(Lsn(u64::MAX))
    }

    fn verify(&self) -> Outcome<Vec<Box<Refusal>>> {
        let damage = self.log.verify().err();
        Ok(damage.into_iter().map(Into::into).collect())
    }

    fn sync(&self) -> Outcome<()> {
        self.log.sync()?;
        Ok(())
    }

    fn unsynced(&self) -> u64 {
        let stats = self.log.stats();
        stats.last_lsn.0 - stats.durable_lsn.0
    }

    fn maintain(&self) -> Outcome<bool> {
        if self.since_snapshot.load(Ordering::Relaxed) < SNAPSHOT_EVERY {
            return Ok(self.log.run_background()?);
        }
        self.since_snapshot.store(0, Ordering::Relaxed);
        self.shorten(0)?;
        Ok(true)
    }

    fn chore(&self, chore: &str, drawn: u64) -> Outcome<()> {
        match chore {
            "rotate" => Ok(self.log.rotate()?),
            _ => self.shorten(drawn % 300),
        }
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.log.close()?)
    }
}

fn decode(bytes: &[u8]) -> Option<(Lsn, Contents)> {
    let mut decoder = Decoder::new(bytes);
    if decoder.u32()? != checksum(decoder.rest()) {
        return None;
    }
    let covered = Lsn(decoder.u64()?);
    let mut contents = Contents::new();
    while !decoder.rest().is_empty() {
        apply(&mut contents, &mut decoder)?;
    }
    Some((covered, contents))
}

/// One change: the key, and the value, or nothing after the key if it is deleted.
fn entry(key: &[u8], value: Option<&[u8]>) -> Outcome<Encoder> {
    let mut entry = Encoder::default();
    for field in [Some(key), value].into_iter().flatten() {
        entry.u32(u32::try_from(field.len())?).bytes(field);
    }
    Ok(entry)
}

/// Does to `contents` what the next entry says.
fn apply(contents: &mut Contents, entries: &mut Decoder<'_>) -> Option<()> {
    let key = field(entries)?;
    match entries.rest() {
        [] => contents.remove(key),
        _ => contents.insert(key.to_vec(), field(entries)?.to_vec()),
    };
    Some(())
}

fn field<'a>(entries: &mut Decoder<'a>) -> Option<&'a [u8]> {
    let len = entries.u32()?;
    entries.bytes(usize::try_from(len).ok()?)
}
