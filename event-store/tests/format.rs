//! FORMAT.md is executed: a store made of its `hex` blocks is read, and a store that does what it describes
//! holds the very bytes of its `hex` blocks.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use std::path::Path;

use durable_io::Disk;
use event_store::{
    Event, EventId, Expected, Failure, NewEvent, Options, Position, Project, Projection, Subscribe,
    Version,
};
use support::{fast_dir, one, settle};

const FORMAT: &str = include_str!("../FORMAT.md");
const SECOND: u64 = 1_000_000;

fn options() -> Options {
    support::options().index_interval(1).clock(|| SECOND)
}

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

fn id(last: u8) -> EventId {
    let mut id = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0];
    id[15] = last;
    EventId(id)
}

fn event() -> NewEvent<'static> {
    NewEvent::new("Added", b"{}")
        .id(id(16))
        .tag("t:9")
        .metadata(b"m")
}

/// The records of the log in `dir`.
fn log(dir: &Path) -> Vec<Vec<u8>> {
    let log = wal::Options::new().open(dir).unwrap();
    let records = log.records(wal::Lsn(1));
    records.map(|record| record.unwrap().payload).collect()
}

/// Writes a log of `records` to `dir`.
fn write_log(dir: &Path, records: &[Vec<u8>]) {
    let options = wal::Options::new().segment_size(8192);
    let log = options.open(dir).unwrap();
    for record in records {
        log.append(record).unwrap();
    }
    log.close().unwrap();
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    let file = Disk::os().open_dir(dir).unwrap().open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn the_documented_bytes_are_read() {
    let dir = fast_dir();
    write_log(
        &dir.path().join("events"),
        &[block("event"), block("tombstone")],
    );
    write_log(
        &dir.path().join("marks"),
        &[
            block("forgotten"),
            block("mark"),
            block("forgotten states"),
            block("state"),
        ],
    );
    let list = Disk::os().open_dir(dir.path()).unwrap().create_new("index");
    list.unwrap().write_all_at(&block("list"), 0).unwrap();
    let store = options().open(dir.path()).unwrap();
    assert!(!store.recovery().list_lost && !store.recovery().created);
    let events: Vec<_> = store.read_all(Position(1)).map(Result::unwrap).collect();
    let [event, tombstone] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (event.stream(), event.kind(), event.id()),
        ("cart-1", "Added", id(16))
    );
    assert!(event.tags().eq(["t:9"]));
    assert_eq!((event.metadata(), event.payload()), (&b"m"[..], &b"{}"[..]));
    assert_eq!(event.source(), Some(("q", 7)));
    assert_eq!(event.timestamp_micros(), SECOND);
    assert!(tombstone.is_tombstone() && tombstone.id() == id(32));
    assert_eq!(tombstone.version(), Version(2));
    assert_eq!(store.subscriptions(), [("billing".to_owned(), Position(1))]);
    let orders = store.project::<Orders>(Project::new()).unwrap();
    assert_eq!(orders.position(), Position(1));
    assert_eq!(orders.read(|orders| orders.0).unwrap(), 1);
    assert!(store.verify().unwrap().damage.is_empty());
}

/// How many events it was given, as a digit.
#[derive(Default)]
struct Orders(u8);

impl Projection for Orders {
    const NAME: &'static str = "orders";
    const VERSION: u32 = 5;

    fn apply(&mut self, _event: &Event) -> Result<(), Failure> {
        self.0 += 1;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        std::str::from_utf8(state).ok()?.parse().ok().map(Self)
    }
}

#[test]
fn the_documented_bytes_are_written() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store
        .write(&one("cart-1", Expected::Any, event()).source("q", 7))
        .unwrap();
    store.sync().unwrap();
    let mut billing = store.subscribe(Subscribe::new().named("billing")).unwrap();
    billing.try_next().unwrap().unwrap();
    billing.acknowledge().unwrap();
    store.forget_subscription("billing").unwrap();
    let orders = store.project::<Orders>(Project::new()).unwrap();
    orders.catch_up().unwrap();
    orders.save().unwrap();
    drop(orders);
    store.forget_projection("orders").unwrap();
    store.tombstone("cart-1", Expected::Any).unwrap();
    drop(billing);
    store.close().unwrap();
    let events = log(&dir.path().join("events"));
    assert_eq!(events[0], block("event"));
    // But for its id, which was drawn.
    let mut tombstone = events[1].clone();
    tombstone[8..24].copy_from_slice(&id(32).0);
    assert_eq!(tombstone, block("tombstone"));
    let marks = log(&dir.path().join("marks"));
    let documented = ["mark", "forgotten", "state", "forgotten states"];
    assert_eq!(marks, documented.map(block));
}

#[test]
fn a_new_list_is_as_documented_but_for_its_key() {
    let dir = fast_dir();
    drop(options().open(dir.path()).unwrap());
    let (made, documented) = (read(dir.path(), "index"), block("list"));
    assert_eq!(made.len(), documented.len());
    for range in [0..12, 32..48] {
        assert_eq!(made[range.clone()], documented[range]);
    }
}

#[test]
fn a_part_is_as_documented() {
    let dir = fast_dir();
    let store = options().open(dir.path()).unwrap();
    store.append("cart-1", Expected::Any, [event()]).unwrap();
    settle(&store);
    let part = read(dir.path(), "0000000000000001.part");
    // Header, and one block each of filter, directory, postings, places and runs.
    assert_eq!(part.len(), 6 * 512);
    assert_eq!(part[..12], *b"evstpart\x01\0\0\0");
    let number = |at: usize| u64::from_le_bytes(part[at..at + 8].try_into().unwrap());
    let list = read(dir.path(), "index");
    assert_eq!(list[48..56], part[24..32], "the number");
    assert_eq!(list[56..64], part[16..24], "the id");
    assert_eq!((number(32), number(40)), (1, 1));
    assert_eq!(part[48..64], id(16).0);
    // Stream, category, type, tag and id; the stream's list is a version and the event.
    assert_eq!((number(72), number(80), number(88)), (5, 3, 1));
    let directory = &part[2 * 512..][..5 * 24];
    let streams = directory.chunks(24).filter(|entry| entry[23] == 0x80);
    assert_eq!(streams.count(), 1);
    assert_eq!(part[3 * 512..][..12], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}
