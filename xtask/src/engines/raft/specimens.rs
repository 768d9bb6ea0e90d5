//! Small stores to be damaged, as their scripts say.

use crashtest::{Outcome, Span, Specimen, files, write};
use durable_io::SyncMode;

use super::RAFT;
use crate::engines::log_probe::not_zero;

const DIR: &str = "/raft";

/// Closed: the mark of the log says of every record that it was durable, so none may vanish without a word.
const CLOSED: [(&str, &str); 2] = [
    (
        "moved",
        "put a 500, put b 700, destroy, put c 600, purge, settle, delete b, overrule, destroy, put a 400, \
         purge, settle, put b 20, close",
    ),
    ("in parts", "put a 3000, delete b, put c 100, close"),
];

/// The stores that are damaged.
pub(super) fn all() -> Outcome<Vec<Specimen>> {
    let closed = CLOSED.into_iter().map(|(name, script)| {
        let written = write(&RAFT, DIR, SyncMode::Always, script)?;
        let files = files(DIR, &written.world);
        let used = files.iter().flat_map(|(name, bytes)| not_zero(name, bytes));
        let used: Vec<Span> = used.collect();
        Ok(written.specimen(name, DIR).used(used))
    });
    closed.collect()
}
