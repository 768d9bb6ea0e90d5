//! Small event stores to be damaged. Each was closed, so that the mark of its log says of every event that it was
//! durable: none may vanish without a word.

use crashtest::{Outcome, Span, Specimen, files, write};
use durable_io::SyncMode;

use super::EVENT_STORE;
use crate::engines::log_probe::not_zero;

const DIR: &str = "/event-store";

/// Every key that a specimen has or had.
pub(super) const KEYS: [&str; 4] = ["a", "b", "c", "probe"];

/// Names, and what is done: the events are in parts of the index, or read at opening; a reader has acknowledged.
const STORES: [(&str, &str); 4] = [
    (
        "indexed",
        "put a 500, settle, batch b 150 a, put c 380, settle, put a 20, close",
    ),
    (
        "merged",
        "put a 500, settle, put b 500, settle, put c 500, settle, put a 450, settle, delete c, close",
    ),
    (
        "not indexed",
        "put a 30, acknowledge, batch b 120 a, put c 0, acknowledge, close",
    ),
    (
        "projected",
        "put a 30, acknowledge, project, put b 20, project, put c 0, close",
    ),
];

/// The stores that are damaged.
pub(super) fn all() -> Outcome<Vec<Specimen>> {
    let stores = STORES.into_iter().map(|(name, script)| {
        let written = write(&EVENT_STORE, DIR, SyncMode::Always, script)?;
        let files = files(DIR, &written.world);
        let used = files.iter().flat_map(|(name, bytes)| used(name, bytes));
        Ok(written.specimen(name, DIR).used(used.collect()))
    });
    stores.collect()
}

/// The bytes of file `name` that hold something and are not those of a log: of a log each is changed in one way
/// only, since its own specimens are changed in all.
fn used(name: &str, bytes: &[u8]) -> Vec<Span> {
    if name.contains('/') {
        return Vec::new();
    }
    not_zero(name, bytes)
}
