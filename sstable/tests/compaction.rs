//! Compactions: what they write, what they keep, and what they drop.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[path = "merging/runs.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod runs;
#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::cell::Cell;
use std::ops::{Bound, ControlFlow};

use durable_io::Dir;
use rand::RngExt;
use runs::{Run, Written, forward, runs, view};
use sstable::compaction::{Action, Compaction, Job, Retention};
use sstable::{
    BlockCache, Cursor, Entry, Error, KeyRange, Kind, Options, RangeTombstone, Source, Table,
    TableInfo, fragment,
};
use support::{Model, fast_dir, names, rng, seed};
use tempfile::TempDir;

/// A directory of tables; each has a new name.
struct Tables {
    temp: TempDir,
    dir: Dir,
    next: Cell<u64>,
}

impl Tables {
    fn new() -> Self {
        let temp = fast_dir();
        let dir = support::dir(temp.path());
        let next = Cell::new(1);
        Self { temp, dir, next }
    }

    fn name(&self) -> String {
        let number = self.next.replace(self.next.get() + 1);
        format!("{number:04}.table")
    }

    fn open(&self, name: &str) -> Table {
        Table::open(&self.dir, name, &BlockCache::new(0)).unwrap()
    }

    /// Writes `run` as a table; `None` if it is empty.
    fn write(&self, run: &Run) -> Option<Table> {
        let mut model = Model::default();
        for (key, version, written) in &run.entries {
            match written {
                Some(value) => model.put(key, *version, value),
                None => model.delete(key, *version),
            }
        }
        model.range_tombstones.clone_from(&run.ranges);
        let name = self.name();
        let options = Options::new().block_size(200);
        match model.build(&options, &self.dir, &name) {
            Err(Error::Empty) => None,
            info => {
                info.unwrap();
                Some(self.open(&name))
            }
        }
    }

    fn sources(&self, runs: &[Run]) -> Vec<Source<sstable::TableCursor>> {
        let tables = runs.iter().filter_map(|run| self.write(run));
        tables.map(|table| Source::of(&table)).collect()
    }

    /// Compacts `runs`, the newest first; the outputs as runs, in the order of their keys.
    fn compact(&self, runs: &[Run], job: &Job, retention: Retention<'_>) -> Vec<(Run, TableInfo)> {
        let sources = self.sources(runs);
        let compaction = Compaction::new(Options::new().block_size(200)).retention(retention);
        let outputs = compaction.run(job, sources, &self.dir, || self.name());
        let read = |(name, info): (String, TableInfo)| {
            let table = self.open(&name);
            support::assert_whole(&table, &info);
            let run = Run {
                entries: forward(&mut table.cursor()),
                ranges: table.range_tombstones().to_vec(),
            };
            (run, info)
        };
        outputs.unwrap().into_iter().map(read).collect()
    }
}

/// A merge of everything.
fn job() -> Job {
    Job {
        action: Action::Merge,
        inputs: Vec::new(),
        input_bytes: 0,
        output_level: 1,
        output_run: 1,
        output_bytes: u64::MAX,
        older: Vec::new(),
    }
}

fn range(first: &str, end: &str) -> KeyRange {
    KeyRange {
        first: first.into(),
        last: Bound::Excluded(end.into()),
    }
}

fn tombstone(start: &str, end: &str, version: u64) -> RangeTombstone {
    RangeTombstone {
        start: start.into(),
        end: end.into(),
        version,
    }
}

/// `"a5=x b3- c..e@7"`: a put of version 5, a deletion of version 3, a range tombstone of version 7.
fn run(text: &str) -> Run {
    let number = |text: &str| text.parse::<u64>().unwrap();
    let mut entries = Vec::new();
    let mut ranges = Vec::new();
    for word in text.split_whitespace() {
        if let Some((start, rest)) = word.split_once("..") {
            let (end, version) = rest.split_once('@').unwrap();
            ranges.push(tombstone(start, end, number(version)));
        } else if let Some((key, value)) = word.split_once('=') {
            entries.push((key[..1].into(), number(&key[1..]), Some(value.into())));
        } else {
            let key = word.strip_suffix('-').unwrap();
            entries.push((key[..1].into(), number(&key[1..]), None));
        }
    }
    let mut run = Run::new(entries);
    run.ranges = fragment(ranges, usize::MAX).unwrap();
    run
}

/// The reverse of [`run`].
fn text(run: &Run) -> String {
    let key = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    let entry = |(k, version, written): &(Vec<u8>, u64, Written)| match written {
        Some(value) => format!("{}{version}={}", key(k), key(value)),
        None => format!("{}{version}-", key(k)),
    };
    let range = |range: &RangeTombstone| {
        format!(
            "{}..{}@{}",
            key(&range.start),
            key(&range.end),
            range.version
        )
    };
    let words = run.entries.iter().map(entry);
    let words: Vec<String> = words.chain(run.ranges.iter().map(range)).collect();
    words.join(" ")
}

/// What is left of `inputs`, the newest first, with readers at `snapshots` and older data in `older`.
#[track_caller]
fn check(inputs: &[&str], snapshots: &[u64], older: &[KeyRange], expected: &str) {
    let inputs: Vec<Run> = inputs.iter().map(|text| run(text)).collect();
    let older = older.to_vec();
    let job = Job { older, ..job() };
    let retention = Retention::new().snapshots(snapshots.iter().copied());
    let outputs = Tables::new().compact(&inputs, &job, retention);
    let left: Vec<String> = outputs.iter().map(|(run, _)| text(run)).collect();
    assert_eq!(left.join(" | "), expected);
}

#[test]
fn only_the_newest_of_what_a_reader_sees_is_left() {
    check(&["a5=x", "a3=y a1=z"], &[], &[], "a5=x");
    check(&["a5=x", "a3=y a1=z"], &[3], &[], "a5=x a3=y");
    check(&["a5=x", "a3=y a1=z"], &[4], &[], "a5=x a3=y");
    check(&["a5=x", "a3=y a1=z"], &[2, 9], &[], "a5=x a1=z");
    // Without versions the newer table counts.
    check(&["a0=x", "a0=y b0=z"], &[], &[], "a0=x b0=z");
}

/// D25: a tombstone that went too early brought a deleted key back; one that never went stayed for ever.
#[test]
fn d25_a_tombstone_goes_exactly_when_nothing_older_can_exist() {
    check(&["a5- b5-", "a3=y"], &[], &[], "");
    // An older table may have the key.
    check(&["a5- b5-", "a3=y"], &[], &[range("a", "b")], "a5-");
    check(&["a5- b5-", "a3=y"], &[], &[range("b", "z")], "b5-");
    // A snapshot sees what it hides.
    check(&["a5- b5-", "a3=y"], &[4], &[], "a5- a3=y");
    check(&["a5- b5-", "a3=y"], &[5], &[], "");
    // Of two tombstones over an older value, the older one hides it from both readers.
    check(&["a7- a5-", "a3=y"], &[4, 6], &[], "a5- a3=y");
    // What comes back after a tombstone does not need it.
    check(&["a7=x a5-", "a3=y"], &[], &[], "a7=x");
    check(&["a7=x a5-", "a3=y"], &[6], &[], "a7=x");
    check(&["a7=x a5-", "a3=y"], &[4], &[], "a7=x a3=y");
}

#[test]
fn d25_a_range_tombstone_goes_exactly_when_nothing_older_can_exist() {
    check(&["a..c@5", "a3=x b7=y c1=z"], &[], &[], "b7=y c1=z");
    // An older table may have something there.
    check(
        &["a..c@5", "b7=y c1=z"],
        &[],
        &[range("bb", "x")],
        "b7=y c1=z a..c@5",
    );
    check(
        &["a..c@5", "b7=y c1=z"],
        &[],
        &[range("c", "x")],
        "b7=y c1=z",
    );
    check(&["b5=x", "a..c@5", "a5=x b5=y"], &[], &[], "b5=x");
    // A snapshot sees what it hides; of several, the oldest is enough.
    check(
        &["a..c@8 a..c@5", "a3=x b9=y"],
        &[4, 6],
        &[],
        "a3=x b9=y a..c@5",
    );
    check(&["a..c@8 a..c@5", "b9=y"], &[4, 6], &[], "b9=y");
    // Of those that one reader sees, the newest is enough.
    let older = [range("a", "z")];
    check(&["a..c@8 a..c@5", "b9=y"], &[], &older, "b9=y a..c@8");
    check(
        &["a..c@8 a..c@5", "b9=y"],
        &[6],
        &older,
        "b9=y a..c@8 a..c@5",
    );
}

/// D25: one unbounded output.
#[test]
fn d25_outputs_are_split_between_keys_at_their_size() {
    let value = [b'v'; 40];
    let entries = (0..3000_u32).flat_map(|n| {
        let versions = if n % 10 == 0 { 12 } else { 1 };
        let key = format!("{n:05}").into_bytes();
        (0..versions).map(move |version| (key.clone(), version, Some(vec![b'v'; 40])))
    });
    let mut run = Run::new(entries);
    run.ranges = vec![tombstone("0", "1", 20), tombstone("0", "1", 6)];
    let older = vec![range("", "zz")];
    let job = Job {
        output_bytes: 20_000,
        older,
        ..job()
    };
    // Every version is seen, and every range tombstone needed.
    let retention = Retention::new().snapshots(0..30);
    let outputs = Tables::new().compact(std::slice::from_ref(&run), &job, retention);
    assert!(outputs.len() > 5, "{} outputs", outputs.len());
    for (output, info) in &outputs[..outputs.len() - 1] {
        let bytes = output.entries.len() * (value.len() + 5);
        assert!(
            (12_000..24_000).contains(&bytes),
            "{bytes} of {}",
            info.file_bytes
        );
    }
    check_apart(&outputs);
    for pair in outputs.windows(2) {
        // The range tombstones go on without a gap.
        let border = Bound::Excluded(pair[1].1.first.clone());
        assert_eq!(pair[0].1.last, border);
    }
    let all: Vec<_> = outputs
        .iter()
        .flat_map(|(run, _)| run.entries.clone())
        .collect();
    assert_eq!(all, run.entries);
    let all = outputs.iter().flat_map(|(run, _)| run.ranges.clone());
    assert_eq!(fragment(all, usize::MAX).unwrap(), run.ranges);
}

#[test]
fn a_table_of_many_range_tombstones_is_split_too() {
    let key = |n: u32| format!("{n:05}");
    let ranges = (0..1000).map(|n| tombstone(&key(2 * n), &key(2 * n + 1), 5));
    let mut run = run("");
    run.ranges = ranges.collect();
    let older = vec![range("", "zz")];
    let job = Job {
        output_bytes: 5000,
        older,
        ..job()
    };
    let outputs = Tables::new().compact(&[run.clone()], &job, Retention::new());
    assert_eq!(outputs.len(), 6);
    let all = outputs.iter().flat_map(|(run, _)| run.ranges.clone());
    assert_eq!(fragment(all, usize::MAX).unwrap(), run.ranges);
}

#[test]
fn what_the_filter_refuses_is_deleted_unless_a_snapshot_sees_it() {
    let inputs = [run("a5=no b5=yes c2=no"), run("a1=old b1=old d1-")];
    let filtered = |snapshots: &[u64], older: &[KeyRange]| {
        let older = older.to_vec();
        let retention = Retention::new().snapshots(snapshots.iter().copied());
        let retention = retention.filter(|entry: Entry<'_>| {
            assert_eq!(entry.kind, Kind::Put);
            entry.value != b"no"
        });
        let outputs = Tables::new().compact(&inputs, &Job { older, ..job() }, retention);
        outputs.iter().map(|(run, _)| text(run)).collect::<String>()
    };
    assert_eq!(filtered(&[], &[]), "b5=yes");
    assert_eq!(filtered(&[], &[range("a", "z")]), "a5- b5=yes c2- d1-");
    assert_eq!(filtered(&[3], &[]), "a5- a1=old b5=yes b1=old c2=no");
}

/// Random runs, snapshots and sizes: what any reader sees is the same before and after, and nothing is
/// left that no reader needs.
#[test]
fn every_reader_sees_the_same_before_and_after() {
    let mut rng = rng(seed());
    for _ in 0..250 {
        let count = rng.random_range(1..6);
        let width = [0, 1, 3][rng.random_range(0..3)];
        // A newer run has no smaller versions; with width 0 there are none.
        let versions = |nth: usize| {
            let oldest = (count - 1 - nth) as u64 * width;
            oldest..oldest + width + 1
        };
        let runs = runs(&mut rng, count, versions);
        // The runs from here on are older, and not part of the job; those up to there are newer.
        let from = rng.random_range(0..count);
        let to = rng.random_range(from..count) + 1;
        let snapshots: Vec<u64> = (0..rng.random_range(0..4))
            .map(|_| rng.random_range(0..16))
            .collect();
        let tables = Tables::new();
        let older: Vec<KeyRange> = runs[to..].iter().filter_map(keys).collect();
        let job = Job {
            output_bytes: [200, 1000, u64::MAX][rng.random_range(0..3)],
            older: disjoint(older),
            ..job()
        };
        let retention = Retention::new().snapshots(snapshots.clone());
        let outputs = tables.compact(&runs[from..to], &job, retention);
        check_apart(&outputs);
        let outputs: Vec<Run> = outputs.into_iter().map(|(run, _)| run).collect();
        let after = [&runs[..from], &[concat(&outputs)], &runs[to..]].concat();
        for reader in snapshots.iter().copied().chain([u64::MAX]) {
            assert_eq!(
                view(&after, reader),
                view(&runs, reader),
                "a reader at {reader}"
            );
        }
        check_nothing_is_needless(&outputs, &snapshots, &job.older);
    }
}

/// No two outputs have a key in common, range tombstones included.
fn check_apart(outputs: &[(Run, TableInfo)]) {
    let ranges: Vec<KeyRange> = outputs.iter().map(|(_, info)| KeyRange::of(info)).collect();
    for pair in ranges.windows(2) {
        assert!(!pair[0].overlaps(&pair[1]), "{pair:?}");
    }
}

/// The keys of a run.
fn keys(run: &Run) -> Option<KeyRange> {
    let info = Tables::new().write(run)?;
    let properties = info.properties();
    Some(KeyRange {
        first: properties.first.clone(),
        last: properties.last.clone(),
    })
}

/// Outputs do not overlap: they are one run.
fn concat(outputs: &[Run]) -> Run {
    Run {
        entries: outputs.iter().flat_map(|run| run.entries.clone()).collect(),
        ranges: outputs.iter().flat_map(|run| run.ranges.clone()).collect(),
    }
}

/// As few ranges, by plain comparison of all keys at which one begins.
fn disjoint(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.sort_by(|a, b| a.first.cmp(&b.first));
    let mut disjoint: Vec<KeyRange> = Vec::new();
    for range in ranges {
        match disjoint.last_mut().filter(|last| last.overlaps(&range)) {
            Some(last) => {
                let mut ends = [last.last.clone(), range.last];
                ends.sort_by_key(|end| match end {
                    Bound::Included(key) => (key.clone(), true),
                    Bound::Excluded(key) => (key.clone(), false),
                    Bound::Unbounded => unreachable!(),
                });
                last.last = ends[1].clone();
            }
            None => disjoint.push(range),
        }
    }
    disjoint
}

fn check_nothing_is_needless(outputs: &[Run], snapshots: &[u64], older: &[KeyRange]) {
    let whole = [concat(outputs)];
    let readers = || snapshots.iter().copied().chain([u64::MAX]);
    let may_be_older = |key: &[u8]| older.iter().any(|range| range.contains(key));
    for (key, version, written) in &whole[0].entries {
        let is_seen =
            || readers().any(|at| view(&whole, at).get(key).map(|v| v.0) == Some(*version));
        let hides = || {
            let others = whole[0].entries.iter();
            others
                .filter(|(other, v, _)| other == key && v < version)
                .count()
                > 0
        };
        match written {
            Some(_) => assert!(is_seen(), "{key:?} {version} is seen by nobody"),
            None => assert!(
                may_be_older(key) || hides(),
                "{key:?} {version} hides nothing"
            ),
        }
    }
    for range in &whole[0].ranges {
        let end = Bound::Excluded(range.end.clone());
        let first = range.start.clone();
        let keys = KeyRange { first, last: end };
        let hides = whole[0].entries.iter();
        let hides = hides.filter(|(key, v, _)| range.contains(key) && *v < range.version);
        let is_needed = hides.count() > 0 || older.iter().any(|older| older.overlaps(&keys));
        assert!(is_needed, "{range:?} hides nothing");
    }
}

/// Fails at its fifth step.
struct Failing(sstable::TableCursor, u32);

impl Cursor for Failing {
    fn seek_to_first(&mut self) -> sstable::Result<()> {
        self.0.seek_to_first()
    }
    fn seek_to_last(&mut self) -> sstable::Result<()> {
        self.0.seek_to_last()
    }
    fn seek(&mut self, key: &[u8], version: u64) -> sstable::Result<()> {
        self.0.seek(key, version)
    }
    fn advance(&mut self) -> sstable::Result<()> {
        self.1 += 1;
        if self.1 == 5 {
            return Err(Error::Stopped);
        }
        self.0.advance()
    }
    fn retreat(&mut self) -> sstable::Result<()> {
        self.0.retreat()
    }
    fn entry(&self) -> Option<Entry<'_>> {
        self.0.entry()
    }
}

#[test]
fn a_compaction_that_fails_leaves_nothing() {
    let tables = Tables::new();
    let input = tables.write(&run("a0=1 b0=2 c0=3 d0=4 e0=5 f0=6")).unwrap();
    let source = || Source {
        cursor: Failing(input.cursor(), 0),
        range_tombstones: [].into(),
    };
    let compaction = Compaction::new(Options::new());
    // Every entry gets a table of its own; so three are whole when it fails.
    let job = Job {
        output_bytes: 0,
        ..job()
    };
    let failed = compaction.run(&job, vec![source()], &tables.dir, || tables.name());
    assert!(matches!(failed, Err(Error::Stopped)), "{failed:?}");
    assert!(tables.next.get() > 4);
    assert_eq!(names(tables.temp.path()), ["0001.table"]);
}

#[test]
fn a_compaction_stops_when_it_is_told_to_and_says_how_far_it_is() {
    let tables = Tables::new();
    let many = (0..5000_u32).map(|n| (n.to_le_bytes().to_vec(), 0, Some(vec![7; 100])));
    let input = tables.write(&Run::new(many)).unwrap();
    let mut seen = Vec::new();
    let compaction = Compaction::new(Options::new()).progress(|progress| {
        seen.push(progress);
        if seen.len() == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let sources = vec![Source::of(&input)];
    let stopped = compaction.run(&job(), sources, &tables.dir, || tables.name());
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    assert_eq!(names(tables.temp.path()), ["0001.table"]);
    let entries: Vec<u64> = seen.iter().map(|progress| progress.entries).collect();
    assert_eq!(entries, [1024, 2048, 3072]);
    assert!(seen[2].bytes_written > 3000 * 100);
}
