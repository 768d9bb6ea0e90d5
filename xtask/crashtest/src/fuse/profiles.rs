//! How bad is a cause? What was lost under one profile is tried under all of them, at the moments at which it was
//! seen.

use std::collections::HashSet;

use clap::ValueEnum as _;

use super::cause::Moment;
use super::machine::Event;
use super::replay::Run;
use crate::conditions::Ending;
use crate::report::Tried;

/// At so many moments of a cause, spread over all, it is tried under each profile.
const MOMENTS: usize = 6;
/// So many states of each moment, if it has so many.
const STATES: usize = 8;

impl Run<'_> {
    /// Tries each cause under every profile.
    pub(super) fn judge_causes(&mut self, events: &[Event]) {
        let seen = std::mem::take(&mut self.witnesses);
        for (name, moments) in &seen {
            let moments = spread(moments);
            for ending in Ending::value_variants() {
                let tried = self.try_under(*ending, events, &moments);
                if let Some(cause) = self.tally.cause(|known| known.name == *name) {
                    cause.tried.insert(*ending, tried);
                }
            }
        }
    }

    /// Judges the states that are left where the machine ends so at one of `moments`, up to the first that is wrong.
    fn try_under(&mut self, ending: Ending, events: &[Event], moments: &[Moment]) -> Tried {
        let mut tried = Tried::default();
        if ending == self.conditions.ending {
            // It was seen under that.
            tried.wrong += 1;
            return tried;
        }
        let mut volume = self.fresh_for(ending);
        let mut seen = HashSet::new();
        for (at, event) in events.iter().enumerate() {
            if let Event::Call(call) = event {
                call.again(&mut volume);
            }
            for moment in moments.iter().filter(|moment| moment.at == at) {
                for left in ending.states(&volume, STATES, moment.seed) {
                    if !seen.insert((left.contents_hash(), moment.promised.acked)) {
                        continue;
                    }
                    self.machine.boot(left);
                    tried.states += 1;
                    if self.open_and_compare(moment.promised).is_err() {
                        tried.wrong += 1;
                        return tried;
                    }
                }
            }
        }
        tried
    }
}

/// Some of `moments`, the first and the last among them.
fn spread(moments: &[Moment]) -> Vec<Moment> {
    let last = moments.len().saturating_sub(1);
    let some = (0..MOMENTS).map(|nth| nth * last / (MOMENTS - 1));
    let mut some: Vec<Moment> = some.filter_map(|at| moments.get(at).copied()).collect();
    some.dedup();
    some
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Promised;

    #[test]
    fn moments_are_spread_over_all_and_none_is_taken_twice() {
        let moment = |at| Moment {
            at,
            promised: Promised::all(0),
            seed: 0,
        };
        for (many, expected) in [
            (0, vec![]),
            (1, vec![0]),
            (3, vec![0, 1, 2]),
            (101, vec![0, 20, 40, 60, 80, 100]),
        ] {
            let moments: Vec<Moment> = (0..many).map(moment).collect();
            let some: Vec<usize> = spread(&moments).iter().map(|moment| moment.at).collect();
            assert_eq!(some, expected);
        }
    }
}
