//! Every crash state of a profile is one of `strict`: tried for every short sequence of calls.

use std::collections::BTreeSet;

use durable_io::sim::{Profile, SimDisk, World};

use super::program::{OLD, STATES, UNIT, show, simulated};
use super::step::{Step, parse};
use crate::report::Inclusion;

/// The calls, over four names in two directories.
pub(super) const ALPHABET: &str = "create f, create g, create h, write f A700, write f B3000@3000, \
    write g C5000, dwrite f D400@500, truncate f 0, truncate f 1000, truncate g 6000, \
    allocate f 9000, rename f g, rename g f, link f g, link f d/f, \
    remove f, remove g, mkdir d, rmdir d, create d/x, \
    write d/x E100, fdatasync f, fsync g, fdatasync d/x, fsyncdir ., fsyncdir d, writeback f, \
    writeback g";

/// Shows at most this many exceptions.
const SHOWN: usize = 3;

/// Runs every sequence of up to `length` calls, from an empty disk and from one with a durable file,
/// and compares the states of each profile in `profiles` with those of `strict`.
pub(super) fn check(length: usize, profiles: &[Profile]) -> Inclusion {
    // A hint has no effect in the model.
    let is_call = |step: &Step| !matches!(step, Step::StartWriteback(_));
    let mut search = Search {
        alphabet: parse(ALPHABET).into_iter().filter(is_call).collect(),
        steps: Vec::new(),
        inclusion: Inclusion {
            length: length as u64,
            profiles: profiles.iter().map(|profile| (profile.name, 0)).collect(),
            ..Inclusion::default()
        },
    };
    for start in ["", OLD].map(parse) {
        let begin = |profile: &Profile| {
            let machine = SimDisk::with_profile(UNIT, *profile);
            let started = simulated(&machine).run(&start);
            started.expect("the start runs on an empty disk");
            machine.world().keep_unsynced()
        };
        let worlds: Vec<World> = [Profile::STRICT]
            .iter()
            .chain(profiles)
            .map(begin)
            .collect();
        search.extend(&worlds, length);
    }
    search.inclusion
}

struct Search {
    alphabet: Vec<Step>,
    steps: Vec<Step>,
    inclusion: Inclusion,
}

impl Search {
    /// Tries every call after the present ones. `worlds` are what those made of the disk, under
    /// `strict` first.
    fn extend(&mut self, worlds: &[World], left: usize) {
        if left == 0 {
            return;
        }
        for step in self.alphabet.clone() {
            let after: Vec<World> = worlds
                .iter()
                .filter_map(|world| perform(world, step))
                .collect();
            if after.len() < worlds.len() {
                continue;
            }
            self.steps.push(step);
            self.compare(&after);
            self.extend(&after, left - 1);
            self.steps.pop();
        }
    }

    fn compare(&mut self, worlds: &[World]) {
        self.inclusion.workloads += 1;
        let states = worlds.iter().map(|world| world.crash_states(STATES));
        let Some(states) = states.collect::<Option<Vec<_>>>() else {
            self.inclusion.too_large += 1;
            return;
        };
        let mut shown = states
            .into_iter()
            .map(|states| states.into_iter().map(show));
        let strict: BTreeSet<String> = shown.next().into_iter().flatten().collect();
        self.inclusion.strict_states += strict.len() as u64;
        for ((name, count), states) in self.inclusion.profiles.iter_mut().zip(shown) {
            let states: BTreeSet<String> = states.collect();
            *count += states.len() as u64;
            for state in states.difference(&strict) {
                self.inclusion.exceptions += 1;
                if self.inclusion.findings.len() < SHOWN {
                    let steps: Vec<String> = self.steps.iter().map(Step::to_string).collect();
                    let steps = steps.join(", ");
                    let finding = format!("{name} can leave {state:?} and strict cannot: {steps}");
                    self.inclusion.findings.push(finding);
                }
            }
        }
    }
}

fn perform(world: &World, step: Step) -> Option<World> {
    let machine = SimDisk::boot(world.clone());
    simulated(&machine).run(&[step]).ok()?;
    Some(machine.world())
}
