use super::*;

fn shape(kind: Kind) -> Shape {
    Shape {
        kind,
        ..Shape::default()
    }
}

fn contents(model: &Model, operations: impl IntoIterator<Item = u64>) -> Contents {
    let mut state = State::default();
    for n in operations {
        model.operation(n).apply_to(&mut state);
    }
    state.pairs().clone()
}

#[test]
fn the_state_must_be_the_one_after_the_acknowledged_operations_or_one_more() {
    for kind in [Kind::Kv, Kind::Log, Kind::Raft] {
        let model = Model::new(shape(kind), 400);
        for acked in 0..399 {
            let judge = |n: u64| model.judge(Promised::all(acked), &contents(&model, 1..=n));
            assert_eq!(judge(acked), Verdict::Holds(acked));
            // A delete of what is not there changes nothing.
            assert!(matches!(judge(acked + 1), Verdict::Holds(_)));
            if acked > 10 {
                assert!(matches!(judge(acked - 10), Verdict::Lost(lost) if lost <= 10));
            }
        }
    }
}

#[test]
fn what_was_not_synced_may_be_lost_from_the_end_on_and_never_in_between() {
    for kind in [Kind::Kv, Kind::Log, Kind::Raft] {
        let model = Model::new(shape(kind), 100);
        let promised = Promised {
            acked: 60,
            durable: 50,
        };
        let judge = |operations: &mut dyn Iterator<Item = u64>| {
            model.judge(promised, &contents(&model, operations))
        };
        for kept in 50..=61 {
            assert!(matches!(judge(&mut (1..=kept)), Verdict::Holds(_)));
        }
        assert!(matches!(judge(&mut (1..=45)), Verdict::Lost(1..=5)));
        let hole = judge(&mut (1..=60).filter(|n| *n != 55));
        assert!(matches!(hole, Verdict::Inconsistent(_)), "{hole:?}");
    }
}

#[test]
fn a_resurrected_delete_a_hole_and_a_foreign_value_are_inconsistent() {
    let model = Model::new(shape(Kind::Kv), 400);
    let judge = |contents: &Contents| model.judge(Promised::all(400), contents);
    let is_delete = |n: &u64| matches!(model.operation(*n), Operation::Change(changes) if matches!(changes[..], [(_, None)]));
    let resurrecting = (1..=400).filter(is_delete).filter(|delete| {
        let without = contents(&model, (1..=400).filter(|n| n != delete));
        if without == contents(&model, 1..=400) {
            return false;
        }
        assert!(matches!(judge(&without), Verdict::Inconsistent(_)));
        true
    });
    assert!(resurrecting.count() > 5);
    let hole = contents(&model, (1..=400).filter(|n| *n != 399));
    assert!(matches!(judge(&hole), Verdict::Inconsistent(_)));
    let mut foreign = contents(&model, 1..=400);
    foreign.first_entry().unwrap().get_mut()[20] ^= 1;
    let Verdict::Inconsistent(words) = judge(&foreign) else {
        panic!("it is no state of any moment");
    };
    assert!(words.ends_with("bytes that nobody wrote there"), "{words}");
}

#[test]
fn half_a_batch_is_inconsistent() {
    for kind in [Kind::Kv, Kind::Log] {
        let batches = Shape {
            batches: true,
            ..shape(kind)
        };
        let model = Model::new(batches, 40);
        let mut halves = 0;
        for n in 1..40 {
            let half = match model.operation(n) {
                Operation::Change(changes) if changes.len() > 1 => {
                    Operation::Change(changes[..1].to_vec())
                }
                Operation::Append(records) if records.len() > 1 => {
                    Operation::Append(records[..1].to_vec())
                }
                _ => continue,
            };
            let mut state = State::default();
            for n in 1..n {
                model.operation(n).apply_to(&mut state);
            }
            half.apply_to(&mut state);
            let verdict = model.judge(Promised::all(n - 1), state.pairs());
            assert!(matches!(verdict, Verdict::Inconsistent(_)), "{verdict:?}");
            halves += 1;
        }
        assert!(halves > 5);
    }
}

#[test]
fn what_changed_places_is_reported_by_name() {
    let model = Model::new(shape(Kind::Raft), 200);
    let is_vote = |n: &u64| {
        matches!(
            model.operation(*n),
            Operation::Raft(raft::Step::Vote { .. })
        )
    };
    let vote = (1..150).rev().find(is_vote).unwrap();
    let without = contents(&model, (1..=150).filter(|n| *n != vote));
    let Verdict::Inconsistent(words) = model.judge(Promised::all(150), &without) else {
        panic!("the last vote is missing in the middle");
    };
    let expected = ["the vote has what operation", "1 thing differs"];
    assert!(
        expected.iter().all(|expected| words.contains(expected)),
        "{words}"
    );
}
