//! Every crash state of a profile is one of `strict`: tried for every short sequence of calls.

use std::collections::BTreeSet;

use durable_io::sim::{Profile, SimDisk, World};

use super::program::{STATES, UNIT, show, simulated};
use super::step::{Step, of};
use crate::crashtest::report::Inclusion;

/// The calls, over two names in two directories.
pub(super) const ALPHABET: [Step; 26] = [
    Step::Create("f"),
    Step::Create("g"),
    Step::Write("f", of(b'A', 700)),
    Step::Write("f", of(b'B', 3000).at(3000)),
    Step::Write("g", of(b'C', 5000)),
    Step::WriteDurable("f", of(b'D', 400).at(500)),
    Step::SetLen("f", 0),
    Step::SetLen("f", 1000),
    Step::SetLen("g", 6000),
    Step::Allocate("f", 9000),
    Step::Rename("f", "g"),
    Step::Rename("g", "f"),
    Step::Link("f", "g"),
    Step::Remove("f"),
    Step::Remove("g"),
    Step::MakeDir("d"),
    Step::Create("d/x"),
    Step::Write("d/x", of(b'E', 100)),
    Step::SyncData("f"),
    Step::SyncAll("g"),
    Step::SyncData("d/x"),
    Step::SyncDir("."),
    Step::SyncDir("d"),
    Step::StartWriteback("f"),
    Step::StartWriteback("g"),
    Step::Create("h"),
];

/// Shows at most this many exceptions.
const SHOWN: usize = 3;

/// Runs every sequence of up to `length` calls, from an empty disk and from one with a durable file,
/// and compares the states of each profile in `profiles` with those of `strict`.
pub(super) fn check(length: usize, profiles: &[Profile]) -> Inclusion {
    let mut search = Search {
        steps: Vec::new(),
        inclusion: Inclusion {
            length: length as u64,
            profiles: profiles.iter().map(|profile| (profile.name, 0)).collect(),
            ..Inclusion::default()
        },
    };
    for start in [
        &[][..],
        &[Step::Create("f"), Step::Write("f", of(b'O', 5000))],
    ] {
        let begin = |profile: &Profile| {
            let machine = SimDisk::with_profile(UNIT, *profile);
            let started = simulated(&machine).run(start);
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
        for step in ALPHABET {
            // A hint has no effect in the model.
            if matches!(step, Step::StartWriteback(_)) {
                continue;
            }
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
