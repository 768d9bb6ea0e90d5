//! One judge for any store: operation `n` is a pure function of `n`, so what the store must hold after a crash
//! follows from how many operations it acknowledged.
//!
//! The whole state must be the one after the acknowledged operations, or after one more (the one in
//! flight). That is stronger than looking for the acknowledged keys: a delete that is undone, two
//! writes that change places, and a value of the wrong moment are seen too.

pub(crate) mod raft;
mod state;
mod workload;

use std::collections::{BTreeSet, HashMap};

use state::pair_hash;
pub(crate) use state::{State, key_of};
pub(crate) use workload::{Kind, Operation, RECORD, Shape, mix, value};

use crate::engine::Contents;

/// What the state of a store after a crash amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the one after this many operations, as it must be.
    Holds(u64),
    /// It is an older one: so many operations are gone that were promised to survive.
    Lost(u64),
    /// It is none that ever was, in these words.
    Inconsistent(String),
}

/// What a store has promised when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promised {
    /// Operations that it acknowledged.
    pub(crate) acked: u64,
    /// Of these, the first so many must survive.
    pub(crate) durable: u64,
}

impl Promised {
    /// Every one of the first `acked` operations.
    pub(crate) fn all(acked: u64) -> Self {
        let durable = acked;
        Self { acked, durable }
    }
}

/// The states after each number of operations, by their hashes.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) shape: Shape,
    operations: Vec<Operation>,
    /// The hash of the state after as many operations as the index says.
    hashes: Vec<u64>,
    /// Which operation first put each pair, by its hash.
    writers: HashMap<u64, u64>,
}

impl Model {
    /// The states after 0 to `operations` operations on a store of `shape`.
    pub(crate) fn new(shape: Shape, operations: u64) -> Self {
        let operations = shape.operations(operations);
        let mut state = State::default();
        let mut hashes = vec![state.hash()];
        let mut writers = HashMap::new();
        for (n, operation) in (1..).zip(&operations) {
            operation.apply_to(&mut state);
            for pair in state.take_put() {
                writers.entry(pair).or_insert(n);
            }
            hashes.push(state.hash());
        }
        Self {
            shape,
            operations,
            hashes,
            writers,
        }
    }

    /// Operation `n`, counted from 1.
    pub(crate) fn operation(&self, n: u64) -> &Operation {
        let at = usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
        let operation = at.and_then(|at| self.operations.get(at));
        operation.expect("a run ends before the model's last operation")
    }

    /// Judges what a store holds after a crash, of which it has `promised` something.
    pub(crate) fn judge(&self, promised: Promised, contents: &Contents) -> Verdict {
        let Promised { acked, durable } = promised;
        let mut hash = 0_u64;
        for (key, value) in contents {
            let pair = pair_hash(key, value);
            if !self.writers.contains_key(&pair) {
                let what = self.shape.kind.describe(key);
                let len = value.len();
                return Verdict::Inconsistent(format!(
                    "{what} has {len} bytes that nobody wrote there"
                ));
            }
            hash = hash.wrapping_add(pair);
        }
        let is_after = |n: u64| {
            let expected = usize::try_from(n).ok().and_then(|n| self.hashes.get(n));
            expected == Some(&hash)
        };
        // An operation that changes nothing leaves two numbers: that it happened is not needed then.
        let legal = [acked, acked + 1].into_iter().chain((durable..acked).rev());
        if let Some(n) = legal.into_iter().find(|n| is_after(*n)) {
            return Verdict::Holds(n);
        }
        match (0..durable).rev().find(|n| is_after(*n)) {
            Some(older) => Verdict::Lost(durable - older),
            None => Verdict::Inconsistent(self.difference(acked, contents)),
        }
    }

    /// How `found` differs from the state after `acked` operations, in words.
    fn difference(&self, acked: u64, found: &Contents) -> String {
        const SHOWN: usize = 3;
        let mut expected = State::default();
        for n in 1..=acked {
            self.operation(n).apply_to(&mut expected);
        }
        let expected = expected.pairs();
        let keys: BTreeSet<&Vec<u8>> = expected.keys().chain(found.keys()).collect();
        let differs = |key: &&&Vec<u8>| expected.get(**key) != found.get(**key);
        let keys: Vec<&Vec<u8>> = keys.iter().filter(differs).copied().collect();
        let words = |key: &[u8], value: Option<&Vec<u8>>| match value {
            Some(value) => {
                let n = self
                    .writers
                    .get(&pair_hash(key, value))
                    .copied()
                    .unwrap_or(0);
                format!("what operation {n} wrote")
            }
            None => "nothing".to_owned(),
        };
        let shown = keys.iter().take(SHOWN).map(|key| {
            let (expected, found) = (expected.get(*key), found.get(*key));
            let (expected, found) = (words(key, expected), words(key, found));
            let what = self.shape.kind.describe(key);
            format!("{what} has {found} instead of {expected}")
        });
        let shown = shown.collect::<Vec<_>>().join("; ");
        let (differ, what) = match keys.len() {
            1 => ("differs", "1 thing".to_owned()),
            more => ("differ", format!("{more} things")),
        };
        format!(
            "it is no state that ever was; {what} {differ} from that after operation {acked}: {shown}"
        )
    }
}

#[cfg(test)]
mod tests;
