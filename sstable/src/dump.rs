//! What stands in a table, as text, damage included, for people.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use durable_io::engine::{Shown, Text};
use durable_io::{Disk, Op};

use crate::block::{Block, Position};
use crate::cache::BlockCache;
use crate::compression;
use crate::entry::Kind;
use crate::error::{Error, Result};
use crate::footer::{FOOTER_SIZE, Footer, Section};
use crate::partition::Partition;
use crate::reader::Reader;
use crate::source::Source;
use crate::table::Table;

/// How much [`dump()`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Footer, properties, range tombstones, index and blocks.
    Blocks,
    /// Entries too.
    Entries,
}

/// Writes what stands in the table at `path` to `out`, as text. Lines that begin with `!` are what is
/// wrong, as [`Table::verify`] finds it.
///
/// # Cost
/// Reads the file twice.
///
/// # Errors
/// [`Error::Disk`] if something cannot be read, [`Error::Output`] if `out` fails,
/// [`Error::UnsupportedVersion`], [`Error::UnsupportedCompression`]. Damage is no error.
pub fn dump(
    disk: &Disk,
    path: impl AsRef<Path>,
    detail: Detail,
    out: &mut dyn Write,
) -> Result<()> {
    let path = path.as_ref();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let dir = disk.open_dir(parent)?;
    let name = path.file_name().and_then(OsStr::to_str);
    let name = name.ok_or_else(|| no_name(path))?;
    let cache = BlockCache::new(0);
    let out = Text::new(out);
    let mut dump = Dump { detail, out };
    match Table::open(&dir, name, &cache) {
        Ok(table) => dump.table(&table),
        Err(error @ Error::Corrupt { .. }) => {
            // What of it can be said anyway.
            if let Ok(source) = Source::open(&dir, name, &cache) {
                dump.ends(&source)?;
            }
            dump.wrong(error)
        }
        Err(error) => Err(error),
    }
}

/// No file is called what `path` ends in, or its name is not UTF-8.
fn no_name(path: &Path) -> durable_io::Error {
    let source = io::Error::new(io::ErrorKind::InvalidInput, "not a file's name in UTF-8");
    durable_io::Error::Io {
        op: Op::Open,
        path: path.to_owned(),
        offset: None,
        source: Arc::new(source),
    }
}

struct Dump<'a> {
    detail: Detail,
    out: Text<'a>,
}

impl Dump<'_> {
    fn line(&mut self, text: fmt::Arguments<'_>) -> Result<()> {
        Ok(self.out.line(text)?)
    }

    /// Shows `error` if it is about content; passes on any other.
    fn wrong(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corrupt { offset, reason, .. } => Ok(self.out.damage(offset, reason)?),
            other => Err(other),
        }
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        let reader = &*table.reader;
        self.ends(&reader.source)?;
        self.properties(table)?;
        for tombstone in table.range_tombstones() {
            self.line(format_args!(
                "range    {} .. {} at version {}",
                Shown(&tombstone.start),
                Shown(&tombstone.end),
                tombstone.version
            ))?;
        }
        for nth in 0..reader.partitions() {
            self.partition(reader, nth)?;
        }
        let verified = table.verify()?;
        for error in verified.damage {
            self.wrong(error)?;
        }
        self.line(format_args!(
            "{} bytes, checksum {:08x}",
            verified.bytes, verified.checksum
        ))
    }

    fn ends(&mut self, source: &Source) -> Result<()> {
        for (name, end) in ["header", "footer"].into_iter().zip(source.ends()) {
            match end {
                Ok(footer) => self.footer(name, &footer)?,
                Err(error) => self.wrong(error)?,
            }
        }
        Ok(())
    }

    fn footer(&mut self, name: &str, footer: &Footer) -> Result<()> {
        let compression = u8::try_from(footer.compression);
        let compression = compression.map_or("unknown", compression::name);
        self.line(format_args!(
            "{name}   file {:016x}, {} bytes, {} entries in {} partitions, compression {}, {} probes, \
             prefix {}",
            footer.file_id,
            footer.file_len,
            footer.entries,
            footer.partitions,
            compression,
            footer.probes,
            footer.prefix_len
        ))?;
        let sections = [
            ("top", footer.top),
            ("ranges", footer.range_tombstones),
            ("properties", footer.properties),
        ];
        for (name, section) in sections {
            if section != Section::default() {
                let Section { a, b, len } = section;
                self.line(format_args!("  {name:<10} at {a} and {b}, {len} bytes"))?;
            }
        }
        let at = footer.file_len.saturating_sub(FOOTER_SIZE as u64);
        let copies = footer.index_copies;
        self.line(format_args!("  index copies from {copies}, footer at {at}"))
    }

    fn properties(&mut self, table: &Table) -> Result<()> {
        let p = table.properties();
        let (end, last) = match &p.last {
            Bound::Included(last) => ("including", last),
            Bound::Excluded(last) => ("excluding", last),
            Bound::Unbounded => ("", &p.first),
        };
        let (first, last) = (Shown(&p.first), Shown(last));
        self.line(format_args!("keys     {first} .. {last}, {end} that"))?;
        self.line(format_args!(
            "holds    {} puts, {} deletions, {} range tombstones, versions {} .. {}",
            p.puts, p.tombstones, p.range_tombstones, p.oldest_version, p.newest_version
        ))?;
        self.line(format_args!(
            "bytes    {} of keys, {} of values, {} in {} data blocks, {} of index, {} of filter",
            p.key_bytes, p.value_bytes, p.data_bytes, p.data_blocks, p.index_bytes, p.filter_bytes
        ))?;
        for (name, value) in &p.user {
            self.line(format_args!("says     {} = {}", Shown(name), Shown(value)))?;
        }
        Ok(())
    }

    fn partition(&mut self, reader: &Reader, nth: usize) -> Result<()> {
        let places = reader.places(nth);
        self.line(format_args!(
            "part {nth:<3} index of {} bytes at {} and {}, filter of {} bytes at {}",
            places.index_len, places.index, places.copy, places.filter_len, places.filter
        ))?;
        let partition = match reader.partition(nth) {
            Ok(partition) => partition,
            Err(error) => return self.wrong(error),
        };
        for block in 0..partition.len() {
            self.block(reader, partition, block)?;
        }
        Ok(())
    }

    fn block(&mut self, reader: &Reader, partition: &Partition, nth: usize) -> Result<()> {
        let source = &reader.source;
        let (offset, len) = partition.place(source, nth);
        let id = reader.footer.file_id;
        let (header, loaded) = match source.unchecked(id, offset, len, false) {
            Ok(loaded) => loaded,
            // `verify` says it, at the end.
            Err(Error::Corrupt { .. }) => {
                return self.line(format_args!("block    {offset:>10}  {len} bytes, damaged"));
            }
            Err(error) => return Err(error),
        };
        let (separator, version) = match partition.separator(source, nth) {
            Ok(separator) => separator,
            Err(error) => return self.wrong(error),
        };
        self.line(format_args!(
            "block    {offset:>10}  {len} bytes, {} before compression ({}), {} entries, up to {} at \
             version {version}",
            header.raw,
            compression::name(header.compression),
            header.count,
            Shown(&separator)
        ))?;
        if self.detail == Detail::Entries {
            let block = Block::new(source.payload(&loaded.payload), loaded.layout);
            self.entries(&block)?;
        }
        Ok(())
    }

    fn entries(&mut self, block: &Block<'_>) -> Result<()> {
        let mut position = Position::default();
        let mut stands = position.first(block);
        while let (Ok(true), Some(entry)) = (stands, position.entry(block)) {
            let kind = match entry.kind {
                Kind::Put => "put",
                Kind::Delete => "delete",
            };
            self.line(format_args!(
                "  {kind:<7} {} at version {}, {} bytes",
                Shown(entry.key),
                entry.version,
                entry.value.len()
            ))?;
            stands = position.next(block);
        }
        Ok(())
    }
}
