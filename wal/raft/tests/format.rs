//! FORMAT.md is executed: a store made of its `hex` blocks is read, and a store that does what it describes
//! holds the very bytes of its `hex` blocks.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use durable_io::sim::SimDisk;
use durable_raft::{
    Background, Corruption, Detail, Entry, Error, LogPoint, LogStore, Lsn, Options, Vote, dump,
};

const FORMAT: &str = include_str!("../FORMAT.md");

/// All blocks but the parts, which need an entry larger than a segment.
const WRITTEN: [&str; 9] = [
    "created",
    "vote",
    "entry",
    "second",
    "committed",
    "purged",
    "truncated",
    "uncommitted",
    "destroyed",
];

/// The bytes of the block that begins with ```` ```hex NAME ````.
fn block(name: &str) -> Vec<u8> {
    let mut lines = FORMAT
        .lines()
        .skip_while(|line| *line != format!("```hex {name}"));
    assert!(lines.next().is_some(), "FORMAT.md has no block {name}");
    let bytes = lines.take_while(|line| *line != "```").flat_map(|line| {
        line.split('#')
            .next()
            .unwrap()
            .split_whitespace()
            .map(|hex| u8::from_str_radix(hex, 16).unwrap())
    });
    bytes.collect()
}

fn vote() -> Vote {
    Vote {
        term: 3,
        leader: b"n1".to_vec(),
    }
}

fn point() -> LogPoint {
    LogPoint {
        index: 7,
        term: 2,
        leader: b"n1".to_vec(),
    }
}

fn entry(index: u64, term: u64, data: &[u8]) -> Entry {
    let data = data.to_vec();
    Entry { index, term, data }
}

fn log_options(sim: &SimDisk) -> wal::Options {
    wal::Options::new().segment_size(4096).disk(sim.disk())
}

/// Opens a store whose log holds `records`.
fn store_of(records: &[Vec<u8>]) -> Result<LogStore, Error> {
    Options::new().disk(disk_of(records).disk()).open("/raft")
}

/// What `dump` shows of it, without the spaces before a line.
fn dump_of(records: &[Vec<u8>], detail: Detail) -> Vec<String> {
    let mut out = Vec::new();
    dump(&disk_of(records).disk(), "/raft", detail, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn disk_of(records: &[Vec<u8>]) -> SimDisk {
    let sim = SimDisk::new();
    sim.disk().create_dir("/raft").unwrap();
    let log = log_options(&sim).open("/raft/log").unwrap();
    for record in records {
        log.append(record).unwrap();
    }
    log.close().unwrap();
    sim
}

fn blocks(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| block(name)).collect()
}

#[test]
fn the_documented_bytes_are_read() {
    let written = ["created", "vote", "entry", "second", "part", "last"];
    let store = store_of(&blocks(&written)).unwrap();
    let group = store.group(5).unwrap();
    assert_eq!(group.incarnation(), 1);
    assert_eq!(group.vote().unwrap(), Some(vote()));
    let entries = [entry(7, 2, b"abc"), entry(8, 3, b""), entry(9, 3, b"def")];
    assert_eq!(group.entries(0..99).unwrap(), entries);
    let more = [&written[..], &["committed", "purged", "truncated"]].concat();
    let store = store_of(&blocks(&more)).unwrap();
    let group = store.group(5).unwrap();
    let state = group.state().unwrap();
    assert_eq!(
        (state.purged, state.committed),
        (Some(point()), Some(point()))
    );
    assert_eq!(group.entries(0..99).unwrap(), entries[1..2]);
    let all = [&more[..], &["uncommitted", "destroyed"]].concat();
    let store = store_of(&blocks(&all)).unwrap();
    assert_eq!(store.groups().unwrap(), [] as [u64; 0]);
}

#[test]
fn the_documented_bytes_are_written() {
    let sim = SimDisk::new();
    let options = Options::new().background(Background::Inline);
    let store = options.segment_size(4096).disk(sim.disk());
    let store = store.open("/raft").unwrap();
    let group = store.create(5).unwrap();
    group.save_vote(&vote()).unwrap();
    group
        .append(&[entry(7, 2, b"abc"), entry(8, 3, b"")])
        .unwrap();
    group.save_committed(Some(&point())).unwrap();
    group.purge(&point()).unwrap();
    group.append(&[entry(9, 3, &vec![b'd'; 10_000])]).unwrap();
    group.truncate(9).unwrap();
    group.save_committed(None).unwrap();
    store.destroy(5).unwrap();
    store.close().unwrap();
    let log = log_options(&sim).open("/raft/log").unwrap();
    let records = log.records(Lsn(1)).map(|record| record.unwrap().payload);
    let (parts, others): (Vec<_>, Vec<_>) = records.partition(|record| matches!(record[0], 5 | 6));
    assert_eq!(others, blocks(&WRITTEN));
    let kinds: Vec<u8> = parts.iter().map(|part| part[0]).collect();
    assert_eq!(kinds, [5, 5, 6]);
    for (nth, part) in parts.iter().enumerate() {
        let documented = block(if part[0] == 5 { "part" } else { "last" });
        assert_eq!(part[1..33], documented[1..33]);
        assert_eq!(part[33..37], u32::try_from(nth).unwrap().to_le_bytes());
    }
}

#[test]
fn parts_without_a_last_one_are_nothing() {
    for names in [
        &["created", "part"][..],
        &["created", "part", "vote", "last"],
        &["created", "last"],
        &["created", "part", "part", "part"],
    ] {
        let store = store_of(&blocks(names)).unwrap();
        assert_eq!(store.group(5).unwrap().entries(0..99).unwrap(), []);
    }
}

#[test]
fn what_no_crash_leaves_is_damage() {
    let reason = |records: &[Vec<u8>]| match store_of(records).unwrap_err() {
        Error::Corrupt { reason, .. } => reason,
        other => panic!("{other}"),
    };
    let lsn = Lsn(1);
    assert_eq!(reason(&blocks(&["vote"])), Corruption::Group { lsn });
    assert_eq!(reason(&[vec![0; 20]]), Corruption::Record { lsn });
    let mut newer = block("vote");
    newer[0] = 11;
    let refused = store_of(&[block("created"), newer]);
    assert!(matches!(refused, Err(Error::UnsupportedVersion(_))));
    let mut other = block("vote");
    other[9] = 2;
    let records = [block("created"), other.clone()];
    assert_eq!(reason(&records), Corruption::Group { lsn: Lsn(2) });
    other[0] = 2;
    other.truncate(17);
    let records = [block("created"), other];
    assert_eq!(reason(&records), Corruption::Group { lsn: Lsn(2) });
    let mut far = block("second");
    far[17] = 10;
    let hole = Corruption::Hole { group: 5, index: 8 };
    assert_eq!(reason(&[block("created"), block("entry"), far]), hole);
}

#[test]
fn a_record_that_was_moved_may_stand_before_the_one_that_creates_its_group() {
    let store = store_of(&blocks(&["second", "entry", "vote", "created"])).unwrap();
    let group = store.group(5).unwrap();
    assert_eq!(
        group.entries(0..99).unwrap(),
        [entry(7, 2, b"abc"), entry(8, 3, b"")]
    );
    assert_eq!(group.vote().unwrap(), Some(vote()));
}

#[test]
fn a_dump_shows_groups_and_records_and_goes_on_after_damage() {
    let group = "group 5: created by record 1, vote of term 3, purged up to none, entries 7 to 8, committed up to none";
    let records = blocks(&["created", "vote", "entry", "second"]);
    let groups = dump_of(&records, Detail::Groups);
    assert_eq!(groups, ["raft log store /raft", group]);
    let shown = dump_of(&records, Detail::Records);
    assert_eq!(shown.len(), 6, "{shown:#?}");
    assert!(
        shown[3].starts_with("3  group 5: entry 7 of term 2: "),
        "{}",
        shown[3]
    );
    assert_eq!(shown[5], group);

    let damaged = [&records[..], &[vec![0; 20]], &blocks(&["uncommitted"])].concat();
    let shown = dump_of(&damaged, Detail::Groups);
    assert!(shown[1].starts_with('!'), "{shown:#?}");
    assert_eq!(shown[2], group);
}
