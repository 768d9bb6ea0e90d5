//! Small event stores to be damaged. Each was closed, so that the mark of its log says of every event that it
//! was durable.

use crashtest::{Change, Contents, Engine, Held, Outcome, Root, Setting, Span, Specimen};
use durable_io::sim::{SimDisk, World};

use super::EventStoreEngine;

const DIR: &str = "/event-store";
const SIZE: u64 = 2048;
const KEYS: usize = 5;

/// Where the two copies of the log's mark stand (`wal/FORMAT.md`, section 4).
const MARK: &str = "events/mark";
const SLOTS: [usize; 2] = [0, 4096];
const SLOT: usize = 128;

fn key(nth: usize) -> Vec<u8> {
    format!("{nth}").into_bytes()
}

/// Every key that a specimen has or had.
pub(super) fn keys() -> impl Iterator<Item = Vec<u8>> {
    (0..KEYS).map(key)
}

/// Names, and whether what is due is done for the index: the events are in parts, or read at opening.
const STORES: [(&str, bool); 2] = [("indexed", true), ("not indexed", false)];

/// The stores that are damaged.
pub(super) fn all() -> Outcome<Vec<Specimen>> {
    STORES
        .into_iter()
        .map(|(name, is_indexed)| specimen(name, is_indexed))
        .collect()
}

fn changes(step: usize) -> Vec<Change> {
    let count = u8::try_from(step + 1).unwrap_or(u8::MAX);
    let value = |len| Some(vec![count; len]);
    match step {
        2 => vec![(key(0), value(500)), (key(1), None), (key(2), value(7))],
        4 => vec![(key(2), None)],
        6 => vec![(key(3), value(0)), (key(4), value(150))],
        _ => vec![(key(step % KEYS), value(30 + 90 * (step % 3)))],
    }
}

fn specimen(name: &'static str, is_indexed: bool) -> Outcome<Specimen> {
    let disk = SimDisk::new();
    let setting = Setting::new(disk.disk(), DIR, SIZE);
    let store = EventStoreEngine.open(&setting)?;
    let mut now = Contents::new();
    let mut history = vec![Held::new(0, now.clone())];
    let mut earlier: Vec<World> = Vec::new();
    for step in 0..9 {
        let changes = changes(step);
        store.apply(&changes)?;
        for (key, value) in changes {
            match value {
                Some(value) => drop(now.insert(key, value)),
                None => drop(now.remove(&key)),
            }
        }
        history.push(Held::new(step as u64 + 1, now.clone()));
        if is_indexed {
            while store.maintain()? {}
        }
        earlier.push(disk.world());
    }
    let witness = history.len() as u64 - 1;
    store.close()?;
    let root = |at: usize| Root {
        span: Span::new(MARK, at..at + SLOT),
        witness,
        history: history.clone(),
    };
    let roots = SLOTS.map(root).to_vec();
    Ok(Specimen::new(name, DIR, &disk.world(), earlier, roots))
}
