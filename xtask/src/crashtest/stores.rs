//! Key-value stores as the judge sees them, whatever they are: a library in this process or a
//! program of its own.

pub(crate) mod bitcask;
mod command;
mod control;
pub(crate) mod sstable;
pub(crate) mod wal;

pub(crate) use command::PLACE;

use std::error::Error;
use std::fmt::{self, Debug};
use std::path::Path;

use crate::crashtest::controls::Flaw;
use crate::crashtest::engines;
use crate::crashtest::judge::{Contents, Operation};
use crate::crashtest::process::SILENCE;

/// An error of a store, of whatever type.
pub(crate) type Refusal = dyn Error + Send + Sync;
/// What a store answers.
pub(crate) type Outcome<T> = Result<T, Box<Refusal>>;

/// The error of a store that gives no answer at all.
#[derive(Debug)]
pub(crate) struct Silent;

impl Error for Silent {}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer for {} s", SILENCE.as_secs())
    }
}

/// A way to open one kind of store.
pub(crate) trait Engine: Debug {
    /// Opens the store below the directory `dir`, which exists; creates it if there is none.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn open(&self, dir: &Path) -> Outcome<Box<dyn Store>>;

    /// True if each store that is opened is a process: then fewer of them are.
    fn is_process(&self) -> bool {
        false
    }

    /// How many times as many calls an operation makes as one of a log: so many times fewer operations
    /// are done.
    fn weight(&self) -> u64 {
        1
    }
}

/// An open store. Dropping it is the death of its process: it must make nothing durable.
pub(crate) trait Store {
    /// Puts `value` under `key`; durable when it returns.
    ///
    /// # Errors
    /// Whatever the store returns: the operation is not acknowledged.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()>;

    /// Deletes `key`, which may not be there; durable when it returns.
    ///
    /// # Errors
    /// As [`put`](Store::put).
    fn delete(&mut self, key: &[u8]) -> Outcome<()>;

    /// Everything the store holds.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn dump(&mut self) -> Outcome<Contents>;

    /// Ends the store in good order.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn close(self: Box<Self>) -> Outcome<()>;
}

/// Does operation number `n` to `store`; `Ok` acknowledges it.
pub(crate) fn apply(store: &mut dyn Store, operation: &Operation) -> Outcome<()> {
    let key = Operation::key_bytes(operation.key);
    match &operation.value {
        Some(value) => store.put(&key, value),
        None => store.delete(&key),
    }
}

/// The name of the correct control engine.
const CORRECT: &str = "ctl-good";

/// The names of the control engines: the correct one, then those with planted bugs.
pub(crate) fn controls() -> Vec<&'static str> {
    let planted = Flaw::ALL.into_iter().map(Flaw::name);
    [CORRECT].into_iter().chain(planted).collect()
}

/// The engine called `name`, or the one that `command` runs.
pub(crate) fn engine(name: &str, command: Option<&str>) -> Option<Box<dyn Engine>> {
    if let Some(command) = command {
        return Some(Box::new(command::Program::new(command)));
    }
    if let Some(engine) = engines::find(name) {
        return Some((engine.store)());
    }
    if name == CORRECT {
        return Some(Box::new(control::Control(None)));
    }
    let flaw = Flaw::ALL.into_iter().find(|flaw| flaw.name() == name);
    Some(Box::new(control::Control(Some(flaw?))))
}
