//! Reading a store without writing anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durable_io::Disk;
use durable_io::engine::StoreDir;
use wal::Salvage;

use crate::backup::check_finished;
use crate::error::{Corruption, Error, Result};
use crate::event::Event;
use crate::ids::{Position, Version};
use crate::list::{Found, List};
use crate::marks::{self, Mark};
use crate::names;
use crate::options::Options;
use crate::query::Query;
use crate::view;

impl Options {
    /// Reads the store in `dir` as it is now, and changes nothing: what a crash left is not cleaned up. Others
    /// may do so at the same time. Of the options only the [`disk`](Options::disk) counts.
    ///
    /// # Cost
    /// Reads both logs, front to back. The index is not used, so this is no way to look up single events of a
    /// large store.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if any event is lost or damaged; [`Error::Disk`] if there is no store, and with
    /// [`Locked`](durable_io::Error::Locked) while somebody has it open, in any process.
    /// [`Error::UnsupportedVersion`].
    pub fn open_read_only(self, dir: impl AsRef<Path>) -> Result<ReadOnly> {
        let path = dir.as_ref().to_owned();
        let lock = StoreDir::open_shared(&self.disk, &path, names::LOCK)?;
        check_finished(lock.dir())?;
        let mut store = ReadOnly {
            disk: self.disk,
            last: Position(0),
            marks: BTreeMap::new(),
            path,
            lock,
        };
        for event in store.read_all(Position(1))? {
            store.last = event?.position();
        }
        if let Found::Whole(list) = List::read(store.lock.dir())?
            && list.last() > store.last
        {
            return Err(list.ahead_of_log(&store.path, store.last));
        }
        store.read_marks()?;
        Ok(store)
    }
}

/// A store that is read, and not written to. Made by [`Options::open_read_only`].
///
/// As long as it or one of its iterators lives, nobody can open the store for writing.
#[derive(Debug)]
pub struct ReadOnly {
    disk: Disk,
    path: PathBuf,
    last: Position,
    marks: BTreeMap<String, Mark>,
    lock: StoreDir,
}

impl ReadOnly {
    /// The position of the last event; `Position(0)` if there is none. After a crash the last events may be
    /// ones that were never acknowledged, and that a power loss can still take back.
    pub fn last_position(&self) -> Position {
        self.last
    }

    /// The named subscriptions, and the last position that each has acknowledged.
    pub fn subscriptions(&self) -> Vec<(String, Position)> {
        let marks = self.marks.iter();
        marks
            .map(|(name, mark)| (name.clone(), mark.position))
            .collect()
    }

    /// Every event from position `from` on.
    ///
    /// # Cost
    /// Reads the log from its beginning on.
    ///
    /// # Errors
    /// As [`Options::open_read_only`]; so are the items', and nothing follows one.
    pub fn read_all(&self, from: Position) -> Result<StoredEvents> {
        self.query(Query::new(), from)
    }

    /// The events that `query` means, from position `from` on. As [`read_all`](ReadOnly::read_all).
    ///
    /// # Errors
    /// As [`read_all`](ReadOnly::read_all).
    pub fn query(&self, query: Query, from: Position) -> Result<StoredEvents> {
        self.events(Choice::Query(query, from))
    }

    /// The events of `stream`, from version `from` on. As [`read_all`](ReadOnly::read_all).
    ///
    /// # Errors
    /// As [`read_all`](ReadOnly::read_all).
    pub fn read_stream(&self, stream: &str, from: Version) -> Result<StoredEvents> {
        self.events(Choice::Stream(stream.to_owned(), from))
    }

    fn events(&self, choice: Choice) -> Result<StoredEvents> {
        Ok(StoredEvents {
            records: self.log(names::EVENTS)?,
            choice,
        })
    }

    /// The records of the log `name`; `None` if a crash interrupted its creation.
    fn log(&self, name: &str) -> Result<Option<Salvage>> {
        let path = self.path.join(name);
        let is_lost = |error: &wal::Error| match error {
            wal::Error::Corrupt { reason, .. } => *reason == wal::Corruption::SuperblockLost,
            _ => false,
        };
        match wal::Options::new().disk(self.disk.clone()).salvage(&path) {
            Ok(records) if records.has_superblock() => Ok(Some(records)),
            // Nothing says whether the last ones are missing.
            Ok(_) => {
                let reason = Corruption::Log(wal::Corruption::SuperblockLost);
                Err(Error::corrupt(&path, 0, reason))
            }
            // There is neither a mark nor a record.
            Err(error) if is_lost(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn read_marks(&mut self) -> Result<()> {
        let entries = self.lock.dir().list()?;
        if !entries.iter().any(|entry| entry.name == names::MARKS) {
            return Ok(());
        }
        for record in self.log(names::MARKS)?.into_iter().flatten() {
            let record = record?;
            // What projections have saved is asked for by nobody here.
            drop(marks::apply(&mut self.marks, record.lsn, &record.payload)?);
        }
        Ok(())
    }
}

/// Which events are given out.
#[derive(Debug)]
enum Choice {
    Query(Query, Position),
    Stream(String, Version),
}

impl Choice {
    fn is_meant(&self, event: &Event) -> bool {
        match self {
            Self::Query(query, from) => event.position() >= *from && query.matches(event),
            Self::Stream(name, from) => event.version() >= *from && event.stream() == name,
        }
    }
}

/// Events of a store that is not written to, in the order of their positions. Made by [`ReadOnly`].
#[derive(Debug)]
pub struct StoredEvents {
    /// `None` after the last one, or an error.
    records: Option<Salvage>,
    choice: Choice,
}

impl StoredEvents {
    fn read(&mut self) -> Result<Option<Event>> {
        let Some(records) = &mut self.records else {
            return Ok(None);
        };
        for record in records {
            let record = record?;
            let event = view::decode(Position(record.lsn.0), record.payload.into())?;
            if self.choice.is_meant(&event) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

impl Iterator for StoredEvents {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.records = None;
        }
        next
    }
}
