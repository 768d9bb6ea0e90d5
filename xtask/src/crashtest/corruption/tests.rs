//! The layer on small logs, and its judge on answers that no engine may give.

use super::ask::{Answer, Later, Repaired, Told};
use super::facts::Left;
use super::*;

fn run_on(log: &Log, is_wanted: impl Fn(&Change) -> bool) -> Counted {
    let mut changes = log.target(|target| changes::all(target, false));
    changes.retain(is_wanted);
    damage(log, &changes, &ask::see).unwrap()
}

#[test]
fn small_logs_pass() {
    for log in [logs::short().unwrap(), logs::created().unwrap()] {
        let counted = run_on(&log, |_| true);
        let total = counted.total();
        assert_eq!(
            (total.wrong, total.panics),
            (0, 0),
            "{:?}",
            counted.findings
        );
        assert!(total.detected > 500 && total.harmless > 500, "{total:?}");
        let judged = total.detected + total.harmless + total.in_window;
        assert_eq!(judged, total.changes);
    }
}

#[test]
fn a_closed_log_has_no_window_and_a_killed_one_has() {
    let logs = logs::all().unwrap();
    let in_window = |name: &str| {
        let log = logs.iter().find(|log| log.facts.name == name).unwrap();
        let is_wanted = |change: &Change| matches!(change.kind, Kind::Strip | Kind::Sector);
        run_on(log, is_wanted).total().in_window
    };
    assert_eq!(in_window("closed"), 0);
    assert!(in_window("killed") > 0);
}

#[test]
fn a_panic_is_counted_and_told() {
    let log = logs::created().unwrap();
    let changes = log.target(|target| changes::all(target, false));
    let changes = changes.get(..3).unwrap();
    let counted = damage(&log, changes, &|_| panic!("as planned")).unwrap();
    assert_eq!(counted.total().panics, 3);
    let told: Vec<_> = counted.told().collect();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("as planned") && told[0].contains("first of 3"),
        "{told:?}"
    );
}

/// A log of records 3 to 7, of which the change left nothing behind record 5 that can be believed.
struct Judge {
    log: Log,
    undamaged: Answer,
    left: Left,
}

impl Judge {
    fn new() -> Self {
        let log = logs::short().unwrap();
        let undamaged = ask::undamaged(&log.world).unwrap();
        let left = Left {
            file: 0,
            len: Some(2048),
            before: 5,
            witness: 5,
            low: Some(3),
            is_given_up: false,
        };
        Self {
            log,
            undamaged,
            left,
        }
    }

    fn judge(&self, seen: &Seen) -> Verdict {
        let case = Case {
            facts: &self.log.facts,
            left: &self.left,
            undamaged: &self.undamaged,
        };
        case.judge(seen)
    }

    fn is_wrong(&self, seen: &Seen) -> bool {
        matches!(self.judge(seen), Verdict::Wrong(_))
    }

    /// The undamaged answer up to record `last`.
    fn up_to(&self, last: u64) -> Answer {
        let mut answer = self.undamaged.clone();
        answer.bounds.end = last + 1;
        answer.records.retain(|(lsn, _)| *lsn <= last);
        answer
    }
}

fn later(answer: &Answer) -> Later {
    let mut appended = answer.clone();
    appended
        .records
        .push((answer.bounds.end, ask::PROBE.to_vec()));
    appended.bounds.end += 1;
    Later {
        reopened: answer.clone(),
        appended,
    }
}

fn quiet(answer: &Answer) -> Seen {
    Seen::Quiet {
        answer: answer.clone(),
        later: Ok(later(answer)),
    }
}

fn told(file: &str, offset: u64) -> Told {
    Told::Damage {
        file: Some(file.to_owned()),
        offset: Some(offset),
        text: String::new(),
    }
}

fn refused(told: Told, answer: &Answer) -> Seen {
    let end = answer.bounds.end;
    Seen::Refused {
        told,
        touched: Vec::new(),
        repaired: Ok(Repaired {
            answer: answer.clone(),
            dropped: Some(end..8),
            later: Ok(later(answer)),
        }),
    }
}

const SEGMENT: &str = "0000000000000001.wal";

#[test]
fn right_answers_are_right() {
    let judge = Judge::new();
    assert_eq!(judge.judge(&quiet(&judge.undamaged)), Verdict::Harmless);
    assert_eq!(judge.judge(&quiet(&judge.up_to(5))), Verdict::InWindow);
    let seen = refused(told(SEGMENT, 2048), &judge.up_to(5));
    assert_eq!(judge.judge(&seen), Verdict::Detected);
}

#[test]
fn wrong_bytes_are_wrong() {
    let judge = Judge::new();
    let mut answer = judge.undamaged.clone();
    answer.records[2].1[7] ^= 1;
    assert!(judge.is_wrong(&quiet(&answer)));
    let mut answer = judge.undamaged.clone();
    answer.records.remove(1);
    assert!(judge.is_wrong(&quiet(&answer)));
    let mut answer = judge.undamaged.clone();
    answer.bounds.start = 4;
    answer.records.remove(0);
    assert!(judge.is_wrong(&quiet(&answer)));
}

#[test]
fn a_silent_loss_outside_the_window_is_wrong() {
    let mut judge = Judge::new();
    // Records 5 and before are not damaged.
    assert!(judge.is_wrong(&quiet(&judge.up_to(4))));
    // Something still says that record 6 was durable.
    judge.left.witness = 6;
    assert!(judge.is_wrong(&quiet(&judge.up_to(5))));
}

#[test]
fn an_error_must_be_the_promised_one_and_name_a_place() {
    let judge = Judge::new();
    let kept = judge.up_to(5);
    let others = [
        Told::Other("disk".to_owned()),
        told("0000000000000009.wal", 0),
        told(SEGMENT, 2049),
    ];
    for other in others {
        assert!(judge.is_wrong(&refused(other.clone(), &kept)), "{other:?}");
    }
}

#[test]
fn a_refusal_must_change_nothing_and_a_repair_must_keep_what_is_whole() {
    let judge = Judge::new();
    let mut seen = refused(told(SEGMENT, 64), &judge.up_to(5));
    if let Seen::Refused { touched, .. } = &mut seen {
        touched.push(format!("{DIR}/mark"));
    }
    assert!(judge.is_wrong(&seen));
    assert!(judge.is_wrong(&refused(told(SEGMENT, 64), &judge.up_to(4))));
    let mut seen = refused(told(SEGMENT, 64), &judge.up_to(5));
    if let Seen::Refused {
        repaired: Ok(repaired),
        ..
    } = &mut seen
    {
        repaired.dropped = None;
    }
    assert!(judge.is_wrong(&seen));
}

#[test]
fn damage_of_what_is_truncated_must_not_matter() {
    let mut judge = Judge::new();
    judge.left.is_given_up = true;
    // A repair that loses nothing does not make the refusal right.
    assert!(judge.is_wrong(&refused(told(SEGMENT, 64), &judge.undamaged)));
    let facts = &judge.log.facts;
    let mut bytes = facts.files[0].bytes.clone();
    bytes[70] ^= 1;
    assert!(facts.left(0, Some(&bytes)).is_given_up);
    // The next group holds records 2 to 4, of which 3 and 4 are retained.
    bytes[130] ^= 1;
    assert!(!facts.left(0, Some(&bytes)).is_given_up);
    assert!(!facts.left(0, Some(&bytes[..2000])).is_given_up);
}

#[test]
fn positions_begin_again_only_if_nothing_is_left() {
    let mut judge = Judge::new();
    judge.left.low = None;
    let mut nothing = judge.undamaged.clone();
    nothing.bounds = 1..1;
    nothing.records.clear();
    assert!(judge.is_wrong(&refused(told("mark", 0), &nothing)));
    let logs = logs::all().unwrap();
    let mut emptied = logs.into_iter();
    judge.log = emptied.find(|log| log.facts.name == "emptied").unwrap();
    let mut seen = refused(told("mark", 0), &nothing);
    if let Seen::Refused {
        repaired: Ok(repaired),
        ..
    } = &mut seen
    {
        repaired.dropped = Some(1..1);
    }
    assert_eq!(judge.judge(&seen), Verdict::Detected);
}

#[test]
fn what_was_truncated_may_be_back_only_by_the_older_slot() {
    let mut judge = Judge::new();
    let mut back = judge.undamaged.clone();
    back.bounds.start = 1;
    let payloads = (1..).zip(judge.log.facts.payloads.iter().cloned());
    back.records = payloads.collect();
    assert!(judge.is_wrong(&quiet(&back)));
    judge.left.low = Some(1);
    assert_eq!(judge.judge(&quiet(&back)), Verdict::InWindow);
}

#[test]
fn verify_must_not_contradict_reading() {
    let judge = Judge::new();
    let mut answer = judge.undamaged.clone();
    answer.records.pop();
    answer.broken = Some(told(SEGMENT, 900));
    let kept = judge.up_to(6);
    let Seen::Refused { repaired, .. } = refused(told(SEGMENT, 900), &kept) else {
        unreachable!("made two lines above")
    };
    let newest = judge.log.facts.payload(7).map(<[u8]>::to_vec);
    let seen = Seen::Complained {
        answer: answer.clone(),
        newest: newest.clone(),
        repaired: repaired.clone(),
    };
    assert!(judge.is_wrong(&seen));
    answer.verified = Err(told(SEGMENT, 900));
    let seen = Seen::Complained {
        answer,
        newest,
        repaired,
    };
    assert_eq!(judge.judge(&seen), Verdict::Detected);
}
