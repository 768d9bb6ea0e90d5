//! What readers have acknowledged, in a log of its own ([format], section 6).
//!
//! [format]: crate::format

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use durable_io::codec::{Decoder, Encoder};
use durable_io::{Background, Disk, SyncMode};
use wal::{Lsn, Opening, Wal};

use crate::append::invalid;
use crate::error::{Corruption, Error, Result};
use crate::event::{EventId, Position};
use crate::limits::{MAX_NAME_SIZE, MAX_SUBSCRIPTIONS};
use crate::names;

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

/// The marks of all readers.
#[derive(Debug)]
pub(crate) struct Marks {
    how: How,
    /// Made when the first reader gets a name.
    log: Option<Wal>,
    by_name: BTreeMap<String, Mark>,
    /// Names of readers that are open.
    open: BTreeSet<String>,
}

/// How the log is opened.
#[derive(Clone, Debug)]
pub(crate) struct How {
    pub(crate) disk: Disk,
    pub(crate) background: Background,
    pub(crate) path: PathBuf,
    /// That of the log of events.
    pub(crate) segment_size: u64,
}

impl How {
    fn log_options(&self) -> wal::Options {
        wal::Options::new()
            // In every mode: whoever acknowledges relies on it.
            .sync(SyncMode::Always)
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
}

impl FoundMarks {
    pub(crate) fn open(self) -> Result<Marks> {
        Ok(Marks {
            how: self.how,
            log: self.log.map(Opening::open).transpose()?,
            by_name: self.by_name,
            open: BTreeSet::new(),
        })
    }
}

impl Marks {
    /// The marks of the store: those in the log, if `exists`. Nothing is changed.
    pub(crate) fn look(how: How, exists: bool) -> Result<FoundMarks> {
        let mut by_name = BTreeMap::new();
        let mut log = None;
        if exists {
            let found = how.log_options().look(&how.path)?;
            let mut records = found.records(found.bounds().start);
            while let Some((location, payload)) = records.read()? {
                apply(&mut by_name, location.lsn(), payload)?;
            }
            log = Some(found);
        }
        Ok(FoundMarks { how, log, by_name })
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
        if self.log.is_none() {
            self.log = Some(self.how.log_options().open(&self.how.path)?);
        }
        let Some(log) = &self.log else {
            unreachable!("the log was just opened");
        };
        // Durable, by the mode of that log: the mark. Only now may the reader rely on it.
        log.append(&encode(name, mark))?;
        match mark {
            Some(mark) => drop(self.by_name.insert(name.to_owned(), mark)),
            None => drop(self.by_name.remove(name)),
        }
        Ok(())
    }

    /// Writes the log anew, if most of it says what is not true any more.
    pub(crate) fn compact(&self) -> Result<()> {
        let Some(log) = &self.log else {
            return Ok(());
        };
        let bounds = log.bounds();
        let records = bounds.end.0 - bounds.start.0;
        if records <= RECORDS_EACH * (self.by_name.len() as u64 + 1) {
            return Ok(());
        }
        let all: Vec<Vec<u8>> = self
            .all()
            .map(|(name, mark)| encode(name, Some(mark)))
            .collect();
        let payloads: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        // Durable: every mark, once more. Only now may the older records go.
        let again = log.append_batch(&payloads)?;
        log.truncate_before(again.lsns().start)?;
        Ok(())
    }

    pub(crate) fn log(&self) -> Option<&Wal> {
        self.log.as_ref()
    }
}

/// Does to `marks` what the record `lsn` of the log says.
pub(crate) fn apply(marks: &mut BTreeMap<String, Mark>, lsn: Lsn, payload: &[u8]) -> Result<()> {
    let (name, mark) = decode(payload).ok_or_else(|| {
        let position = Position(lsn.0);
        Error::corrupt(Path::new(names::MARKS), 0, Corruption::Record { position })
    })?;
    match mark {
        Some(mark) => drop(marks.insert(name, mark)),
        None => drop(marks.remove(&name)),
    }
    Ok(())
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
