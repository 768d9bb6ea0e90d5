//! Small stores to be damaged. Of one that was closed no damage may take anything without a word; of one whose
//! process was killed, at most what the end of its log alone knows of.

use crashtest::{Held, Outcome, Piece, Root, Span, Specimen, Written, files, write};
use durable_io::SyncMode;

use crate::engines::log_facts::LogFacts;

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
        let used = all_used(&written);
        specimens.push(written.specimen(name, DIR).sees_removal().used(used));
    }
    specimens.push(killed("killed", written(FILL)?));
    // What the manifest says last, nothing behind it witnesses; but the log is given up on its word.
    let flushed = format!("{FILL}, flush");
    specimens.push(killed("killed after a flush", written(&flushed)?));
    Ok(specimens)
}

/// The store that was `written`, whose process was killed, and whose log has one segment.
fn killed(name: &'static str, written: Written) -> Specimen {
    let used = all_used(&written);
    let Written {
        world,
        earlier,
        history,
    } = written;
    let (mut log, mut manifest) = (files(DIR, &world), files(DIR, &world));
    log.retain(|(name, _)| name.starts_with("log/"));
    manifest.retain(|(name, _)| name.starts_with("manifest/") && !name.ends_with("mark"));
    let marked = LogFacts::of(log.clone(), 0);
    let low = marked.slots.first().map(|slot| slot.low);
    let low = low.expect("a log has a mark");
    let facts = LogFacts::of(log, low);
    // Each operation is a group.
    let lasts: Vec<u64> = facts.pieces.iter().map(|piece| piece.step).collect();
    let step = |lsn: u64| lasts.iter().filter(|&&last| last <= lsn).count() as u64;
    assert_eq!(lasts.len() + 1, history.len(), "a log of one segment");
    let held = history.into_iter().zip(0..);
    let held = held.map(|(contents, step)| Held::new(step, contents));
    let held: Vec<_> = held.filter(|held| held.step >= step(low - 1)).collect();
    let root = |span, witness| Root {
        span,
        witness: step(witness),
        history: held.clone(),
    };
    let slots = facts.slots.into_iter();
    let slots = slots.map(|slot| root(slot.span, slot.witness));
    // The manifest knows of what is in tables, which is all that was given up of the log.
    let manifest = manifest.iter();
    let manifest = manifest.map(|(name, bytes)| root(Span::new(name, 0..bytes.len()), low - 1));
    let roots = slots.chain(manifest).collect();
    let pieces = facts.pieces.into_iter().map(|piece| Piece {
        step: step(piece.step),
        witness: step(piece.witness),
        ..piece
    });
    Specimen::new(name, DIR, &world, earlier, roots)
        .pieces(pieces.collect())
        .sees_removal()
        .used(used)
        .given_up(facts.given_up)
}

fn all_used(written: &Written) -> Vec<Span> {
    let files = files(DIR, &written.world).into_iter();
    files
        .flat_map(|(name, bytes)| used(&name, &bytes))
        .collect()
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
