use super::*;

#[test]
fn the_right_control_is_not_accused_and_each_planted_bug_is_found() {
    for (control, is_wrong) in controls::ALL {
        let life = try_all(
            control,
            &Clauses::parse(controls::CLAUSES),
            &Context::short(),
        );
        assert_eq!(
            life.wrong > 0,
            is_wrong,
            "{control:?}: {:#?}",
            life.findings
        );
        assert!(life.images > 100, "{control:?}: {}", life.images);
    }
}

#[test]
fn every_outcome_is_one_of_the_right_control_s() {
    let life = try_all(
        &controls::Control::Right,
        &Clauses::parse(controls::CLAUSES),
        &Context::short(),
    );
    assert!(life.right > 0 && life.refused > 0, "{life:?}");
    assert!(!life.undecidable.is_empty(), "{life:?}");
}
