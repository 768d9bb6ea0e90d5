//! Small stores to be damaged. Of one that was closed no damage may take anything without a word; of one whose
//! process was killed, at most what the end of its log alone knows of.

use crashtest::{Outcome, Span, Specimen, Written, files, write};
use durable_io::SyncMode;

use crate::engines::log_probe::{LogProbe, killed, not_zero};

const DIR: &str = "/lsm";

/// Tables of both keyspaces, one above the other, with tombstones of both kinds; and a log after them.
const FILL: &str = "put key-1 60, put key-2 0, put key-3 300, put key-22 9, flush, delete key-1, put key-2 30, \
    delete key-22, batch key-5 10 key-4, flush, put - 20, put key-4 41, delete key-44";

/// Every key that a specimen has or had.
pub(super) const KEYS: [&str; 9] = [
    "", "key-1", "key-2", "key-3", "key-4", "key-5", "key-22", "key-44", "probe",
];

/// The stores that are damaged.
pub(super) fn all() -> Outcome<Vec<Specimen>> {
    let written = |script: &str| write(&super::LSM, DIR, SyncMode::Always, script);
    let mut specimens = Vec::new();
    for (name, script) in [
        ("closed", format!("{FILL}, close")),
        (
            "compacted",
            format!("{FILL}, flush, compact, put key-44 5, close"),
        ),
        ("created", "close".to_owned()),
    ] {
        let written = written(&script)?;
        let used = used(&written);
        specimens.push(written.specimen(name, DIR).sees_removal().used(used));
    }
    specimens.push(of_killed("killed", written(FILL)?));
    // What the manifest says last, nothing after it witnesses; but the log is given up on its word.
    let flushed = format!("{FILL}, flush");
    specimens.push(of_killed("killed after a flush", written(&flushed)?));
    Ok(specimens)
}

/// The store that was `written`, whose process was killed.
fn of_killed(name: &'static str, written: Written) -> Specimen {
    let used = used(&written);
    let is_manifest = |name: &str| name.starts_with("manifest/") && !name.ends_with("mark");
    let mut log = files(DIR, &written.world);
    let manifest = log.iter().filter(|(name, _)| is_manifest(name));
    let manifest = manifest.map(|(name, bytes)| Span::new(name, 0..bytes.len()));
    let manifest = manifest.collect();
    log.retain(|(name, _)| name.starts_with("log/"));
    // What the log has given up is in tables, as the manifest says.
    let low = LogProbe::of(log.clone(), 0)
        .slots
        .first()
        .map(|slot| slot.low);
    let flushed = low.expect("a log has a mark") - 1;
    killed((name, DIR), written, log, (flushed, manifest), used).sees_removal()
}

/// The bytes of which every bit is changed: those of log and manifest that hold something. Of a table one bit of
/// each byte: all of them are what `sstable` is judged by.
fn used(written: &Written) -> Vec<Span> {
    let mut files = files(DIR, &written.world);
    files.retain(|(name, _)| !name.starts_with("tables/"));
    let used = files.iter().flat_map(|(name, bytes)| not_zero(name, bytes));
    used.collect()
}
