//! Whether an append is to be written: ids, expectations, conditions. In the serial section, so that
//! nothing changes between the decision and the append.

use crate::append::{Append, Appended, Expected};
use crate::error::Error;
use crate::event::Event;
use crate::ids::{EventId, Position, Version};
use crate::query::Condition;
use crate::record::Draft;
use crate::store::Ids;
use crate::term::{About, Key, Term};
use crate::view::{Miss, StreamHead, View};

/// An append whose records are made, but for their places.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    append: &'a Append<'a>,
    pub(crate) streams: Vec<PreparedStream<'a>>,
    count: u64,
}

#[derive(Debug)]
pub(crate) struct PreparedStream<'a> {
    name: &'a str,
    term: Term,
    expected: Expected,
    ends: bool,
    pub(crate) records: Vec<Vec<u8>>,
}

impl<'a> Prepared<'a> {
    /// Encodes `append`, which was checked.
    pub(crate) fn new(append: &'a Append<'a>, key: Key, ids: &Ids) -> Self {
        let mut source = append.source;
        let mut streams = Vec::with_capacity(append.streams.len());
        for to in &append.streams {
            let mut records = Vec::with_capacity(to.events.len());
            for event in &to.events {
                let draft = Draft {
                    is_tombstone: false,
                    id: event.id.unwrap_or_else(|| ids.draw()),
                    stream: to.name,
                    kind: event.kind,
                    tags: &event.tags,
                    source: source.take(),
                    metadata: event.metadata,
                    payload: &event.payload,
                };
                records.push(draft.encode());
            }
            if to.ends {
                records.push(tombstone(to.name, ids.draw()).encode());
            }
            streams.push(PreparedStream {
                name: to.name,
                term: key.term(About::Stream(to.name)),
                expected: to.expected,
                ends: to.ends,
                records,
            });
        }
        let count = append.count() as u64;
        Self {
            append,
            streams,
            count,
        }
    }

    /// How many records it has.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// What it takes in the log.
    pub(crate) fn size(&self) -> u64 {
        let records = self.streams.iter().flat_map(|to| &to.records);
        records.map(|record| record.len() as u64 + 8).sum()
    }
}

fn tombstone(stream: &str, id: EventId) -> Draft<'_> {
    Draft {
        is_tombstone: true,
        id,
        stream,
        kind: "",
        tags: &[],
        source: None,
        metadata: &[],
        payload: &[],
    }
}

/// What is to become of an append.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is written: for each stream, its last version and where that is.
    Write(Vec<Option<(Version, Position)>>),
    /// It is answered; the answer rests on the event at this position, `Position(0)` on none.
    Answer(Result<Appended, Error>, Position),
}

/// Everything is visible in the serial section, also what is in flight.
const ALL: Position = Position(u64::MAX);

/// Decides. An append that was there already is answered as it was then, whatever it expects now.
pub(crate) fn decide(view: &View<'_>, prepared: &Prepared<'_>) -> Result<Verdict, Miss> {
    for id in prepared.append.ids() {
        if let Some(position) = view.with_id(id)? {
            return repeat(view, prepared, id, position);
        }
    }
    let mut places = Vec::with_capacity(prepared.streams.len());
    for to in &prepared.streams {
        let head = view.stream_head(to.term, ALL)?;
        if let Some(answer) = judge_stream(to, head) {
            return Ok(answer);
        }
        places.push(head.map(|head| (head.version, head.last)));
    }
    for condition in &prepared.append.conditions {
        if let Some(answer) = judge_condition(view, condition)? {
            return Ok(answer);
        }
    }
    if let Some((name, position)) = prepared.append.source
        && let Some((at, recorded)) = recorded_source(view, name, ALL)?
        && recorded >= position
    {
        let refusal = Error::SourceNotNewer {
            source_name: name.to_owned(),
            position,
            recorded,
        };
        return Ok(Verdict::Answer(Err(refusal), at));
    }
    Ok(Verdict::Write(places))
}

fn judge_stream(to: &PreparedStream<'_>, head: Option<StreamHead>) -> Option<Verdict> {
    let version = head.map_or(Version(0), |head| head.version);
    let last = head.map_or(Position(0), |head| head.last);
    if head.is_some_and(|head| head.is_ended) && !to.records.is_empty() {
        let answer = if to.ends {
            Ok(Appended {
                positions: last..last.next(),
                versions: vec![version],
                was_there: true,
            })
        } else {
            Err(Error::StreamEnded {
                stream: to.name.to_owned(),
                position: last,
            })
        };
        return Some(Verdict::Answer(answer, last));
    }
    if to.expected.is_met_by(version) {
        return None;
    }
    let refusal = Error::WrongVersion {
        stream: to.name.to_owned(),
        expected: to.expected.words(),
        actual: version,
    };
    Some(Verdict::Answer(Err(refusal), last))
}

fn judge_condition(view: &View<'_>, condition: &Condition) -> Result<Option<Verdict>, Miss> {
    let found = view.matches(&condition.query, condition.after.next(), ALL, 1)?;
    Ok(found
        .first()
        .map(|&position| Verdict::Answer(Err(Error::ConditionFailed { position }), position)))
}

/// Where the last event before `end` from source `name` is, and the position there that it has.
pub(crate) fn recorded_source(
    view: &View<'_>,
    name: &str,
    end: Position,
) -> Result<Option<(Position, u64)>, Miss> {
    let Some(position) = view.last_with(view.key.term(About::Source(name)), end)? else {
        return Ok(None);
    };
    let event = view.event(position)?;
    Ok(event.source().map(|(_, recorded)| (position, recorded)))
}

/// The answer to an append of which the event with `id` is at `position` already.
fn repeat(
    view: &View<'_>,
    prepared: &Prepared<'_>,
    id: EventId,
    position: Position,
) -> Result<Verdict, Miss> {
    let conflict = Verdict::Answer(Err(Error::IdConflict { id }), position);
    let (first, count) = view.event(position)?.append();
    if count != prepared.count {
        return Ok(conflict);
    }
    let mut at = first;
    let mut versions = Vec::new();
    for (to, prepared) in prepared.append.streams.iter().zip(&prepared.streams) {
        for (nth, record) in prepared.records.iter().enumerate() {
            let there = view.event(at)?;
            let is_drawn = to.events.get(nth).is_none_or(|event| event.id.is_none());
            if !is_same(&there, record, is_drawn) {
                return Ok(conflict);
            }
            at = at.next();
            if nth + 1 == prepared.records.len() {
                versions.push(there.version());
            }
        }
    }
    let appended = Appended {
        positions: first..at,
        versions,
        was_there: true,
    };
    Ok(Verdict::Answer(Ok(appended), at.previous()))
}

/// True if `there` is what `record`, which has no place yet, would say. A drawn id does not count.
fn is_same(there: &Event, record: &[u8], is_drawn: bool) -> bool {
    crate::record::says_the_same(there.bytes(), record, is_drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_judged_by_its_last_version() {
        let stream = |expected, ends| PreparedStream {
            name: "s",
            term: 1,
            expected,
            ends,
            records: vec![Vec::new()],
        };
        let head = |version, is_ended| {
            Some(StreamHead {
                version: Version(version),
                last: Position(10 * version),
                is_ended,
            })
        };
        let exactly = |version| Expected::Exactly(Version(version));
        let mut met = vec![(Expected::Any, None), (Expected::Any, head(2, false))];
        met.extend([(Expected::NoStream, None), (exactly(0), None)]);
        met.extend([
            (Expected::StreamExists, head(1, false)),
            (exactly(3), head(3, false)),
        ]);
        for (expected, head) in met {
            assert!(judge_stream(&stream(expected, false), head).is_none());
        }
        for (expected, head, rests_on) in [
            (Expected::NoStream, head(1, false), 10),
            (Expected::StreamExists, None, 0),
            (exactly(3), head(2, false), 20),
            (exactly(1), None, 0),
            (Expected::Any, head(2, true), 20),
        ] {
            match judge_stream(&stream(expected, false), head) {
                Some(Verdict::Answer(Err(_), position)) => assert_eq!(position.0, rests_on),
                other => panic!("{expected:?}: {other:?}"),
            }
        }
        let again = judge_stream(&stream(Expected::NoStream, true), head(2, true));
        assert!(matches!(again, Some(Verdict::Answer(Ok(_), Position(20)))));
    }
}
