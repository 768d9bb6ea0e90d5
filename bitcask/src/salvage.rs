//! [`Salvage`]: everything that can still be read of a damaged store.

use std::collections::{BTreeMap, HashMap};
use std::vec;

use durable_io::engine::StoreDir;
use durable_io::{Dir, File};

use crate::error::{Corruption, Error, Result};
use crate::file_header::{FileHeader, Made};
use crate::hint::Hint;
use crate::keydir::Hasher;
use crate::manifest::{FileEntry, Manifest};
use crate::names::{self, Numbered};
use crate::orphans::is_newer;
use crate::record::FIRST_GROUP;
use crate::record::{Kind, decode_record};
use crate::scan::Scan;
use crate::walk::Met;

/// A key of a damaged store, and its newest value that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// The key.
    pub key: Vec<u8>,
    /// The newest value that can be read.
    pub value: Vec<u8>,
    /// True if something newer that is lost may have been a change of this key: then this is perhaps an older
    /// value, or the key was deleted.
    pub may_be_older: bool,
}

/// What can be read of a store, whatever is damaged: first what is wrong, an error for each place, with the
/// key that was lost there where that is known; then the keys, each with its newest value that can be
/// read. Made by [`Options::salvage`](crate::Options::salvage).
#[derive(Debug)]
pub struct Salvage {
    damage: vec::IntoIter<Error>,
    files: Vec<Option<(File, FileEntry)>>,
    left: std::collections::btree_map::IntoIter<Vec<u8>, Newest>,
    lost: Lost,
    hasher: Option<Hasher>,
    /// Nobody may write meanwhile.
    _locked: StoreDir,
}

/// Where a record is: the place of its file in the order of the files, and the offset. Newer ones are larger.
type At = (usize, u64);

/// The newest record of a key that can be read.
#[derive(Clone, Copy, Debug)]
struct Newest {
    at: At,
    kind: Kind,
    size: usize,
}

/// What is lost, as far as it may have been newer than what is left.
#[derive(Debug, Default)]
struct Lost {
    /// Records whose hash the hint has: the newest of each.
    known: HashMap<u64, At>,
    /// The newest record of which nothing is known.
    unknown: Option<At>,
}

impl Lost {
    fn note(&mut self, at: At) {
        self.unknown = self.unknown.max(Some(at));
    }

    fn is_newer(&self, hash: Option<u64>, at: At) -> bool {
        let known = hash.and_then(|hash| self.known.get(&hash).copied());
        self.unknown.max(known) > Some(at)
    }
}

/// What is gathered before anything is given out.
#[derive(Debug, Default)]
struct Gathered {
    damage: Vec<Error>,
    left: BTreeMap<Vec<u8>, Newest>,
    lost: Lost,
}

/// A record of one file that is right.
struct Seen {
    key: Vec<u8>,
    offset: u64,
    kind: Kind,
    size: usize,
    /// Its group is whole.
    is_whole: bool,
}

impl Salvage {
    pub(crate) fn open(locked: StoreDir) -> Result<Self> {
        let dir = locked.dir().clone();
        let mut gathered = Gathered::default();
        let manifest = match Manifest::read(&dir) {
            Ok(Some(manifest)) => Some(manifest),
            Ok(None) => {
                let path = dir.path().join(names::MANIFEST);
                let lost = Error::corrupt(&path, 0, Corruption::ManifestLost);
                gathered.damage.push(lost);
                None
            }
            Err(error) => {
                gathered.damage.push(error);
                None
            }
        };
        let hasher = manifest
            .as_ref()
            .map(|manifest| Hasher::new(manifest.hash_seed, manifest.store_id));
        let entries = gathered.entries(&dir, manifest.as_ref())?;
        let mut files = Vec::new();
        for (nth, entry) in entries.iter().enumerate() {
            let is_sealed = manifest.as_ref().is_some_and(|manifest| {
                nth + 1 < manifest.files.len() && manifest.files.contains(entry)
            });
            let file = gathered.file(&dir, nth, entry, is_sealed, hasher.as_ref());
            if file.is_none() {
                gathered.lost.note((nth, u64::MAX));
            }
            files.push(file.map(|file| (file, *entry)));
        }
        Ok(Self {
            damage: gathered.damage.into_iter(),
            files,
            left: gathered.left.into_iter(),
            lost: gathered.lost,
            hasher,
            _locked: locked,
        })
    }

    /// The value of `newest`; `None` if it is a tombstone.
    fn read(&self, key: Vec<u8>, newest: Newest) -> Option<Result<Salvaged>> {
        if newest.kind == Kind::Delete {
            return None;
        }
        let (nth, offset) = newest.at;
        let (file, entry) = self.files.get(nth)?.as_ref()?;
        let mut bytes = vec![0; newest.size];
        if let Err(error) = file.read_exact_at(&mut bytes, offset) {
            return Some(Err(error.into()));
        }
        let damaged =
            |reason| Error::corrupt(file.path(), offset, reason).of_key(Some(key.clone()));
        let record = match decode_record(&bytes, entry.place(offset)) {
            Ok(record) => record,
            Err(reason) => return Some(Err(damaged(reason))),
        };
        let hash = self.hasher.as_ref().map(|hasher| hasher.hash(&key));
        Some(Ok(Salvaged {
            value: record.value.to_vec(),
            may_be_older: self.lost.is_newer(hash, newest.at),
            key,
        }))
    }
}

impl Iterator for Salvage {
    type Item = Result<Salvaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(damage) = self.damage.next() {
            return Some(Err(damage));
        }
        loop {
            let (key, newest) = self.left.next()?;
            if let Some(item) = self.read(key, newest) {
                return Some(item);
            }
        }
    }
}

impl Gathered {
    /// The data files, oldest first. Without a manifest, or with an older one, by number, as far as it says
    /// nothing; then everything may be older.
    fn entries(&mut self, dir: &Dir, manifest: Option<&Manifest>) -> Result<Vec<FileEntry>> {
        let mut entries = manifest.map_or_else(Vec::new, |manifest| manifest.files.clone());
        let mut more = Vec::new();
        for entry in dir.list()? {
            let Some(Numbered::Data(number)) = names::parse(&entry.name) else {
                continue;
            };
            if entries.iter().any(|entry| entry.number == number) {
                continue;
            }
            match self.unnamed(dir, manifest, number) {
                Ok(Some(header)) => more.push(header),
                Ok(None) => {}
                Err(error) => self.damage.push(error),
            }
        }
        if !more.is_empty() {
            self.lost.note((usize::MAX, 0));
        }
        // What a merge wrote was there before: it is older than what was written since.
        more.sort_by_key(|header| (header.number, header.made == Made::ToWrite));
        entries.extend(more.iter().map(FileHeader::entry));
        Ok(entries)
    }

    /// The header of data file `number`, which the manifest does not name, if it counts all the same.
    fn unnamed(
        &mut self,
        dir: &Dir,
        manifest: Option<&Manifest>,
        number: u64,
    ) -> Result<Option<FileHeader>> {
        let file = dir.open_read_only(&names::data(number))?;
        let path = file.path().to_owned();
        let header = match (FileHeader::read(&file, number)?, manifest) {
            (Ok(header), _) => header,
            // What a crash leaves, perhaps.
            (Err(_), Some(_)) => return Ok(None),
            (Err(bad), None) => return Err(bad.into_error(path)),
        };
        let Some(manifest) = manifest else {
            return Ok(Some(header));
        };
        if header.store_id != manifest.store_id {
            return Err(Error::corrupt(&path, 0, Corruption::ForeignFile));
        }
        if !is_newer(file, &header, manifest)? {
            return Ok(None);
        }
        let path = dir.path().join(names::MANIFEST);
        let reason = Corruption::OldManifest { file: number };
        self.damage.push(Error::corrupt(&path, 0, reason));
        Ok(Some(header))
    }

    /// Gathers what is right in the file `entry`, the `nth` of all; `None` if it cannot be opened.
    fn file(
        &mut self,
        dir: &Dir,
        nth: usize,
        entry: &FileEntry,
        is_sealed: bool,
        hasher: Option<&Hasher>,
    ) -> Option<File> {
        let name = names::data(entry.number);
        let opened = dir.open_read_only(&name).and_then(|file| {
            let len = file.len()?;
            Ok((file, len))
        });
        let (file, len) = match opened {
            Ok(opened) => opened,
            Err(error) if error.is_not_found() => {
                let path = dir.path().join(name);
                let missing = Error::corrupt(&path, 0, Corruption::MissingFile);
                self.damage.push(missing);
                return None;
            }
            Err(error) => {
                self.damage.push(error.into());
                return None;
            }
        };
        match FileHeader::read(&file, entry.number) {
            Ok(Ok(_)) => {}
            Ok(Err(bad)) => self.damage.push(bad.into_error(file.path().to_owned())),
            Err(error) => self.damage.push(error),
        }
        let end = if is_sealed { entry.end.min(len) } else { len };
        let mut scan = Scan::open(file.clone(), entry, end).read_around();
        let (mut seen, mut bad) = (Vec::new(), Vec::new());
        let walked = scan.walk(|met| match met {
            Met::Record { offset, record } => seen.push(Seen {
                key: record.key.to_vec(),
                offset,
                kind: record.kind,
                size: record.size(),
                is_whole: false,
            }),
            Met::Whole { group } => {
                let its = seen.iter_mut().rev().take_while(|seen| seen.offset > group);
                its.for_each(|seen: &mut Seen| seen.is_whole = true);
            }
            Met::Bad {
                group,
                offset,
                reason,
            } => bad.push((group, offset, reason)),
        });
        // Everything that cannot be read is in `unread`.
        self.damage.extend(walked.err());
        let durable = if is_sealed {
            u64::MAX
        } else {
            // What is torn was never acknowledged as durable, nor was what stands behind it.
            let durable = scan.witness.max(entry.end);
            let torn = bad.iter().map(|(group, ..)| *group);
            let torn = torn.filter(|&group| group >= durable).min();
            bad.retain(|(group, ..)| *group < durable);
            let is_before = |offset| torn.is_none_or(|torn| offset < torn);
            seen.retain(|seen| seen.offset < durable || seen.is_whole && is_before(seen.offset));
            durable
        };
        let read_to = scan.offset.max(FIRST_GROUP);
        if read_to < durable.min(entry.end.max(scan.witness)) {
            bad.push((read_to, read_to, Corruption::Length));
        }
        let hint = is_sealed.then(|| Hint::load(dir, entry)).flatten();
        self.note_lost(&scan, nth, &seen, &bad, hint.as_ref().zip(hasher), &file);
        self.damage.append(&mut scan.unread());
        for Seen {
            key,
            offset,
            kind,
            size,
            ..
        } in seen
        {
            let at = (nth, offset);
            let newest = Newest { at, kind, size };
            let before = self.left.entry(key).or_insert(newest);
            if before.at < at {
                *before = newest;
            }
        }
        Some(file)
    }

    /// Notes what the places in `bad` were, beside the records that were `seen`.
    fn note_lost(
        &mut self,
        scan: &Scan,
        nth: usize,
        seen: &[Seen],
        bad: &[(u64, u64, Corruption)],
        hint: Option<(&Hint, &Hasher)>,
        file: &File,
    ) {
        let Some((hint, hasher)) = hint.filter(|_| !bad.is_empty()) else {
            for &(_, offset, reason) in bad {
                self.damage.push(scan.corrupt(offset, reason));
                self.lost.note((nth, offset));
            }
            return;
        };
        for entry in hint.entries() {
            let is_seen = seen.binary_search_by_key(&entry.offset, |seen| seen.offset);
            if is_seen.is_ok() {
                continue;
            }
            let at = (nth, entry.offset);
            let newest = self.lost.known.entry(entry.hash).or_insert(at);
            *newest = at.max(*newest);
            let reason = bad.iter().find(|(_, offset, _)| *offset == entry.offset);
            let reason = reason.map_or(Corruption::Checksum, |(_, _, reason)| *reason);
            let key =
                unchecked_key(file, entry.offset).filter(|key| hasher.hash(key) == entry.hash);
            self.damage
                .push(scan.corrupt(entry.offset, reason).of_key(key));
        }
    }
}

/// The key of the record at `offset`, as its header says.
fn unchecked_key(file: &File, offset: u64) -> Option<Vec<u8>> {
    use crate::record::{RECORD_HEADER_SIZE, RecordHeader};
    let mut bytes = [0; RECORD_HEADER_SIZE];
    file.read_exact_at(&mut bytes, offset).ok()?;
    let mut key = vec![0; RecordHeader::decode(&bytes)?.key_len()];
    file.read_exact_at(&mut key, offset + bytes.len() as u64)
        .ok()?;
    Some(key)
}
