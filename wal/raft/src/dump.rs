//! [`dump()`]: a store as text, whatever state it is in.

use std::fmt;
use std::io::Write;
use std::path::Path;

use durable_io::Disk;
use durable_io::engine::{Chain, Shown, Text};

use crate::error::{Error, Result};
use crate::names;
use crate::read_only::place;
use crate::record::{Event, Record};
use crate::state::State;
use crate::types::LogState;

/// How much of a store is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Detail {
    /// What each group is.
    Groups,
    /// The records of the log, too, each with its first bytes.
    Records,
}

/// Writes the store in `dir` to `out`, for people: each group, with where its log begins and ends; and the records
/// of the log, if `detail` asks for them. Lines that begin with `!` say what is wrong; the rest is shown all the
/// same. Nothing is changed. The files of the log are shown by [`wal::dump`], of the directory `log`.
///
/// # Cost
/// Reads the log, front to back.
///
/// # Errors
/// [`Error::Output`]; [`Error::Disk`], with [`Locked`](durable_io::Error::Locked) while the store is open.
pub fn dump(disk: &Disk, dir: impl AsRef<Path>, detail: Detail, out: &mut dyn Write) -> Result<()> {
    let dir = dir.as_ref();
    let mut text = Text::new(out);
    text.line(format_args!("raft log store {}", dir.display()))?;
    let options = wal::Options::new().disk(disk.clone());
    let records = match options.salvage(dir.join(names::LOG)) {
        Ok(records) => records,
        Err(error @ wal::Error::Disk(_)) => return Err(error.into()),
        Err(error) => return Ok(text.damage(0, Chain(&error))?),
    };
    let mut state = State::default();
    for record in records {
        let read = record.map_err(Error::from).and_then(|record| {
            let at = place(record.lsn, record.payload.len());
            if detail == Detail::Records
                && let Some(decoded) = Record::decode(&record.payload)
            {
                text.line(format_args!("{:>10}  {}", record.lsn, Words(&decoded)))?;
            }
            state.take(&record.payload, at, dir)
        });
        match read {
            Err(error @ Error::Output(_)) => return Err(error),
            Err(error) => text.damage(0, Chain(&error))?,
            Ok(()) => {}
        }
    }
    for (id, group) in &state.groups {
        let LogState {
            purged,
            first,
            last,
            committed,
        } = group.log_state();
        let vote = group.vote.as_ref().map(|vote| vote.value.term);
        text.line(format_args!(
            "group {id}: created by record {}, vote of term {}, purged up to {}, entries {} to {}, committed up to {}",
            group.incarnation,
            OrNone(vote),
            OrNone(purged.map(|point| point.index)),
            OrNone(first),
            OrNone(last.map(|(index, _)| index)),
            OrNone(committed.map(|point| point.index)),
        ))?;
        if let Err(reason) = group.check_whole(*id) {
            text.damage(0, reason)?;
        }
    }
    Ok(())
}

struct OrNone(Option<u64>);

impl fmt::Display for OrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// A record in words.
struct Words<'a>(&'a Record<'a>);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { group, event, .. } = *self.0;
        write!(f, "group {group}: ")?;
        match event {
            Event::Created => write!(f, "created"),
            Event::Destroyed => write!(f, "destroyed"),
            Event::Vote { term, leader } => write!(f, "vote of term {term}, {}", Shown(leader)),
            Event::Entry { index, term, data } => {
                write!(f, "entry {index} of term {term}: {}", Shown(data))
            }
            Event::Part {
                index, term, nth, ..
            } => write!(f, "entry {index} of term {term}: part {nth}"),
            Event::Last {
                index, term, nth, ..
            } => write!(f, "entry {index} of term {term}: last part, {nth}"),
            Event::Truncated(index) => write!(f, "truncated from entry {index} on"),
            Event::Purged { index, term, .. } => write!(f, "purged up to {index} of term {term}"),
            Event::Committed { index, term, .. } => {
                write!(f, "committed up to {index} of term {term}")
            }
            Event::Uncommitted => write!(f, "nothing is committed"),
        }
    }
}
