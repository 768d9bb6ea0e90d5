//! Whether what clients have seen of one key can have happened in one order.
//!
//! Each operation takes effect at one instant between its call and its return, and one whose outcome is not known at any
//! instant reached its call, or never. For the events in their order the set of all configurations is kept in which
//! the store can be then: the value, and which of the operations in flight have taken effect.
//!
//! Source: Lowe, "Testing for linearizability", 2017: just-in-time linearization.

use std::collections::{HashMap, VecDeque};

/// The value of an absent key.
pub(crate) const ABSENT: u64 = 0;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Also a deletion: of [`ABSENT`].
    Put(u64),
    Get(u64),
    /// `None`: the outcome is not known.
    CompareAndSet {
        old: u64,
        new: u64,
        is_done: Option<bool>,
    },
}

impl Op {
    /// The value after it, if it can take effect where the value is `now`.
    fn after(self, now: u64) -> Option<u64> {
        match self {
            Self::Put(value) => Some(value),
            Self::Get(seen) => (seen == now).then_some(now),
            Self::CompareAndSet { old, new, is_done } => match (old == now, is_done) {
                (true, Some(true) | None) => Some(new),
                (false, Some(false) | None) => Some(now),
                _ => None,
            },
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded {
    pub(crate) op: Op,
    pub(crate) called: u64,
    /// `None`: nobody knows whether it was done.
    pub(crate) returned: Option<u64>,
}

/// In which the store can be: the value of the key, and which of the operations in flight have taken effect, as bits.
type Configuration = (u64, u128);

/// A set of configurations, without those that can do nothing that another one cannot: an operation whose outcome is not
/// known may have taken effect, and never has to.
#[derive(Default)]
struct Configurations {
    /// Bits of operations whose outcome is not known.
    unknown: u128,
    /// Which of these have taken effect, by the value and what else has; none includes another.
    least: HashMap<Configuration, Vec<u128>>,
}

impl Configurations {
    /// False if it adds nothing.
    fn insert(&mut self, (value, effective): Configuration) -> bool {
        let known = (value, effective & !self.unknown);
        let new = effective & self.unknown;
        let least = self.least.entry(known).or_default();
        if least.iter().any(|one| one & new == *one) {
            return false;
        }
        least.retain(|one| one & new != new);
        least.push(new);
        true
    }

    fn iter(&self) -> impl Iterator<Item = Configuration> {
        let all = self.least.iter();
        all.flat_map(|((value, known), least)| least.iter().map(move |new| (*value, known | new)))
    }
}

/// The first operation that cannot have happened; `None` if `history` is linearizable.
pub(crate) fn impossible(history: &[Recorded]) -> Option<Recorded> {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (nth, recorded) in history.iter().enumerate() {
        events.push((recorded.called, true, nth));
        events.extend(recorded.returned.map(|returned| (returned, false, nth)));
    }
    events.sort_by_key(|(at, ..)| *at);
    let mut in_flight: Vec<Option<usize>> = Vec::new();
    let mut configurations = Configurations::default();
    configurations.insert((ABSENT, 0));
    for (_, is_call, nth) in events {
        if is_call {
            let free = in_flight.iter().position(Option::is_none);
            let slot = free.unwrap_or(in_flight.len());
            assert!(slot < 128, "too many outcomes are not known");
            in_flight.resize(in_flight.len().max(slot + 1), None);
            in_flight[slot] = Some(nth);
            if history[nth].returned.is_none() {
                configurations.unknown |= 1 << slot;
            }
            continue;
        }
        let slot = in_flight.iter().position(|found| *found == Some(nth));
        let slot = slot.expect("it was called");
        let ops = in_flight
            .iter()
            .map(|found| found.map(|nth| history[nth].op));
        let ops: Vec<Option<Op>> = ops.collect();
        configurations = reached(&configurations, &ops, 1 << slot);
        in_flight[slot] = None;
        if configurations.least.is_empty() {
            return Some(history[nth]);
        }
    }
    None
}

/// Everything in flight may take effect now, in any order; the operation at `bit` must have, and is over.
fn reached(configurations: &Configurations, in_flight: &[Option<Op>], bit: u128) -> Configurations {
    let empty = || Configurations {
        unknown: configurations.unknown,
        least: HashMap::new(),
    };
    let (mut seen, mut reached) = (empty(), empty());
    let mut open: VecDeque<Configuration> = configurations.iter().collect();
    for configuration in &open {
        seen.insert(*configuration);
    }
    // Those with less first: most others then add nothing.
    while let Some((value, effective)) = open.pop_front() {
        if effective & bit != 0 {
            reached.insert((value, effective & !bit));
            continue;
        }
        for (slot, op) in in_flight.iter().enumerate() {
            let next = op.filter(|_| effective & 1 << slot == 0);
            let Some(after) = next.and_then(|op| op.after(value)) else {
                continue;
            };
            let configuration = (after, effective | 1 << slot);
            if seen.insert(configuration) {
                open.push_back(configuration);
            }
        }
    }
    reached
}

#[test]
fn what_cannot_have_happened_is_found() {
    let at = |called, returned, op| Recorded {
        op,
        called,
        returned: Some(returned),
    };
    let lost = |called, op| Recorded {
        op,
        called,
        returned: None,
    };
    let is_possible = |history: &[Recorded]| impossible(history).is_none();
    let put = at(1, 2, Op::Put(7));
    assert!(is_possible(&[put, at(3, 4, Op::Get(7))]));
    assert!(!is_possible(&[put, at(3, 4, Op::Get(ABSENT))]));
    // Beside the write, either may be seen.
    assert!(is_possible(&[
        at(1, 4, Op::Put(7)),
        at(2, 3, Op::Get(ABSENT))
    ]));
    assert!(is_possible(&[at(1, 4, Op::Put(7)), at(2, 3, Op::Get(7))]));
    // What was not answered may be done late, or never, and not undone.
    let late = lost(1, Op::Put(7));
    assert!(is_possible(&[
        late,
        at(3, 4, Op::Get(ABSENT)),
        at(5, 6, Op::Get(7))
    ]));
    assert!(!is_possible(&[
        late,
        at(3, 4, Op::Get(7)),
        at(5, 6, Op::Get(ABSENT))
    ]));
    let set = |is_done| Op::CompareAndSet {
        old: 7,
        new: 8,
        is_done,
    };
    assert!(is_possible(&[
        put,
        at(3, 4, set(Some(true))),
        at(5, 6, Op::Get(8))
    ]));
    assert!(!is_possible(&[put, at(3, 4, set(Some(false)))]));
    assert!(is_possible(&[
        put,
        lost(3, set(None)),
        at(5, 6, Op::Get(8))
    ]));
    // Two that both succeed where only one can.
    let both = [put, at(3, 6, set(Some(true))), at(4, 5, set(Some(true)))];
    assert!(!is_possible(&both));
}
