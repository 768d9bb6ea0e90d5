//! [`Survivors`]: which entries of a merge a compaction keeps.

use std::fmt;

use crate::covering::Covering;
use crate::cursor::Cursor;
use crate::entry::{Entry, Kind, RangeTombstone};
use crate::error::Result;
use crate::fragmenter::fragment_as_seen;
use crate::key_range::KeyRange;
use crate::merge::{Merge, Source};

/// Says of an entry whether it is kept.
type Filter<'a> = Box<dyn FnMut(Entry<'_>) -> bool + 'a>;

/// What a compaction must keep: what any reader can still see.
///
/// A reader sees the newest entry of a key that is not newer than the reader. So between two versions
/// that readers are at, only the newest entry of each key counts, and only if no range tombstone from
/// there hides it; everything else is dropped. A tombstone stays only where it hides something: an older
/// entry that is kept, or one that may be in an older table.
///
/// For each key, a newer table must have no smaller version than an older one has.
#[derive(Default)]
pub struct Retention<'a> {
    /// Ascending.
    snapshots: Vec<u64>,
    filter: Option<Filter<'a>>,
}

impl fmt::Debug for Retention<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention")
            .field("snapshots", &self.snapshots)
            .finish_non_exhaustive()
    }
}

/// Where a reader of the newest versions is.
const NEWEST: u64 = u64::MAX;

impl<'a> Retention<'a> {
    /// What a reader of the newest versions sees is kept, and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// The versions of other readers, in any order: what each of them sees is kept too.
    #[must_use]
    pub fn snapshots(mut self, versions: impl IntoIterator<Item = u64>) -> Self {
        self.snapshots.extend(versions);
        self.snapshots.sort_unstable();
        self.snapshots.dedup();
        self
    }

    /// Deletes each entry for which `filter` returns false. It is asked for every put that is the newest
    /// of its key and that no snapshot sees; its key is then deleted from that version on, so that
    /// nothing older appears instead.
    #[must_use]
    pub fn filter(mut self, filter: impl FnMut(Entry<'_>) -> bool + 'a) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// The smallest version at which a reader may be that sees `version`. Entries of a key with the
    /// same answer are one stripe: only the newest can be seen.
    #[inline]
    pub(crate) fn first_reader(&self, version: u64) -> u64 {
        let newer = self.snapshots.partition_point(|reader| *reader < version);
        self.snapshots.get(newer).map_or(NEWEST, |reader| *reader)
    }

    /// Those of `tombstones` that its readers see, as fragments: of one range and one reader the newest alone. However
    /// deep they nest there are no more than their borders and its readers make; [`fragment`](crate::fragment)
    /// keeps all.
    ///
    /// # Cost
    /// O(n log n) comparisons, and one step for each fragment.
    pub fn fragments(
        &self,
        tombstones: impl IntoIterator<Item = RangeTombstone>,
    ) -> Vec<RangeTombstone> {
        fragment_as_seen(tombstones, |version| self.first_reader(version))
    }

    fn filters_out(&mut self, entry: Entry<'_>) -> bool {
        let Some(filter) = &mut self.filter else {
            return false;
        };
        let is_seen = self
            .snapshots
            .last()
            .is_some_and(|last| entry.version <= *last);
        !is_seen && !filter(entry)
    }
}

/// The entries of several sources that a compaction keeps, in their order.
pub(crate) struct Survivors<'a, C> {
    merge: Merge<C>,
    covering: Covering,
    retention: Retention<'a>,
    older: Older<'a>,
    /// The key that the merge stands at.
    key: Vec<u8>,
    /// The stripe of the last entry of that key.
    stripe: Option<u64>,
    /// A tombstone of that key, which stays only if an older entry does.
    held: Option<u64>,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The held tombstone of this version; then an entry of this kind, which the merge stands on.
    Held(u64, Kind),
    /// What the merge stands on, as an entry of this kind.
    Entry(Kind),
    /// What the merge stands on goes, or is held.
    Nothing,
    End,
}

impl<'a, C: Cursor> Survivors<'a, C> {
    /// On the first entry. `sources`: the newest first; `older`: where older data may be, disjoint and
    /// in order.
    pub(crate) fn new(
        sources: Vec<Source<C>>,
        retention: Retention<'a>,
        older: &'a [KeyRange],
    ) -> Result<Self> {
        let covering = Covering::new(sources.iter().map(|source| &source.range_tombstones));
        let mut merge = Merge::new(sources.into_iter().map(|source| source.cursor).collect());
        merge.seek_to_first()?;
        let mut survivors = Self {
            merge,
            covering,
            retention,
            older: Older { ranges: older },
            key: Vec::new(),
            stripe: None,
            held: None,
            next: Next::End,
        };
        survivors.begin_key();
        survivors.judge();
        Ok(survivors)
    }

    /// True if all sources have come to their end.
    pub(crate) fn has_ended(&self) -> bool {
        self.next == Next::End
    }

    /// The entry that comes next; `None` if what was looked at is not kept.
    pub(crate) fn entry(&self) -> Option<Entry<'_>> {
        match self.next {
            Next::Held(version, _) => Some(Entry {
                key: &self.key,
                version,
                kind: Kind::Delete,
                value: &[],
            }),
            Next::Entry(Kind::Delete) => {
                let entry = self.merge.entry()?;
                Some(Entry {
                    kind: Kind::Delete,
                    value: &[],
                    ..entry
                })
            }
            Next::Entry(_) => self.merge.entry(),
            Next::Nothing | Next::End => None,
        }
    }

    /// Looks at the next entry; true if it is one of another key.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool> {
        if let Next::Held(_, kind) = self.next {
            self.next = Next::Entry(kind);
            return Ok(false);
        }
        self.merge.advance()?;
        let entry = self.merge.entry();
        let is_new = entry.is_some_and(|entry| entry.key != self.key);
        if is_new {
            self.begin_key();
        }
        self.judge();
        Ok(is_new)
    }

    fn begin_key(&mut self) {
        if let Some(entry) = self.merge.entry() {
            self.key.clear();
            self.key.extend_from_slice(entry.key);
        }
        self.stripe = None;
        self.held = None;
    }

    /// Decides what becomes of the entry that the merge stands on.
    fn judge(&mut self) {
        self.next = match (self.merge.entry(), self.merge.source()) {
            (Some(entry), Some(source)) => {
                let stripe = self.retention.first_reader(entry.version);
                // Whoever sees this one sees a newer one.
                let is_shadowed = self.stripe.replace(stripe) == Some(stripe);
                if is_shadowed || self.covering.hides(entry, source, stripe) {
                    Next::Nothing
                } else if entry.kind == Kind::Put && !self.retention.filters_out(entry) {
                    self.held
                        .take()
                        .map_or(Next::Entry(Kind::Put), |held| Next::Held(held, Kind::Put))
                } else if self.older.may_have(entry.key) {
                    Next::Entry(Kind::Delete)
                } else {
                    // If one is held already, it hides nothing that this one does not.
                    self.held = Some(entry.version);
                    Next::Nothing
                }
            }
            _ => Next::End,
        };
    }
}

/// Where older data may be, asked for ascending keys.
struct Older<'a> {
    /// Those that the keys have not passed.
    ranges: &'a [KeyRange],
}

impl Older<'_> {
    fn may_have(&mut self, key: &[u8]) -> bool {
        while let Some((range, rest)) = self.ranges.split_first() {
            if range.reaches(key) {
                return *range.first <= *key;
            }
            self.ranges = rest;
        }
        false
    }
}
