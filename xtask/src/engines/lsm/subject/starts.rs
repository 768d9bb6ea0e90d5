//! The starting states: places that four letters from an empty disk do not reach.

use durable_io::SyncMode;
use durable_io::sim::{Keep, Start, StartStep};

use super::{Alphabet, Op};

/// A table that is newer than a range tombstone; then one that a reader sees, and one of which the last key is
/// not covered, below another one.
const COVERED: &[Op] = &[
    Op::Put("a"),
    Op::Flush,
    Op::DeleteRange("a", "c"),
    Op::Flush,
    Op::Put("a"),
    Op::Flush,
    Op::Background,
    Op::Background,
    Op::Background,
    Op::Snapshot,
    Op::Put("a"),
    Op::Put("c"),
    Op::Flush,
    Op::DeleteRange("a", "c"),
    Op::Flush,
    Op::Background,
    Op::Background,
    Op::Snapshot,
];

/// Those from which the sequences of `alphabet` begin, of a store in `mode`.
pub(super) fn of(alphabet: Alphabet, mode: SyncMode) -> Vec<Start<Op>> {
    use StartStep::{CrashDuring, Do};
    let script = |ops: &[Op]| ops.iter().copied().map(Do).collect::<Vec<_>>();
    let due = [
        Op::PutLarge("b"),
        Op::Put("a"),
        Op::Flush,
        Op::Put("a"),
        Op::Flush,
        Op::Delete("a"),
        Op::Flush,
        Op::Put("c"),
        Op::Flush,
        // Segments of the log that are made ready come first.
        Op::Background,
        Op::Background,
    ];
    let interrupted = |keep| [script(&due), vec![CrashDuring(Op::Background, keep)]].concat();
    let mut starts = vec![
        Start {
            name: "two levels, and a tombstone over an older value",
            script: script(&[Op::Put("a"), Op::Compact, Op::Delete("a"), Op::Flush]),
        },
        Start {
            name: "two flushes of one keyspace are due",
            script: script(&[
                Op::PutLarge("a"),
                Op::PutLarge("b"),
                Op::Put("c"),
                Op::PutLarge("a"),
                Op::PutLarge("b"),
            ]),
        },
        Start {
            name: "a compaction interrupted in the middle",
            script: interrupted(Keep::Everything),
        },
        Start {
            // It has two segments: the next flush of all gives the first one up.
            name: "two keyspaces that pin the log",
            script: script(&[
                Op::DropOrCreate,
                Op::Batch,
                Op::Put("a"),
                Op::Batch,
                Op::Batch,
                Op::Batch,
            ]),
        },
        Start {
            // Records of a keyspace that is gone are in the log when there is another one.
            name: "a manifest about to rotate",
            script: script(&[
                Op::DropOrCreate,
                Op::Batch,
                Op::DropOrCreate,
                Op::DropOrCreate,
                Op::DropOrCreate,
                Op::Put("a"),
            ]),
        },
    ];
    match alphabet {
        Alphabet::Log => starts.clear(),
        Alphabet::Backup => starts.retain(|start| start.name.starts_with("two ")),
        // The first edit after an opening is a snapshot.
        Alphabet::Manifest => {
            starts = vec![Start {
                name: "a long manifest, with the other keyspace at its end",
                script: script(&[Op::DropOrCreate, Op::Put("a"), Op::Close]),
            }];
        }
        _ => {}
    }
    if alphabet == Alphabet::Rest {
        starts.retain(|start| start.name != "two keyspaces that pin the log");
    }
    if alphabet == Alphabet::Rest && mode == SyncMode::Always {
        starts.push(Start {
            name: "range tombstones, above and below what they cover",
            script: script(COVERED),
        });
    }
    starts
}
