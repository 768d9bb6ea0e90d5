//! [`Merge`]: several sorted runs as one.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::entry::{Entry, RangeTombstone};
use crate::error::Result;
use crate::head::{common, head as key_head};
use crate::loser_tree::LoserTree;
use crate::table::Table;
use crate::table_cursor::TableCursor;

/// A table, or another sorted run, as one of several that are read together.
#[derive(Clone, Debug)]
pub struct Source<C> {
    /// Its entries.
    pub cursor: C,
    /// Its range tombstones as fragments: their ranges are disjoint and ascending, or identical with
    /// descending versions.
    pub range_tombstones: Arc<[RangeTombstone]>,
}

impl Source<TableCursor> {
    /// The table as a source.
    pub fn of(table: &Table) -> Self {
        Self {
            cursor: table.cursor(),
            range_tombstones: Arc::clone(&table.reader.range_tombstones),
        }
    }
}

/// Several sorted runs as one, in the order of all tables.
///
/// The first source is the newest. Of entries with the same key and the same version only that of the
/// newest source is there. Otherwise nothing is left out: see [`Visible`](crate::Visible) for what a
/// reader sees.
///
/// # Cost
/// A step is one step of one source and ⌈log₂ n⌉ comparisons, mostly of 8-byte numbers; a seek or a
/// change of direction is one of each source. Nothing is allocated, and no key or value is copied.
///
/// ```
/// use sstable::{Cursor, Kind, Merge};
/// # use sstable::{BlockCache, Options, Table};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let temp = tempfile::tempdir()?;
/// # let dir = durable_io::Disk::os().create_dir(temp.path().join("tables"))?;
/// # let mut writer = Options::new().create(&dir, "older")?;
/// # writer.put(b"apple", b"3")?;
/// # writer.put(b"fig", b"7")?;
/// # writer.finish()?;
/// # let mut writer = Options::new().create(&dir, "newer")?;
/// # writer.delete(b"apple")?;
/// # writer.put(b"pear", b"1")?;
/// # writer.finish()?;
/// # let cache = BlockCache::new(1 << 20);
/// let older = Table::open(&dir, "older", &cache)?; // apple, fig
/// let newer = Table::open(&dir, "newer", &cache)?; // pear, and that apple is deleted
/// let mut merge = Merge::new(vec![newer.cursor(), older.cursor()]);
/// merge.seek_to_first()?;
/// let mut entries = Vec::new();
/// while let Some(entry) = merge.entry() {
///     entries.push((entry.key.to_vec(), entry.kind));
///     merge.advance()?;
/// }
/// // Both say something of the apple, in one version: the newer one counts.
/// assert_eq!(entries[0], (b"apple".to_vec(), Kind::Delete));
/// assert_eq!(entries.len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Merge<C> {
    sources: Vec<C>,
    heads: Vec<Head>,
    tree: LoserTree,
    /// All keys that the sources stand on begin with it; heads are taken behind it.
    prefix: Vec<u8>,
    /// `None`: it stands nowhere.
    direction: Option<Direction>,
    /// The source of the entry that it stands on.
    winner: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// What is known of the entry that a source stands on.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Where it stands among others, as far as the beginning of its key behind the common prefix says:
    /// smaller comes first, in either direction. [`ENDED`] if there is no entry.
    rank: u128,
    /// It has met an equal one of a newer source, and is passed over when its turn comes. Two equal
    /// entries always meet: the later one can only have lost to the other.
    is_duplicate: bool,
}

/// Behind every entry.
const ENDED: u128 = 1 << 64;

impl Head {
    #[inline]
    fn of(suffix: Option<&[u8]>, direction: Direction) -> Self {
        let rank = suffix.map_or(ENDED, |suffix| match direction {
            Direction::Forward => key_head(suffix).into(),
            Direction::Backward => (!key_head(suffix)).into(),
        });
        let is_duplicate = false;
        Self { rank, is_duplicate }
    }
}

impl<C: Cursor> Merge<C> {
    /// A merge of `sources`, the newest first. It stands nowhere yet.
    pub fn new(sources: Vec<C>) -> Self {
        let nowhere = Head::of(None, Direction::Forward);
        Self {
            heads: vec![nowhere; sources.len()],
            sources,
            tree: LoserTree::default(),
            prefix: Vec::new(),
            direction: None,
            winner: None,
        }
    }

    /// Which source the entry that it stands on comes from: 0 is the newest.
    #[inline]
    pub fn source(&self) -> Option<usize> {
        self.winner
    }

    /// Moves every source by `step`, and begins anew in `direction`.
    fn place(
        &mut self,
        direction: Direction,
        mut step: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        // After an error it stands nowhere.
        (self.direction, self.winner) = (None, None);
        for source in &mut self.sources {
            step(source)?;
        }
        self.prefix.clear();
        if let Some(entry) = self.sources.iter().find_map(Cursor::entry) {
            self.prefix.extend_from_slice(entry.key);
        }
        for entry in self.sources.iter().filter_map(Cursor::entry) {
            self.prefix.truncate(common(entry.key, &self.prefix));
        }
        for (source, head) in self.sources.iter().zip(&mut self.heads) {
            *head = Head::of(suffix(source, &self.prefix), direction);
        }
        let (sources, heads) = (&self.sources, &mut self.heads);
        self.tree
            .rebuild(sources.len(), |a, b| beats(sources, heads, direction, a, b));
        self.direction = Some(direction);
        self.set_winner();
        Ok(())
    }

    #[inline]
    fn set_winner(&mut self) {
        let has_ended = |winner: &usize| {
            let head = self.heads.get(*winner);
            head.is_none_or(|head| head.rank == ENDED)
        };
        self.winner = self.tree.winner().filter(|winner| !has_ended(winner));
    }

    /// One step from entry to entry. The other sources stand on their first entry beyond the current
    /// one, or on its duplicate: so when the direction changes, each takes one step too.
    #[inline]
    fn step(&mut self, direction: Direction) -> Result<()> {
        let step = match direction {
            Direction::Forward => C::advance,
            Direction::Backward => C::retreat,
        };
        match self.direction.take() {
            None => return Ok(()),
            Some(before) if before != direction => return self.place(direction, step),
            Some(_) => {}
        }
        while let Some(winner) = self.winner.take()
            && let Some(source) = self.sources.get_mut(winner)
        {
            step(source)?;
            self.replay(winner, direction);
            self.set_winner();
            let next = self.winner.and_then(|winner| self.heads.get(winner));
            if !next.is_some_and(|head| head.is_duplicate) {
                break;
            }
        }
        self.direction = Some(direction);
        Ok(())
    }

    /// Lets source `player`, which has won and then moved, compete again.
    #[inline]
    fn replay(&mut self, player: usize, direction: Direction) {
        let entry = self.sources.get(player).and_then(Cursor::entry);
        if let Some(entry) = entry
            && !entry.key.starts_with(&self.prefix)
        {
            let len = common(entry.key, &self.prefix);
            self.shorten_prefix(len, direction);
        }
        if let (Some(source), Some(head)) = (self.sources.get(player), self.heads.get_mut(player)) {
            *head = Head::of(suffix(source, &self.prefix), direction);
        }
        let (sources, heads) = (&self.sources, &mut self.heads);
        self.tree
            .replay(|a, b| beats(sources, heads, direction, a, b));
    }

    /// Takes all heads behind a shorter prefix. Their order stays.
    #[cold]
    fn shorten_prefix(&mut self, len: usize, direction: Direction) {
        self.prefix.truncate(len);
        for (source, head) in self.sources.iter().zip(&mut self.heads) {
            head.rank = Head::of(suffix(source, &self.prefix), direction).rank;
        }
    }
}

/// The key that `source` stands on, behind the prefix.
#[inline]
fn suffix<'a>(source: &'a impl Cursor, prefix: &[u8]) -> Option<&'a [u8]> {
    let key = source.entry()?.key;
    let suffix = key.get(prefix.len()..);
    Some(suffix.expect("all keys that sources stand on begin with the prefix"))
}

/// True if the entry of source `a` comes before that of `b` in this direction; if they are equal, that
/// of the newer source, and the other one is marked.
#[inline]
fn beats<C: Cursor>(
    sources: &[C],
    heads: &mut [Head],
    direction: Direction,
    a: usize,
    b: usize,
) -> bool {
    let (Some(x), Some(y)) = (heads.get(a), heads.get(b)) else {
        return a < b;
    };
    if x.rank != y.rank {
        return x.rank < y.rank;
    }
    let order = compare_entries(sources, a, b);
    match (order, direction) {
        (Ordering::Less, Direction::Forward) | (Ordering::Greater, Direction::Backward) => true,
        (Ordering::Equal, _) => {
            if let Some(older) = heads.get_mut(a.max(b)) {
                older.is_duplicate = true;
            }
            a < b
        }
        _ => false,
    }
}

/// Two that have ended are equal.
fn compare_entries<C: Cursor>(sources: &[C], a: usize, b: usize) -> Ordering {
    let place = |source: usize| {
        let entry = sources.get(source).and_then(Cursor::entry);
        entry.map(|entry| (entry.key, Reverse(entry.version)))
    };
    place(a).cmp(&place(b))
}

impl<C: Cursor> Cursor for Merge<C> {
    fn seek_to_first(&mut self) -> Result<()> {
        self.place(Direction::Forward, C::seek_to_first)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.place(Direction::Backward, C::seek_to_last)
    }

    fn seek(&mut self, key: &[u8], version: u64) -> Result<()> {
        self.place(Direction::Forward, |source| source.seek(key, version))
    }

    #[inline]
    fn advance(&mut self) -> Result<()> {
        self.step(Direction::Forward)
    }

    #[inline]
    fn retreat(&mut self) -> Result<()> {
        self.step(Direction::Backward)
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        self.sources.get(self.winner?)?.entry()
    }
}
