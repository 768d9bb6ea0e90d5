use std::collections::BTreeSet;

use super::*;
use crate::sim::hash::mix;

/// What the states of `volume` show, as its profile has them, each once.
fn legal(volume: &Volume) -> BTreeSet<u64> {
    let states = volume.world.crash_states(1 << 14);
    let states = states.expect("few calls leave few states");
    states.iter().map(World::visible_hash).collect()
}

/// A volume after `calls` calls drawn by `seed`: two names, three sectors, a sync now and then.
fn after(profile: Profile, calls: u8, seed: u64) -> Volume {
    let mut volume = Volume::with_profile(512, profile);
    for call in 0..calls {
        let drawn = mix(seed, u64::from(call));
        let name = if drawn.is_multiple_of(2) { "a" } else { "b" };
        let file = match volume.lookup(Volume::ROOT, name) {
            Ok(file) => file,
            Err(_) => volume.create_file(Volume::ROOT, name).unwrap(),
        };
        match (drawn >> 8) % 7 {
            0 => volume.remove_file(Volume::ROOT, name).unwrap(),
            1 => volume.rename(Volume::ROOT, name, "c").unwrap(),
            2 => volume.sync(file),
            3 => volume.set_len(file, (drawn >> 16) % 1500).unwrap(),
            _ => volume
                .write(file, &[call; 200], (drawn >> 16) % 1300)
                .unwrap(),
        }
    }
    volume
}

#[test]
fn what_is_drawn_is_legal_under_every_profile_and_is_everything_where_that_is_little() {
    let mut whole = 0;
    let all = [Profile::STRICT].into_iter().chain(Profile::REAL);
    for profile in all {
        for (seed, calls) in (0..60).zip([2, 3, 4, 5].into_iter().cycle()) {
            let volume = after(profile, calls, seed);
            let legal = legal(&volume);
            for most in [5, 200] {
                let losses = volume.power_losses(most, seed);
                let shown: BTreeSet<u64> = losses.iter().map(Volume::contents_hash).collect();
                assert!(shown.is_subset(&legal), "{} {seed}", profile.name);
                // Fewer than asked for: there are no more.
                if losses.len() < most {
                    assert!(shown == legal, "{} {seed}", profile.name);
                    whole += 1;
                }
            }
        }
    }
    assert!(whole > 100, "{whole}");
}

#[test]
fn a_name_that_a_journal_has_is_there_with_a_sync_of_the_file() {
    let lost = |profile| {
        let mut volume = Volume::with_profile(512, profile);
        let file = volume.create_file(Volume::ROOT, "a").unwrap();
        volume.sync(file);
        let losses = volume.power_losses(8, 1);
        losses
            .iter()
            .any(|left| left.lookup(Volume::ROOT, "a").is_err())
    };
    assert!(lost(Profile::STRICT));
    assert!(!lost(Profile::EXT4) && !lost(Profile::XFS) && !lost(Profile::BTRFS));
    let mut volume = after(Profile::EXT4, 9, 3);
    volume = volume.keep_unsynced();
    assert_eq!(volume.power_losses(8, 1).len(), 1);
}
