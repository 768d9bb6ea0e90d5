//! What stands in a store's files, as text, damage included, for people.

use std::fmt;
use std::io::Write;
use std::path::Path;

use durable_io::engine::{Shown, Text};
use durable_io::{Dir, Disk};

use crate::error::{Error, Result};
use crate::file_header::FileHeader;
use crate::hint;
use crate::manifest::{FileEntry, Manifest};
use crate::names::{self, Numbered};
use crate::record::FIRST_GROUP;
use crate::record::Kind;
use crate::scan::{Scan, Step};

/// How much [`dump()`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Files and groups.
    Groups,
    /// Records too.
    Records,
}

/// Writes what stands in the files of the store in `dir` to `out`, as text. Lines that begin with `!`
/// are what is wrong.
///
/// Nothing is changed and no lock is taken: if the store is open elsewhere, what is shown may be in
/// motion, and files may go meanwhile, which is said.
///
/// # Cost
/// Reads every file once.
///
/// # Errors
/// [`Error::Disk`] if the directory cannot be read, [`Error::Output`] if `out` fails. Damage is no error, nor
/// is a file or a place in it that cannot be read.
pub fn dump(disk: &Disk, dir: impl AsRef<Path>, detail: Detail, out: &mut dyn Write) -> Result<()> {
    let dir = disk.open_dir(dir.as_ref())?;
    let out = Text::new(out);
    let mut dump = Dump { dir, detail, out };
    let manifest = dump.manifest()?;
    let mut listed: Vec<Numbered> = dump
        .dir
        .list()?
        .iter()
        .filter_map(|entry| names::parse(&entry.name))
        .collect();
    let entries = manifest.map_or_else(Vec::new, |manifest| manifest.files);
    // As the manifest has them, then the rest.
    for (nth, entry) in entries.iter().enumerate() {
        let is_active = nth + 1 == entries.len();
        let shown = dump.data_file(entry.number, Some((entry, is_active)));
        dump.or_wrong(shown)?;
        if listed.contains(&Numbered::Hint(entry.number)) {
            let shown = dump.hint(entry);
            dump.or_wrong(shown)?;
        }
        listed.retain(|found| match *found {
            Numbered::Data(number) | Numbered::Hint(number) => number != entry.number,
        });
    }
    listed.sort_by_key(|found| match *found {
        Numbered::Data(number) => (number, 0),
        Numbered::Hint(number) => (number, 1),
    });
    for orphan in listed {
        match orphan {
            Numbered::Data(number) => {
                let shown = dump.data_file(number, None);
                dump.or_wrong(shown)?;
            }
            Numbered::Hint(number) => {
                dump.line(format_args!("{}: an orphan", names::hint(number)))?;
            }
        }
    }
    Ok(())
}

struct Dump<'a> {
    dir: Dir,
    detail: Detail,
    out: Text<'a>,
}

impl Dump<'_> {
    fn line(&mut self, text: fmt::Arguments<'_>) -> Result<()> {
        Ok(self.out.line(text)?)
    }

    fn or_wrong(&mut self, shown: Result<()>) -> Result<()> {
        shown.or_else(|error| self.wrong(error))
    }

    /// Shows `error`, but for one of the output.
    fn wrong(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Disk(error) => self.line(format_args!("! {error}")),
            Error::Corrupt { offset, reason, .. } => Ok(self.out.damage(offset, reason)?),
            Error::UnsupportedVersion(newer) => {
                let version = newer.version;
                self.line(format_args!("! format version {version} is not known"))
            }
            other => Err(other),
        }
    }

    fn manifest(&mut self) -> Result<Option<Manifest>> {
        let manifest = match Manifest::read(&self.dir) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.line(format_args!("{}", names::MANIFEST))?;
                self.wrong(error)?;
                return Ok(None);
            }
        };
        let Some(manifest) = manifest else {
            self.line(format_args!("! {} is missing", names::MANIFEST))?;
            return Ok(None);
        };
        self.line(format_args!(
            "{}: generation {}, store {:016x}, hash seed {:016x}, next number {}, {} data files, oldest first",
            names::MANIFEST,
            manifest.generation,
            manifest.store_id,
            manifest.hash_seed,
            manifest.next_number,
            manifest.files.len()
        ))?;
        for (nth, file) in manifest.files.iter().enumerate() {
            let FileEntry {
                number,
                id,
                end,
                digest,
            } = file;
            let name = names::data(*number);
            if nth + 1 == manifest.files.len() {
                self.line(format_args!(
                    "  {name}  id {id:016x}  active, durable up to {end} at least"
                ))?;
            } else {
                self.line(format_args!(
                    "  {name}  id {id:016x}  end {end}  digest {digest:08x}"
                ))?;
            }
        }
        Ok(Some(manifest))
    }

    fn data_file(&mut self, number: u64, named: Option<(&FileEntry, bool)>) -> Result<()> {
        let name = names::data(number);
        let file = match self.dir.open_read_only(&name) {
            Err(error) if error.is_not_found() => return self.gone(&name, number),
            other => other?,
        };
        let len = file.len()?;
        let orphan = if named.is_none() { ", an orphan" } else { "" };
        self.line(format_args!("{name}: {len} bytes{orphan}"))?;
        let entry = match (FileHeader::read(&file, number)?, named) {
            (Ok(header), Some((entry, _))) if header.id == entry.id => *entry,
            (Ok(header), _) => {
                if named.is_some() {
                    let id = header.id;
                    self.line(format_args!(
                        "!          0  its id is {id:016x}, not what the manifest says"
                    ))?;
                }
                FileEntry {
                    number,
                    id: header.id,
                    end: FIRST_GROUP,
                    digest: 0,
                }
            }
            (Err(bad), named) => {
                self.wrong(bad.into_error(file.path().to_owned()))?;
                match named {
                    Some((entry, _)) => *entry,
                    None => return Ok(()),
                }
            }
        };
        let end = match named {
            Some((_, false)) => entry.end.min(len),
            _ => len,
        };
        self.groups(Scan::open(file, &entry, end), end)
    }

    /// Says that the file called `name` is not there, and whether it is to be.
    fn gone(&mut self, name: &str, number: u64) -> Result<()> {
        let manifest = Manifest::read(&self.dir).ok().flatten();
        if manifest.is_some_and(|manifest| manifest.names(number)) {
            self.line(format_args!("! {name} is missing"))
        } else {
            self.line(format_args!("{name}: was removed meanwhile"))
        }
    }

    fn groups(&mut self, scan: Scan, end: u64) -> Result<()> {
        let mut scan = scan.read_around();
        self.all_groups(&mut scan, end)?;
        scan.unread()
            .into_iter()
            .try_for_each(|error| self.wrong(error))
    }

    fn all_groups(&mut self, scan: &mut Scan, end: u64) -> Result<()> {
        loop {
            let at = scan.offset;
            let mut records = Vec::new();
            let shows = self.detail == Detail::Records;
            let step = scan.step(|offset, record| {
                if shows {
                    let what = match record.kind {
                        Kind::Put => {
                            format!(
                                "put     {} = {} bytes",
                                Shown(record.key),
                                record.value.len()
                            )
                        }
                        Kind::Delete => format!("delete  {}", Shown(record.key)),
                    };
                    records.push(format!("    {offset:>10}  {what}"));
                }
            })?;
            if let Step::Group(header) = step {
                self.line(format_args!(
                    "  {at:>10}  group of {} records, {} bytes; durable up to {}",
                    header.count, header.bytes, header.durable
                ))?;
                for record in records {
                    self.line(format_args!("{record}"))?;
                }
                continue;
            }
            let rest = scan.nonzero_end()?;
            let (Some(nonzero), true) = (rest, at < end) else {
                if at < end {
                    self.line(format_args!("  {at:>10}  zeros up to {end}"))?;
                }
                return Ok(());
            };
            let (offset, what) = match step {
                Step::Bad { offset, reason } => (offset, reason.to_string()),
                _ => (at, "no group where one should be".to_owned()),
            };
            self.out.damage(offset, what)?;
            scan.skip();
            if scan.seek()?.is_none() {
                return self.line(format_args!(
                    "! {at:>10}  no group from here on; what is not zero ends at {nonzero}"
                ));
            }
        }
    }

    fn hint(&mut self, entry: &FileEntry) -> Result<()> {
        let name = names::hint(entry.number);
        let file = match self.dir.open_read_only(&name) {
            // A hint may always go.
            Err(error) if error.is_not_found() => {
                return self.line(format_args!("{name}: was removed meanwhile"));
            }
            other => other?,
        };
        let map = file.map(0..file.len()?)?;
        let len = map.len();
        if hint::is_valid(&map, entry) {
            let count = hint::count(len);
            self.line(format_args!("{name}: {len} bytes, {count} entries"))
        } else {
            self.line(format_args!(
                "! {name}: {len} bytes that are not a hint of this file; it is not used"
            ))
        }
    }
}
