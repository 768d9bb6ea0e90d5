//! The explorer itself: what it finds and what it does not, that it finds the same twice, and that a
//! counterexample is small and can be kept.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use std::time::Duration;

use durable_io::sim::{Bound, Explorer, Removal, Survives, Tape};
use support::files::{Files, Op};
use support::log::{Append, LogSubject, Recovery, Tail, site};
use support::{bound, explore, passes};

const RIGHT: &str = "what was acknowledged is there, whole, and nothing else";
const SURVIVES: &str = "what a recovered store acknowledges survives";

/// What a process wrote and died before syncing is answered from the page cache, and then lost.
fn forgetful() -> LogSubject {
    LogSubject::recovering(Recovery::Believes)
}

fn power_loss_alone(length: usize) -> Bound {
    Bound {
        process_deaths: false,
        ..bound(length)
    }
}

/// Explores a subject that breaks a promise, and returns which.
fn broken(subject: LogSubject, bound: &Bound) -> String {
    explore(&subject, bound)
        .counterexample
        .expect("it breaks a promise")
        .promise
}

#[test]
fn a_right_store_passes_and_every_state_is_counted_once() {
    let explored = passes(&LogSubject::new(), &bound(3));
    let counts = explored.counts;
    assert_eq!(counts.workloads, 4, "of no, one, two and three operations");
    assert_eq!(counts.sampled_points, 0);
    assert!(counts.unique_states <= counts.states, "{counts:?}");
    assert!(counts.nested_states > 0, "{counts:?}");
    let of_starts: u64 = explored.by_start.values().sum();
    assert_eq!(of_starts, counts.unique_states);
    let reached: Vec<_> = explored.sites.keys().map(|site| site.step).collect();
    for step in ["append", "open file", "open names", "create_dir"] {
        assert_eq!(
            reached.iter().filter(|of| **of == step).count(),
            1,
            "{step}"
        );
    }
    let of_append = explored.sites.get(&site("append")).unwrap();
    assert_eq!(of_append.iter().collect::<Vec<_>>(), ["AppendOne"]);
}

#[test]
fn each_promise_is_found_broken_in_the_store_that_breaks_it() {
    assert_eq!(broken(forgetful(), &bound(2)), RIGHT);
    let unsynced = LogSubject::appending(Append::DoesNotSync);
    assert_eq!(broken(unsynced, &bound(2)), SURVIVES);
    let refusing = LogSubject::with_tail(Tail::Refused);
    let open = "open succeeds on every state a crash can leave";
    assert_eq!(broken(refusing, &bound(2)), open);
    let careless = LogSubject::with_tail(Tail::Left);
    assert_eq!(broken(careless, &bound(2)), SURVIVES);
    let restless = LogSubject::recovering(Recovery::LeavesTraces);
    let same = "recovering twice leaves the same bytes";
    assert_eq!(broken(restless, &bound(2)), same);
}

#[test]
fn a_store_that_promises_less_passes_with_less() {
    let mut subject = LogSubject::appending(Append::DoesNotSync);
    subject.survives = Survives::ProcessDeath;
    passes(&subject, &bound(3));
}

#[test]
fn two_explorations_on_one_thread_are_the_same() {
    let once = || explore(&LogSubject::new(), &bound(2)).counts;
    assert_eq!(once(), once());
    let wrong = LogSubject::appending(Append::ForgetsEachFourth);
    let once = || {
        let explored = explore(&wrong, &bound(4));
        let example = explored.counterexample.unwrap();
        (
            explored.counts,
            example.to_string(),
            example.tape.to_text(&wrong, &[]),
        )
    };
    assert_eq!(once(), once());
}

#[test]
fn more_threads_find_the_same_counterexample() {
    let mut wrong = Files::new(&[
        Op::Replace(20),
        Op::Publish(600),
        Op::Create(20),
        Op::Remove,
    ]);
    wrong.binds_contents = false;
    let found_by = |threads: usize| {
        let bound = Bound {
            threads,
            ..bound(3)
        };
        let example = explore(&wrong, &bound).counterexample.unwrap();
        assert!(example.tape.operations() > 1, "an early one proves nothing");
        example.to_string()
    };
    let alone = found_by(1);
    for threads in [2, 3, 2, 3] {
        assert_eq!(found_by(threads), alone);
    }
}

#[test]
fn a_disk_with_pages_of_4096_bytes_is_explored_too() {
    let bound = Bound {
        unit: 4096,
        ..bound(2)
    };
    passes(&LogSubject::new(), &bound);
    assert_eq!(
        broken(LogSubject::appending(Append::DoesNotSync), &bound),
        SURVIVES
    );
}

#[test]
fn a_counterexample_is_reported_kept_and_replayed() {
    let wrong = LogSubject::with_tail(Tail::Refused);
    let explored = explore(&wrong, &power_loss_alone(3));
    let example = explored.counterexample.unwrap();
    assert_eq!(example.tape.operations(), 1, "{example}");
    assert!(example.summary.contains(", 1 effects lost"), "{example}");
    let report = example.to_string();
    for line in [
        "   1. AppendOne",
        "then the power fails",
        "LOST write store/log",
        &example.promise,
    ] {
        assert!(report.contains(line), "no {line:?} in:\n{report}");
    }
    let text = example.tape.to_text(&wrong, &[]);
    let (tape, without) = Tape::from_text(&wrong, &text).unwrap();
    assert_eq!((&tape, without.len()), (&example.tape, 0));
    let again = Explorer::new(&wrong).replay(&tape).unwrap();
    assert_eq!(again.to_string(), report);
    let fixed = LogSubject::new();
    assert!(Explorer::new(&fixed).replay(&tape).is_none());
}

#[test]
fn a_tape_names_the_barriers_that_were_off() {
    let (right, off) = (LogSubject::new(), [site("append")]);
    let explored = Explorer::new(&right)
        .without(&off)
        .explore(&bound(1), &|_counts| {});
    let example = explored.counterexample.unwrap();
    let text = example.tape.to_text(&right, &off);
    let (tape, without) = Tape::from_text(&right, &text).unwrap();
    assert_eq!(without, off);
    let again = Explorer::new(&right)
        .without(&without)
        .replay(&tape)
        .unwrap();
    assert_eq!(again.to_string(), example.to_string());
    assert!(Explorer::new(&right).replay(&tape).is_none());
}

#[test]
fn a_tape_that_makes_no_sense_is_refused_and_any_other_is_written_as_it_was_read() {
    let subject = LogSubject::new();
    let header = "durable-io tape 1";
    let lines = [
        "unit 100",
        "start nowhere",
        "do Nothing",
        "cut power",
        "cut power 0 lost",
        "cut kill x",
        "cut power 0 kept 1 2=mud",
        "without here",
    ];
    for line in lines {
        let error = Tape::from_text(&subject, &format!("{header}\n{line}\n")).unwrap_err();
        assert!(error.contains(line), "{error}");
    }
    assert!(Tape::from_text(&subject, "another file\n").is_err());
    let all = format!(
        "{header}\nunit 4096\nstart empty\ndo AppendOne\ncut power 3 kept 1 all 0 4=garbage 5=stale1 2=zero\n\
         cut kill 7\n"
    );
    let (tape, without) = Tape::from_text(&subject, &all).unwrap();
    assert_eq!(tape.to_text(&subject, &without), all);
    let legal = format!("{header}\nunit 4096\nstart empty\ndo AppendOne\ncut kill 0\n");
    assert_eq!(Tape::from_text(&subject, &legal).unwrap().0.operations(), 1);
}

/// How many operations are left of a long run that breaks a promise.
fn operations_of_a_long_run(wrong: LogSubject) -> usize {
    let bound = Bound {
        time: Some(Duration::from_secs(60)),
        nested: false,
        ..power_loss_alone(1)
    };
    let explored = Explorer::new(&wrong).soak(&bound, 7, &|_counts| {});
    let example = explored.counterexample.expect("every long run breaks it");
    assert_eq!(example.promise, SURVIVES);
    example.tape.operations()
}

#[test]
fn a_counterexample_found_in_a_long_run_has_only_the_operations_it_needs() {
    let wrong = LogSubject::appending(Append::ForgetsFromTheFourth);
    // Three, since the fourth is the one with which the store continues after the crash.
    assert_eq!(operations_of_a_long_run(wrong), 3);
}

#[test]
fn an_exploration_that_can_only_sample_says_so_and_finds_what_is_plain() {
    let bound = Bound {
        states_per_point: 4,
        ..power_loss_alone(2)
    };
    let explored = passes(&LogSubject::new(), &bound);
    assert!(explored.counts.sampled_points > 0, "{:?}", explored.counts);
    assert!(explored.counts.sampled_points < explored.counts.crash_points);
    let refusing = LogSubject::with_tail(Tail::Refused);
    let wrong = explore(&refusing, &bound);
    assert!(wrong.counterexample.is_some());
}

#[test]
fn an_exploration_out_of_time_says_so() {
    let bound = Bound {
        time: Some(Duration::ZERO),
        ..bound(3)
    };
    let explored = Explorer::new(&LogSubject::new()).explore(&bound, &|_counts| {});
    assert!(explored.timed_out);
    assert_eq!(explored.counts.workloads, 0);
}

/// The verdict on each removal, by the steps of its sites.
fn verdicts(subject: LogSubject, steps: &[&'static str]) -> Vec<(Vec<&'static str>, bool)> {
    let bound = bound(2);
    passes(&subject, &bound);
    let sites: Vec<_> = steps.iter().map(|step| site(step)).collect();
    let removals = Explorer::remove_barriers(&subject, &bound, &sites, &|_removal| {});
    let verdict = |removal: &Removal| {
        let steps = removal.sites.iter().map(|site| site.step).collect();
        (steps, removal.is_caught())
    };
    removals.iter().map(verdict).collect()
}

#[test]
fn a_sync_that_is_needed_is_caught_and_one_that_is_not_is_not() {
    let subject = LogSubject::appending(Append::SyncsBeforeAndAfter);
    let found = verdicts(subject, &["before", "append", "open file", "open names"]);
    let expected = [
        (vec!["before"], false),
        (vec!["append"], true),
        (vec!["open file"], true),
        (vec!["open names"], true),
    ];
    assert_eq!(found, expected);
}

#[test]
fn two_syncs_that_back_each_other_up_are_caught_as_a_pair() {
    let subject = LogSubject::appending(Append::SyncsTwice);
    let found = verdicts(subject, &["append", "again"]);
    let expected = [
        (vec!["append"], false),
        (vec!["again"], false),
        (vec!["append", "again"], true),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_violation_that_the_whole_store_shows_too_is_no_proof_for_a_barrier() {
    let wrong = LogSubject::appending(Append::DoesNotSync);
    let removals = Explorer::remove_barriers(&wrong, &bound(1), &[site("append")], &|_removal| {});
    assert!(removals.iter().all(|removal| !removal.is_caught()));
}

#[test]
fn what_an_opening_owes_to_a_dead_process_is_seen_only_by_killing_it() {
    passes(&forgetful(), &power_loss_alone(2));
    assert_eq!(broken(forgetful(), &bound(2)), RIGHT);
}

#[test]
fn a_recovery_that_must_not_be_interrupted_is_seen_only_by_crashing_in_it() {
    let unsafe_recovery = LogSubject::with_tail(Tail::Rewritten);
    let nested = power_loss_alone(2);
    let flat = Bound {
        nested: false,
        ..nested.clone()
    };
    passes(&unsafe_recovery, &flat);
    let example = explore(&unsafe_recovery, &nested).counterexample.unwrap();
    assert_eq!(example.promise, RIGHT);
    let crash_points = example.to_string().matches("then the power fails").count();
    assert_eq!(crash_points, 2, "{example}");
}

#[test]
fn a_checksum_that_also_holds_in_another_file_is_seen_by_what_a_removed_file_leaves() {
    let mut store = Files::new(&[Op::Create(600), Op::Remove]);
    passes(&store, &bound(3));
    store.binds_contents = false;
    let example = explore(&store, &bound(3)).counterexample.unwrap();
    assert_eq!(example.promise, RIGHT);
    assert!(example.to_string().contains("Stale"), "{example}");
}

#[test]
fn a_recovery_that_is_durable_only_with_the_next_write_is_seen_by_crashing_when_it_is_done() {
    let mut store = LogSubject::with_tail(Tail::RewrittenLast);
    store.append = Append::SyncsNames;
    let nested = power_loss_alone(2);
    let flat = Bound {
        nested: false,
        ..nested.clone()
    };
    passes(&store, &flat);
    assert_eq!(broken(store, &nested), RIGHT);
}
