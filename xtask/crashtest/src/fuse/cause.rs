//! Why a store did not survive a power loss: which barriers are missing. They are found by trying. With a sync of
//! each file and directory that was not durable, inserted into the record, the crash states of the moment are right.
//! Then one after the other is taken out again, as long as they stay right, and what is left is moved to the
//! earliest call after which it is enough.

use std::collections::{BTreeMap, BTreeSet};

use super::call::{Call, Names};
use super::machine::Event;
use super::replay::Run;
use super::wrong::Wrong;
use crate::model::Promised;
use crate::report::Cause;

/// So many violations that differ in what was not durable are looked into.
const TRIED: usize = 8;
/// Of one with more calls that are not durable, no cause is looked for.
const BARRIERS: usize = 12;
/// The least number of crash states that must be right.
const STATES: usize = 8;

/// A moment of a record at which something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The last event before the power loss.
    pub(crate) at: usize,
    /// What the store had said by then.
    pub(crate) promised: Promised,
    /// By which crash states are drawn.
    pub(crate) seed: u64,
}

/// The moments at which each cause was seen, by its name; in their order.
pub(super) type Witnesses = BTreeMap<String, Vec<Moment>>;

/// A record and a moment of it.
type Record<'e> = (&'e [Event], Moment);

/// A sync that is not in the record.
#[derive(Clone, Debug)]
struct Barrier {
    /// What it makes durable: a file or a directory.
    object: usize,
    /// The calls that are not, in their order; it comes after the last one.
    calls: Vec<Undurable>,
}

/// A call that is not durable.
#[derive(Clone, Debug)]
struct Undurable {
    /// Its event.
    at: usize,
    words: String,
}

/// A sync of each file and directory that is not durable, as a record is done again.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    by_object: BTreeMap<usize, Barrier>,
    /// How many calls there were.
    calls: u64,
}

impl Missing {
    /// Takes in `call`, which is event `at`, and which `names` knows.
    pub(crate) fn see(&mut self, at: usize, call: &Call, names: &Names) {
        self.calls += 1;
        let (object, what) = names.object(call);
        if !call.writes() {
            self.by_object.remove(&object);
            return;
        }
        let (number, call_text) = (self.calls, names.describe(call));
        let words = format!("nothing syncs {what} after call {number}, {call_text}");
        let calls = Vec::new();
        let barrier = self.by_object.entry(object);
        let barrier = barrier.or_insert(Barrier { object, calls });
        barrier.calls.push(Undurable { at, words });
    }

    /// In the order of their last calls.
    fn in_order(&self) -> Vec<Barrier> {
        let mut missing: Vec<Barrier> = self.by_object.values().cloned().collect();
        missing.sort_by_key(|barrier| barrier.last().map(|call| call.at));
        missing
    }
}

impl Barrier {
    fn last(&self) -> Option<&Undurable> {
        self.calls.last()
    }

    fn words(&self) -> &str {
        self.last().map_or("", |call| &call.words)
    }
}

impl Run<'_> {
    /// Counts `wrong` to the cause that it has, or to a new one; false if none is found. `missing` is as of the moment.
    pub(crate) fn explain(
        &mut self,
        events: &[Event],
        moment: Moment,
        missing: &Missing,
        wrong: &Wrong,
        example: &str,
    ) -> bool {
        if wrong.has_continued {
            // What it lacks is in no record.
            return false;
        }
        let missing = missing.in_order();
        let calls = missing.iter().map(|one| general(one.words()));
        let calls: BTreeSet<String> = calls.collect();
        let calls: Vec<String> = calls.into_iter().collect();
        let alike = format!("{}: {}", wrong.kind(), calls.join("; "));
        if let Some(known) = self.tally.cause(|known| known.alike.contains(&alike)) {
            known.states += 1;
            let name = known.name.clone();
            self.witnesses.entry(name).or_default().push(moment);
            return true;
        }
        let tried: usize = self
            .tally
            .causes
            .iter()
            .map(|known| known.alike.len())
            .sum();
        let is_hopeless = missing.is_empty() || missing.len() > BARRIERS || tried >= TRIED;
        let record = (events, moment);
        if is_hopeless || !self.suffices(record, &missing) {
            return false;
        }
        let needed = self.fewest(record, missing);
        let needed = self.earliest(record, needed);
        if !wrong.is_loss() && !self.was_right_before(events, &needed, moment.seed) {
            // What is wrong without any promise was wrong before the sync could have come.
            return false;
        }
        let words: Vec<&str> = needed.iter().map(Barrier::words).collect();
        let words = words.join(", and ");
        let name = general(&words);
        self.witnesses.entry(name.clone()).or_default().push(moment);
        self.tally.explained(Cause {
            name,
            alike: vec![alike],
            words,
            example: example.to_owned(),
            states: 1,
            tried: BTreeMap::new(),
        });
        true
    }

    /// Those of `barriers` that cannot be left out.
    fn fewest(&mut self, record: Record<'_>, barriers: Vec<Barrier>) -> Vec<Barrier> {
        let mut needed = barriers;
        // From the last one on: what belongs after an earlier call is the better explanation.
        for nth in (0..needed.len()).rev() {
            let mut fewer = needed.clone();
            fewer.remove(nth);
            if self.suffices(record, &fewer) {
                needed = fewer;
            }
        }
        needed
    }

    /// `barriers`, each as early as is enough.
    fn earliest(&mut self, record: Record<'_>, barriers: Vec<Barrier>) -> Vec<Barrier> {
        let mut needed = barriers;
        for nth in 0..needed.len() {
            let of = |needed: &[Barrier]| needed.get(nth).map_or(0, |barrier| barrier.calls.len());
            // After so many calls it is not enough, after so many it is.
            let (mut too_few, mut enough) = (0, of(&needed));
            while too_few + 1 < enough {
                let middle = too_few.midpoint(enough);
                let mut earlier = needed.clone();
                if let Some(barrier) = earlier.get_mut(nth) {
                    barrier.calls.truncate(middle);
                }
                if self.suffices(record, &earlier) {
                    needed = earlier;
                    enough = middle;
                } else {
                    too_few = middle;
                }
            }
        }
        needed
    }

    /// True if just before each of `barriers` would have come, with the others in the record, no crash state was one
    /// that never was.
    fn was_right_before(&mut self, events: &[Event], barriers: &[Barrier], seed: u64) -> bool {
        (0..barriers.len()).all(|nth| {
            let mut others = barriers.to_vec();
            let Some(at) = others.remove(nth).last().map(|call| call.at) else {
                return true;
            };
            let mut promised = Promised::default();
            for event in events.iter().take(at + 1) {
                promised.see(event, self.model.shape);
            }
            promised.durable = 0;
            let before = Moment { at, promised, seed };
            self.suffices((events, before), &others)
        })
    }

    /// True if every crash state of the moment is right, once `barriers` are in the record.
    fn suffices(&mut self, (events, moment): Record<'_>, barriers: &[Barrier]) -> bool {
        let ending = self.conditions.ending;
        let mut volume = self.fresh();
        for (at, event) in events.iter().enumerate().take(moment.at + 1) {
            if let Event::Call(call) = event {
                call.again(&mut volume);
            }
            let is_here = |barrier: &&Barrier| barrier.last().is_some_and(|call| call.at == at);
            for barrier in barriers.iter().filter(is_here) {
                volume.sync(barrier.object);
            }
        }
        let most = self.bound.per_moment.max(STATES);
        let mut crashed = ending.states(&volume, most, moment.seed);
        crashed.push(ending.least(&volume));
        crashed.into_iter().all(|left| {
            self.machine.boot(left);
            self.open_and_compare(moment.promised).is_ok()
        })
    }
}

/// `words` with N for each number in it: what is the same for many calls.
fn general(words: &str) -> String {
    let mut general = String::new();
    for part in words.chars() {
        match part {
            '0'..='9' if general.ends_with('N') => {}
            '0'..='9' => general.push('N'),
            other => general.push(other),
        }
    }
    general
}

#[cfg(test)]
mod tests {
    use durable_io::sim::Volume;

    use super::*;
    use crate::conditions::Ending;
    use crate::fuse::replay::fresh;

    #[test]
    fn what_is_not_durable_lacks_a_sync_after_its_last_call() {
        let mut volume = fresh(Ending::Strict, 512);
        let disk = volume.lookup(Volume::ROOT, "disk").unwrap();
        let file = volume.create_file(disk, "log").unwrap();
        let write = |offset| Call::Write {
            file,
            offset,
            bytes: vec![7; 16],
        };
        let create = Call::CreateFile {
            dir: disk,
            name: "log".to_owned(),
        };
        let sync = Call::SyncFile { file };
        let words = |calls: &[Call]| -> Vec<String> {
            let mut volume = fresh(Ending::Strict, 512);
            let (mut names, mut missing) = (Names::of(&volume), Missing::default());
            for (at, call) in calls.iter().enumerate() {
                let made = call.apply(&mut volume).unwrap();
                names.see(call, made, &volume);
                missing.see(at, call, &names);
            }
            let missing = missing.in_order();
            missing.iter().map(|one| one.words().to_owned()).collect()
        };
        let of_name = "nothing syncs directory disk after call 1, create log in disk";
        let of_data = "nothing syncs log after call 3, write log 16..32";
        assert_eq!(
            words(&[create.clone(), write(0), write(16)]),
            [of_name, of_data]
        );
        assert_eq!(words(&[create, write(0), sync]), [of_name]);
    }

    #[test]
    fn numbers_are_left_out_of_what_is_the_same() {
        assert_eq!(general("write log.12 16..32"), "write log.N N..N");
    }
}
