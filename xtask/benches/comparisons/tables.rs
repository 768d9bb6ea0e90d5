//! What every sorted table is asked to do, this workspace's and others.
//!
//! All tables have the same pairs, blocks of 4 KiB, checksums, a filter of 10 bits for each key, and
//! are in memory: a scan before the measurement has read and checked every block. All values are the
//! same, so that LZ4 has something to find.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::contender::{Contender, Role, Unit};
use crate::keys::{Key, Numbers, VALUE_SIZE, key, value};
use crate::measure::{Rate, closed_loop};
use crate::stores::{keys, once};

pub(crate) const BLOCK_SIZE: usize = 4096;
/// More than any table has.
pub(crate) const CACHE_SIZE: usize = 1 << 30;
/// Tables that are merged into one.
const MERGED: usize = 8;

/// Gets between two looks at the clock.
const GETS: u64 = 64;
/// Pairs that are read behind a seek.
const ROWS: u64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Lz4,
}

/// Pairs that become a table: keys in order, each with the same value.
pub(crate) struct Pairs {
    pub(crate) keys: Vec<Key>,
    pub(crate) value: Vec<u8>,
}

impl Pairs {
    pub(crate) fn all() -> anyhow::Result<Self> {
        let mut keys: Vec<Key> = (0..keys()?).map(key).collect();
        keys.sort_unstable();
        let value = value();
        Ok(Self { keys, value })
    }

    /// The same, dealt to tables whose ranges are nearly the same.
    fn dealt(self) -> Vec<Self> {
        let deal = |table| Self {
            keys: self
                .keys
                .iter()
                .skip(table)
                .step_by(MERGED)
                .copied()
                .collect(),
            value: self.value.clone(),
        };
        (0..MERGED).map(deal).collect()
    }

    /// Of keys and values.
    fn bytes(&self) -> u64 {
        (self.keys.len() * (size_of::<Key>() + VALUE_SIZE)) as u64
    }
}

/// A table, open.
pub(crate) trait SortedTable: Sized + Sync + 'static {
    const NAME: &str;

    /// A new table of `pairs` in the empty directory `dir`.
    fn make(dir: &Path, pairs: &Pairs, packing: Packing) -> anyhow::Result<Self>;

    /// Calls `see` with the value of `key` if it is there.
    fn get(&self, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()>;

    /// Calls `see` with the first `limit` pairs from `start` on, in order.
    fn rows(&self, start: &[u8], limit: u64, see: impl FnMut(&[u8], &[u8])) -> anyhow::Result<()>;

    fn close(self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// All that reads `T`.
pub(crate) fn reads<T: SortedTable>(role: Role, packing: Packing) -> Vec<Contender> {
    vec![
        gets::<T>(role, packing, 1, true),
        gets::<T>(role, packing, 2, true),
        gets::<T>(role, packing, 1, false),
        seeks::<T>(role, packing),
        scans::<T>(role, packing),
    ]
}

fn gets<T: SortedTable>(role: Role, packing: Packing, threads: usize, hit: bool) -> Contender {
    let what = if hit { "hot get, 100 B" } else { "get, absent" };
    let plural = if threads == 1 { "" } else { "s" };
    let what = format!("{what}, {threads} thread{plural}");
    contender(
        role,
        &what,
        T::NAME,
        packing,
        Unit::Operations,
        move |dir, time| {
            let (table, pairs) = warm::<T>(dir, packing)?;
            let count = pairs.keys.len() as u64;
            let first_absent = if hit { 0 } else { count };
            let rate = closed_loop(threads, time, |thread| {
                let table = &table;
                let mut numbers = Numbers::below(count, thread);
                Ok(move || {
                    let mut found = 0;
                    for _ in 0..GETS {
                        table.get(&key(first_absent + numbers.next()), |value| {
                            assert_eq!(value.len(), VALUE_SIZE);
                            // Not only where it is.
                            black_box(value.last());
                            found += 1;
                        })?;
                    }
                    let expected = if hit { GETS } else { 0 };
                    anyhow::ensure!(found == expected, "{found} of {expected} keys are there");
                    Ok(GETS)
                })
            })?;
            table.close()?;
            Ok(rate)
        },
    )
}

/// Seeks per second, each with the pairs behind it.
pub(crate) fn seeks<T: SortedTable>(role: Role, packing: Packing) -> Contender {
    let what = format!("seek and {ROWS} pairs");
    contender(
        role,
        &what,
        T::NAME,
        packing,
        Unit::Operations,
        move |dir, time| {
            let (table, pairs) = warm::<T>(dir, packing)?;
            let starts = pairs.keys.len() as u64 + 1 - ROWS;
            let rate = closed_loop(1, time, |thread| {
                let (table, keys) = (&table, &pairs.keys);
                let mut numbers = Numbers::below(starts, thread);
                Ok(move || {
                    let start = usize::try_from(numbers.next())?;
                    let start = keys.get(start).context("a key")?;
                    let seen = seen(table, start, ROWS)?;
                    anyhow::ensure!(seen == ROWS, "{seen} pairs behind a seek");
                    Ok(1)
                })
            })?;
            table.close()?;
            Ok(rate)
        },
    )
}

/// Pairs per second.
pub(crate) fn scans<T: SortedTable>(role: Role, packing: Packing) -> Contender {
    contender(
        role,
        "full scan",
        T::NAME,
        packing,
        Unit::Operations,
        move |dir, time| {
            let (table, pairs) = warm::<T>(dir, packing)?;
            let count = pairs.keys.len() as u64;
            let rate = closed_loop(1, time, |_thread| {
                let table = &table;
                Ok(move || {
                    let seen = seen(table, &[], u64::MAX)?;
                    anyhow::ensure!(seen == count, "{seen} of {count} pairs are there");
                    Ok(seen)
                })
            })?;
            table.close()?;
            Ok(rate)
        },
    )
}

/// A table of all pairs of which every block has been read.
fn warm<T: SortedTable>(dir: &Path, packing: Packing) -> anyhow::Result<(T, Pairs)> {
    let pairs = Pairs::all()?;
    let table = T::make(dir, &pairs, packing)?;
    let (seen, count) = (seen(&table, &[], u64::MAX)?, pairs.keys.len() as u64);
    anyhow::ensure!(seen == count, "{seen} of {count} pairs are there");
    Ok((table, pairs))
}

fn seen<T: SortedTable>(table: &T, start: &[u8], limit: u64) -> anyhow::Result<u64> {
    let mut seen = 0;
    table.rows(start, limit, |key, value| {
        assert_eq!((key.len(), value.len()), (size_of::<Key>(), VALUE_SIZE));
        black_box((key.last(), value.last()));
        seen += 1;
    })?;
    Ok(seen)
}

/// Bytes of keys and values per second that `make` makes a durable table of.
pub(crate) fn builds(
    role: Role,
    name: &str,
    packing: Packing,
    make: fn(&Path, &Pairs, Packing) -> anyhow::Result<()>,
) -> Contender {
    contender(
        role,
        "build",
        name,
        packing,
        Unit::Bytes,
        move |dir, _time| {
            let pairs = Pairs::all()?;
            once(|| make(dir, &pairs, packing).map(|()| pairs.bytes()))
        },
    )
}

/// Bytes of keys and values per second that are merged into one durable table. `prepare` makes one table
/// for each of its pairs, and `merge` merges them and says how many there are then.
pub(crate) fn merges<T: 'static>(
    role: Role,
    name: &str,
    packing: Packing,
    prepare: fn(&Path, &[Pairs], Packing) -> anyhow::Result<T>,
    merge: fn(&T) -> anyhow::Result<usize>,
) -> Contender {
    let what = format!("merge of {MERGED}");
    contender(
        role,
        &what,
        name,
        packing,
        Unit::Bytes,
        move |dir, _time| {
            let pairs = Pairs::all()?;
            let bytes = pairs.bytes();
            let tables = prepare(dir, &pairs.dealt(), packing)?;
            let mut left = 0;
            let rate = once(|| {
                left = merge(&tables)?;
                Ok(bytes)
            })?;
            anyhow::ensure!(left == 1, "{left} tables are left");
            Ok(rate)
        },
    )
}

fn contender(
    role: Role,
    what: &str,
    name: &str,
    packing: Packing,
    unit: Unit,
    run: impl Fn(&Path, Duration) -> anyhow::Result<Rate> + 'static,
) -> Contender {
    let suffix = match packing {
        Packing::None => "",
        Packing::Lz4 => ", LZ4",
    };
    Contender {
        workload: format!("table: {what}{suffix}"),
        name: name.to_owned(),
        role,
        unit,
        floor: String::new(),
        real_time: false,
        run: Box::new(run),
    }
}
