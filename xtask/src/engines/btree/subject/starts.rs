//! The starting states: places that three letters from an empty disk do not reach.

use durable_io::sim::{Keep, Start, StartStep};

use super::{Alphabet, Op};

/// Ends with so much in the log that a checkpoint is due. What it writes has taken the place of pages that the
/// slots name.
const DUE: &[Op] = &[
    Op::Split,
    Op::Checkpoint,
    Op::TwoTables,
    Op::Merge,
    Op::Split,
];

/// Those from which the sequences of `alphabet` begin.
pub(super) fn of(alphabet: Alphabet) -> Vec<Start<Op>> {
    use StartStep::{CrashDuring, Do, Kill};
    let script = |ops: &[Op]| ops.iter().copied().map(Do).collect::<Vec<_>>();
    let due = |steps: &[Op]| script(&[DUE, steps].concat());
    let begun = || Start {
        name: "a checkpoint in the middle",
        script: due(&[Op::Begin]),
    };
    match alphabet {
        Alphabet::Sectors => vec![Start {
            name: "a log that continues in the next sector",
            script: script(&[Op::Put; 4]),
        }],
        Alphabet::Slots => vec![Start {
            name: "pages are written, the slots are not",
            script: due(&[Op::Begin, Op::Background]),
        }],
        Alphabet::Barriers => vec![begun()],
        Alphabet::Backup => vec![
            begun(),
            Start {
                name: "free pages between those of three levels",
                script: script(&[Op::Fill, Op::DeleteRange, Op::PutLarge, Op::Checkpoint]),
            },
        ],
        Alphabet::Data => vec![
            begun(),
            Start {
                name: "a checkpoint interrupted before it counted",
                script: [
                    due(&[Op::Begin, Op::Background]),
                    vec![CrashDuring(Op::Background, Keep::Everything)],
                ]
                .concat(),
            },
        ],
        Alphabet::Tables => vec![
            Start {
                name: "three levels",
                script: script(&[Op::Fill, Op::Split]),
            },
            Start {
                name: "a free list longer than a page",
                script: script(&[Op::Holes]),
            },
            Start {
                name: "a reader pins an old root",
                script: script(&[
                    Op::Fill,
                    Op::TwoTables,
                    Op::Reader,
                    Op::DeleteRange,
                    Op::Checkpoint,
                ]),
            },
            Start {
                name: "killed, with everything in the log",
                script: [
                    script(&[
                        Op::PutLarge,
                        Op::Savepoint,
                        Op::PutLarge,
                        Op::TwoTables,
                        Op::Rename,
                        Op::DropTable,
                    ]),
                    vec![Kill],
                    script(&[Op::DropTable, Op::TwoTables]),
                ]
                .concat(),
            },
            Start {
                name: "killed, with a log to apply",
                script: [script(&[Op::Split, Op::TwoTables]), vec![Kill]].concat(),
            },
        ],
    }
}
