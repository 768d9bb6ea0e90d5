//! The states of a log from which the short sequences of operations begin.

use durable_io::sim::{Keep, Start, StartStep};

use super::alphabet::{Alphabet, Op};

/// Those of `alphabet`.
pub(super) fn starts(alphabet: Alphabet) -> Vec<Start<Op>> {
    use StartStep::{CrashDuring, Do};
    if alphabet == Alphabet::Truncation {
        let scripts: [(_, &[Op]); 4] = [
            ("just checkpointed", &[Op::AppendBatch, Op::Checkpoint]),
            ("truncated to empty", &[Op::AppendBatch, Op::Empty]),
            (
                "two segments, the newer one truncated",
                &[Op::AppendBatch, Op::Rotate, Op::Submit, Op::TruncateNewest],
            ),
            (
                "a segment with truncated records",
                &[
                    Op::AppendBatch,
                    Op::Rotate,
                    Op::Submit,
                    Op::TruncateNewest,
                    Op::TruncateNewest,
                ],
            ),
        ];
        let start = |(name, ops): (_, &[Op])| Start {
            name,
            script: ops.iter().copied().map(Do).collect(),
        };
        return scripts.into_iter().map(start).collect();
    }
    if alphabet == Alphabet::Large {
        let script = [Op::AppendSmall, Op::Background, Op::Background];
        return vec![Start {
            name: "the next segment is ready",
            script: script.map(Do).into(),
        }];
    }
    vec![
        Start {
            name: "two segments, the older one dead",
            script: vec![
                Do(Op::AppendLarge),
                Do(Op::Rotate),
                Do(Op::AppendSmall),
                Do(Op::Truncate),
            ],
        },
        Start {
            name: "a batch torn at a segment's end",
            script: vec![
                Do(Op::AppendLarge),
                CrashDuring(Op::AppendBatch, Keep::AllBut(0)),
            ],
        },
        Start {
            name: "after a recovery that zeroed a tail",
            script: vec![
                Do(Op::AppendSmall),
                CrashDuring(Op::AppendLarge, Keep::AllBut(1)),
            ],
        },
    ]
}
