//! A state machine that adds numbers up.

use durable_io::sim::SimDisk;
use durable_raft::Result;
use durable_raft::machine::{Changes, Options, StateMachine};
use durable_raft::openraft09::{self, SnapshotStream};
use openraft::BasicNode;

openraft::declare_raft_types!(
    /// Numbers are replicated, and what they add up to is answered.
    pub(crate) Types:
        D = u64,
        R = u64,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = SnapshotStream,
);

type Apply = fn(&mut Changes<'_>, u64) -> Result<u64>;
pub(crate) type Machine = openraft09::StateMachine<Types, Apply>;

const SUM: &[u8] = b"sum";

fn add(changes: &mut Changes<'_>, number: u64) -> Result<u64> {
    let before = changes.get(SUM)?;
    let before = before.map_or(0, |bytes| {
        u64::from_le_bytes(bytes.as_ref().try_into().unwrap())
    });
    let after = before + number;
    changes.put(SUM, &after.to_le_bytes());
    Ok(after)
}

/// What the numbers add up to.
pub(crate) fn sum(machine: &StateMachine) -> u64 {
    let bytes = machine.read().unwrap().get(SUM).unwrap();
    bytes.map_or(0, |bytes| {
        u64::from_le_bytes(bytes.as_ref().try_into().unwrap())
    })
}

/// The state machine on `sim`.
pub(crate) fn machine(sim: &SimDisk) -> Machine {
    let store = lsm::Options::new()
        .log_segment_size(8192)
        .manifest_segment_size(1024)
        .reserve(0);
    let options = Options::new()
        .store(store)
        .background(durable_io::Background::Inline)
        .disk(sim.disk());
    Machine::new(options.open("/machine").unwrap(), add as Apply)
}
