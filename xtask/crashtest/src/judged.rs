//! A store as the layer `fuse` sees it, be it a library or a program: it does operations, and says what it holds.

use std::fmt::Debug;
use std::path::Path;

use durable_io::Disk;

use crate::engine::{Contents, Engine, Outcome, Setting, Store};
use crate::model::{Operation, Shape};

/// Small, so that a store goes on elsewhere every dozen operations.
const SIZE: u64 = 16 << 10;
/// What is held back for a full disk.
const RESERVE: u64 = 64 << 10;

/// A store that can be opened again and again.
pub(crate) trait Judged: Debug {
    /// What it is, and what it can be told.
    fn shape(&self) -> Shape;

    /// Opens the store in `dir`, which exists; creates it if there is none.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn open(&self, dir: &Path) -> Outcome<Box<dyn Live>>;

    /// How many times as many calls an operation makes as one of a log.
    fn weight(&self) -> u64 {
        1
    }

    /// True if each store that is opened is a process: then fewer of them are.
    fn is_process(&self) -> bool;
}

/// An open store. Dropping it is the death of its process.
pub(crate) trait Live {
    /// Does `operation`; `Ok` acknowledges it.
    ///
    /// # Errors
    /// Whatever the store returns: the operation is not acknowledged.
    fn perform(&self, operation: &Operation) -> Outcome<()>;

    /// Makes every acknowledged operation durable.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn sync(&self) -> Outcome<()>;

    /// Everything the store holds, under keys as [`Operation::apply_to`] has them.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn dump(&self) -> Outcome<Contents>;

    /// Ends the store in good order.
    ///
    /// # Errors
    /// Whatever the store returns.
    fn close(self: Box<Self>) -> Outcome<()>;
}

/// An engine in this process.
#[derive(Debug)]
pub(crate) struct Library<'a>(pub(crate) &'a dyn Engine);

impl Judged for Library<'_> {
    fn shape(&self) -> Shape {
        Shape::default()
    }

    fn open(&self, dir: &Path) -> Outcome<Box<dyn Live>> {
        // It makes its directory itself, and must make that durable.
        let setting = Setting {
            reserve: RESERVE,
            ..Setting::new(Disk::os(), dir.join("store"), SIZE)
        };
        Ok(Box::new(Opened(self.0.open(&setting)?)))
    }

    fn weight(&self) -> u64 {
        self.0.weight()
    }

    fn is_process(&self) -> bool {
        false
    }
}

struct Opened(Box<dyn Store>);

impl Live for Opened {
    /// With what is due in the background then.
    fn perform(&self, operation: &Operation) -> Outcome<()> {
        let Operation::Change(changes) = operation else {
            return Err("an engine is shown as a key-value store".into());
        };
        self.0.apply(changes)?;
        while self.0.maintain()? {}
        Ok(())
    }

    fn sync(&self) -> Outcome<()> {
        self.0.sync()
    }

    fn dump(&self) -> Outcome<Contents> {
        self.0.dump()
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.0.close()
    }
}
