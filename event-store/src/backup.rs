//! Backups: a second store with the same events ([format], section 11).
//!
//! [format]: crate::format

use std::path::Path;

use durable_io::engine::open_store;
use durable_io::{Dir, SyncMode};
use wal::{Lsn, Wal};

use crate::error::{Error, Result};
use crate::event::Event;
use crate::ids::Position;
use crate::marks::snapshot::Header;
use crate::marks::{How, Marks};
use crate::names;
use crate::store::Store;
use crate::view;

/// Bytes of events that are written to a backup at a time; more only if one append has more.
const BATCH: u64 = 1 << 20;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Backup {
    /// The last event in it: opened as a store, it is what this one was when that was its last event.
    pub position: Position,
    /// Events that were copied now; the others were there.
    pub copied: u64,
}

impl Store {
    pub(crate) fn backup(&self, path: &Path) -> Result<Backup> {
        self.check_open()?;
        // Durable: the directory's own name. Only now may anything in it be relied on.
        let lock = open_store(&self.disk, path, names::LOCK)?;
        let dir = lock.dir();
        let is_first = begin(dir)?;
        let log = wal::Options::new()
            .sync(SyncMode::Manual)
            .segment_size(self.settings.segment_size)
            .background(self.settings.background)
            .disk(self.disk.clone())
            .open(path.join(names::EVENTS))?;
        self.check_is_prefix(&log)?;
        let first = log.bounds().end;
        // Most of it, while nobody waits.
        self.copy_events(&log, self.durable_end())?;
        // Held across I/O: what is acknowledged or saved is of events that are in the backup.
        let mut marks = self.health.lock(&self.marks);
        let end = self.durable_end();
        self.copy_events(&log, end)?;
        // Makes the events durable: only now may marks name them.
        log.close()?;
        self.copy_marks(&mut marks, dir)?;
        drop(marks);
        if is_first {
            dir.remove(names::UNFINISHED)?;
            // Durable: that it is finished. Only now may the caller rely on it.
            dir.sync()?;
        }
        Ok(Backup {
            position: end.previous(),
            copied: end.0 - first.0,
        })
    }

    /// What is in `log` must be what is here.
    fn check_is_prefix(&self, log: &Wal) -> Result<()> {
        let last = Position(log.bounds().end.0).previous();
        if last == Position(0) {
            return Ok(());
        }
        let mut records = log.records(Lsn(last.0));
        let Some((_, payload)) = records.read()? else {
            unreachable!("the last record is within the bounds");
        };
        let event = view::decode(last, payload.into())?;
        self.check_start(last, Some(event.id()))
    }

    /// Appends to `log` the events before `end` that it does not have, each append as a whole.
    fn copy_events(&self, log: &Wal, end: Position) -> Result<()> {
        let mut batch = Batch::default();
        let mut records = self.log.records(log.bounds().end);
        while let Some((location, payload)) = records.read()? {
            let position = Position(location.lsn().0);
            if position >= end {
                break;
            }
            batch.push(log, &view::decode(position, payload.into())?)?;
        }
        batch.write(log)
    }

    fn copy_marks(&self, from: &mut Marks, dir: &Dir) -> Result<()> {
        let how = How {
            disk: self.disk.clone(),
            background: self.settings.background,
            path: dir.path().join(names::MARKS),
            segment_size: self.settings.segment_size,
            sync: SyncMode::Manual,
        };
        let exists = has(dir, names::MARKS)?;
        let mut to = Marks::look(how, exists)?.open()?;
        copy_readers(from, &mut to)?;
        copy_states(from, &mut to)?;
        to.compact()?;
        // Makes them durable: only now may the caller rely on them.
        to.log().map_or(Ok(()), Wal::close)?;
        Ok(())
    }
}

/// Says in `dir` that it is no store yet, unless it is one; true if it says so now.
fn begin(dir: &Dir) -> Result<bool> {
    let is_unfinished = has(dir, names::UNFINISHED)?;
    if has(dir, names::EVENTS)? && !is_unfinished {
        return Ok(false);
    }
    if !is_unfinished {
        dir.create_new(names::UNFINISHED)?;
    }
    // Durable: that it is not finished. Only now may there be something that looks like a store.
    dir.sync()?;
    Ok(true)
}

pub(crate) fn has(dir: &Dir, name: &str) -> Result<bool> {
    Ok(dir.list()?.iter().any(|entry| entry.name == name))
}

/// Events that are to be written, and those of an append that is not whole yet.
#[derive(Default)]
struct Batch {
    whole: Vec<Event>,
    size: u64,
    begun: Vec<Event>,
    begun_size: u64,
}

impl Batch {
    fn push(&mut self, log: &Wal, event: &Event) -> Result<()> {
        let (first, count) = event.append();
        // As the log counts it.
        self.begun_size += event.bytes().len() as u64 + 8;
        self.begun.push(event.clone());
        if event.position().0 + 1 < first.0 + count {
            return Ok(());
        }
        let limit = BATCH.min(wal::max_batch_size(log.segment_size()));
        if self.size + self.begun_size > limit {
            self.write(log)?;
        }
        self.whole.append(&mut self.begun);
        self.size += std::mem::take(&mut self.begun_size);
        Ok(())
    }

    fn write(&mut self, log: &Wal) -> Result<()> {
        let payloads: Vec<&[u8]> = self.whole.iter().map(|event| &**event.bytes()).collect();
        log.append_batch(&payloads)?;
        self.whole.clear();
        self.size = 0;
        Ok(())
    }
}

fn copy_readers(from: &Marks, to: &mut Marks) -> Result<()> {
    let gone: Vec<String> = to
        .all()
        .filter(|(name, _)| from.get(name).is_none())
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in gone {
        to.set(&name, None)?;
    }
    for (name, mark) in from.all() {
        if to.get(name) != Some(mark) {
            to.set(name, Some(mark))?;
        }
    }
    Ok(())
}

fn copy_states(from: &mut Marks, to: &mut Marks) -> Result<()> {
    let is_here = |key| from.snapshots.get(key).is_some();
    let gone: Vec<String> = to
        .snapshots
        .keys()
        .filter(|key| !is_here(key))
        .map(|key| key.projection.clone())
        .collect();
    for projection in gone {
        // It was forgotten, and what it has saved since follows.
        to.forget_projection(&projection)?;
    }
    for key in from.snapshots.by_age() {
        let Some(saved) = from.snapshots.get(&key) else {
            unreachable!("nothing was forgotten since");
        };
        let is_there = to
            .snapshots
            .get(&key)
            .is_some_and(|there| (there.mark, there.version) == (saved.mark, saved.version));
        if is_there {
            continue;
        }
        let state = from.state(&saved)?;
        let (mark, version) = (saved.mark, saved.version);
        to.save(Header { key, version, mark }, &state)?;
    }
    Ok(())
}

/// A backup that was not finished is no store.
pub(crate) fn check_finished(dir: &Dir) -> Result<()> {
    if has(dir, names::UNFINISHED)? {
        let path = dir.path().to_owned();
        return Err(Error::Unfinished { path });
    }
    Ok(())
}
