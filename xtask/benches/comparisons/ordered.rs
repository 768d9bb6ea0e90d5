//! What the LSM-tree, the B+tree and their peers are asked to do beyond what every store is: ranges, many keys at
//! once, openings after a kill, and what they take on the disk. Nothing is synced.

#![expect(
    clippy::disallowed_methods,
    reason = "files of peers, and how they are after a while"
)]

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::contender::{Contender, Role, Unit};
use crate::keys::{Key, Numbers, VALUE_SIZE, in_order, key, value};
use crate::measure::{Rate, closed_loop, float};
use crate::rounds::variable;
use crate::stores::{self, KeyValue, Kind, keys, once};
use crate::ycsb;

/// How many keys are asked for together, and how many entries are read behind a seek.
const MANY: usize = 100;
/// Puts per second whose delay is measured, and for how long.
const PACE: u32 = 20_000;
const PACED: Duration = Duration::from_secs(2);
/// How often each key is overwritten before the space is taken, and how long a store may tidy up.
const OVERWRITTEN: u64 = 3;
const TIDIES: Duration = Duration::from_secs(3);
/// How often it is tried to copy a store that rests.
const TRIES: usize = 1000;

pub(crate) trait Ordered: KeyValue {
    /// Without how its single gets are done.
    const SHORT: &str;

    /// One moment of the store.
    type View<'a>;

    fn view(&self) -> anyhow::Result<Self::View<'_>>;

    /// Reads entries from `from` on, at most `most`; returns how many there were.
    fn read_on(view: &Self::View<'_>, from: &[u8], most: u64) -> anyhow::Result<u64>;

    /// Reads all entries, the last one first; returns how many there were.
    fn read_back(view: &Self::View<'_>) -> anyhow::Result<u64>;

    /// Returns how many of `keys` are there, with their values read; in one call where the store has one.
    fn get_many(view: &Self::View<'_>, keys: &[Key]) -> anyhow::Result<u64>;
}

/// Everything that `S` is measured in.
pub(crate) fn contenders<S: Ordered>(kind: Kind, role: Role) -> Vec<Contender> {
    let mut all = stores::contenders::<S>(kind, role);
    let row = |what: &str, unit, run: Run| Contender {
        workload: format!("{}: {what}, 100 B", kind.prefix()),
        name: S::SHORT.to_owned(),
        role,
        unit,
        floor: String::new(),
        real_time: false,
        run: Box::new(run),
    };
    let operations = |what: &str, run: Run| row(what, Unit::Operations, run);
    all.push(operations("get_many of 100", get_many::<S>));
    all.push(operations("seek and 100 entries", seek::<S>));
    all.push(operations("scan forward", |dir, time| {
        scan::<S>(dir, time, |view| S::read_on(view, b"\0", u64::MAX))
    }));
    all.push(operations("scan backward", |dir, time| {
        scan::<S>(dir, time, S::read_back)
    }));
    all.push(operations("load in order", load_in_order::<S>));
    all.push(operations("put without sync, 1 thread", |dir, time| {
        puts::<S>(dir, time, 1)
    }));
    all.push(operations("put without sync, 2 threads", |dir, time| {
        puts::<S>(dir, time, 2)
    }));
    for mix in ycsb::MIXES {
        let mut row = operations(mix.name, |_, _| anyhow::bail!("it has no mix"));
        row.run = Box::new(move |dir, time| ycsb::run::<S>(dir, time, mix));
        all.push(row);
    }
    all.push(row(
        "99.9th percentile of 20 k puts/s",
        Unit::Nanoseconds,
        paced_puts::<S>,
    ));
    all.push(row("opening after a kill", Unit::Nanoseconds, reopen::<S>));
    all.push(row(
        "space after churn, of the data's",
        Unit::Ratio,
        space::<S>,
    ));
    all
}

type Run = fn(&Path, Duration) -> anyhow::Result<Rate>;

/// A store with `keys()` entries.
pub(crate) fn loaded<S: Ordered>(dir: &Path) -> anyhow::Result<(S, u64)> {
    let (store, count) = (S::open(dir, false)?, keys()?);
    store.load(count, key, &value())?;
    Ok((store, count))
}

fn get_many<S: Ordered>(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let (store, count) = loaded::<S>(dir)?;
    let rate = closed_loop(1, time, |thread| {
        let mut numbers = Numbers::below(count, thread);
        let view = store.view()?;
        Ok(move || {
            let keys: Vec<_> = (0..MANY).map(|_| key(numbers.next())).collect();
            let found = S::get_many(&view, &keys)?;
            anyhow::ensure!(found == MANY as u64, "{found} of {MANY} keys are there");
            Ok(found)
        })
    })?;
    store.close()?;
    Ok(rate)
}

fn seek<S: Ordered>(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let (store, count) = loaded::<S>(dir)?;
    let rate = closed_loop(1, time, |thread| {
        let mut numbers = Numbers::below(count, thread);
        let view = store.view()?;
        Ok(move || {
            black_box(S::read_on(&view, &key(numbers.next()), MANY as u64)?);
            Ok(1)
        })
    })?;
    store.close()?;
    Ok(rate)
}

fn scan<S: Ordered>(
    dir: &Path,
    time: Duration,
    read: impl Fn(&S::View<'_>) -> anyhow::Result<u64> + Sync,
) -> anyhow::Result<Rate> {
    let (store, count) = loaded::<S>(dir)?;
    let rate = closed_loop(1, time, |_thread| {
        let (view, read) = (store.view()?, &read);
        Ok(move || {
            let seen = read(&view)?;
            anyhow::ensure!(seen == count, "{seen} of {count} entries");
            Ok(seen)
        })
    })?;
    store.close()?;
    Ok(rate)
}

fn load_in_order<S: Ordered>(dir: &Path, _time: Duration) -> anyhow::Result<Rate> {
    let (store, count, value) = (S::open(dir, false)?, keys()?, value());
    let rate = once(|| store.load(count, in_order, &value).map(|()| count))?;
    store.close()?;
    Ok(rate)
}

fn puts<S: Ordered>(dir: &Path, time: Duration, threads: usize) -> anyhow::Result<Rate> {
    let (store, value) = (S::open(dir, false)?, value());
    let rate = closed_loop(threads, time, |thread| {
        let (store, value) = (&store, value.as_slice());
        let mut numbers = Numbers::below(1_000_000, thread);
        Ok(move || {
            store.put(&key(numbers.next()), value)?;
            Ok(1)
        })
    })?;
    store.close()?;
    Ok(rate)
}

/// What 99.9 % of puts stay below, from the moment each is due: who is late delays those behind it.
fn paced_puts<S: Ordered>(dir: &Path, _time: Duration) -> anyhow::Result<Rate> {
    let (store, count) = loaded::<S>(dir)?;
    let (value, mut numbers) = (value(), Numbers::below(count, 0));
    let (start, mut due, mut took) = (Instant::now(), Duration::ZERO, Vec::new());
    while due < PACED {
        while start.elapsed() < due {
            std::hint::spin_loop();
        }
        store.put(&key(numbers.next()), &value)?;
        took.push(start.elapsed().saturating_sub(due).as_nanos());
        due += Duration::from_secs(1) / PACE;
    }
    store.close()?;
    took.sort_unstable();
    let slow = *took.get(took.len() * 999 / 1000).context("no put")?;
    Ok(figure(float(u64::try_from(slow)?)))
}

/// Nanoseconds of opening a copy of a store that is in use, until a first key is read.
fn reopen<S: Ordered>(dir: &Path, time: Duration) -> anyhow::Result<Rate> {
    let (live, copy) = (dir.join("live"), dir.join("copy"));
    fs::create_dir(&live)?;
    // Durable: what is not, redb does not write.
    let store = S::open(&live, true)?;
    store.load(variable("BENCH_REOPEN_KEYS", 1_000_000)?, key, &value())?;
    let took = open_copies(&live, &copy, time, || {
        let store = S::open(&copy, false)?;
        let reader = store.reader()?;
        let mut found = 0;
        store.get(&reader, &key(0), |value| found = value.len())?;
        drop(reader);
        anyhow::ensure!(found == VALUE_SIZE, "the first key is absent");
        Ok(store)
    })?;
    store.close()?;
    Ok(took)
}

/// Nanoseconds of `open`, which opens the store in `copy` and reads from it: a copy of the one in `from`, made
/// anew each time, until it has been opened for `time`.
pub(crate) fn open_copies<S>(
    from: &Path,
    copy: &Path,
    time: Duration,
    open: impl Fn() -> anyhow::Result<S>,
) -> anyhow::Result<Rate> {
    let (mut opened, mut took) = (0, Duration::ZERO);
    while opened == 0 || took < time {
        copy_moment(from, copy)?;
        let start = Instant::now();
        let store = open()?;
        took += start.elapsed();
        drop(store);
        fs::remove_dir_all(copy)?;
        opened += 1;
    }
    Ok(figure(took.as_secs_f64() * 1e9 / float(opened)))
}

/// Copies the files in `from` as they are at one moment: a store that still tidies up is waited for.
fn copy_moment(from: &Path, to: &Path) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        let before = files(from);
        let copied = copy_files(from, to);
        if copied.is_ok() && before.is_ok_and(|before| files(from).is_ok_and(|now| now == before)) {
            return Ok(());
        }
        fs::remove_dir_all(to)?;
        std::thread::sleep(TIDIES / 100);
    }
    anyhow::bail!("the files in {} never rest", from.display())
}

/// A file: its path, its length, and when it was last written, in seconds and nanoseconds.
type Seen = (PathBuf, u64, i64, i64);

/// Each file below `dir`.
fn files(dir: &Path) -> anyhow::Result<Vec<Seen>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let data = entry.metadata()?;
        if data.is_dir() {
            all.extend(files(&entry.path())?);
        } else {
            all.push((entry.path(), data.len(), data.mtime(), data.mtime_nsec()));
        }
    }
    all.sort_unstable();
    Ok(all)
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Allocated bytes of a store's files for each byte of its keys and values, after every key was overwritten a few
/// times and the store had a moment.
fn space<S: Ordered>(dir: &Path, _time: Duration) -> anyhow::Result<Rate> {
    let (store, count) = loaded::<S>(dir)?;
    for _ in 0..OVERWRITTEN {
        store.load(count, key, &value())?;
    }
    std::thread::sleep(TIDIES);
    let bytes = allocated(dir)?;
    store.close()?;
    let live = count * (size_of::<Key>() + VALUE_SIZE) as u64;
    Ok(figure(float(bytes) / float(live)))
}

fn allocated(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Kept for a full disk: no part of what the data takes.
        if entry.file_name() == "reserve" {
            continue;
        }
        bytes += if entry.file_type()?.is_dir() {
            allocated(&entry.path())?
        } else {
            entry.metadata()?.blocks() * 512
        };
    }
    Ok(bytes)
}

/// What is no rate.
pub(crate) fn figure(figure: f64) -> Rate {
    Rate {
        per_second: figure,
        involuntary_switches: 0,
    }
}
