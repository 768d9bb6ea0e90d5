//! What must be in the log after a kill, what may be, and what must not: pure functions.
//!
//! - K1 Every acknowledged record from the retained start on is there, at its LSN, with its content.
//! - K2 What is there beyond that is the one operation each writer had in flight, whole or not at all.
//! - K3 Each writer's records are there in its order, without a hole.
//! - K4 LSNs are dense from the retained start to the end.
//! - K5 The retained start is what the last returned truncation said, or what the one in flight said.

use std::collections::BTreeMap;

use super::line::{Line, Step};
use super::workload::{self, WRITERS};

/// A record's writer and its number with that writer.
pub(crate) type Id = (usize, u64);

/// What is known to be in the log between two processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The first retained LSN.
    pub(crate) start: u64,
    /// Every record by its LSN.
    pub(crate) records: BTreeMap<u64, Id>,
    /// The number each writer goes on with.
    pub(crate) next: [u64; WRITERS],
}

impl Known {
    /// A log that was never written.
    pub(crate) fn new() -> Self {
        Self {
            start: 1,
            records: BTreeMap::new(),
            next: [1; WRITERS],
        }
    }
}

/// What a process said before it was killed.
#[derive(Debug)]
pub(crate) struct Heard {
    /// What must be there: what was known before, and every acknowledgement.
    must: BTreeMap<u64, Id>,
    /// The number of each writer's operation in flight.
    next: [u64; WRITERS],
    /// The start that the last returned truncation left.
    start: u64,
    /// The start that the truncation in flight would leave.
    starting: Option<u64>,
    /// The steps that have begun and not ended.
    running: Vec<Step>,
    /// Records acknowledged by this process.
    pub(crate) acknowledged: u64,
    /// The failed call by which it ended itself, and everything it said that contradicts itself.
    pub(crate) complaints: Vec<String>,
}

impl Heard {
    pub(crate) fn new(known: &Known) -> Self {
        Self {
            must: known.records.clone(),
            next: known.next,
            start: known.start,
            starting: None,
            running: Vec::new(),
            acknowledged: 0,
            complaints: Vec::new(),
        }
    }

    /// Takes in the next line.
    pub(crate) fn hear(&mut self, line: &Line) {
        match line {
            Line::Begin(step) => {
                self.running.push(*step);
                if let Step::Truncate(lsn) = step {
                    self.starting = Some(self.start.max(*lsn));
                }
            }
            Line::End(step) => {
                self.running.retain(|running| running != step);
                if matches!(step, Step::Truncate(_)) {
                    self.start = self.starting.take().unwrap_or(self.start);
                }
            }
            Line::Ack {
                writer,
                n,
                count,
                lsn,
            } => self.acknowledge(*writer, *n, *count, *lsn),
            Line::Failed(why) => self.complaints.push(format!("the process failed: {why}")),
        }
    }

    fn acknowledge(&mut self, writer: usize, n: u64, count: u64, lsn: u64) {
        for i in 0..count {
            self.acknowledged += 1;
            if let Some((other, number)) = self.must.insert(lsn + i, (writer, n + i)) {
                self.complaints.push(format!(
                    "LSN {} was acknowledged for record {number} of writer {other} and again for \
                     record {} of writer {writer}",
                    lsn + i,
                    n + i
                ));
            }
        }
        if let Some(next) = self.next.get_mut(writer) {
            *next = n + count;
        }
    }

    /// The phase the process was in: the step that had begun and not ended.
    pub(crate) fn phase(&self) -> Phase {
        Phase::of(&self.running)
    }
}

/// Where a kill fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Append,
    Rotate,
    Truncate,
    /// Nothing of it is on the disk yet.
    Merge,
    /// What is alive stands in an output, which no manifest names.
    MergeOutput,
    /// The manifest that swaps the files is being written.
    MergeManifest,
    /// The manifest has swapped them, and the inputs are still there.
    MergeInputs,
    Recovery,
    Close,
}

impl Phase {
    /// The phase of a process in which the steps of `running` have begun and not ended.
    pub(crate) fn of(running: &[Step]) -> Self {
        let during = |wanted: fn(&Step) -> bool| running.iter().any(wanted);
        if during(|step| matches!(step, Step::Open)) {
            Self::Recovery
        } else if during(|step| matches!(step, Step::Truncate(_))) {
            Self::Truncate
        } else if during(|step| matches!(step, Step::Merge)) {
            Self::Merge
        } else if during(|step| matches!(step, Step::Rotate)) {
            Self::Rotate
        } else if during(|step| matches!(step, Step::Close)) {
            Self::Close
        } else {
            Self::Append
        }
    }
}

/// What the log holds after recovery.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) start: u64,
    /// One past the last LSN.
    pub(crate) next: u64,
    pub(crate) records: Vec<(u64, Vec<u8>)>,
}

/// What comparing showed.
#[derive(Debug)]
pub(crate) struct Judgement {
    /// Acknowledged records that are not there.
    pub(crate) lost: u64,
    /// Everything that breaks K1 to K5, as text.
    pub(crate) findings: Vec<String>,
    /// What is known from now on.
    pub(crate) known: Known,
}

/// Compares what a killed process said with what recovery found.
pub(crate) fn judge(heard: &Heard, found: &Found) -> Judgement {
    let mut findings = heard.complaints.clone();
    let records = identify(found, &mut findings);
    check_start(heard, found, &mut findings);
    let lost = check_acknowledged(heard, found.start, &records, &mut findings);
    check_in_flight(heard, found.start, &records, &mut findings);
    let next = check_order(heard, &records, &mut findings);
    Judgement {
        lost,
        findings,
        known: Known {
            start: found.start,
            records,
            next,
        },
    }
}

/// K4, and that every record is one that somebody wrote.
fn identify(found: &Found, findings: &mut Vec<String>) -> BTreeMap<u64, Id> {
    let mut expected = found.start;
    let mut records = BTreeMap::new();
    for (lsn, payload) in &found.records {
        if *lsn != expected {
            findings.push(format!("K4: LSN {lsn} follows where {expected} is due"));
        }
        expected = lsn + 1;
        match workload::identify(payload) {
            Some(id) => drop(records.insert(*lsn, id)),
            None => findings.push(format!(
                "K1: LSN {lsn} holds {} bytes that nobody wrote like that",
                payload.len()
            )),
        }
    }
    if expected != found.next {
        findings.push(format!(
            "K4: the log says {} comes next, its records say {expected}",
            found.next
        ));
    }
    records
}

/// K5.
fn check_start(heard: &Heard, found: &Found, findings: &mut Vec<String>) {
    if found.start != heard.start && Some(found.start) != heard.starting {
        findings.push(format!(
            "K5: the log starts at {}, but was cut at {} (and perhaps {:?})",
            found.start, heard.start, heard.starting
        ));
    }
}

/// K1. Returns how many acknowledged records are missing.
fn check_acknowledged(
    heard: &Heard,
    start: u64,
    records: &BTreeMap<u64, Id>,
    findings: &mut Vec<String>,
) -> u64 {
    let mut lost = 0;
    for (lsn, id) in heard.must.range(start..) {
        let found = records.get(lsn);
        if found == Some(id) {
            continue;
        }
        lost += 1;
        // One lost suffix is one finding: its first record says enough.
        if lost == 1 {
            let (writer, n) = id;
            findings.push(format!(
                "K1: record {n} of writer {writer}, acknowledged at LSN {lsn}, is lost; there is {found:?}"
            ));
        }
    }
    lost
}

/// K2.
fn check_in_flight(
    heard: &Heard,
    start: u64,
    records: &BTreeMap<u64, Id>,
    findings: &mut Vec<String>,
) {
    for (writer, &next) in heard.next.iter().enumerate() {
        let extra: Vec<(u64, u64)> = records
            .iter()
            .filter(|(lsn, id)| id.0 == writer && !heard.must.contains_key(lsn))
            .map(|(lsn, id)| (*lsn, id.1))
            .collect();
        let Some(&(first_lsn, first)) = extra.first() else {
            continue;
        };
        let count = workload::count(writer, next);
        let whole = extra.len() as u64 == count && first == next;
        // A truncation may have cut the beginning of a batch: then the rest starts the log.
        let cut = first_lsn == start && first > next && first + extra.len() as u64 == next + count;
        let together = extra
            .iter()
            .zip(first_lsn..)
            .all(|(found, lsn)| found.0 == lsn);
        if !((whole || cut) && together) {
            findings.push(format!(
                "K2: writer {writer} had records {next}..{} in flight; of them, and beyond, there \
                 are {}: (LSN, number) {:?}",
                next + count,
                extra.len(),
                extra.get(..4).unwrap_or(&extra)
            ));
        }
    }
}

/// K3. Returns the number each writer goes on with.
fn check_order(
    heard: &Heard,
    records: &BTreeMap<u64, Id>,
    findings: &mut Vec<String>,
) -> [u64; WRITERS] {
    let mut last: [Option<u64>; WRITERS] = [None; WRITERS];
    for (lsn, &(writer, n)) in records {
        let Some(last) = last.get_mut(writer) else {
            continue;
        };
        if last.is_some_and(|last| n != last + 1) {
            findings.push(format!(
                "K3: at LSN {lsn}, record {n} of writer {writer} follows {last:?}"
            ));
        }
        *last = Some(n);
    }
    let mut next = heard.next;
    for (next, last) in next.iter_mut().zip(last) {
        *next = (*next).max(last.map_or(0, |last| last + 1));
    }
    next
}

#[cfg(test)]
mod tests;
