//! What readers have acknowledged and projections have saved, in a log of its own ([format], section 6).
//!
//! [format]: crate::format

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use durable_io::codec::{Decoder, Encoder};
use durable_io::{Background, Disk, SyncMode};
use wal::{Lsn, Opening, Wal};

use crate::append::invalid;
use crate::error::{Corruption, Error, Result};
use crate::ids::{EventId, Position};
use crate::limits::{MAX_NAME_SIZE, MAX_SUBSCRIPTIONS};
use crate::names;

pub(crate) mod snapshot;

use snapshot::{Other, Snapshots};

/// How far a reader has come: the event, by its place and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) position: Position,
    pub(crate) id: EventId,
}

const SET: u32 = 1;
const REMOVED: u32 = 2;

/// Records for each reader after which the log is written anew.
const RECORDS_EACH: u64 = 8;

/// The largest segment of this log, in bytes.
const SEGMENT_SIZE: u64 = 4 << 20;

/// The marks of all readers, and the places of saved states.
#[derive(Debug)]
pub(crate) struct Marks {
    how: How,
    /// Made when the first reader gets a name.
    log: Option<Wal>,
    by_name: BTreeMap<String, Mark>,
    /// Names of readers that are open.
    open: BTreeSet<String>,
    pub(crate) snapshots: Snapshots,
}

/// How the log is opened.
#[derive(Clone, Debug)]
pub(crate) struct How {
    pub(crate) disk: Disk,
    pub(crate) background: Background,
    pub(crate) path: PathBuf,
    /// That of the log of events.
    pub(crate) segment_size: u64,
    /// `Always`, in every mode: whoever acknowledges relies on it; but for a backup, which is durable as a whole.
    pub(crate) sync: SyncMode,
}

impl How {
    fn log_options(&self) -> wal::Options {
        wal::Options::new()
            .sync(self.sync)
            .segment_size(self.segment_size.min(SEGMENT_SIZE))
            .background(self.background)
            .disk(self.disk.clone())
    }
}

/// The marks as they were found; nothing was changed yet.
#[derive(Debug)]
pub(crate) struct FoundMarks {
    how: How,
    log: Option<Opening>,
    by_name: BTreeMap<String, Mark>,
    snapshots: Snapshots,
}

impl FoundMarks {
    pub(crate) fn open(self) -> Result<Marks> {
        Ok(Marks {
            how: self.how,
            log: self.log.map(Opening::open).transpose()?,
            by_name: self.by_name,
            open: BTreeSet::new(),
            snapshots: self.snapshots,
        })
    }
}

impl Marks {
    /// The marks of the store: those in the log, if `exists`. Nothing is changed.
    pub(crate) fn look(how: How, exists: bool) -> Result<FoundMarks> {
        let mut by_name = BTreeMap::new();
        let mut snapshots = Snapshots::default();
        let mut log = None;
        if exists {
            let found = how.log_options().look(&how.path)?;
            let mut records = found.records(found.bounds().start);
            while let Some((location, payload)) = records.read()? {
                match apply(&mut by_name, location.lsn(), payload)? {
                    Some(Other::Saved(header)) => snapshots.put(header, location),
                    Some(Other::Forgotten(projection)) => snapshots.remove(&projection),
                    None => {}
                }
            }
            log = Some(found);
        }
        Ok(FoundMarks {
            how,
            log,
            by_name,
            snapshots,
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<Mark> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Mark)> {
        self.by_name
            .iter()
            .map(|(name, mark)| (name.as_str(), *mark))
    }

    /// Lets one reader use `name`.
    pub(crate) fn claim(&mut self, name: &str) -> Result<()> {
        if !self.open.insert(name.to_owned()) {
            return Err(invalid(
                "a subscription's name",
                "one reader has it at a time",
            ));
        }
        Ok(())
    }

    pub(crate) fn let_go(&mut self, name: &str) {
        self.open.remove(name);
    }

    /// Makes `mark` that of `name`, durably; `None` forgets the reader.
    pub(crate) fn set(&mut self, name: &str, mark: Option<Mark>) -> Result<()> {
        let is_new = !self.by_name.contains_key(name);
        if is_new && mark.is_none() {
            return Ok(());
        }
        if is_new && self.by_name.len() >= MAX_SUBSCRIPTIONS {
            let (size, limit) = (self.by_name.len() as u64 + 1, MAX_SUBSCRIPTIONS as u64);
            return Err(Error::too_large("number of subscriptions", size, limit));
        }
        // Durable, by the mode of that log: the mark. Only now may the reader rely on it.
        self.made()?.append(&encode(name, mark))?;
        match mark {
            Some(mark) => drop(self.by_name.insert(name.to_owned(), mark)),
            None => drop(self.by_name.remove(name)),
        }
        Ok(())
    }

    /// The log; made, if there is none yet.
    pub(crate) fn made(&mut self) -> Result<&Wal> {
        if self.log.is_none() {
            self.log = Some(self.how.log_options().open(&self.how.path)?);
        }
        Ok(self.log.as_ref().expect("it was just opened"))
    }

    /// Writes the log anew, if most of it says what is not true any more.
    pub(crate) fn compact(&mut self) -> Result<()> {
        let Some(log) = &self.log else {
            return Ok(());
        };
        let bounds = log.bounds();
        let records = bounds.end.0 - bounds.start.0;
        let live = (self.by_name.len() + self.snapshots.len()) as u64;
        if records <= RECORDS_EACH * (live + 1) && !self.snapshots.are_mostly_old() {
            return Ok(());
        }
        let all: Vec<Vec<u8>> = self
            .all()
            .map(|(name, mark)| encode(name, Some(mark)))
            .collect();
        let payloads: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        // Durable: every mark, and every saved state, once more. Only now may the older records go.
        let again = log.append_batch(&payloads)?;
        self.snapshots.write_again(log)?;
        log.truncate_before(again.lsns().start)?;
        Ok(())
    }

    pub(crate) fn log(&self) -> Option<&Wal> {
        self.log.as_ref()
    }
}

/// Does to `marks` what the record `lsn` of the log says; returns what it says of something else.
pub(crate) fn apply(
    marks: &mut BTreeMap<String, Mark>,
    lsn: Lsn,
    payload: &[u8],
) -> Result<Option<Other>> {
    match (decode(payload), snapshot::decode(payload)) {
        (Some((name, Some(mark))), _) => drop(marks.insert(name, mark)),
        (Some((name, None)), _) => drop(marks.remove(&name)),
        (None, Some(other)) => return Ok(Some(other)),
        (None, None) => {
            let position = Position(lsn.0);
            let reason = Corruption::Record { position };
            return Err(Error::corrupt(Path::new(names::MARKS), 0, reason));
        }
    }
    Ok(None)
}

fn encode(name: &str, mark: Option<Mark>) -> Vec<u8> {
    let mut out = Encoder::with_capacity(28 + name.len());
    match mark {
        Some(mark) => {
            out.u32(SET).u64(mark.position.0).bytes(&mark.id.0);
        }
        None => {
            out.u32(REMOVED);
        }
    }
    out.bytes(name.as_bytes());
    out.into_vec()
}

fn decode(bytes: &[u8]) -> Option<(String, Option<Mark>)> {
    let mut decoder = Decoder::new(bytes);
    let mark = match decoder.u32()? {
        SET => Some(Mark {
            position: Position(decoder.u64()?),
            id: EventId(decoder.bytes(16)?.try_into().ok()?),
        }),
        REMOVED => None,
        _ => return None,
    };
    let name = std::str::from_utf8(decoder.rest()).ok()?;
    (!name.is_empty() && name.len() <= MAX_NAME_SIZE).then(|| (name.to_owned(), mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_nothing_else_passes_for_one() {
        let mark = Mark {
            position: Position(7),
            id: EventId([3; 16]),
        };
        for mark in [Some(mark), None] {
            let bytes = encode("billing", mark);
            assert_eq!(decode(&bytes), Some(("billing".to_owned(), mark)));
            for len in 0..bytes.len() - "billing".len() {
                assert_eq!(decode(&bytes[..len]), None);
            }
        }
        assert_eq!(decode(&[9, 0, 0, 0, 1]), None);
        let mut not_text = encode("b", None);
        not_text[4] = 0xff;
        assert_eq!(decode(&not_text), None);
    }
}
