//! One shard of the index: an open-addressing table of 12-byte entries, kept in the order of their
//! fingerprints.
//!
//! A fingerprint is 32 bits of the key's hash. An entry's home is the slot at the same part of the table
//! as its fingerprint is of all fingerprints, so the order of the fingerprints is that of the homes:
//! a search ends at the first larger one, and growing is one pass over the old table, without the
//! keys. Tables grow by a quarter, so that at least 0.64 of the slots are in use.
//!
//! Source: Celis, "Robin Hood Hashing", 1986; kept sorted as in Amble and Knuth, "Ordered hash
//! tables", 1974.

use crate::limits::MAX_DATA_FILES;

/// Slots are in use up to this part of the table: 4 / 5.
const FULL: (usize, usize) = (4, 5);
/// A table grows by this part of itself: 1 / 4.
const GROWTH: usize = 4;
const SMALLEST: usize = 8;

/// Where a record is: the file's slot and the offset. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Loc(u64);

/// An offset is below 2 to the power of this: what is longer is no data file.
pub(crate) const OFFSET_BITS: u32 = 44;

impl Loc {
    pub(crate) fn new(slot: u32, offset: u64) -> Self {
        let is_within = offset >> OFFSET_BITS == 0 && slot <= MAX_DATA_FILES;
        assert!(
            is_within,
            "offsets and slots are checked against their limits"
        );
        Self(u64::from(slot) << OFFSET_BITS | offset)
    }

    pub(crate) fn slot(self) -> usize {
        usize::try_from(self.0 >> OFFSET_BITS).expect("20 bits are left for the slot")
    }

    pub(crate) fn offset(self) -> u64 {
        self.0 & ((1 << OFFSET_BITS) - 1)
    }
}

/// Fingerprint and location; a location of 0 is an empty slot. Three words rather than a `u32` and a
/// `u64`, which would take 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry([u32; 3]);

impl Entry {
    const EMPTY: Self = Self([0; 3]);

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
    fn new(fingerprint: u32, loc: Loc) -> Self {
        Self([fingerprint, (loc.0 >> 32) as u32, loc.0 as u32])
    }

    fn fingerprint(self) -> u32 {
        let Self([fingerprint, _, _]) = self;
        fingerprint
    }

    fn loc(self) -> Option<Loc> {
        let Self([_, high, low]) = self;
        let word = u64::from(high) << 32 | u64::from(low);
        (word != 0).then_some(Loc(word))
    }
}

/// The table. Entries may have equal fingerprints: whoever looks compares keys.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The homes, and behind them room for those that do not get a home there.
    slots: Vec<Entry>,
    homes: usize,
    len: usize,
}

impl Table {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory that the table takes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.slots.capacity() * size_of::<Entry>()) as u64
    }

    /// The bytes that the table would take with `more` further entries.
    pub(crate) fn bytes_with(&self, more: usize) -> u64 {
        if self.has_room(more) {
            return self.bytes();
        }
        let homes = self.grown(more);
        ((homes + overflow(homes)) * size_of::<Entry>()) as u64
    }

    fn has_room(&self, more: usize) -> bool {
        let (part, of) = FULL;
        (self.len + more) * of <= self.homes * part
    }

    /// Makes room for `more` entries.
    pub(crate) fn reserve(&mut self, more: usize) {
        if !self.has_room(more) {
            self.grow(self.grown(more));
        }
    }

    /// How many homes a table has that has grown for `more` entries.
    fn grown(&self, more: usize) -> usize {
        let (part, of) = FULL;
        let least = ((self.len + more) * of).div_ceil(part);
        least.max(self.homes + self.homes / GROWTH).max(SMALLEST)
    }

    fn home(&self, fingerprint: u32) -> usize {
        let home = (u64::from(fingerprint) * self.homes as u64) >> 32;
        usize::try_from(home).expect("a home is below the number of homes")
    }

    /// The slot at `index`; those behind the last one are empty.
    fn at(&self, index: usize) -> Entry {
        self.slots.get(index).map_or(Entry::EMPTY, |entry| *entry)
    }

    /// The slot at `index`, which is below the end.
    fn at_mut(&mut self, index: usize) -> &mut Entry {
        let slot = self.slots.get_mut(index);
        slot.expect("an index below the end has a slot")
    }

    /// The slots from the fingerprint's lower bound on.
    fn from(&self, lower_bound: usize) -> &[Entry] {
        let slots = self.slots.get(lower_bound..);
        slots.expect("a lower bound is a slot, or the end")
    }

    /// The first index at or behind the fingerprint's home that is empty or holds one that is not
    /// smaller.
    fn lower_bound(&self, fingerprint: u32) -> usize {
        let mut index = self.home(fingerprint);
        loop {
            let entry = self.at(index);
            if entry.loc().is_none() || entry.fingerprint() >= fingerprint {
                return index;
            }
            index += 1;
        }
    }

    /// Asks for the memory of the slot where a search for the fingerprint begins, so that it comes while something
    /// else is done.
    pub(crate) fn fetch(&self, fingerprint: u32) {
        std::hint::black_box(self.slots.get(self.home(fingerprint)).copied());
    }

    /// Every location with this fingerprint.
    pub(crate) fn find(&self, fingerprint: u32) -> impl Iterator<Item = Loc> + '_ {
        self.from(self.lower_bound(fingerprint))
            .iter()
            .take_while(move |entry| entry.fingerprint() == fingerprint)
            .map_while(|entry| entry.loc())
    }

    /// The index of the entry with this fingerprint and location.
    fn position(&self, fingerprint: u32, loc: Loc) -> Option<usize> {
        let first = self.lower_bound(fingerprint);
        let wanted = Entry::new(fingerprint, loc);
        let nth = self
            .from(first)
            .iter()
            .take_while(|entry| entry.fingerprint() == fingerprint && entry.loc().is_some())
            .position(|entry| *entry == wanted);
        Some(first + nth?)
    }

    /// Puts `new` in the place of `old`; false if there is no such entry.
    pub(crate) fn replace(&mut self, fingerprint: u32, old: Loc, new: Loc) -> bool {
        let Some(position) = self.position(fingerprint, old) else {
            return false;
        };
        *self.at_mut(position) = Entry::new(fingerprint, new);
        true
    }

    /// Adds an entry.
    pub(crate) fn insert(&mut self, fingerprint: u32, loc: Loc) {
        self.reserve(1);
        let mut index = self.lower_bound(fingerprint);
        let mut entry = Entry::new(fingerprint, loc);
        loop {
            if index == self.slots.len() {
                // The last homes are crowded: room for a few more behind them.
                let more = overflow(self.homes);
                self.slots.reserve_exact(more);
                self.slots.resize(index + more, Entry::EMPTY);
            }
            std::mem::swap(self.at_mut(index), &mut entry);
            if entry.loc().is_none() {
                break;
            }
            index += 1;
        }
        self.len += 1;
    }

    /// Removes an entry; false if there is no such one.
    pub(crate) fn remove(&mut self, fingerprint: u32, loc: Loc) -> bool {
        let Some(mut hole) = self.position(fingerprint, loc) else {
            return false;
        };
        // Those behind it that are not at home move up.
        loop {
            let next = self.at(hole + 1);
            let stays = next.loc().is_none() || self.home(next.fingerprint()) > hole;
            *self.at_mut(hole) = if stays { Entry::EMPTY } else { next };
            if stays {
                break;
            }
            hole += 1;
        }
        self.len -= 1;
        true
    }

    /// Every entry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Loc)> + '_ {
        self.slots
            .iter()
            .filter_map(|entry| Some((entry.fingerprint(), entry.loc()?)))
    }

    fn grow(&mut self, homes: usize) {
        let mut slots = Vec::new();
        slots.reserve_exact(homes + overflow(homes));
        slots.resize(homes + overflow(homes), Entry::EMPTY);
        let old = std::mem::replace(&mut self.slots, slots);
        self.homes = homes;
        let mut free = 0;
        for entry in old.into_iter().filter(|entry| entry.loc().is_some()) {
            let index = self.home(entry.fingerprint()).max(free);
            if index == self.slots.len() {
                self.slots.reserve_exact(overflow(homes));
                self.slots.push(entry);
            } else {
                *self.at_mut(index) = entry;
            }
            free = index + 1;
        }
    }
}

/// Slots behind the homes of a table with that many.
fn overflow(homes: usize) -> usize {
    8 + homes / 64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn check(table: &Table, model: &BTreeSet<(u32, u64)>) {
        let held: BTreeSet<_> = table.iter().map(|(fp, loc)| (fp, loc.offset())).collect();
        assert_eq!(held, *model);
        assert_eq!(table.len(), model.len());
        for &(fingerprint, offset) in model {
            let mut found = table.find(fingerprint);
            assert!(found.any(|loc| loc.offset() == offset));
        }
    }

    /// Fingerprints are drawn from few, or all of them end in the last home, so that many are equal and
    /// the table's end overflows.
    #[test]
    fn a_table_holds_what_a_set_holds() {
        for (seed, spread, base) in [(1, u32::MAX, 0), (2, 40, 0), (3, 40, u32::MAX - 40)] {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut table = Table::default();
            let mut model = BTreeSet::new();
            for step in 1..4000_u64 {
                let fingerprint = base + rng.random_range(0..spread);
                if rng.random_bool(0.6) {
                    table.insert(fingerprint, Loc::new(1, step));
                    model.insert((fingerprint, step));
                } else if let Some(&(fingerprint, offset)) = model.range((fingerprint, 0)..).next()
                {
                    let (old, new) = (Loc::new(1, offset), Loc::new(1, step));
                    if rng.random_bool(0.5) {
                        assert!(table.remove(fingerprint, old));
                    } else {
                        assert!(table.replace(fingerprint, old, new));
                        model.insert((fingerprint, step));
                    }
                    model.remove(&(fingerprint, offset));
                    assert!(!table.remove(fingerprint, old));
                    assert!(!table.replace(fingerprint, old, new));
                }
                if step % 97 == 0 {
                    check(&table, &model);
                }
            }
            check(&table, &model);
        }
    }

    #[test]
    fn a_table_never_takes_more_than_20_bytes_for_an_entry() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut table = Table::default();
        for n in 1..100_000_u64 {
            table.insert(rng.random(), Loc::new(1, n));
            if n >= 400 {
                assert!(table.bytes() < n * 20, "{} bytes for {n}", table.bytes());
            }
        }
    }
}
