use super::*;

fn outcomes(name: &str, profile: Profile) -> BTreeSet<String> {
    let programs = program::programs();
    let program = programs.iter().find(|program| program.name == name);
    program.unwrap().outcomes(profile).unwrap()
}

#[test]
fn every_state_of_a_profile_is_one_of_strict() {
    let inclusion = inclusion::check(3, &Profile::REAL);
    assert_eq!(inclusion.findings, [""; 0]);
    assert!(inclusion.workloads > 200, "{inclusion:?}");
    for (name, states) in inclusion.profiles {
        assert!(states < inclusion.strict_states, "{name} promises nothing");
    }
}

#[test]
fn an_outcome_that_the_profile_does_not_allow_is_reported_and_counted() {
    let name = "OLD f removed, other synced";
    let programs = program::programs();
    let program = programs.iter().find(|program| program.name == name);
    let shown = ["f=O5000 other=o10", "other=o10"].map(|shown| (shown.to_owned(), 2));
    let mut trial = Trial {
        profile: Profile::BTRFS,
        shown: vec![(program.unwrap().clone(), BTreeMap::from(shown))],
    };
    let judged = trial.judge(Profile::BTRFS).unwrap();
    assert_eq!(
        (judged.power_losses, judged.seen, judged.outside),
        (4, 2, 0)
    );
    // There a sync of any file commits the removal.
    let judged = trial.judge(Profile::XFS).unwrap();
    assert_eq!(
        (judged.power_losses, judged.seen, judged.outside),
        (4, 1, 2)
    );
    let [finding] = judged.findings.as_slice() else {
        panic!("{judged:?}")
    };
    assert!(finding.contains("f=O5000 other=o10") && finding.contains("strict allows it"));
    trial.shown[0].1.insert("f=X1".to_owned(), 1);
    let judged = trial.judge(Profile::BTRFS).unwrap();
    assert!(judged.findings[0].contains("NOT EVEN STRICT"), "{judged:?}");
}

#[test]
fn a_planted_profile_forbids_what_a_file_system_shows() {
    let name = "OLD unsynced tmp renamed over f, fsync dir";
    let (zeros, empty) = ("f=_5000", "f=");
    let ext4 = outcomes(name, Profile::EXT4);
    assert!(ext4.contains(zeros) && !ext4.contains(empty), "{ext4:?}");
    let planted = Profile {
        data_before_size: true,
        ..Profile::EXT4_NOAUTO_DA_ALLOC
    };
    assert!(!outcomes(name, planted).contains(zeros));
    for profile in [Profile::EXT4_NOAUTO_DA_ALLOC, Profile::XFS, Profile::BTRFS] {
        assert!(outcomes(name, profile).contains(empty), "{}", profile.name);
    }
}

#[test]
fn random_programs_are_drawn_from_the_seed_alone() {
    let draw = || Program::random(&mut StdRng::seed_from_u64(7)).describe();
    assert_eq!(draw(), draw());
}
