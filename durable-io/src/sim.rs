//! The simulated disk.

mod backend;
mod barriers;
mod chain;
mod crash;
mod damage;
mod disk;
mod explore;
mod fault;
mod hash;
mod inject;
mod run;
mod sample;
mod shrink;
mod story;
mod subject;
mod tape;
mod world;

pub use barriers::Removal;
pub use damage::Damage;
pub use disk::{Call, SimDisk};
pub use explore::{Bound, Counts, Exploration, Explorer};
pub use fault::{Fault, FaultKind, ShortBy, SyncFailure};
pub use inject::{Injection, fill_the_disk, inject_everywhere};
pub use story::Counterexample;
pub use subject::{Keep, Outcome, Start, StartStep, Subject, Survives};
pub use tape::Tape;
pub use world::World;
