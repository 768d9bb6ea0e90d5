//! Reading entries: from memory, else from the log.

use std::ops::Range;
use std::sync::Arc;

use wal::{Location, Records};

use crate::error::{Corruption, Error, Result};
use crate::record::{Event, Record};
use crate::store::Store;
use crate::types::Entry;
use crate::write::Name;

/// Where an entry is.
#[derive(Debug)]
struct Found {
    index: u64,
    term: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Memory(Arc<[u8]>),
    Log(Vec<Location>),
}

impl Store {
    /// The entries of the group in `range` that are there, the first ones up to `limit` bytes, but one at least.
    pub(crate) fn entries(&self, name: Name, range: Range<u64>, limit: u64) -> Result<Vec<Entry>> {
        loop {
            let found = self.find(name, range.clone(), limit)?;
            match self.read_all(name, found) {
                // What was moved meanwhile is found in its new place, and what was given up is not.
                Err(error) if error.is_moved() => {}
                read => return read,
            }
        }
    }

    fn find(&self, name: Name, range: Range<u64>, limit: u64) -> Result<Vec<Found>> {
        let state = self.view()?;
        let group = state.group(name.group, name.incarnation)?;
        let mut found = Vec::new();
        if range.is_empty() {
            return Ok(found);
        }
        let cache = self.health().lock(&self.cache);
        let mut size = 0;
        for (&index, slot) in group.entries.range(range) {
            let locations = slot.place.locations();
            let bytes = locations.iter().map(|at| u64::from(at.payload_len()));
            size += bytes.sum::<u64>();
            if size > limit && !found.is_empty() {
                break;
            }
            let source = match cache.get(slot.place.lsn()) {
                Some(data) => Source::Memory(data),
                None => Source::Log(locations.to_vec()),
            };
            let term = slot.term;
            found.push(Found {
                index,
                term,
                source,
            });
        }
        Ok(found)
    }

    fn read_all(&self, name: Name, found: Vec<Found>) -> Result<Vec<Entry>> {
        let mut reader = Reader {
            store: self,
            name,
            run: None,
        };
        let read = found.into_iter().map(|found| {
            let Found { index, term, .. } = found;
            let data = match found.source {
                Source::Memory(data) => data.to_vec(),
                Source::Log(locations) => reader.entry(index, term, &locations)?,
            };
            Ok(Entry { index, term, data })
        });
        read.collect()
    }

    /// Whether the record `payload` at `at` is what the entry `index` of the group, or a part of it, should be;
    /// its data.
    pub(crate) fn data_of<'a>(
        &self,
        name: Name,
        (index, term): (u64, u64),
        at: Location,
        payload: &'a [u8],
    ) -> Result<&'a [u8]> {
        let record = Record::decode(payload);
        let record = record.filter(|record| match record.event {
            Event::Entry {
                index: i, term: t, ..
            }
            | Event::Part {
                index: i, term: t, ..
            }
            | Event::Last {
                index: i, term: t, ..
            } => {
                let is_group = (record.group, record.incarnation) == (name.group, name.incarnation);
                is_group && (i, t) == (index, term)
            }
            _ => false,
        });
        let reason = Corruption::Entry {
            group: name.group,
            index,
            lsn: at.lsn(),
        };
        let record = record.ok_or_else(|| Error::corrupt(self.dir.dir().path(), reason))?;
        Ok(record.tail())
    }
}

/// Reads on where it has been, as long as one record follows the other.
struct Reader<'a> {
    store: &'a Store,
    name: Name,
    run: Option<Records>,
}

impl Reader<'_> {
    fn entry(&mut self, index: u64, term: u64, locations: &[Location]) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        for location in locations {
            let follows = self.run.as_ref().and_then(Records::location);
            let follows = follows.is_some_and(|last| last.lsn().next() == location.lsn());
            let mut run = match self.run.take() {
                Some(run) if follows => run,
                _ => self.store.log.records_at(*location)?,
            };
            let Some((at, payload)) = run.read()? else {
                return Err(Error::Log(wal::Error::Truncated));
            };
            let part = self.store.data_of(self.name, (index, term), at, payload)?;
            data.extend_from_slice(part);
            self.run = Some(run);
        }
        Ok(data)
    }
}
