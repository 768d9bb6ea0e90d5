//! The branches of recovery: each must be taken in some crash state.

use btree::Recovery;
use crashtest::Probe;
use durable_io::Disk;

use super::DIR;

/// The branches of opening a store that a crash may have left (`btree/FORMAT.md`, section 8).
pub(crate) static PROBES: [Probe; 7] = [
    Probe::new("there is no store"),
    Probe::new("its creation was interrupted, and begins again"),
    Probe::new("its creation was interrupted before there was a log"),
    Probe::new("the log has a torn end"),
    Probe::new("the slots differ"),
    Probe::new("records are applied"),
    Probe::new("the log has records that the slots make needless"),
];

/// What a crash has left: whether there are files at all, the page file, and the log.
pub(super) fn left(disk: &Disk) -> [bool; 3] {
    // What cannot be looked at is as good as nothing: the opening that follows says so.
    let listed = disk.open_dir(DIR).and_then(|dir| dir.list());
    let listed = listed.unwrap_or_else(|_error| Vec::new());
    let has = |name| listed.iter().any(|entry| entry.name == name);
    [!listed.is_empty(), has("pages"), has("log")]
}

/// Notes which branches an opening took that found what is `left`.
pub(super) fn note([is_begun, has_pages, has_log]: [bool; 3], recovery: &Recovery) {
    let taken = [
        recovery.created && !is_begun,
        recovery.created && is_begun,
        has_pages && !has_log,
        recovery.torn_bytes > 0,
        recovery.repaired_slot,
        recovery.replayed_records > 0,
        recovery.needless_records > 0,
    ];
    for (probe, taken) in PROBES.iter().zip(taken) {
        probe.note(taken);
    }
}
