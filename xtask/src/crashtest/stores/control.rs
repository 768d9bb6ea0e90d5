//! The control engines as key-value stores: each value of their list is one operation.

use std::path::Path;

use durable_io::Disk;
use durable_io::codec::{Decoder, Encoder};

use super::{Engine, Outcome, Store};
use crate::crashtest::controls::{self, Flaw};
use crate::crashtest::judge::Contents;

/// A checkpoint is made after so many operations.
const CHECKPOINT_EVERY: u64 = 40;

/// The correct control engine, or one with a planted bug.
#[derive(Debug)]
pub(crate) struct Control(pub(crate) Option<Flaw>);

struct Opened {
    store: controls::Store,
    operations: u64,
}

impl Engine for Control {
    fn open(&self, dir: &Path) -> Outcome<Box<dyn Store>> {
        let store = controls::Store::open(&Disk::os(), &dir.join("store"), self.0)?;
        let operations = 0;
        Ok(Box::new(Opened { store, operations }))
    }
}

impl Opened {
    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> Outcome<()> {
        let mut entry = Encoder::default();
        entry.u32(u32::try_from(key.len())?).bytes(key);
        entry.bytes(value.unwrap_or_default());
        self.store.append(entry.into_vec())?;
        self.operations += 1;
        if self.operations.is_multiple_of(CHECKPOINT_EVERY) {
            self.store.checkpoint()?;
        }
        Ok(())
    }
}

/// The key and the value of an entry; an empty value is a delete, since no operation puts one.
fn decode(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut entry = Decoder::new(entry);
    let len = entry.u32()?;
    let key = entry.bytes(usize::try_from(len).ok()?)?;
    Some((key, entry.rest()))
}

impl Store for Opened {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.append(key, Some(value))
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        self.append(key, None)
    }

    fn dump(&mut self) -> Outcome<Contents> {
        let mut contents = Contents::new();
        for (nth, entry) in self.store.values().iter().enumerate() {
            match decode(entry) {
                Some((key, [])) => drop(contents.remove(key)),
                Some((key, value)) => drop(contents.insert(key.to_vec(), value.to_vec())),
                None => return Err(format!("value {nth} is no entry").into()),
            }
        }
        Ok(contents)
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}
