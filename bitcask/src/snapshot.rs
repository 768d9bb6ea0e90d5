//! [`Snapshot`]: the store as it was; and the iterators over it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use durable_io::engine::Value;

use crate::error::Result;
use crate::keydir::{Found, SHARDS, Spot};
use crate::store::Store;

/// The store as it was when the snapshot was taken.
///
/// It holds up nobody: writes and merges go on. It costs memory for each key that changed since it was taken,
/// once, and disk space for the data files in which these had their records then, also when merges have
/// replaced them; of files that are younger it keeps none. [`Stats`](crate::Stats) says how much.
///
/// Made by [`Bitcask::snapshot`](crate::Bitcask::snapshot), and, of a store that another process may have open, by
/// [`Options::open_read_only`](crate::Options::open_read_only). It can be read after the store was closed.
#[derive(Clone)]
pub struct Snapshot {
    held: Arc<Held>,
}

struct Held {
    store: Arc<Store>,
    version: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.store.release(self.version);
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.held.version)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        let version = store.hold_version();
        Self {
            held: Arc::new(Held {
                store: Arc::clone(store),
                version,
            }),
        }
    }

    /// How many records the handle had written when it was taken: what names it in
    /// [`Stats::oldest_snapshot`](crate::Stats::oldest_snapshot).
    pub fn version(&self) -> u64 {
        self.held.version
    }

    /// The value that `key` had; `None` if it was absent.
    ///
    /// # Errors
    /// As [`Bitcask::get`](crate::Bitcask::get).
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.find(key)?.and_then(Found::into_value))
    }

    /// The values that `keys` had, all at that one moment, in their order; `None` for each that was absent.
    ///
    /// # Cost
    /// As [`Bitcask::get_many`](crate::Bitcask::get_many).
    ///
    /// # Errors
    /// As [`get`](Snapshot::get), the first that is met.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        let Held { store, version } = &*self.held;
        store.find_many(keys, Some(*version))
    }

    /// True if `key` was there.
    ///
    /// # Errors
    /// As [`get`](Snapshot::get).
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.find(key)?.is_some())
    }

    fn find(&self, key: &[u8]) -> Result<Option<Found>> {
        let Held { store, version } = &*self.held;
        store.find_at(store.keydir.hasher.hash(key), key, *version)
    }

    /// Every key with its value, in no order.
    ///
    /// # Cost
    /// One record read for each key, in the order of the index, which is not that of the files. Memory
    /// for the locations of 1/64 of the keys at a time.
    ///
    /// # Errors
    /// The items are errors as those of [`get`](Snapshot::get), one for each record that is damaged or cannot
    /// be read, with its key where that is known; reading goes on behind it.
    pub fn entries(&self) -> Entries {
        Entries {
            snapshot: self.clone(),
            shard: 0,
            spots: Vec::new().into_iter(),
            changed: HashMap::new(),
        }
    }

    /// Every key, in no order. As [`entries`](Snapshot::entries).
    pub fn keys(&self) -> Keys {
        Keys {
            entries: self.entries(),
        }
    }

    /// Calls `f` with every key and value, in no order, and what it returned before; `init` at first.
    ///
    /// # Errors
    /// As [`get`](Snapshot::get): the first one ends it. [`entries`](Snapshot::entries) goes on behind it.
    pub fn fold<T>(&self, init: T, mut f: impl FnMut(T, &[u8], &[u8]) -> T) -> Result<T> {
        let mut folded = init;
        for entry in self.entries() {
            let (key, value) = entry?;
            folded = f(folded, &key, &value);
        }
        Ok(folded)
    }
}

/// The keys and values of a [`Snapshot`], in no order.
#[derive(Debug)]
pub struct Entries {
    snapshot: Snapshot,
    /// The next shard to be read.
    shard: usize,
    /// What is left of the last one.
    spots: std::vec::IntoIter<Spot>,
    /// The keys of it that changed after the snapshot: their records of now do not count.
    changed: HashMap<Box<[u8]>, Option<Spot>>,
}

impl Entries {
    /// Goes to the next record that counts.
    fn advance(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        loop {
            if let Some(spot) = self.spots.next() {
                let store = &self.snapshot.held.store;
                let name = |error| store.name_key(error, &spot.file, spot.offset);
                let (key, _) = spot.key().map_err(name)?;
                if self.changed.contains_key(&*key) {
                    continue;
                }
                let found = spot.read(&key)?;
                if let Some(value) = found.and_then(Found::into_value) {
                    return Ok(Some((key, value)));
                }
                continue;
            }
            // Then those that were there instead.
            if let Some(key) = self.changed.keys().next().cloned() {
                let before = self.changed.remove(&key).flatten();
                let found = before.map_or(Ok(None), |spot| spot.read(&key));
                let found = found.map_err(|error| error.of_key(Some(key.to_vec())))?;
                if let Some(value) = found.and_then(Found::into_value) {
                    return Ok(Some((key.into_vec(), value)));
                }
                continue;
            }
            if self.shard == SHARDS {
                return Ok(None);
            }
            self.load_shard();
        }
    }

    fn load_shard(&mut self) {
        let Held { store, version } = &*self.snapshot.held;
        let (spots, changes) = store.keydir.shard_at(self.shard, *version);
        for (_, change) in changes {
            // The first change of a key says what was before.
            self.changed.entry(change.key).or_insert(change.old);
        }
        self.spots = spots.into_iter();
        self.shard += 1;
    }
}

impl Iterator for Entries {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The keys of a [`Snapshot`], in no order.
#[derive(Debug)]
pub struct Keys {
    entries: Entries,
}

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.entries.next()?.map(|(key, _)| key))
    }
}
