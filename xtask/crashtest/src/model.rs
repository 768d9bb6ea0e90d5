//! One judge for any key-value store: operation `n` is a pure function of `n`, so what the store must
//! hold after a crash follows from how many operations it acknowledged.
//!
//! The whole state must be the one after the acknowledged operations, or after one more (the one in
//! flight). That is stronger than looking for the acknowledged keys: a delete that is undone, two
//! writes that change places, and a value of the wrong moment are seen too.

mod workload;

use std::collections::BTreeMap;

pub(crate) use workload::{Operation, mix, operation, value};

use crate::engine::Contents;

/// What the state of a store after a crash amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the one after this many operations, as it must be.
    Holds(u64),
    /// It is an older one: so many acknowledged operations are gone.
    Lost(u64),
    /// It is none that ever was, in these words.
    Inconsistent(String),
}

/// The states after each number of operations, by their hashes.
#[derive(Debug)]
pub(crate) struct Model {
    /// The hash of the state after as many operations as the index says.
    hashes: Vec<u64>,
    /// The state after the last of them: each key, and the operation that put it.
    state: BTreeMap<u64, u64>,
}

impl Model {
    /// The states after 0 to `operations` operations.
    pub(crate) fn new(operations: u64) -> Self {
        let mut model = Self {
            hashes: vec![0],
            state: BTreeMap::new(),
        };
        let mut hash = 0_u64;
        for n in 1..=operations {
            let Operation { key, value } = operation(n);
            let before = match value {
                Some(_) => model.state.insert(key, n),
                None => model.state.remove(&key),
            };
            if let Some(before) = before {
                hash = hash.wrapping_sub(mix(key, before));
            }
            if value.is_some() {
                hash = hash.wrapping_add(mix(key, n));
            }
            model.hashes.push(hash);
        }
        model
    }

    /// Judges what a store holds after a crash; it acknowledged operations 1 to `acked`.
    pub(crate) fn judge(&self, acked: u64, contents: &Contents) -> Verdict {
        let mut hash = 0_u64;
        let mut state = BTreeMap::new();
        for (key, value) in contents {
            let Some((key, n)) = workload::identify(key, value) else {
                let key = String::from_utf8_lossy(key);
                return Verdict::Inconsistent(format!(
                    "under {key:?} are {} bytes that nobody wrote like that",
                    value.len()
                ));
            };
            hash = hash.wrapping_add(mix(key, n));
            state.insert(key, n);
        }
        let is_after = |n: u64| {
            let expected = usize::try_from(n).ok().and_then(|n| self.hashes.get(n));
            expected == Some(&hash)
        };
        if let Some(n) = [acked, acked + 1].into_iter().find(|n| is_after(*n)) {
            return Verdict::Holds(n);
        }
        match (0..acked).rev().find(|n| is_after(*n)) {
            Some(older) => Verdict::Lost(acked - older),
            None => Verdict::Inconsistent(difference(acked, &state)),
        }
    }
}

/// How `found` differs from the state after `acked` operations, in words.
fn difference(acked: u64, found: &BTreeMap<u64, u64>) -> String {
    const SHOWN: usize = 3;
    let expected = Model::new(acked).state;
    let keys = expected.keys().chain(found.keys());
    let mut keys: Vec<u64> = keys.copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| expected.get(key) != found.get(key));
    let words = |n: Option<&u64>| match n {
        Some(n) => format!("the value of operation {n}"),
        None => "nothing".to_owned(),
    };
    let shown = keys.iter().take(SHOWN).map(|key| {
        let (expected, found) = (words(expected.get(key)), words(found.get(key)));
        format!("key {key} has {found} instead of {expected}")
    });
    format!(
        "{} keys are not as after operation {acked}: {}",
        keys.len(),
        shown.collect::<Vec<_>>().join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(operations: impl IntoIterator<Item = u64>) -> Contents {
        let mut contents = Contents::new();
        for n in operations {
            let (key, value) = operation(n).change();
            match value {
                Some(value) => contents.insert(key, value),
                None => contents.remove(&key),
            };
        }
        contents
    }

    #[test]
    fn the_state_must_be_the_one_after_the_acknowledged_operations_or_one_more() {
        let model = Model::new(400);
        for acked in 0..399 {
            let judge = |n: u64| model.judge(acked, &contents(1..=n));
            assert_eq!(judge(acked), Verdict::Holds(acked));
            // A delete of what is not there changes nothing.
            assert!(matches!(judge(acked + 1), Verdict::Holds(_)));
            if acked > 10 {
                assert!(matches!(judge(acked - 10), Verdict::Lost(lost) if lost <= 10));
            }
        }
    }

    #[test]
    fn a_resurrected_delete_a_hole_and_a_foreign_value_are_inconsistent() {
        let model = Model::new(400);
        let judge = |contents: &Contents| model.judge(400, contents);
        let deletes = (1..=400).filter(|n| operation(*n).value.is_none());
        let resurrecting = deletes.filter(|delete| {
            let without = contents((1..=400).filter(|n| n != delete));
            if without == contents(1..=400) {
                return false;
            }
            assert!(matches!(judge(&without), Verdict::Inconsistent(_)));
            true
        });
        assert!(resurrecting.count() > 5);
        let hole = contents((1..=400).filter(|n| *n != 399));
        assert!(matches!(judge(&hole), Verdict::Inconsistent(_)));
        let mut foreign = contents(1..=400);
        foreign.first_entry().unwrap().get_mut()[20] ^= 1;
        assert!(matches!(judge(&foreign), Verdict::Inconsistent(_)));
    }
}
