//! The index: where the newest record of each key is. Keys stay on disk.
//!
//! A hash of 64 bits, keyed per store, gives the shard (6 bits) and the fingerprint (32 bits). Two live
//! keys can share these 38 bits (about 180 pairs do among 10 million keys), so nobody believes an entry
//! before the key of its record has been compared. That is done outside the shard's lock; who then
//! changes the entry names the location that was compared, and begins again if it is another one by
//! then.

mod changes;
mod many;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use siphasher::sip::SipHasher13;

use durable_io::engine::Value;

use crate::data_file::DataFile;
use crate::error::{Error, Result};
use crate::record::{Kind, decode_record};
use crate::table::{Loc, Table};
pub(crate) use changes::{AtVersion, CHANGE_SIZE, Change, Noted};
pub(crate) use many::Wanted;

/// Each shard has a lock, and grows alone: a pause is that of one shard.
pub(crate) const SHARDS: usize = 64;

/// The store's hash of keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    keys: (u64, u64),
}

impl Hasher {
    pub(crate) fn new(hash_seed: u64, store_id: u64) -> Self {
        Self {
            keys: (hash_seed, store_id),
        }
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(key);
        #[cfg(test)]
        return hasher.finish() & collisions::MASK.get();
        #[cfg(not(test))]
        hasher.finish()
    }
}

pub(crate) fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 58).expect("there are 64 shards")
}

#[expect(clippy::cast_possible_truncation, reason = "32 of the hash's bits")]
fn fingerprint(hash: u64) -> u32 {
    (hash >> 26) as u32
}

/// The open data files, by slot, and their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    pub(crate) slots: Vec<Option<Arc<DataFile>>>,
    /// Slots, oldest file first; the last one is the active file.
    pub(crate) order: Vec<u32>,
}

impl Files {
    pub(crate) fn get(&self, slot: usize) -> Option<&Arc<DataFile>> {
        self.slots.get(slot)?.as_ref()
    }

    /// Oldest first.
    pub(crate) fn in_order(&self) -> impl DoubleEndedIterator<Item = &Arc<DataFile>> + '_ {
        let slots = self.order.iter().map(|&slot| slot as usize);
        slots.filter_map(|slot| self.get(slot))
    }

    /// All but the active file, oldest first.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = &Arc<DataFile>> + '_ {
        self.in_order().take(self.order.len().saturating_sub(1))
    }

    /// A slot that is free; the table is made longer if none is.
    pub(crate) fn free_slot(&mut self) -> u32 {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        u32::try_from(slot).expect("there are no more slots than MAX_DATA_FILES")
    }

    /// Puts `file` into its slot.
    pub(crate) fn set(&mut self, file: Arc<DataFile>) {
        let slot = file.slot as usize;
        let place = self.slots.get_mut(slot);
        *place.expect("a file gets a slot of the table before it is put there") = Some(file);
    }
}

/// A record's place, with the file kept open.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) file: Arc<DataFile>,
    pub(crate) offset: u64,
}

impl Spot {
    pub(crate) fn loc(&self) -> Loc {
        Loc::new(self.file.slot, self.offset)
    }

    /// Reads the record here and compares its key; its value, if that is `key`.
    ///
    /// # Errors
    /// Damage of the record; then nobody knows whose it is.
    pub(crate) fn read(self, key: &[u8]) -> Result<Option<Found>> {
        // Most records are mapped as a whole, and read once.
        let mapped = self.file.mapped_from(self.offset);
        let place = self.file.place(self.offset);
        if let Some(Ok(record)) = mapped.map(|bytes| decode_record(bytes, place)) {
            let (kind, size, value_len) = (record.kind, record.size(), record.value.len());
            return Ok((record.key == key).then_some(Found {
                spot: self,
                kind,
                size,
                value_len,
                owned: None,
            }));
        }
        self.read_slowly(key)
    }

    /// A record that is not mapped, or lies in two maps, or is damaged.
    #[cold]
    fn read_slowly(self, key: &[u8]) -> Result<Option<Found>> {
        let bytes = self.file.record_bytes(self.offset)?;
        let record = self.file.decode(&bytes, self.offset)?;
        if record.key != key {
            return Ok(None);
        }
        let (kind, size, value_len) = (record.kind, record.size(), record.value.len());
        let owned = match bytes {
            Cow::Owned(bytes) => Some(bytes),
            Cow::Borrowed(_) => None,
        };
        Ok(Some(Found {
            spot: self,
            kind,
            size,
            value_len,
            owned,
        }))
    }
}

impl Spot {
    /// The key of the record here, and its size.
    pub(crate) fn key(&self) -> Result<(Vec<u8>, u64)> {
        let bytes = self.file.record_bytes(self.offset)?;
        let record = self.file.decode(&bytes, self.offset)?;
        Ok((record.key.to_vec(), record.size() as u64))
    }
}

/// The record of a key.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) spot: Spot,
    pub(crate) kind: Kind,
    /// Bytes of the record.
    pub(crate) size: usize,
    value_len: usize,
    /// The record, if it is not mapped.
    owned: Option<Vec<u8>>,
}

impl Found {
    /// Its value; `None` if it is a tombstone.
    pub(crate) fn into_value(self) -> Option<Value> {
        let Spot { file, offset } = self.spot;
        if self.kind != Kind::Put {
            return None;
        }
        // The last bytes of the record.
        let start = self.size - self.value_len;
        Some(match self.owned {
            Some(record) => Value::owned(record, start..self.size)
                .expect("a record that was decoded has the size that its header says"),
            None => Value::lent(file, offset + start as u64..offset + self.size as u64),
        })
    }
}

/// What the index has for a key, as far as it was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Old {
    /// The record at this location, whose key was compared.
    At(Loc),
    /// None: the keys of all that might be it were compared.
    Absent,
    /// None, if there is nothing that might be it.
    Unknown,
}

/// Where a record was written: the id of the file and the offset. Not a [`Loc`], whose slot another
/// file can have by the time that it is compared.
pub(crate) type Origin = (u64, u64);

/// Apart from its neighbours, so that the locks of two shards are not in one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    table: Table,
    files: Arc<Files>,
    /// Changes that snapshots do not see, by hash and version.
    changes: BTreeMap<(u64, u64), Change>,
}

impl Inner {
    fn spots(&self, hash: u64) -> Spots {
        let mut spots = self.table.find(fingerprint(hash)).filter_map(|loc| {
            let file = self.files.get(loc.slot())?;
            Some(Spot {
                file: Arc::clone(file),
                offset: loc.offset(),
            })
        });
        Spots {
            first: spots.next(),
            more: spots.collect(),
        }
    }
}

/// The records that may be a key's: all of them are in the index at one moment.
#[derive(Debug)]
pub(crate) struct Spots {
    first: Option<Spot>,
    more: Vec<Spot>,
}

impl Spots {
    pub(crate) fn first(&self) -> Option<&Spot> {
        self.first.as_ref()
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = Spot> {
        self.first.into_iter().chain(self.more)
    }

    /// The one with the key `key`.
    ///
    /// # Errors
    /// Damage, or that one cannot be read, if none of those that can has the key.
    pub(crate) fn find(self, key: &[u8]) -> Result<Option<Found>> {
        let mut damage = None;
        for spot in self.into_iter() {
            match spot.read(key) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error) => damage = Some(error),
            }
        }
        damage.map_or(Ok(None), Err)
    }
}

/// The index.
#[derive(Debug)]
pub(crate) struct Keydir {
    pub(crate) hasher: Hasher,
    shards: Box<[Shard]>,
    keys: AtomicU64,
    table_bytes: AtomicU64,
    change_count: AtomicU64,
    limit: Option<u64>,
}

impl Keydir {
    pub(crate) fn new(hasher: Hasher, limit: Option<u64>) -> Self {
        Self {
            hasher,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            keys: AtomicU64::new(0),
            table_bytes: AtomicU64::new(0),
            change_count: AtomicU64::new(0),
            limit,
        }
    }

    fn read(&self, shard: usize) -> Option<RwLockReadGuard<'_, Inner>> {
        let shard = self.shards.get(shard)?;
        // No invariant spans a panic: the code under these locks does not panic.
        Some(shard.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, shard: usize) -> Option<RwLockWriteGuard<'_, Inner>> {
        let shard = self.shards.get(shard)?;
        Some(shard.inner.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Bytes of memory of the index without changes.
    pub(crate) fn bytes(&self) -> u64 {
        (SHARDS * size_of::<Shard>()) as u64 + self.table_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn has_limit(&self) -> bool {
        self.limit.is_some()
    }

    /// The records that may be that of the key with this hash.
    pub(crate) fn spots(&self, hash: u64) -> Spots {
        let shard = self.read(shard_of(hash));
        shard.map_or(
            Spots {
                first: None,
                more: Vec::new(),
            },
            |shard| shard.spots(hash),
        )
    }

    /// The records of a shard but for those that came after `version`, and all changes of it after `version`, oldest first for each hash.
    pub(crate) fn shard_at(&self, shard: usize, version: u64) -> (Vec<Spot>, Vec<(u64, Change)>) {
        let Some(shard) = self.read(shard) else {
            return (Vec::new(), Vec::new());
        };
        let later = shard.changes.iter();
        let later = later.filter(|((_, at), _)| *at > version);
        let changes: Vec<_> = later
            .map(|((hash, _), change)| (*hash, change.clone()))
            .collect();
        // Not needed, and after a failure perhaps not to be read: what came later, as long as no merge
        // has moved it.
        let newer: HashSet<Origin> = changes
            .iter()
            .filter_map(|(_, change)| change.new)
            .collect();
        let spots = shard.table.iter().filter_map(|(_, loc)| {
            let file = shard.files.get(loc.slot())?;
            let offset = loc.offset();
            let is_newer = newer.contains(&(file.id, offset));
            let file = (!is_newer).then(|| Arc::clone(file))?;
            Some(Spot { file, offset })
        });
        (spots.collect(), changes)
    }

    /// True if the index names the record at `loc` for a key with this hash.
    pub(crate) fn names(&self, hash: u64, loc: Loc) -> bool {
        let shard = self.read(shard_of(hash));
        shard.is_some_and(|shard| {
            shard
                .table
                .find(fingerprint(hash))
                .any(|named| named == loc)
        })
    }

    /// Makes room for `more` entries in the shard of `hash`.
    ///
    /// # Errors
    /// [`Error::MemoryLimit`]; nothing has changed.
    pub(crate) fn reserve(&self, hash: u64, more: usize) -> Result<()> {
        let Some(mut shard) = self.write(shard_of(hash)) else {
            return Ok(());
        };
        let before = shard.table.bytes();
        if let Some(limit) = self.limit {
            let needed = self.bytes() - before + shard.table.bytes_with(more);
            if needed > limit && needed > self.bytes() {
                return Err(Error::MemoryLimit { needed, limit });
            }
        }
        shard.table.reserve(more);
        self.grew(before, shard.table.bytes());
        Ok(())
    }

    fn grew(&self, before: u64, after: u64) {
        if after != before {
            // Wraps around if it shrank, as it should.
            self.table_bytes
                .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    /// Puts `new` in the place of `old`. Notes `change` for the snapshots, unless all see it or one before it.
    /// False, and nothing has changed, if the shard is not as `old` says.
    pub(crate) fn replace(
        &self,
        hash: u64,
        old: Old,
        new: Option<Loc>,
        change: Option<Noted<'_>>,
    ) -> bool {
        let Some(mut shard) = self.write(shard_of(hash)) else {
            return false;
        };
        let table = &mut shard.table;
        let before = table.bytes();
        let fingerprint = fingerprint(hash);
        let is_done = match (old, new) {
            (Old::At(old), Some(new)) => table.replace(fingerprint, old, new),
            (Old::At(old), None) => table.remove(fingerprint, old),
            (Old::Unknown, _) if table.find(fingerprint).next().is_some() => false,
            (Old::Unknown | Old::Absent, Some(new)) => {
                table.insert(fingerprint, new);
                true
            }
            (Old::Unknown | Old::Absent, None) => true,
        };
        let after = table.bytes();
        if !is_done {
            return false;
        }
        self.grew(before, after);
        // The first change after a snapshot is all that it needs to know of a key, and so do older ones of
        // which none came before.
        if let Some(noted) = change
            && shard
                .first_change(hash, noted.key, noted.newest_snapshot)
                .is_none()
        {
            shard
                .changes
                .insert((hash, noted.version), (noted.change)());
            self.change_count.fetch_add(1, Ordering::Relaxed);
        }
        drop(shard);
        match (old, new) {
            (Old::Unknown | Old::Absent, Some(_)) => self.keys.fetch_add(1, Ordering::Relaxed),
            (Old::At(_), None) => self.keys.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        true
    }

    /// Gives every shard a new table of files. Slots that entries name must be in it.
    pub(crate) fn set_files(&self, files: &Arc<Files>) {
        for shard in 0..SHARDS {
            if let Some(mut shard) = self.write(shard) {
                shard.files = Arc::clone(files);
            }
        }
    }
}

#[cfg(test)]
mod collisions;
