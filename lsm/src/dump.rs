//! [`dump()`]: a store as text, whatever state it is in.

use std::io::Write;
use std::path::Path;

use durable_io::Disk;
use durable_io::engine::{Chain, Shown, Text};
use wal::Record as LogRecord;

use crate::error::Result;
use crate::manifest::{Change, Part};
use crate::names::log_path;
use crate::names::manifest_path;
use crate::record::{Action, Record};

/// How much of a store is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// The edits of the manifest.
    Edits,
    /// The records of the log, too.
    Records,
}

/// Writes the store in `dir` to `out`, for people: each edit of the manifest, and the records of the log.
/// Lines that begin with `!` say what is wrong; the rest is shown all the same. Nothing is changed.
/// Tables are files of their own: see `sstable::dump`.
///
/// # Errors
/// [`Error::Output`](crate::Error::Output); [`Error::Disk`](crate::Error::Disk), with
/// [`Locked`](durable_io::Error::Locked) while the store is open.
pub fn dump(disk: &Disk, dir: impl AsRef<Path>, detail: Detail, out: &mut dyn Write) -> Result<()> {
    let dir = dir.as_ref();
    let mut text = Text::new(out);
    text.line(format_args!("manifest"))?;
    each(disk, &manifest_path(dir), &mut text, |record, text| {
        edit(record, text)
    })?;
    if detail == Detail::Records {
        text.line(format_args!("log"))?;
        each(disk, &log_path(dir), &mut text, |record, text| {
            operation(record, text)
        })?;
    }
    Ok(())
}

/// Shows each record of the log in `path`.
fn each(
    disk: &Disk,
    path: &Path,
    text: &mut Text<'_>,
    show: impl Fn(&LogRecord, &mut Text<'_>) -> Result<()>,
) -> Result<()> {
    let records = match wal::Options::new().disk(disk.clone()).salvage(path) {
        Ok(records) => records,
        Err(error @ wal::Error::Disk(_)) => return Err(error.into()),
        Err(error) => return Ok(text.damage(0, Chain(&error))?),
    };
    for record in records {
        match record {
            Ok(record) => show(&record, text)?,
            Err(error) => text.damage(0, Chain(&error))?,
        }
    }
    Ok(())
}

fn edit(record: &LogRecord, text: &mut Text<'_>) -> Result<()> {
    let lsn = record.lsn;
    let Some(part) = Part::decode(&record.payload) else {
        return Ok(text.damage(0, format_args!("record {lsn} is no edit"))?);
    };
    let kind = match (part.is_snapshot, part.continues) {
        (true, _) => "snapshot",
        (false, true) => "continued",
        (false, false) => "edit",
    };
    let more = if part.has_more {
        ", to be continued"
    } else {
        ""
    };
    text.line(format_args!("{lsn:>10}  {kind}{more}"))?;
    for change in &part.changes {
        text.line(format_args!("            {}", Words(change)))?;
    }
    Ok(())
}

/// A change in words.
struct Words<'a>(&'a Change);

impl std::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Change::Store(id) => write!(f, "store {id:016x}"),
            Change::Numbers {
                next_keyspace,
                next_table,
            } => write!(f, "next keyspace {next_keyspace}, next table {next_table}"),
            Change::Floor(lsn) => write!(f, "floor {lsn}"),
            Change::Create { id, name, .. } => write!(f, "create keyspace {id}, {name:?}"),
            Change::Options { id, options } => write!(f, "keyspace {id}: {options:?}"),
            Change::Drop { id } => write!(f, "drop keyspace {id}"),
            Change::Flushed { id, lsn } => write!(f, "keyspace {id}: flushed up to {lsn}"),
            Change::Add { id, table } => write!(
                f,
                "keyspace {id}: add table {:016x}, level {}, run {}, {} bytes",
                table.number, table.level, table.run, table.bytes
            ),
            Change::Remove { id, number } => write!(f, "keyspace {id}: remove table {number:016x}"),
        }
    }
}

fn operation(record: &LogRecord, text: &mut Text<'_>) -> Result<()> {
    let lsn = record.lsn;
    let Some(operation) = Record::decode(&record.payload) else {
        return Ok(text.damage(0, format_args!("record {lsn} is no operation"))?);
    };
    let (id, key, value) = (
        operation.keyspace,
        Shown(operation.key),
        Shown(operation.value),
    );
    match operation.action {
        Action::Put => text.line(format_args!("{lsn:>10}  keyspace {id}: {key} = {value}"))?,
        Action::Delete => text.line(format_args!("{lsn:>10}  keyspace {id}: delete {key}"))?,
        Action::DeleteRange => {
            text.line(format_args!(
                "{lsn:>10}  keyspace {id}: delete from {key} to {value}"
            ))?;
        }
    }
    Ok(())
}
