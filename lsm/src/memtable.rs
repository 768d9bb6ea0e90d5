//! [`Memtable`]: the newest entries of a keyspace, in memory and in the log.
//!
//! Entries are in the order of all tables: key ascending, version descending. They are in leaves of a
//! few dozen, and an index holds the first entry of each: a B-tree of two levels. Threads insert at the
//! same time into different leaves, and no reader waits for more than the insertion of one entry. A
//! cursor takes a leaf as it is, and goes through it without a lock; whoever then inserts into the leaf
//! makes a copy of it first.
//!
//! Nothing is ever removed. What is not visible yet is there too: readers leave out what is newer than
//! they are.

use std::cmp::Ordering;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use durable_io::engine::prefetch;
use sstable::{Entry, Kind, RangeTombstone};

use crate::value::Value;

mod cursor;
mod ranges;

pub(crate) use cursor::MemtableCursor;
use ranges::Ranges;

/// A leaf with so many entries is split.
const LEAF: usize = 64;
/// So many keys are looked for together.
const ABREAST: usize = 64;
/// What an entry takes beside its key and value, about: itself in a leaf that is two thirds full, the
/// head of its allocation, and what the allocator adds.
const OVERHEAD: u64 = 100;

/// One entry. Key and value are one allocation.
#[derive(Clone, Debug)]
struct Item {
    version: u64,
    data: Arc<[u8]>,
    key_len: u32,
    kind: Kind,
}

impl Item {
    fn new(data: &[u8], key_len: usize, version: u64, kind: Kind) -> Self {
        Self {
            version,
            data: data.into(),
            key_len: u32::try_from(key_len).expect("the length of a key was checked"),
            kind,
        }
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.data.get(..self.key_len as usize).unwrap_or(&self.data)
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        let at = (self.key_len as usize).min(self.data.len());
        let (key, value) = self.data.split_at(at);
        Entry {
            key,
            version: self.version,
            kind: self.kind,
            value,
        }
    }

    /// How it stands to `place`, whose head is that of its own key.
    fn compare(&self, place: Place<'_>) -> Ordering {
        self.key()
            .cmp(place.key)
            .then_with(|| place.version.cmp(&self.version))
    }

    fn place(&self) -> Place<'_> {
        Place::new(self.key(), self.version)
    }
}

/// A place in the order of entries.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    head: u64,
    key: &'a [u8],
    version: u64,
}

impl<'a> Place<'a> {
    #[inline]
    fn new(key: &'a [u8], version: u64) -> Self {
        let head = head(key);
        Self { head, key, version }
    }
}

/// The first eight bytes of `key`, so that most comparisons need not look for the rest.
#[inline]
fn head(key: &[u8]) -> u64 {
    if let Some(bytes) = key.first_chunk::<8>() {
        return u64::from_le_bytes(*bytes).swap_bytes();
    }
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(key) {
        *to = *from;
    }
    u64::from_le_bytes(head).swap_bytes()
}

/// How many of `items`, which are in order and have these heads, are before `place`, or at it if
/// `counts_equal`.
#[inline]
fn before(heads: &[u64], items: &[Item], place: Place<'_>, counts_equal: bool) -> usize {
    let is_before = |item: &Item| {
        let order = item.compare(place);
        order.is_lt() || counts_equal && order.is_eq()
    };
    // Keys that come in ascending order are behind all, and mostly have heads in common.
    match heads.last() {
        Some(&last) if last > place.head => {}
        Some(&last) if last < place.head || items.last().is_some_and(is_before) => {
            return heads.len();
        }
        _ => {}
    }
    let start = heads.partition_point(|&head| head < place.head);
    let (_, rest) = heads.split_at(start);
    if rest.first() != Some(&place.head) {
        return start;
    }
    let equal = rest.partition_point(|&head| head == place.head);
    let equal = items.get(start..start + equal);
    start + equal.map_or(0, |equal| equal.partition_point(is_before))
}

/// The entries of a leaf, in order.
#[derive(Clone, Debug)]
struct Items {
    /// Of the entries, in a place of their own: a search looks at few lines of the processor's cache.
    heads: [u64; LEAF],
    items: Vec<Item>,
}

impl Default for Items {
    fn default() -> Self {
        Self {
            heads: [0; LEAF],
            items: Vec::new(),
        }
    }
}

impl Items {
    #[inline]
    fn heads(&self) -> &[u64] {
        let heads = self.heads.get(..self.items.len());
        heads.expect("a leaf has no more entries than it has room for")
    }

    #[inline]
    fn before(&self, place: Place<'_>, counts_equal: bool) -> usize {
        before(self.heads(), &self.items, place, counts_equal)
    }

    /// Inserts an entry as number `nth`, for which there is room.
    fn insert(&mut self, nth: usize, head: u64, item: Item) {
        self.heads.copy_within(nth..self.items.len(), nth + 1);
        if let Some(place) = self.heads.get_mut(nth) {
            *place = head;
        }
        self.items.insert(nth, item);
    }

    /// Takes the entries from number `nth` on.
    fn split_off(&mut self, nth: usize) -> Self {
        let mut upper = Self {
            heads: self.heads,
            items: self.items.split_off(nth),
        };
        upper.heads.rotate_left(nth);
        upper.items.reserve_exact(LEAF - upper.items.len());
        upper
    }
}

#[derive(Debug, Default)]
struct Leaf(RwLock<Arc<Items>>);

impl Leaf {
    fn items(&self) -> RwLockReadGuard<'_, Arc<Items>> {
        // No invariant spans a panic: the code under this lock does not panic.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Arc<Items>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The leaves in order. The first one also has what is before its first entry.
#[derive(Debug)]
struct Index {
    /// The first entry of each leaf when it was made, and their heads.
    firsts: Vec<Item>,
    heads: Vec<u64>,
    leaves: Vec<Leaf>,
}

impl Index {
    /// The leaf that has the place, or would have it.
    #[inline]
    fn find(&self, place: Place<'_>) -> usize {
        before(&self.heads, &self.firsts, place, true).saturating_sub(1)
    }

    /// The first entry that is not before `place`, if it has the same key: its version, and its value if it has
    /// one. It is in leaf `at`, where the place is, or in a later one.
    #[inline]
    fn find_from(&self, mut at: usize, place: Place<'_>) -> Option<(u64, Option<Value>)> {
        loop {
            let items = self.leaves.get(at)?.items();
            let nth = items.before(place, false);
            if let Some(item) = items.items.get(nth) {
                if items.heads.get(nth) != Some(&place.head) || item.key() != place.key {
                    return None;
                }
                let range = place.key.len()..item.data.len();
                let value = || Value::of_memtable(&item.data, range);
                return Some((item.version, (item.kind == Kind::Put).then(value)));
            }
            at += 1;
        }
    }
}

/// The newest entries of a keyspace.
#[derive(Debug)]
pub(crate) struct Memtable {
    index: RwLock<Index>,
    ranges: Ranges,
    bytes: AtomicU64,
    #[cfg(test)]
    entries: std::sync::atomic::AtomicUsize,
    /// The smallest version in it; `u64::MAX` if there is none.
    first_version: AtomicU64,
}

impl Default for Memtable {
    fn default() -> Self {
        Self {
            index: RwLock::new(Index {
                firsts: vec![Item::new(&[], 0, u64::MAX, Kind::Put)],
                heads: vec![0],
                leaves: vec![Leaf::default()],
            }),
            ranges: Ranges::default(),
            bytes: AtomicU64::new(0),
            #[cfg(test)]
            entries: std::sync::atomic::AtomicUsize::new(0),
            first_version: AtomicU64::new(u64::MAX),
        }
    }
}

impl Memtable {
    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// How many entries it has.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.entries.load(Relaxed)
    }

    /// How many range tombstones it has.
    pub(crate) fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// The smallest version in it; `None` if it is empty.
    pub(crate) fn first_version(&self) -> Option<u64> {
        let first = self
            .first_version
            .load(std::sync::atomic::Ordering::Acquire);
        (first < u64::MAX).then_some(first)
    }

    /// Adds an entry, whose key and version are together of no other one. `data` is the key, which has
    /// `key_len` bytes, and the value.
    pub(crate) fn insert(&self, data: &[u8], key_len: usize, version: u64, kind: Kind) {
        // First: whoever sees the entry published sees this too.
        self.count(version, data.len() as u64 + OVERHEAD);
        #[cfg(test)]
        self.entries.fetch_add(1, Relaxed);
        let item = Item::new(data, key_len, version, kind);
        let place = Place::new(data.get(..key_len).unwrap_or(data), version);
        loop {
            let index = self.index();
            let leaf = index.leaves.get(index.find(place));
            let mut items = leaf.expect("find gives a leaf").change();
            if items.items.len() < LEAF {
                // A copy, if a cursor stands in the leaf.
                let items = Arc::make_mut(&mut items);
                items.insert(items.before(place, false), place.head, item);
                return;
            }
            drop(items);
            drop(index);
            self.split(place);
        }
    }

    /// Splits the leaf that `place` is in, unless somebody else has done it.
    fn split(&self, place: Place<'_>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let at = index.find(place);
        let mut items = index.leaves.get(at).expect("find gives a leaf").change();
        let len = items.items.len();
        if len < LEAF {
            return;
        }
        // Keys that come in ascending order leave full leaves behind.
        let is_behind = items.before(place, false) == len;
        let upper = Arc::make_mut(&mut items).split_off(if is_behind { len } else { len / 2 });
        drop(items);
        let first = upper.items.first();
        let first = first.map_or_else(
            || Item::new(place.key, place.key.len(), place.version, Kind::Put),
            Item::clone,
        );
        index.heads.insert(at + 1, head(first.key()));
        index.firsts.insert(at + 1, first);
        index
            .leaves
            .insert(at + 1, Leaf(RwLock::new(Arc::new(upper))));
    }

    /// Adds a range tombstone from `start` to `end`, which is above.
    pub(crate) fn insert_range(&self, start: &[u8], end: &[u8], version: u64) {
        self.count(version, (start.len() + end.len()) as u64 + OVERHEAD);
        self.ranges.insert(RangeTombstone {
            start: start.to_vec(),
            end: end.to_vec(),
            version,
        });
    }

    fn count(&self, version: u64, bytes: u64) {
        self.first_version
            .fetch_min(version, std::sync::atomic::Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// The newest entry of `key` with at most `version`: its version, and its value if it has one.
    pub(crate) fn find(&self, key: &[u8], version: u64) -> Option<(u64, Option<Value>)> {
        let place = Place::new(key, version);
        let index = self.index();
        index.find_from(index.find(place), place)
    }

    /// What [`find`](Self::find) finds of each of `keys`, in their order. The leaves of many begin to be loaded
    /// before one is looked into.
    pub(crate) fn find_many(
        &self,
        keys: &[&[u8]],
        version: u64,
    ) -> Vec<Option<(u64, Option<Value>)>> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(ABREAST) {
            let index = self.index();
            let mut begun = Vec::with_capacity(keys.len());
            for key in keys {
                let place = Place::new(key, version);
                let at = index.find(place);
                let leaf = index.leaves.get(at).expect("find gives a leaf");
                prefetch(&leaf.items().heads);
                begun.push((at, place));
            }
            let places = begun.into_iter();
            found.extend(places.map(|(at, place)| index.find_from(at, place)));
        }
        found
    }

    /// Bytes that the entries of `range` take. Passes through the leaves that have some of them.
    pub(crate) fn bytes_of(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> u64 {
        let index = self.index();
        let from = match range.0 {
            Bound::Included(start) | Bound::Excluded(start) => {
                index.find(Place::new(start, u64::MAX))
            }
            Bound::Unbounded => 0,
        };
        let mut bytes = 0;
        for leaf in index.leaves.iter().skip(from) {
            let items = leaf.items();
            let is_within = |item: &&Item| RangeBounds::<[u8]>::contains(&range, item.key());
            let within = items.items.iter().filter(is_within);
            bytes += within
                .map(|item| item.data.len() as u64 + OVERHEAD)
                .sum::<u64>();
            let is_behind = |item: &Item| match range.1 {
                Bound::Included(end) => item.key() > end,
                Bound::Excluded(end) => item.key() >= end,
                Bound::Unbounded => false,
            };
            if items.items.last().is_some_and(is_behind) {
                break;
            }
        }
        bytes
    }

    /// The newest version, of those up to `version`, with which a range tombstone deletes `key`.
    pub(crate) fn covering(&self, key: &[u8], version: u64) -> Option<u64> {
        self.ranges.covering(key, version)
    }

    /// All range tombstones as fragments.
    pub(crate) fn range_tombstones(&self) -> Arc<[RangeTombstone]> {
        self.ranges.fragments()
    }
}

#[cfg(test)]
mod tests;
