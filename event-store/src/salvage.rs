//! [`Salvage`]: everything that can still be read of a damaged store.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use durable_io::Disk;
use durable_io::engine::StoreDir;

use crate::backup::{check_finished, has};
use crate::error::{Corruption, Error, Result};
use crate::event::Event;
use crate::ids::Position;
use crate::list::{Found, List};
use crate::marks::{self, Mark};
use crate::names;
use crate::options::Options;
use crate::view;

/// The events of a store that can be read, whatever is damaged. Made by [`Options::salvage`].
///
/// Events come in the order of their positions, each checked. Where some are missing, an [`Error::Corrupt`] with
/// [`Corruption::MissingEvents`] says at which positions, before the next event. Any other error is of
/// something by which no event is lost, or of a place in the log that cannot be read: if an event follows,
/// the missing ones are named; if none does, nobody knows how many there were.
#[derive(Debug)]
pub struct Salvage {
    errors: VecDeque<Error>,
    /// `None` at the end, or if there is nothing to be read.
    records: Option<wal::Salvage>,
    /// An event that comes when every error is reported.
    ready: Option<Event>,
    /// The next position, unless something is missing.
    next: Position,
    events: PathBuf,
    marks: BTreeMap<String, Mark>,
    lock: StoreDir,
}

impl Options {
    /// Reads what is left of the store in `dir`, whatever is damaged, and changes nothing: for a store that
    /// [`open`](Options::open) refuses. Of the options only the [`disk`](Options::disk) counts.
    ///
    /// Every event that passes its check is there, also after damage and beside places and files that cannot be
    /// read. An append of which some events are lost is given out with the others. The index is not needed: it is made
    /// of the events, and only asked how far they went. What projections have saved is left out, for the same reason.
    ///
    /// What a crash can have left is taken for that: of a store that was not closed, damage at the very end of the
    /// log looks like an append that was never acknowledged, unless the index knows of it.
    ///
    /// # Cost
    /// Reads the log of the readers now, and that of the events twice, as they are asked for.
    ///
    /// # Errors
    /// [`Error::Disk`] with [`Locked`](durable_io::Error::Locked) if the store is open, in any process, or if
    /// the directory cannot be read. All else is an item of [`Salvage`].
    pub fn salvage(self, dir: impl AsRef<Path>) -> Result<Salvage> {
        let path = dir.as_ref();
        let lock = StoreDir::open_shared(&self.disk, path, names::LOCK)?;
        let mut errors = VecDeque::new();
        // The events that are there are right all the same.
        errors.extend(check_finished(lock.dir()).err());
        let mut marks = BTreeMap::new();
        if has(lock.dir(), names::MARKS)? {
            marks = read_marks(&self.disk, &path.join(names::MARKS), &mut errors)?;
        }
        let events = path.join(names::EVENTS);
        let records = open_log(&self.disk, &events, &mut errors)?;
        let mut salvage = Salvage {
            errors,
            records,
            ready: None,
            next: Position(1),
            events,
            marks,
            lock,
        };
        if let Some(records) = &salvage.records {
            // The log of the events is never given up.
            let first = Position(records.next_lsn().0);
            salvage.pass(first.previous(), None);
        }
        Ok(salvage)
    }
}

/// The records of the log in `path`; `None` if nothing of them can be read, which is reported.
///
/// # Errors
/// It is locked.
fn open_log(
    disk: &Disk,
    path: &Path,
    errors: &mut VecDeque<Error>,
) -> Result<Option<wal::Salvage>> {
    match wal::Options::new().disk(disk.clone()).salvage(path) {
        Ok(records) => {
            if !records.has_superblock() {
                // Nothing says whether the last ones are missing.
                let reason = Corruption::Log(wal::Corruption::SuperblockLost);
                errors.push_back(Error::corrupt(path, 0, reason));
            }
            Ok(Some(records))
        }
        Err(wal::Error::Disk(error)) if error.is_locked() => Err(error.into()),
        Err(error) => {
            errors.push_back(error.into());
            Ok(None)
        }
    }
}

/// How far readers have come, as far as anything says so.
fn read_marks(
    disk: &Disk,
    path: &Path,
    errors: &mut VecDeque<Error>,
) -> Result<BTreeMap<String, Mark>> {
    let mut by_name = BTreeMap::new();
    for record in open_log(disk, path, errors)?.into_iter().flatten() {
        let applied = record
            .map_err(Error::from)
            .and_then(|record| marks::apply(&mut by_name, record.lsn, &record.payload));
        // What projections have saved is made of the events again.
        errors.extend(applied.err());
    }
    Ok(by_name)
}

impl Salvage {
    /// The named subscriptions, and the last position that each has acknowledged, as far as that can be read: an older
    /// one makes its reader see events again.
    pub fn subscriptions(&self) -> Vec<(String, Position)> {
        let marks = self.marks.iter();
        marks
            .map(|(name, mark)| (name.clone(), mark.position))
            .collect()
    }

    /// The same, as they are kept.
    pub(crate) fn readers(&self) -> &BTreeMap<String, Mark> {
        &self.marks
    }

    /// Goes after position `last`; what is before it is missing, because of what is at `place`.
    fn pass(&mut self, last: Position, place: Option<(PathBuf, u64)>) {
        if last >= self.next {
            let first = self.next;
            let reason = Corruption::MissingEvents { first, last };
            let (path, offset) = place.unwrap_or_else(|| (self.events.clone(), 0));
            self.errors.push_back(Error::corrupt(&path, offset, reason));
            self.next = last.next();
        }
    }

    /// The event at the next record; `None` if that is none, or there is no record.
    fn read(&mut self) -> Option<Event> {
        let Some(record) = self.records.as_mut()?.next() else {
            self.end();
            return None;
        };
        match record {
            Ok(record) => {
                let position = Position(record.lsn.0);
                self.pass(position.previous(), None);
                self.next = position.next();
                let event = view::decode(position, record.payload.into());
                event.map_err(|error| self.errors.push_back(error)).ok()
            }
            Err(wal::Error::Corrupt {
                path,
                offset,
                reason: wal::Corruption::LostRecords { last, .. },
            }) => {
                self.pass(Position(last.0), Some((path, offset)));
                None
            }
            Err(error) => {
                self.errors.push_back(error.into());
                None
            }
        }
    }

    /// Holds the end of the log against the list of index parts.
    fn end(&mut self) {
        self.records = None;
        let last = self.next.previous();
        match List::read(self.lock.dir()) {
            Ok(Found::Whole(list)) if list.last() > last => {
                let path = self.lock.dir().path().to_owned();
                self.errors.push_back(list.ahead_of_log(&path, last));
            }
            // Everything else in it is made of the events.
            Ok(_) => {}
            Err(error) => self.errors.push_back(error),
        }
    }
}

impl Iterator for Salvage {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.errors.pop_front() {
                return Some(Err(error));
            }
            if let Some(event) = self.ready.take() {
                return Some(Ok(event));
            }
            self.records.as_ref()?;
            self.ready = self.read();
        }
    }
}
