//! The simulator's crash states are exactly those of the crash model.

use std::cell::Cell;
use std::fmt::Write as _;

use super::reference::{Name, Reference, Step};
use super::*;
use crate::sim::SimDisk;
use crate::sim::sample;

/// More sources of stale content than this are forgotten by the simulator.
const STALE_SOURCES: usize = 3;

fn describe(seed: u64, program: &[Step]) -> String {
    let mut text = format!("SEED={seed}, program:\n");
    for step in program {
        writeln!(text, "   {step:?}").unwrap();
    }
    text
}

/// Calls `check` with the disk and the reference after each of `programs` random programs, and
/// returns how many were small enough.
fn for_random_programs(
    seed: u64,
    programs: u64,
    (unit, durable_writes): (usize, bool),
    check: impl Fn(&World, &BTreeSet<Image>, &str),
) -> u64 {
    let mut checked = 0;
    for nth in 0..programs {
        let mut draw = Draw(mix(seed, nth));
        let steps = 2 + usize::try_from(draw.below(10)).unwrap();
        let program = random_program(&mut draw, steps, durable_writes);
        let report = describe(seed, &program);
        let sim = SimDisk::with_unit(unit);
        let mut reference = Reference::new(unit);
        for step in &program {
            if is_rename_to_itself(&sim, step) {
                continue;
            }
            let done = perform(&sim.disk(), step).is_ok();
            assert_eq!(done, reference.perform(step), "{step:?} in {report}");
        }
        let world = sim.world();
        if reference.stale_sources() > STALE_SOURCES {
            continue;
        }
        if let Some(expected) = reference.images(4000, &|index| garbage(&world, index)) {
            check(&world, &expected, &report);
            checked += 1;
        }
    }
    checked
}

/// A rename between two names of one file: see `states::a_rename_between_two_names…`.
fn is_rename_to_itself(sim: &SimDisk, step: &Step) -> bool {
    let Step::Rename(from, to) = step else {
        return false;
    };
    let world = sim.world();
    let ino = |Name(dir, name)| {
        let dir = if dir == 0 {
            0
        } else {
            world.lookup(0, "d").ok()?
        };
        world.lookup(dir, name).ok()
    };
    ino(*from).is_some() && ino(*from) == ino(Name(from.0, to.1))
}

/// Fails where the simulator's states of random programs are not those of the crash model.
fn assert_sound_and_complete(durable_writes: bool) {
    let seed = seed();
    for unit in [512, 4096] {
        let too_many = Cell::new(0);
        let kind = (unit, durable_writes);
        let checked = for_random_programs(seed, 400, kind, |world, expected, report| {
            let Some(found) = crash_images(1 << 16, world) else {
                too_many.set(too_many.get() + 1);
                return;
            };
            for image in &found {
                let legal = expected.contains(image);
                assert!(legal, "illegal: {}\n{report}", shown(image));
            }
            for image in expected {
                let shows = found.contains(image);
                assert!(shows, "missing: {}\n{report}", shown(image));
            }
        });
        let checked = checked - too_many.get();
        assert!(checked > 200, "only {checked} programs were small enough");
    }
}

#[test]
fn the_states_of_random_programs_are_those_of_the_crash_model_no_more_and_no_less() {
    assert_sound_and_complete(false);
}

#[test]
fn the_states_of_random_programs_with_durable_writes_are_those_of_the_crash_model() {
    assert_sound_and_complete(true);
}

#[test]
fn a_sampled_instant_shows_only_states_of_the_crash_model() {
    let seed = seed();
    let checked = for_random_programs(seed, 120, (512, false), |world, expected, report| {
        let mut visit = |_, choice: &dyn Fn() -> Choice| {
            let image = image(&world.crash(&choice()));
            assert!(expected.contains(&image), "{}\n{report}", shown(&image));
            Ok::<(), ()>(())
        };
        let visited = sample::visit(world, 1 << 10, &mut visit).unwrap();
        assert!(visited.sampled);
        let fewer = sample::visit(world, 1, &mut visit).unwrap();
        assert!((2..=34).contains(&fewer.states), "{}", fewer.states);
        assert!(fewer.states <= visited.states);
    });
    assert!(checked > 60, "only {checked} programs were small enough");
}

#[test]
fn losing_and_keeping_everything_are_states_of_the_crash_model() {
    let seed = seed();
    for_random_programs(seed, 120, (512, false), |world, expected, report| {
        for end in [world.lose_unsynced(), world.keep_unsynced()] {
            let image = image(&end);
            assert!(expected.contains(&image), "{}\n{report}", shown(&image));
            assert!(end.pending_chains().is_empty(), "{report}");
        }
        let kept = image(&world.keep_unsynced());
        assert_eq!(kept, image(world), "what a process sees\n{report}");
    });
}

/// An image, short: each file as its length and one letter for each 100 bytes.
fn shown(image: &Image) -> String {
    let mut text = String::new();
    for (path, bytes) in image {
        let Some(bytes) = bytes else {
            write!(text, "{path}/ ").unwrap();
            continue;
        };
        let letters: String = (bytes.iter().step_by(100))
            .map(|byte| match byte {
                0 => '.',
                b'A'..=b'Z' => char::from(*byte),
                _ => '?',
            })
            .collect();
        write!(text, "{path} {}:{letters} ", bytes.len()).unwrap();
    }
    text
}
