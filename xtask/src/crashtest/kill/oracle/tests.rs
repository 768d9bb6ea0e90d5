//! The judge itself is judged: it must see each way in which a log can break its promise.

use super::*;

/// The first number of writer 0 at which its operation is a batch.
fn batch_number() -> u64 {
    (1..99).find(|&n| workload::count(0, n) > 1).unwrap()
}

/// Writer 0 has had `acknowledged` records acknowledged, each at the LSN of its number.
fn heard(acknowledged: u64) -> Heard {
    let mut heard = Heard::new(&Known::new());
    heard.hear(&Line::Begin(Step::Open));
    heard.hear(&Line::End(Step::Open));
    for n in 1..=acknowledged {
        heard.hear(&Line::Ack {
            writer: 0,
            n,
            count: 1,
            lsn: n,
        });
    }
    heard
}

/// A log that holds writer 0's records `numbers`, each at the LSN of its number.
fn found(numbers: std::ops::Range<u64>) -> Found {
    Found {
        start: numbers.start,
        next: numbers.end,
        records: numbers.map(|n| (n, workload::payload(0, n))).collect(),
    }
}

#[track_caller]
fn check(heard: &Heard, found: &Found, lost: u64, broken: &[&str]) {
    let judgement = judge(heard, found);
    assert_eq!(judgement.lost, lost, "{:?}", judgement.findings);
    let names: Vec<&str> = judgement
        .findings
        .iter()
        .filter_map(|text| text.get(..2))
        .collect();
    assert_eq!(names, broken, "{:?}", judgement.findings);
}

#[test]
fn what_was_acknowledged_and_nothing_else_is_right() {
    check(&heard(5), &found(1..6), 0, &[]);
}

#[test]
fn a_lost_record_is_counted() {
    check(&heard(5), &found(1..4), 2, &["K1"]);
}

#[test]
fn a_changed_record_is_seen() {
    let mut found = found(1..6);
    found.records[2].1[0] ^= 1;
    check(&heard(5), &found, 1, &["K1", "K1", "K3"]);
}

#[test]
fn the_operation_in_flight_may_be_there_or_not() {
    let acknowledged = (1..99).find(|&n| workload::count(0, n + 1) == 1).unwrap();
    check(&heard(acknowledged), &found(1..acknowledged + 1), 0, &[]);
    check(&heard(acknowledged), &found(1..acknowledged + 2), 0, &[]);
    check(
        &heard(acknowledged),
        &found(1..acknowledged + 3),
        0,
        &["K2"],
    );
}

#[test]
fn a_batch_in_flight_is_there_whole_or_not_at_all() {
    let n = batch_number();
    check(&heard(n - 1), &found(1..n), 0, &[]);
    check(&heard(n - 1), &found(1..n + workload::BATCH), 0, &[]);
    check(&heard(n - 1), &found(1..n + 1), 0, &["K2"]);
    check(&heard(n - 1), &found(1..n + 2), 0, &["K2"]);
}

#[test]
fn a_truncation_may_cut_a_batch() {
    let n = batch_number();
    let mut heard = heard(n - 1);
    heard.hear(&Line::Begin(Step::Truncate(n + 1)));
    check(&heard, &found(n + 1..n + workload::BATCH), 0, &[]);
    check(&heard, &found(n + 1..n + 2), 0, &["K2"]);
}

#[test]
fn the_start_is_that_of_the_last_truncation_or_of_the_one_in_flight() {
    let mut heard = heard(9);
    heard.hear(&Line::Begin(Step::Truncate(4)));
    heard.hear(&Line::End(Step::Truncate(4)));
    check(&heard, &found(4..10), 0, &[]);
    check(&heard, &found(3..10), 0, &["K5"]);
    check(&heard, &found(7..10), 0, &["K5"]);
    heard.hear(&Line::Begin(Step::Truncate(7)));
    check(&heard, &found(4..10), 0, &[]);
    check(&heard, &found(7..10), 0, &[]);
    check(&heard, &found(6..10), 0, &["K5"]);
}

#[test]
fn an_lsn_is_given_once() {
    let mut heard = heard(3);
    heard.hear(&Line::Ack {
        writer: 1,
        n: 1,
        count: 1,
        lsn: 3,
    });
    assert_eq!(heard.complaints.len(), 1);
}

#[test]
fn a_hole_in_the_lsns_is_seen() {
    let mut found = found(1..6);
    found.records.remove(2);
    check(&heard(5), &found, 1, &["K4", "K1", "K3"]);
}

#[test]
fn the_phase_is_the_step_that_had_not_ended() {
    let mut heard = Heard::new(&Known::new());
    let mut after = |line: Line| {
        heard.hear(&line);
        heard.phase()
    };
    assert_eq!(after(Line::Begin(Step::Open)), Phase::Recovery);
    assert_eq!(after(Line::End(Step::Open)), Phase::Append);
    assert_eq!(after(Line::Begin(Step::Rotate)), Phase::Rotate);
    assert_eq!(after(Line::End(Step::Rotate)), Phase::Append);
    assert_eq!(after(Line::Begin(Step::Truncate(1))), Phase::Truncate);
    assert_eq!(after(Line::End(Step::Truncate(1))), Phase::Append);
    assert_eq!(after(Line::Begin(Step::Close)), Phase::Close);
}

#[test]
fn what_recovery_found_is_what_the_next_process_goes_on_with() {
    let n = batch_number();
    let judgement = judge(&heard(n - 1), &found(1..n + workload::BATCH));
    assert_eq!(judgement.known.next[0], n + workload::BATCH);
    assert_eq!(
        judgement.known.records.len() as u64,
        n - 1 + workload::BATCH
    );
}
