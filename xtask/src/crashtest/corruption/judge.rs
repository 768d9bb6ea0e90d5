//! The judgement of one damaged log: pure, from what is true of the undamaged one, what the change
//! left of it, and what was seen.

use super::ask::{Answer, Later, PROBE, Repaired, Seen, Told};
use super::facts::{Facts, Left};

/// What one change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A typed error names a place in the log.
    Detected,
    /// Everything is as if nothing had happened.
    Harmless,
    /// The end of the log is gone and nothing is said, as `wal/FORMAT.md` section 8 warns.
    InWindow,
    /// With what is wrong.
    Wrong(String),
}

/// One damaged log.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) facts: &'a Facts,
    /// What the change left of it.
    pub(super) left: &'a Left,
    /// What it answered before.
    pub(super) undamaged: &'a Answer,
}

impl Case<'_> {
    /// Judges what was `seen`.
    pub(super) fn judge(&self, seen: &Seen) -> Verdict {
        self.verdict(seen).unwrap_or_else(Verdict::Wrong)
    }
}

type Judged<T> = Result<T, String>;

impl Case<'_> {
    fn verdict(&self, seen: &Seen) -> Judged<Verdict> {
        match seen {
            Seen::Refused {
                told,
                touched,
                repaired,
            } => {
                self.check_told(told)?;
                if self.left.is_given_up {
                    return Err("refused for damage of what is truncated".to_owned());
                }
                if let Some(file) = touched.first() {
                    return Err(format!("refused, but {file} was changed"));
                }
                self.check_repaired(repaired, true)?;
                Ok(Verdict::Detected)
            }
            Seen::Complained {
                answer,
                newest,
                repaired,
            } => {
                self.check_complaint(answer)?;
                if newest.as_deref() != self.facts.payload(self.facts.last()) {
                    return Err("damage withholds the newest record, which has none".to_owned());
                }
                if self.left.is_given_up && answer.broken.is_some() {
                    return Err("damage of what is truncated withholds records".to_owned());
                }
                // Bytes that mean nothing are no reason to cut.
                self.check_repaired(repaired, answer.broken.is_some())?;
                Ok(Verdict::Detected)
            }
            Seen::Quiet { answer, later } => {
                let verdict = self.quiet(answer)?;
                let later = check_later(answer, later)?;
                if verdict == Verdict::Harmless && later.reopened != *answer {
                    return Err(format!(
                        "opened again, verify reads {:?}",
                        later.reopened.verified
                    ));
                }
                Ok(verdict)
            }
        }
    }

    /// An error must be the promised one, and name a place in a file of the log.
    fn check_told(&self, told: &Told) -> Judged<()> {
        let Told::Damage { file, offset, text } = told else {
            return Err(format!("not an error for damage: {told:?}"));
        };
        let named = file.as_deref().unwrap_or_default();
        let index = self.facts.files.iter().position(|file| file.name == named);
        let Some(index) = index else {
            return Err(format!("names no file of the log: {text}"));
        };
        let len = if index == self.left.file {
            self.left.len.unwrap_or(0)
        } else {
            self.facts
                .files
                .get(index)
                .map_or(0, |file| file.bytes.len())
        };
        match offset {
            Some(offset) if *offset > len as u64 => {
                Err(format!("names a place behind the file's end: {text}"))
            }
            _ => Ok(()),
        }
    }

    /// The log opened, and reading or verifying it complained.
    fn check_complaint(&self, answer: &Answer) -> Judged<()> {
        if answer.bounds != self.undamaged.bounds {
            return Err(format!("the bounds are {:?}", answer.bounds));
        }
        self.check_records(answer)?;
        let read = (answer.bounds.start + answer.records.len() as u64).saturating_sub(1);
        if let Some(told) = &answer.broken {
            self.check_told(told)?;
            if read < self.left.before {
                return Err(format!("{told:?} withholds what is before the damage"));
            }
        } else if read != self.facts.last() {
            return Err(format!("the records end at {read} without an error"));
        }
        match &answer.verified {
            Err(told) => self.check_told(told),
            Ok(_) => Err("verify says that all is well, reading does not".to_owned()),
        }
    }

    /// The log opened and nothing complained: it is as it was, or its end is gone as it may be.
    fn quiet(&self, answer: &Answer) -> Judged<Verdict> {
        if answer == self.undamaged {
            return Ok(Verdict::Harmless);
        }
        let start = answer.bounds.start;
        // Between a truncation and the next open or close a power loss leaves the older slot as it was
        // before: then damage of the newest one looks as if it had never been written.
        let is_before_truncation = start < self.facts.low && self.left.low == Some(start);
        if start != self.undamaged.bounds.start && !is_before_truncation {
            return Err(format!("without a word, the log begins at record {start}"));
        }
        self.check_whole(answer)?;
        let last = answer.bounds.end.saturating_sub(1);
        if last == self.facts.last() && !is_before_truncation {
            return Err(format!(
                "without a word, verify reads {:?}",
                answer.verified
            ));
        }
        if last < self.left.before {
            return Err(format!(
                "without a word, the log ends at record {last}; undamaged are those up to {}",
                self.left.before
            ));
        }
        if self.left.witness > last {
            return Err(format!(
                "without a word, the log ends at record {last}; {} can be seen to have been durable",
                self.left.witness
            ));
        }
        Ok(Verdict::InWindow)
    }

    /// A repair must have worked, and have kept what is before the damage.
    fn check_repaired(&self, repaired: &Result<Repaired, Told>, is_cut: bool) -> Judged<()> {
        let check = |repaired: &Repaired| {
            self.check_kept(&repaired.answer)?;
            if is_cut {
                self.check_cut(repaired)
            } else if repaired.answer.records != self.undamaged.records {
                Err("records are gone that could be read".to_owned())
            } else if let (Err(told), false) = (&repaired.answer.verified, self.left.is_given_up) {
                Err(format!("verify still says {told:?}"))
            } else {
                Ok(())
            }
        };
        match repaired {
            Ok(repaired) => check(repaired).map_err(|what| format!("after a repair, {what}")),
            Err(told) => Err(format!("repair fails: {told:?}")),
        }
    }

    fn check_kept(&self, answer: &Answer) -> Judged<()> {
        let (start, end) = (answer.bounds.start, answer.bounds.end);
        if self.left.low.is_none() && !self.facts.has_groups() && (start, end) == (1, 1) {
            // Nothing is left that holds a position: they begin again.
            return Ok(());
        }
        // Without a mark nothing says where the log began: what is still there is back.
        let low = self.facts.low;
        let lowest = self.left.low.unwrap_or(self.facts.lowest()).min(low);
        if !(lowest..=low).contains(&start) {
            return Err(format!("the log begins at record {start}"));
        }
        if end <= self.left.before {
            let before = self.left.before;
            return Err(format!(
                "it ends before record {end}; {before} is before the damage"
            ));
        }
        self.check_whole(answer)
    }

    /// A repair that cut the log must say where, and leave one that is whole and can go on.
    fn check_cut(&self, repaired: &Repaired) -> Judged<()> {
        let Repaired {
            answer,
            dropped,
            later,
        } = repaired;
        if let Err(told) = &answer.verified {
            return Err(format!("verify fails: {told:?}"));
        }
        let end = answer.bounds.end;
        match dropped {
            Some(dropped) if dropped.start == end && dropped.end <= self.facts.last() + 1 => {}
            _ => return Err(format!("it ends before {end}, dropped are {dropped:?}")),
        }
        check_later(answer, later).map(|_| ())
    }

    /// The records must be all those of the bounds, as they were written.
    fn check_whole(&self, answer: &Answer) -> Judged<()> {
        self.check_records(answer)?;
        if let Some(told) = &answer.broken {
            return Err(format!("reading fails: {told:?}"));
        }
        let bounds = &answer.bounds;
        if answer.records.len() as u64 != bounds.end.saturating_sub(bounds.start) {
            return Err(format!("{bounds:?} holds {} records", answer.records.len()));
        }
        Ok(())
    }

    /// What was read must follow each other, and be what was written.
    fn check_records(&self, answer: &Answer) -> Judged<()> {
        for ((lsn, payload), expected) in answer.records.iter().zip(answer.bounds.start..) {
            if *lsn != expected {
                return Err(format!("record {lsn} stands where {expected} should"));
            }
            if self.facts.payload(expected) != Some(payload) {
                return Err(format!("record {expected} is not what was written"));
            }
        }
        Ok(())
    }
}

/// What was answered once must be answered again, with what is appended behind it.
fn check_later<'l>(answer: &Answer, later: &'l Result<Later, Told>) -> Judged<&'l Later> {
    let later = match later {
        Ok(later) => later,
        Err(told) => return Err(format!("later: {told:?}")),
    };
    let Later { reopened, appended } = later;
    let is_same = reopened.bounds == answer.bounds && reopened.records == answer.records;
    if !is_same || !reopened.is_quiet() {
        let (was, is) = (&answer.bounds, &reopened.bounds);
        return Err(format!("opened again it answers {is:?}, not {was:?}"));
    }
    let mut records = answer.records.clone();
    records.push((answer.bounds.end, PROBE.to_vec()));
    if appended.records != records || !appended.is_quiet() {
        let bounds = &appended.bounds;
        return Err(format!("with one more record it answers {bounds:?}"));
    }
    Ok(later)
}
