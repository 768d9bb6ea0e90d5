//! Small stores to be damaged. What is true of each is found without the engine, by its bytes and the tables of
//! `btree/FORMAT.md`.

use crashtest::{Outcome, Span, Specimen, Written, files, write};
use durable_io::SyncMode;
use durable_io::codec::Decoder;

use crate::engines::log_probe::{killed, not_zero};

const DIR: &str = "/btree";

/// The first meta slot: its bytes in the page file, and where it names the last record that the trees hold.
const SLOT: std::ops::Range<usize> = 0..1024;
const AT_LSN: usize = 32;

/// Several leaves, a value that has pages of its own, a checkpoint, and older pages.
const FILL: &str = "put - 60, put key-1 60, put key-2 60, put key-3 60, put key-4 60, put key-5 60, put key-6 60, \
    put key-3 700, checkpoint, delete key-5, put key-6 0";

/// Every key that a specimen has or had.
pub(super) const KEYS: [&str; 8] = [
    "", "key-1", "key-2", "key-3", "key-4", "key-5", "key-6", "probe",
];

/// The stores that are damaged.
pub(super) fn all() -> Outcome<Vec<Specimen>> {
    // What the third checkpoint writes takes the places of what the first one wrote.
    let closed = format!("{FILL}, checkpoint, put key-2 60, close");
    let killed = format!("{FILL}, checkpoint, put key-1 30, batch key-2 90 key-4, put - 20");
    let stores = [
        ("closed", closed.as_str()),
        ("killed", &killed),
        // Everything is in the log alone.
        (
            "without a checkpoint",
            "put key-1 40, put key-2 40, delete key-1",
        ),
        ("created", ""),
    ];
    let stores = stores.into_iter().map(|(name, script)| {
        let written = write(&super::BTREE, DIR, SyncMode::Always, script)?;
        Ok(specimen(name, written))
    });
    stores.collect()
}

/// The store that was `written`.
fn specimen(name: &'static str, written: Written) -> Specimen {
    let files = files(DIR, &written.world);
    let (log, pages): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| name != "pages");
    let checkpointed = pages
        .first()
        .and_then(|(_, bytes)| Decoder::new(bytes.get(AT_LSN..)?).u64());
    let checkpointed = checkpointed.expect("a store has a page file with a slot");
    let used = pages.iter().flat_map(|(name, bytes)| not_zero(name, bytes));
    let kept = (checkpointed, vec![Span::new("pages", SLOT)]);
    killed((name, DIR), written, log, kept, used.collect())
}
