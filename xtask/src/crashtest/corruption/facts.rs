//! What is true of the undamaged log, found without the engine: by the bytes of the files and the
//! tables of `wal/FORMAT.md`, and by what was appended.

use std::ops::Range;

use durable_io::codec::Decoder;
use durable_io::sim::World;

use super::DIR;
use super::changes::FileFacts;

const SEGMENT_HEADER: usize = 64;
const GROUP_HEADER: usize = 32;
const SLOT: usize = 128;
const SLOTS: [usize; 2] = [0, 4096];

/// The undamaged log.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) name: &'static str,
    /// The files that mean something.
    pub(super) files: Vec<FileFacts>,
    /// The groups, oldest first.
    groups: Vec<Group>,
    /// The valid slots of the mark, the newest first.
    slots: Vec<Slot>,
    /// The first retained record.
    pub(super) low: u64,
    /// The payloads of records 1, 2, …, also of those that are truncated.
    pub(super) payloads: Vec<Vec<u8>>,
}

impl FileFacts {
    pub(super) fn is_mark(&self) -> bool {
        self.name == "mark"
    }
}

#[derive(Debug)]
struct Group {
    /// Its file, as an index.
    file: usize,
    bytes: Range<usize>,
    first: u64,
    last: u64,
    /// What its header says was durable.
    witness: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    at: usize,
    sequence: u64,
    witness: u64,
    low: u64,
}

/// What one change leaves of a log, and so what may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// The changed file, as an index.
    pub(super) file: usize,
    /// Its length now; `None` if it is gone.
    pub(super) len: Option<usize>,
    /// The last record of the groups that end before the first changed byte.
    pub(super) before: u64,
    /// The highest record that an unchanged group header or slot of the mark states as durable.
    pub(super) witness: u64,
    /// The first record by the newest slot that is unchanged; `None` if no slot is.
    pub(super) low: Option<u64>,
    /// Only bytes of groups that are truncated already were changed.
    pub(super) is_given_up: bool,
}

impl Facts {
    pub(super) fn new(name: &'static str, world: &World, low: u64, payloads: Vec<Vec<u8>>) -> Self {
        // Segments in their order, then the mark.
        let files = FileFacts::all(DIR, world);
        let mut facts = Self {
            name,
            files,
            groups: Vec::new(),
            slots: Vec::new(),
            low,
            payloads,
        };
        for (index, file) in facts.files.iter().enumerate() {
            if file.is_mark() {
                facts.slots = slots(&file.bytes);
            } else {
                facts.groups.extend(groups(index, &file.bytes));
            }
        }
        facts
    }

    /// The last record.
    pub(super) fn last(&self) -> u64 {
        self.payloads.len() as u64
    }

    /// The first record whose bytes are there, retained or not; the next one if there is none.
    pub(super) fn lowest(&self) -> u64 {
        self.groups
            .first()
            .map_or(self.last() + 1, |group| group.first)
    }

    /// True if some bytes are there that say which records there were.
    pub(super) fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// True if byte `at` of file `index` was ever written to: a header, a group or a slot.
    pub(super) fn is_used(&self, index: usize, at: usize) -> bool {
        if self.files.get(index).is_some_and(FileFacts::is_mark) {
            return SLOTS.iter().any(|slot| (*slot..slot + SLOT).contains(&at));
        }
        let mut groups = self.groups.iter().filter(|group| group.file == index);
        at < SEGMENT_HEADER || groups.any(|group| group.bytes.contains(&at))
    }

    /// The payload of record `lsn`.
    pub(super) fn payload(&self, lsn: u64) -> Option<&[u8]> {
        let index = usize::try_from(lsn.checked_sub(1)?).ok()?;
        self.payloads.get(index).map(Vec::as_slice)
    }

    /// What is left if file `index` has the bytes `now`.
    pub(super) fn left(&self, index: usize, now: Option<&[u8]>) -> Left {
        let before = self.files.get(index).map_or(&[][..], |file| &file.bytes);
        let bytes = now.unwrap_or_default();
        let same = |range: Range<usize>| {
            bytes.len() >= range.end && bytes.get(range.clone()) == before.get(range)
        };
        let first_changed = before
            .iter()
            .zip(bytes)
            .position(|(old, new)| old != new)
            .unwrap_or(before.len().min(bytes.len()));
        let is_mark = self.files.get(index).is_some_and(FileFacts::is_mark);
        let is_before = |group: &&Group| {
            is_mark
                || group.file < index
                || (group.file == index && group.bytes.end <= first_changed)
        };
        let header = |group: &Group| group.bytes.start..group.bytes.start + GROUP_HEADER;
        let headers = self
            .groups
            .iter()
            .filter(|group| group.file != index || same(header(group)));
        let slots: Vec<Slot> = self
            .slots
            .iter()
            .filter(|slot| !is_mark || same(slot.at..slot.at + SLOT))
            .copied()
            .collect();
        let mut changed =
            (0..before.len().max(bytes.len())).filter(|at| before.get(*at) != bytes.get(*at));
        let given_up = self.given_up(index);
        let none_before = self.low - 1;
        Left {
            file: index,
            len: now.map(<[u8]>::len),
            before: self
                .groups
                .iter()
                .take_while(is_before)
                .map(|group| group.last)
                .fold(if is_mark { self.last() } else { none_before }, u64::max),
            witness: headers
                .map(|group| group.witness)
                .chain(slots.iter().map(|slot| slot.witness))
                .max()
                .unwrap_or(0),
            low: slots.first().map(|slot| slot.low),
            is_given_up: before.len() == bytes.len() && changed.all(|at| given_up.contains(&at)),
        }
    }

    /// Where the groups stand in file `index` that hold nothing but truncated records.
    fn given_up(&self, index: usize) -> Range<usize> {
        let groups = self.groups.iter().filter(|group| group.file == index);
        let end = groups
            .take_while(|group| group.last < self.low)
            .last()
            .map_or(SEGMENT_HEADER, |group| group.bytes.end.next_multiple_of(8));
        SEGMENT_HEADER..end
    }
}

/// The groups of the segment `bytes`, which is whole.
fn groups(file: usize, bytes: &[u8]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut at = SEGMENT_HEADER;
    while let Some(group) = bytes.get(at..).and_then(|bytes| group(file, at, bytes)) {
        at = group.bytes.end.next_multiple_of(8);
        groups.push(group);
    }
    groups
}

fn group(file: usize, at: usize, bytes: &[u8]) -> Option<Group> {
    let mut decoder = Decoder::new(bytes);
    let _check = decoder.u32()?;
    let len = decoder.u32()? as usize;
    let count = u64::from(decoder.u32()?);
    let _epoch = decoder.u32()?;
    let first = decoder.u64()?;
    let witness = decoder.u64()?;
    (count > 0).then(|| Group {
        file,
        bytes: at..at + GROUP_HEADER + len,
        first,
        last: first + count - 1,
        witness,
    })
}

/// The slots of the mark `bytes`, of which at least one was written whole; the newest first.
fn slots(bytes: &[u8]) -> Vec<Slot> {
    let slot = |at: usize| {
        let mut decoder = Decoder::new(bytes.get(at..)?);
        let _check_and_version = decoder.u64()?;
        let _log_id = decoder.u64()?;
        let sequence = decoder.u64()?;
        let witness = decoder.u64()?;
        let _low_segment = decoder.u64()?;
        let low = decoder.u64()?;
        (sequence > 0).then_some(Slot {
            at,
            sequence,
            witness,
            low,
        })
    };
    let mut slots: Vec<Slot> = SLOTS.into_iter().filter_map(slot).collect();
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.sequence));
    slots
}
