//! A projection whose state is all that it was given.

use std::cell::RefCell;

use event_store::{Event, EventStore, Failure, Projected, Projection};

use super::put;

thread_local! {
    /// Called once, with the next event that this thread adds to a [`Seen`].
    pub(crate) static HOOK: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// The positions of all events that it was given. `V` is the version of its encoding.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen<const V: u32 = 1>(pub(crate) Vec<u64>);

impl<const V: u32> Projection for Seen<V> {
    const NAME: &'static str = "seen";
    const VERSION: u32 = V;

    fn apply(&mut self, event: &Event) -> Result<(), Failure> {
        if let Some(hook) = HOOK.take() {
            hook();
        }
        match event.kind() {
            "Error" => return Err("planted".into()),
            "Panic" => panic!("planted"),
            _ => self.0.push(event.position().0),
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    fn decode(state: &[u8]) -> Option<Self> {
        // Version 3 cannot read what any other one has written, and says so in its own way.
        assert!(V != 3, "planted");
        let numbers = state
            .chunks(8)
            .map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        numbers.collect::<Option<_>>().map(Self)
    }
}

/// What a projection was given.
pub(crate) fn seen<const V: u32>(projected: &Projected<Seen<V>>) -> Vec<u64> {
    projected.read(|seen| seen.0.clone()).unwrap()
}

pub(crate) fn fill(store: &EventStore, ids: std::ops::RangeInclusive<u128>) {
    for id in ids {
        put(store, "s", if id % 2 == 0 { "Even" } else { "Odd" }, id);
    }
    store.sync().unwrap();
}

pub(crate) fn up_to(last: u64) -> Vec<u64> {
    (1..=last).collect()
}
