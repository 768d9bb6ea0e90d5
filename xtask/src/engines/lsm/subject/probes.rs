//! The branches of recovery: each must be taken in some crash state.

use crashtest::Probe;
use durable_io::Disk;
use durable_io::sim::Outcome;
use lsm::{Error, KeyspaceOptions, Lsm, Recovery};

/// The branches of opening a store that a crash may have left (`lsm/FORMAT.md`, section 7).
pub(crate) static PROBES: [Probe; 10] = [
    Probe::new("there is no store"),
    Probe::new("its creation was interrupted, and begins again"),
    Probe::new("the log has a torn end"),
    Probe::new("a record is read into a memtable"),
    Probe::new("a record is in a table"),
    Probe::new("a record is of a keyspace that is gone"),
    Probe::new("a memtable is full, and flushed"),
    Probe::new("a table that no edit names"),
    Probe::new("a table that was not finished"),
    Probe::new("an interrupted edit of several parts"),
];

/// How many unfinished tables a crash has left, and whether there is a log.
pub(super) fn left(disk: &Disk) -> (u64, bool) {
    // What cannot be looked at is as good as nothing: the opening that follows says so.
    let list = |dir| disk.open_dir(dir).and_then(|dir| dir.list());
    let tables = list("/lsm/tables").unwrap_or_else(|_error| Vec::new());
    let unfinished = tables.iter().filter(|entry| entry.name.starts_with('~'));
    (unfinished.count() as u64, list("/lsm/log").is_ok())
}

/// Notes which branches an opening took that found what is `left`.
pub(super) fn note((unfinished, has_log): (u64, bool), recovery: &Recovery) {
    let taken = [
        recovery.created && !has_log,
        recovery.created && has_log,
        recovery.torn_bytes > 0,
        recovery.replayed_records > 0,
        recovery.passed_records > 0,
        recovery.gone_records > 0,
        recovery.flushes > 0,
        recovery.removed_files > unfinished,
        unfinished > 0,
        recovery.cut_edits > 0,
    ];
    for (probe, taken) in PROBES.iter().zip(taken) {
        probe.note(taken);
    }
}

/// Keyspaces with names of this length make a snapshot of the manifest longer than a record.
const LONG: usize = 250;

pub(super) fn is_long(name: &str) -> bool {
    name.len() == LONG
}

/// Creates those keyspaces that are not there yet.
pub(super) fn make_manifest_long(store: &Lsm) -> Outcome<()> {
    for digit in ["1", "2", "3", "4"] {
        match store.create_keyspace(&digit.repeat(LONG), &KeyspaceOptions::new()) {
            Ok(_) | Err(Error::KeyspaceExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
