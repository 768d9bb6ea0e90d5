//! Reading a store without writing anything.

use std::ops::Range;
use std::path::{Path, PathBuf};

use durable_io::Disk;
use durable_io::engine::StoreDir;
use wal::{Location, Lsn, Salvage};

use crate::error::{Corruption, Error, Result};
use crate::group_state::GroupState;
use crate::names;
use crate::options::Options;
use crate::record::Record;
use crate::state::State;
use crate::types::{Entry, LogState, Vote};

impl Options {
    /// Reads the store in `dir` as it is now, and changes nothing: what a crash left is not cleaned up. Others
    /// may do so at the same time. Of the options only the [`disk`](Options::disk) counts.
    ///
    /// # Cost
    /// Reads the log, front to back.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if anything is lost or damaged; [`Error::Disk`] if there is no store, and with
    /// [`Locked`](durable_io::Error::Locked) while somebody has it open, in any process.
    /// [`Error::UnsupportedVersion`].
    pub fn open_read_only(self, dir: impl AsRef<Path>) -> Result<ReadOnly> {
        let path = dir.as_ref().to_owned();
        let lock = StoreDir::open_shared(&self.disk, &path, names::LOCK)?;
        let mut store = ReadOnly {
            disk: self.disk,
            state: State::default(),
            path,
            _lock: lock,
        };
        for record in store.log()?.into_iter().flatten() {
            let record = record?;
            let at = place(record.lsn, record.payload.len());
            store.state.take(&record.payload, at, &store.path)?;
        }
        store.state.finish(&store.path)?;
        Ok(store)
    }
}

/// A store that is read, and not written to. Made by [`Options::open_read_only`].
///
/// As long as it lives nobody can open the store for writing. After a crash it may hold what was never
/// acknowledged, and what a power loss can still take back.
#[derive(Debug)]
pub struct ReadOnly {
    disk: Disk,
    path: PathBuf,
    state: State,
    _lock: StoreDir,
}

impl ReadOnly {
    /// The ids of all groups, ascending.
    pub fn groups(&self) -> Vec<u64> {
        self.state.groups.keys().copied().collect()
    }

    /// The last vote of `group`; `None` if there never was one.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn vote(&self, group: u64) -> Result<Option<Vote>> {
        let vote = self.group(group)?.vote.as_ref();
        Ok(vote.map(|held| held.value.clone()))
    }

    /// Where the log of `group` begins and ends, and what is committed.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn state(&self, group: u64) -> Result<LogState> {
        Ok(self.group(group)?.log_state())
    }

    /// The entries of `group` in `range` that are there.
    ///
    /// # Cost
    /// Reads the log, front to back.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; as [`Options::open_read_only`].
    pub fn entries(&self, group: u64, range: Range<u64>) -> Result<Vec<Entry>> {
        let slots = &self.group(group)?.entries;
        let in_range = slots.iter().filter(|(index, _)| range.contains(*index));
        // What was moved follows others: in the order of the log first, then in that of the entries.
        let mut wanted: Vec<(Lsn, u64)> = in_range
            .flat_map(|(index, slot)| {
                let locations = slot.place.locations().iter();
                locations.map(|at| (at.lsn(), *index))
            })
            .collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        let mut entries: Vec<Entry> = Vec::new();
        for record in self.log()?.into_iter().flatten() {
            let record = record?;
            let Some((lsn, index)) = wanted.next_if(|(lsn, _)| *lsn == record.lsn) else {
                continue;
            };
            let reason = Corruption::Entry { group, index, lsn };
            let damaged = || Error::corrupt(&self.path, reason);
            let part = Record::decode(&record.payload).ok_or_else(damaged)?;
            match entries.last_mut().filter(|entry| entry.index == index) {
                Some(entry) => entry.data.extend_from_slice(part.tail()),
                None => entries.push(Entry {
                    index,
                    term: slots.get(&index).ok_or_else(damaged)?.term,
                    data: part.tail().to_vec(),
                }),
            }
        }
        entries.sort_by_key(|entry| entry.index);
        Ok(entries)
    }

    fn group(&self, group: u64) -> Result<&GroupState> {
        let found = self.state.groups.get(&group);
        found.ok_or(Error::NoGroup { group })
    }

    /// The records of the log; `None` if a crash interrupted its creation.
    fn log(&self) -> Result<Option<Salvage>> {
        let path = self.path.join(names::LOG);
        let is_lost = |error: &wal::Error| match error {
            wal::Error::Corrupt { reason, .. } => *reason == wal::Corruption::SuperblockLost,
            _ => false,
        };
        match wal::Options::new().disk(self.disk.clone()).salvage(&path) {
            Ok(records) if records.has_superblock() => Ok(Some(records)),
            // Nothing says whether the last ones are missing.
            Ok(_) => {
                let reason = Corruption::Log(wal::Corruption::SuperblockLost);
                Err(Error::corrupt(&path, reason))
            }
            // There is neither a superblock nor a record.
            Err(error) if is_lost(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A location of which the LSN and the length are right, which is all that is asked of it here.
pub(crate) fn place(lsn: Lsn, len: usize) -> Location {
    let len = u32::try_from(len).expect("a record is smaller than 4 GiB");
    let mut bytes = [0; Location::SIZE];
    durable_io::codec::put(&mut bytes, 0, &lsn.0.to_le_bytes());
    durable_io::codec::put(&mut bytes, 20, &len.to_le_bytes());
    Location::from_bytes(&bytes)
}
