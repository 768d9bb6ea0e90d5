//! [`dump()`]: the files of a store as text, damage included, for people.

use std::io::Write;
use std::path::Path;

use durable_io::engine::{Chain, Text};
use durable_io::{Dir, Disk};

use crate::error::{Error, Result};
use crate::list::{Entry, Found, List};
use crate::names;
use crate::part::Part;

/// How much a [`dump()`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Detail {
    /// The parts of the index; of the logs, marks, segments and groups.
    Groups,
    /// The records of the logs too, each with its first bytes.
    Records,
}

/// Writes to `out`, as text, what is in the files of the store in `dir`: the list of index parts, each
/// part, and the two logs, as [`wal::dump`] does. Whatever is wrong has a line that begins with `!`. The text
/// is for people, and may change.
///
/// Nothing is changed, and the lock is not taken: if the store is open elsewhere, what is shown may be in
/// motion, and look damaged where it is not.
///
/// # Cost
/// Every file is read, one after the other.
///
/// # Errors
/// [`Error::Disk`] if `dir` cannot be opened or listed; [`Error::Output`] if `out` fails. Damage is no error,
/// nor is a part that cannot be read: both are shown.
pub fn dump(disk: &Disk, dir: impl AsRef<Path>, detail: Detail, out: &mut dyn Write) -> Result<()> {
    let path = dir.as_ref();
    let dir = disk.open_dir(path)?;
    let mut text = Text::new(out);
    text.line(format_args!("event store {}", path.display()))?;
    dump_index(&dir, &mut text)?;
    let entries = dir.list()?;
    let detail = match detail {
        Detail::Groups => wal::Detail::Groups,
        Detail::Records => wal::Detail::Records,
    };
    for name in [names::EVENTS, names::MARKS] {
        if entries.iter().any(|entry| entry.name == name) {
            wal::dump(disk, path.join(name), detail, out)?;
        }
    }
    Ok(())
}

fn dump_index(dir: &Dir, text: &mut Text<'_>) -> Result<()> {
    let list = match List::read(dir) {
        Ok(Found::Whole(list)) => list,
        Ok(Found::Missing) => return Ok(text.line(format_args!("index: none"))?),
        Ok(Found::Damaged) => return Ok(text.damage(0, "index: damaged")?),
        Err(error) => return Ok(text.damage(0, Chain(&error))?),
    };
    let (parts, last) = (list.parts.len(), list.last());
    text.line(format_args!("index: {parts} parts, up to position {last}"))?;
    list.parts
        .iter()
        .try_for_each(|entry| dump_part(dir, entry, text))
}

fn dump_part(dir: &Dir, entry: &Entry, text: &mut Text<'_>) -> Result<()> {
    let name = names::part(entry.number);
    let Entry { first, last, .. } = entry;
    let checked = Part::open(dir, entry).and_then(|part| {
        let header = *part.header();
        part.check_all().map(|()| header)
    });
    match checked {
        Ok(header) => text.line(format_args!(
            "  {name}: positions {first} to {last}, {} terms, {} postings",
            header.terms, header.postings
        ))?,
        Err(error) => {
            let offset = match &error {
                Error::Corrupt { offset, .. } => *offset,
                _ => 0,
            };
            text.damage(offset, format_args!("{name}: {}", Chain(&error)))?;
        }
    }
    Ok(())
}
