//! "Record once, crash everywhere" (crash model 1.6): it is enough to look just before each barrier
//! takes effect and at the end, because in between the pending effects only grow.

use super::*;
use crate::sim::SimDisk;
use crate::sim::disk::{Point, PointKind};

/// Runs `program` and returns the instants the simulator recorded, and the last one.
fn recorded(program: &[Step]) -> Vec<Point> {
    let sim = SimDisk::new();
    sim.record(true);
    for step in program {
        // A call that fails changes nothing.
        drop(perform(&sim.disk(), step));
    }
    let mut points = sim.take_points();
    points.push(Point {
        world: sim.world(),
        kind: PointKind::Call,
    });
    points
}

fn is_barrier(point: &Point) -> bool {
    matches!(point.kind, PointKind::Barrier(_))
}

/// The number of calls after which a crash leaves nothing that it could not leave later.
fn check(program: &[Step], seed: u64) -> usize {
    let points = recorded(program);
    let last = points.len() - 1;
    let mut checked = 0;
    for (at, point) in points.iter().enumerate() {
        if is_barrier(point) || at == last {
            continue;
        }
        let until = (at..=last)
            .find(|at| is_barrier(&points[*at]) || *at == last)
            .unwrap();
        let (now, later) = (
            crash_images(1 << 13, &point.world),
            crash_images(1 << 13, &points[until].world),
        );
        let (Some(now), Some(later)) = (now, later) else {
            continue;
        };
        assert!(
            now.is_subset(&later),
            "a crash at point {at} of {program:?} leaves what none at point {until} leaves; SEED={seed}"
        );
        checked += 1;
    }
    checked
}

#[test]
fn every_state_between_two_barriers_is_one_of_those_before_the_second_or_at_the_end() {
    let seed = seed();
    let mut checked = 0;
    for nth in 0..400 {
        let mut draw = Draw(mix(seed, 1000 + nth));
        let steps = 2 + usize::try_from(draw.below(8)).unwrap();
        let program = random_program(&mut draw, steps, nth % 2 == 0);
        checked += check(&program, seed);
    }
    assert!(checked > 300, "only {checked} instants were small enough");
}

#[test]
fn a_barrier_that_takes_effect_makes_states_impossible_and_none_possible() {
    let seed = seed();
    let mut checked = 0;
    for nth in 0..200 {
        let mut draw = Draw(mix(seed, 5000 + nth));
        let sim = SimDisk::new();
        for step in random_program(&mut draw, 8, nth % 2 == 0) {
            let before = sim.world();
            let done = perform(&sim.disk(), &step).is_ok();
            if !done || !matches!(step, Step::Sync(_) | Step::SyncDir(_)) {
                continue;
            }
            if let (Some(before), Some(after)) = (
                crash_images(1 << 13, &before),
                crash_images(1 << 13, &sim.world()),
            ) {
                assert!(after.is_subset(&before), "{step:?}, SEED={seed}");
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "only {checked} syncs were small enough");
}
