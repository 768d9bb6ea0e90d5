//! Small stores to be damaged. Each was closed, so no damage may take anything without a word.

use crashtest::{Outcome, Span, Specimen, files, write};
use durable_io::SyncMode;

const DIR: &str = "/lsm";
/// So many zeros in a row were never written to.
const RUN: usize = 16;

/// Tables of both keyspaces, one above the other, with tombstones of both kinds; and a log behind them.
const FILL: &str = "put key-1 60, put key-2 0, put key-3 300, put key-22 9, flush, delete key-1, put key-2 30, \
    delete key-22, batch key-5 10 key-4, flush, put - 20, put key-4 41, delete key-44";

/// Every key that a specimen has or had.
pub(super) const KEYS: [&str; 9] = [
    "", "key-1", "key-2", "key-3", "key-4", "key-5", "key-22", "key-44", "probe",
];

/// The stores that are damaged.
pub(super) fn all() -> Outcome<Vec<Specimen>> {
    let stores = [
        ("closed", format!("{FILL}, close")),
        (
            "compacted",
            format!("{FILL}, flush, compact, put key-44 5, close"),
        ),
        ("created", "close".to_owned()),
    ];
    let stores = stores.into_iter().map(|(name, script)| {
        let written = write(&super::LSM, DIR, SyncMode::Always, &script)?;
        let files = files(DIR, &written.world).into_iter();
        let used = files
            .flat_map(|(name, bytes)| used(&name, &bytes))
            .collect();
        Ok(written.specimen(name, DIR).sees_removal().used(used))
    });
    stores.collect()
}

/// The bytes of file `name` of which every bit is changed: those of log and manifest that hold something. Of a
/// table one bit of each byte: all of them are what `sstable` is judged by.
fn used(name: &str, bytes: &[u8]) -> Vec<Span> {
    let runs = bytes.chunks(RUN).enumerate();
    let is_used = |run: &[u8]| !name.starts_with("tables/") && run.iter().any(|&byte| byte != 0);
    let runs = runs.filter(|(_, run)| is_used(run));
    let span = |(nth, run): (usize, &[u8])| Span::new(name, nth * RUN..nth * RUN + run.len());
    runs.map(span).collect()
}
