//! What the bytes of a write-ahead log say, found without the engine, by the tables of `wal/FORMAT.md`.

use std::ops::Range;

use crashtest::{Held, Piece, Root, Span, Specimen, Written};
use durable_io::codec::Decoder;

const SEGMENT_HEADER: usize = 64;
const GROUP_HEADER: usize = 32;
/// Bytes of a slot before the length of its note.
const SLOT: usize = 136;
const SLOTS: [usize; 2] = [0, 4096];

/// What a log says. A step of its history is a record's position.
pub(super) struct LogProbe {
    /// One for each group.
    pub(super) pieces: Vec<Piece>,
    /// The slots of the superblock, the newest first.
    pub(super) slots: Vec<SuperblockSlot>,
    /// The first record that is there, retained or not.
    pub(super) first: Option<u64>,
    /// What was ever written to.
    pub(super) used: Vec<Span>,
    /// What holds no retained record.
    pub(super) given_up: Vec<Span>,
}

impl LogProbe {
    /// Of the log of `files`, by their names and bytes, whose first retained record is `low`.
    pub(super) fn of(files: Vec<(String, Vec<u8>)>, low: u64) -> Self {
        let mut probe = Self {
            pieces: Vec::new(),
            slots: Vec::new(),
            first: None,
            used: Vec::new(),
            given_up: Vec::new(),
        };
        for (file, bytes) in files {
            if file.ends_with("mark") {
                probe.slots = slots(&file, &bytes);
                let used = SLOTS.map(|at| Span::new(&file, slot_range(&bytes, at)));
                probe.used.extend(used);
            } else {
                probe.segment(&file, &bytes, low);
            }
        }
        probe
    }

    fn segment(&mut self, file: &str, bytes: &[u8], low: u64) {
        self.used.push(Span::new(file, 0..SEGMENT_HEADER));
        // A change between two groups hides what follows, and one of the segment's header all of it.
        let (mut end, mut dead) = (0, SEGMENT_HEADER);
        for group in groups(bytes) {
            let first = self.first.unwrap_or(group.first);
            self.first = Some(first.min(group.first));
            self.used.push(Span::new(file, group.bytes.clone()));
            if group.last < low {
                dead = group.bytes.end.next_multiple_of(8);
            }
            self.pieces.push(Piece {
                span: Span::new(file, end..group.bytes.end),
                header: group.bytes.start..group.bytes.start + GROUP_HEADER,
                step: group.last,
                witness: group.witness,
            });
            end = group.bytes.end;
        }
        self.given_up.push(Span::new(file, SEGMENT_HEADER..dead));
    }
}

struct Group {
    bytes: Range<usize>,
    first: u64,
    last: u64,
    /// What its header says was durable.
    witness: u64,
}

/// The groups of the segment `bytes`, which is whole.
fn groups(bytes: &[u8]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut at = SEGMENT_HEADER;
    while let Some(group) = bytes.get(at..).and_then(|bytes| group(at, bytes)) {
        at = group.bytes.end.next_multiple_of(8);
        groups.push(group);
    }
    groups
}

fn group(at: usize, bytes: &[u8]) -> Option<Group> {
    let mut decoder = Decoder::new(bytes);
    let _check = decoder.u32()?;
    let len = decoder.u32()? as usize;
    let count = u64::from(decoder.u32()?);
    let _epoch = decoder.u32()?;
    let first = decoder.u64()?;
    // After the first record; 0 says nothing.
    let back = decoder.u64()? & 0x00FF_FFFF;
    let witness = if back == 0 {
        0
    } else {
        first.checked_sub(back)?
    };
    (count > 0).then(|| Group {
        bytes: at..at + GROUP_HEADER + len,
        first,
        last: first + count - 1,
        witness,
    })
}

/// One of the two slots of a superblock.
pub(super) struct SuperblockSlot {
    pub(super) span: Span,
    sequence: u64,
    /// The last record that it says was durable.
    pub(super) witness: u64,
    /// The first retained record.
    pub(super) low: u64,
}

/// Where the slot at `at` is in the superblock `bytes`, with its note.
fn slot_range(bytes: &[u8], at: usize) -> Range<usize> {
    let len = bytes
        .get(at + SLOT..)
        .and_then(|bytes| Decoder::new(bytes).u32());
    at..at + SLOT + 4 + len.map_or(0, |len| len as usize)
}

/// The slots of the superblock `bytes`, which is the file `file`, of which at least one was written whole; the newest
/// first.
fn slots(file: &str, bytes: &[u8]) -> Vec<SuperblockSlot> {
    let slot = |at: usize| {
        let mut decoder = Decoder::new(bytes.get(at..)?);
        let _check_and_version = decoder.u64()?;
        let _log_id = decoder.u64()?;
        let sequence = decoder.u64()?;
        let witness = decoder.u64()?;
        let _low_segment = decoder.u64()?;
        let low = decoder.u64()?;
        (sequence > 0).then(|| SuperblockSlot {
            span: Span::new(file, slot_range(bytes, at)),
            sequence,
            witness,
            low,
        })
    };
    let mut slots: Vec<_> = SLOTS.into_iter().filter_map(slot).collect();
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.sequence));
    slots
}

/// So many zeros in a row were never written to, or are the same everywhere.
const RUN: usize = 16;

/// The bytes of file `name` that hold something: all but long runs of zeros.
pub(super) fn not_zero(name: &str, bytes: &[u8]) -> Vec<Span> {
    let runs = bytes.chunks(RUN).enumerate();
    let runs = runs.filter(|(_, run)| run.iter().any(|&byte| byte != 0));
    let span = |(nth, run): (usize, &[u8])| Span::new(name, nth * RUN..nth * RUN + run.len());
    runs.map(span).collect()
}

/// The store that was `written` to `dir`, whose process died: each operation is a group of its log, which is
/// `log`. `others` say of the records up to `kept` that they were durable; `used` is what was written elsewhere.
pub(super) fn killed(
    (name, dir): (&'static str, &'static str),
    written: Written,
    log: Vec<(String, Vec<u8>)>,
    (kept, others): (u64, Vec<Span>),
    mut used: Vec<Span>,
) -> Specimen {
    let probe = LogProbe::of(log, kept + 1);
    let steps = written.history.len() as u64 - 1;
    let lasts: Vec<u64> = probe.pieces.iter().map(|piece| piece.step).collect();
    let step = |lsn: u64| steps - lasts.iter().filter(|&&last| last > lsn).count() as u64;
    let held = written.history.into_iter().zip(0..);
    let held = held.map(|(contents, step)| Held::new(step, contents));
    let held: Vec<_> = held.filter(|held| held.step >= step(kept)).collect();
    let root = |span, witness| Root {
        span,
        witness: step(witness),
        history: held.clone(),
    };
    let slots = probe.slots.into_iter();
    let mut roots: Vec<_> = slots.map(|slot| root(slot.span, slot.witness)).collect();
    roots.extend(others.into_iter().map(|span| root(span, kept)));
    let pieces = probe.pieces.into_iter().map(|piece| Piece {
        step: step(piece.step),
        witness: step(piece.witness),
        ..piece
    });
    used.extend(probe.used);
    Specimen::new(name, dir, &written.world, written.earlier, roots)
        .pieces(pieces.collect())
        .used(used)
        .given_up(probe.given_up)
}
