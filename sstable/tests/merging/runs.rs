//! Sorted runs in memory, and what a reader must see of several: shared by the tests.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use sstable::{Cursor, Entry, Kind, RangeTombstone, Result, Source};

pub(crate) type Key = Vec<u8>;

/// What is written under a key and a version: a value, or a deletion.
pub(crate) type Written = Option<Vec<u8>>;

/// A sorted run in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) entries: Vec<(Key, u64, Written)>,
    /// Fragments.
    pub(crate) ranges: Vec<RangeTombstone>,
}

impl Run {
    pub(crate) fn new(entries: impl IntoIterator<Item = (Key, u64, Written)>) -> Self {
        let entries = entries.into_iter();
        let entries: BTreeMap<_, _> = entries
            .map(|(key, version, written)| ((key, Reverse(version)), written))
            .collect();
        let entries = entries.into_iter();
        Self {
            entries: entries
                .map(|((key, Reverse(version)), written)| (key, version, written))
                .collect(),
            ranges: Vec::new(),
        }
    }

    pub(crate) fn cursor(&self) -> RunCursor {
        RunCursor {
            entries: self.entries.clone().into(),
            place: None,
            steps: Rc::default(),
        }
    }

    pub(crate) fn source(&self) -> Source<RunCursor> {
        Source {
            cursor: self.cursor(),
            range_tombstones: self.ranges.clone().into(),
        }
    }
}

/// A cursor over a [`Run`].
#[derive(Clone, Debug)]
pub(crate) struct RunCursor {
    entries: Arc<[(Key, u64, Written)]>,
    /// One more than the index; 0 is before the first.
    place: Option<usize>,
    /// How many steps it and its clones have taken.
    pub(crate) steps: Rc<Cell<u64>>,
}

impl Cursor for RunCursor {
    fn seek_to_first(&mut self) -> Result<()> {
        self.place = Some(1);
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.place = Some(self.entries.len());
        Ok(())
    }

    fn seek(&mut self, key: &[u8], version: u64) -> Result<()> {
        let is_before = |(other, v, _): &(Key, u64, Written)| {
            sstable::compare((other, *v), (key, version)).is_lt()
        };
        self.place = Some(self.entries.partition_point(is_before) + 1);
        Ok(())
    }

    fn advance(&mut self) -> Result<()> {
        self.steps.set(self.steps.get() + 1);
        self.place = self
            .place
            .map(|place| (place + 1).min(self.entries.len() + 1));
        Ok(())
    }

    fn retreat(&mut self) -> Result<()> {
        self.steps.set(self.steps.get() + 1);
        self.place = self.place.map(|place| place.saturating_sub(1));
        Ok(())
    }

    fn entry(&self) -> Option<Entry<'_>> {
        let (key, version, written) = self.entries.get(self.place?.checked_sub(1)?)?;
        Some(Entry {
            key,
            version: *version,
            kind: if written.is_some() {
                Kind::Put
            } else {
                Kind::Delete
            },
            value: written.as_deref().unwrap_or_default(),
        })
    }
}

/// A short key: few different ones, some the beginning of others.
pub(crate) fn key(rng: &mut StdRng) -> Key {
    let len = rng.random_range(0..4);
    let long = rng.random_bool(0.3);
    let mut key = if long {
        b"prefix--".to_vec()
    } else {
        Vec::new()
    };
    key.extend((0..len).map(|_| *b"ab\xff".get(rng.random_range(0..3)).unwrap()));
    key
}

/// Runs with versions in `versions(run)`, the newest first.
pub(crate) fn runs(
    rng: &mut StdRng,
    count: usize,
    versions: impl Fn(usize) -> std::ops::Range<u64>,
) -> Vec<Run> {
    let run = |nth: usize| {
        let mut run = Run::new((0..rng.random_range(0..30)).map(|_| {
            let written = rng
                .random_bool(0.7)
                .then(|| vec![rng.random(); rng.random_range(0..5)]);
            (key(rng), rng.random_range(versions(nth)), written)
        }));
        run.ranges = fragments(rng, versions(nth));
        run
    };
    (0..count).map(run).collect()
}

/// Random fragments: disjoint ranges, each with one or more versions.
fn fragments(rng: &mut StdRng, versions: std::ops::Range<u64>) -> Vec<RangeTombstone> {
    let mut borders: Vec<Key> = (0..rng.random_range(0..5)).map(|_| key(rng)).collect();
    borders.sort();
    borders.dedup();
    let mut fragments = Vec::new();
    for range in borders.windows(2) {
        let mut here: Vec<u64> = (0..rng.random_range(0..3))
            .map(|_| rng.random_range(versions.clone()))
            .collect();
        here.sort_unstable_by_key(|version| Reverse(*version));
        here.dedup();
        fragments.extend(here.into_iter().map(|version| RangeTombstone {
            start: range[0].clone(),
            end: range[1].clone(),
            version,
        }));
    }
    fragments
}

/// What a reader at `version` sees of `runs`, the newest first: with the version of each entry.
pub(crate) fn view(runs: &[Run], version: u64) -> BTreeMap<Key, (u64, Vec<u8>)> {
    let mut newest: BTreeMap<&Key, (u64, usize, &Written)> = BTreeMap::new();
    for (source, run) in runs.iter().enumerate() {
        for (key, v, written) in run.entries.iter().filter(|(_, v, _)| *v <= version) {
            let newer = newest.get(key).is_none_or(|(other, ..)| v > other);
            if newer {
                newest.insert(key, (*v, source, written));
            }
        }
    }
    let is_hidden = |key: &Key, v: u64, source: usize| {
        runs.iter().enumerate().any(|(other, run)| {
            let hides = |range: &RangeTombstone| {
                range.version <= version
                    && (range.version > v || range.version == v && other < source)
            };
            run.ranges
                .iter()
                .any(|range| range.contains(key) && hides(range))
        })
    };
    let visible = newest
        .into_iter()
        .filter_map(|(key, (v, source, written))| {
            let value = written.clone().filter(|_| !is_hidden(key, v, source))?;
            Some((key.clone(), (v, value)))
        });
    visible.collect()
}

/// All entries of a cursor, forward.
pub(crate) fn forward(cursor: &mut impl Cursor) -> Vec<(Key, u64, Written)> {
    let mut found = Vec::new();
    cursor.seek_to_first().unwrap();
    while let Some(entry) = cursor.entry() {
        found.push(owned(entry));
        cursor.advance().unwrap();
    }
    found
}

/// All entries of a cursor, backward.
pub(crate) fn backward(cursor: &mut impl Cursor) -> Vec<(Key, u64, Written)> {
    let mut found = Vec::new();
    cursor.seek_to_last().unwrap();
    while let Some(entry) = cursor.entry() {
        found.push(owned(entry));
        cursor.retreat().unwrap();
    }
    found
}

pub(crate) fn owned(entry: Entry<'_>) -> (Key, u64, Written) {
    let value = (entry.kind == Kind::Put).then(|| entry.value.to_vec());
    (entry.key.to_vec(), entry.version, value)
}

/// Moves `cursor`, which stands behind its last entry, at random, and compares it with a place in
/// `expected`, which is in its order.
pub(crate) fn walk(
    rng: &mut StdRng,
    cursor: &mut impl Cursor,
    expected: &[(Key, u64, Written)],
    steps: u32,
) {
    // One more than the index.
    let mut place = expected.len() + 1;
    for _ in 0..steps {
        match rng.random_range(0..20) {
            0 => {
                cursor.seek_to_first().unwrap();
                place = 1;
            }
            1 => {
                cursor.seek_to_last().unwrap();
                place = expected.len();
            }
            2 | 3 => {
                let key = key(rng);
                let version = [0, 1, 5, 9, u64::MAX][rng.random_range(0..5)];
                cursor.seek(&key, version).unwrap();
                let is_before = |(other, v, _): &(Key, u64, Written)| {
                    sstable::compare((other, *v), (&key, version)).is_lt()
                };
                place = expected.partition_point(is_before) + 1;
            }
            4..12 => {
                cursor.advance().unwrap();
                place = (place + 1).min(expected.len() + 1);
            }
            _ => {
                cursor.retreat().unwrap();
                place = place.saturating_sub(1);
            }
        }
        let here = place.checked_sub(1).and_then(|place| expected.get(place));
        assert_eq!(cursor.entry().map(owned).as_ref(), here);
    }
}
