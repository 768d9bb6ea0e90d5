//! Making a part of the index: from the log, or from other parts.

use std::sync::Arc;

use durable_io::Dir;
use wal::{Location, Lsn, Wal};

use crate::error::Result;
use crate::event::Event;
use crate::ids::{EventId, Position};
use crate::list::Entry;
use crate::part::Part;
use crate::part::layout::{Header, Listed, Run, Where};
use crate::part::write::{PartWriter, StreamPart};
use crate::tail;
use crate::term::{Key, Term, TermMap};
use crate::view;

/// What is known of the file of a part before it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewFile {
    pub(crate) number: u64,
    pub(crate) id: u64,
}

/// What a part says, gathered from the log.
#[derive(Debug)]
struct Gathered {
    first: Position,
    last: Position,
    last_id: EventId,
    log_bytes: u64,
    entries: Vec<(Term, u32)>,
    streams: TermMap<StreamPart>,
    places: Vec<Where>,
    runs: Vec<Run>,
}

/// Writes the part of the events from `first` to `last`, or of as many of them as take `bytes` in the
/// log; at least of one. They are durable.
pub(crate) fn from_log(
    log: &Wal,
    dir: &Dir,
    file: NewFile,
    key: Key,
    (first, last): (Position, Position),
    bytes: u64,
) -> Result<Entry> {
    let gathered = gather(log, key, (first, last), bytes)?;
    gathered.write(dir, file)
}

fn gather(
    log: &Wal,
    key: Key,
    (first, last): (Position, Position),
    bytes: u64,
) -> Result<Gathered> {
    let mut gathered = Gathered {
        first,
        last: first,
        last_id: EventId::default(),
        log_bytes: 0,
        entries: Vec::new(),
        streams: TermMap::default(),
        places: Vec::new(),
        runs: Vec::new(),
    };
    let mut records = log.records(Lsn(first.0));
    while let Some((location, payload)) = records.read()? {
        let event = view::decode(Position(location.lsn().0), payload.into())?;
        let size = tail::size(&event);
        let is_full = gathered.log_bytes + size > bytes && !gathered.places.is_empty();
        if event.position() > last || is_full {
            break;
        }
        gathered.add(key, &event, &location);
        gathered.log_bytes += size;
    }
    gathered.entries.sort_unstable();
    Ok(gathered)
}

impl Gathered {
    fn add(&mut self, key: Key, event: &Event, location: &Location) {
        let number = u32::try_from(self.places.len()).expect("a part is bounded");
        let stream = key.stream(event);
        self.streams
            .entry(stream)
            .or_insert(StreamPart {
                first_version: event.version().0,
                is_ended: false,
            })
            .is_ended = event.is_tombstone();
        self.entries.push((stream, number));
        let others = key.others(event).into_iter();
        self.entries.extend(others.map(|term| (term, number)));
        let (run, place) = parse(location);
        let follows = self
            .runs
            .last()
            .is_some_and(|last| (last.segment, last.epoch) == (run.segment, run.epoch));
        if !follows {
            self.runs.push(run);
        }
        self.places.push(place);
        self.last = event.position();
        self.last_id = event.id();
    }

    fn write(&self, dir: &Dir, file: NewFile) -> Result<Entry> {
        let groups = || self.entries.chunk_by(|one, other| one.0 == other.0);
        let listed = |group: &[(Term, u32)]| {
            let (term, start) = *group.first().expect("a group has an entry");
            let stream = self.streams.get(&term);
            Listed {
                term,
                start,
                count: u32::try_from(group.len()).expect("a part is bounded"),
                is_stream: stream.is_some(),
                is_ended: stream.is_some_and(|stream| stream.is_ended),
            }
        };
        let header = Header {
            entry: Entry {
                number: file.number,
                id: file.id,
                first: self.first,
                last: self.last,
            },
            last_id: self.last_id,
            log_bytes: self.log_bytes,
            terms: groups().count() as u64,
            postings: groups().map(|group| listed(group).postings()).sum(),
            runs: self.runs.len() as u64,
        };
        let mut writer = PartWriter::create(dir, header)?;
        for group in groups() {
            let Listed { term, count, .. } = listed(group);
            let stream = self.streams.get(&term).copied();
            let numbers = group.iter().map(|(_, number)| Ok(*number));
            writer.term(term, stream, count, numbers)?;
        }
        for place in &self.places {
            writer.place(place)?;
        }
        self.runs.iter().try_for_each(|run| writer.run(run))?;
        writer.finish()?;
        Ok(header.entry)
    }
}

/// What a location says: the run that begins with it, and the place in the segment.
fn parse(location: &Location) -> (Run, Where) {
    let bytes = location.to_bytes();
    let mut decoder = durable_io::codec::Decoder::new(&bytes);
    let wide = [(); 2].map(|()| decoder.u64());
    let narrow = [(); 4].map(|()| decoder.u32());
    let ([Some(lsn), Some(segment)], [Some(offset), Some(len), Some(epoch), Some(group)]) =
        (wide, narrow)
    else {
        unreachable!("a location is two numbers of 8 bytes and four of 4");
    };
    let run = Run {
        first: Position(lsn),
        segment,
        epoch,
    };
    let place = Where { offset, len, group };
    (run, place)
}

/// Writes the part that covers what `parts`, neighbours in their order, cover.
///
/// # Errors
/// [`Damaged`](Merged::Damaged) if one of them cannot be used.
pub(crate) fn from_parts(dir: &Dir, file: NewFile, parts: &[Arc<Part>]) -> Result<Merged> {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
        unreachable!("a merge has parts");
    };
    for part in parts {
        // First, so that what is read below is what was written there.
        if part.check_all().is_err() {
            return Ok(Merged::Damaged(part.header().entry.number));
        }
    }
    let (mut terms, mut postings) = (0, 0);
    each_term(parts, |_, found| {
        terms += 1;
        postings += merged(found).postings();
        Ok(())
    })?;
    let runs = runs(parts)?;
    let header = Header {
        entry: Entry {
            number: file.number,
            id: file.id,
            first: first.first(),
            last: last.header().entry.last,
        },
        last_id: last.header().last_id,
        log_bytes: parts.iter().map(|part| part.header().log_bytes).sum(),
        terms,
        postings,
        runs: runs.len() as u64,
    };
    let mut writer = PartWriter::create(dir, header)?;
    let of = |nth: usize| parts.get(nth).expect("a term is found in a part");
    each_term(parts, |term, found| {
        let Listed {
            count,
            is_stream,
            is_ended,
            ..
        } = merged(found);
        let stream = match found.first() {
            Some((nth, listed)) if is_stream => Some(StreamPart {
                first_version: of(*nth).postings(*listed).first_version()?,
                is_ended,
            }),
            _ => None,
        };
        let numbers = found.iter().flat_map(|(nth, listed)| {
            let part = of(*nth);
            let base = part.first().0 - first.first().0;
            let postings = part.postings(*listed);
            (0..postings.len()).map(move |nth| {
                let number = u64::from(postings.number(nth)?) + base;
                Ok(u32::try_from(number).expect("the policy bounds a part"))
            })
        });
        writer.term(term, stream, count, numbers)
    })?;
    for part in parts {
        let Entry { first, last, .. } = part.header().entry;
        for position in first.0..=last.0 {
            writer.place(&part.place(Position(position))?)?;
        }
    }
    runs.iter().try_for_each(|run| writer.run(run))?;
    writer.finish()?;
    Ok(Merged::Written(header.entry))
}

/// What became of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    Written(Entry),
    /// The part with this number is damaged; nothing was written.
    Damaged(u64),
}

/// The term that `found`, its parts, make together.
fn merged(found: &[(usize, Listed)]) -> Listed {
    let (Some((_, first)), Some((_, last))) = (found.first(), found.last()) else {
        unreachable!("a term is found in a part");
    };
    let count = found
        .iter()
        .map(|(_, listed)| u64::from(listed.count))
        .sum::<u64>();
    Listed {
        count: u32::try_from(count).expect("the policy bounds a part"),
        is_ended: last.is_ended,
        ..*first
    }
}

/// Calls `f` with each term of `parts`, in their order, and the parts that have it.
fn each_term(
    parts: &[Arc<Part>],
    mut f: impl FnMut(Term, &[(usize, Listed)]) -> Result<()>,
) -> Result<()> {
    let next = |nth: usize, at: u64| -> Result<Option<Listed>> {
        match parts.get(nth) {
            Some(part) if at < part.terms() => part.listed(at).map(Some),
            _ => Ok(None),
        }
    };
    let mut heads = Vec::with_capacity(parts.len());
    for nth in 0..parts.len() {
        heads.push((0, next(nth, 0)?));
    }
    let mut found = Vec::with_capacity(parts.len());
    loop {
        let least = heads
            .iter()
            .filter_map(|(_, head)| Some((*head)?.term))
            .min();
        let Some(term) = least else {
            return Ok(());
        };
        found.clear();
        for (nth, (at, head)) in heads.iter_mut().enumerate() {
            if let Some(listed) = head.filter(|head| head.term == term) {
                found.push((nth, listed));
                *at += 1;
                *head = next(nth, *at)?;
            }
        }
        f(term, &found)?;
    }
}

fn runs(parts: &[Arc<Part>]) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for part in parts {
        for nth in 0..part.header().runs {
            let run = part.run(nth)?;
            let follows = runs
                .last()
                .is_some_and(|last| (last.segment, last.epoch) == (run.segment, run.epoch));
            if !follows {
                runs.push(run);
            }
        }
    }
    Ok(runs)
}
