//! The control engines as key-value stores: each value of their list is one operation.

use std::sync::{Mutex, PoisonError};

use durable_io::codec::{Decoder, Encoder};

use super::store::{Flaw, Store as List};
use crate::engine::{Change, Contents, Engine, Killing, Outcome, Place, Refusal, Setting, Store};

/// The control engines before the layer `fuse`: the correct one first.
pub(crate) const ALL: [&dyn Engine; 8] = [
    &Control(None),
    &Control(Some(Flaw::ALL[0])),
    &Control(Some(Flaw::ALL[1])),
    &Control(Some(Flaw::ALL[2])),
    &Control(Some(Flaw::ALL[3])),
    &Control(Some(Flaw::ALL[4])),
    &Control(Some(Flaw::ALL[5])),
    &Control(Some(Flaw::ALL[6])),
];

/// A checkpoint is made after so many operations.
const CHECKPOINT_EVERY: u64 = 40;

/// The correct control engine, or one with a planted bug.
#[derive(Debug)]
struct Control(Option<Flaw>);

struct Opened {
    store: List,
    operations: u64,
}

impl Engine for Control {
    fn name(&self) -> &'static str {
        self.0.map_or("ctl-good", Flaw::name)
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        let store = List::open(&setting.disk, &setting.dir, self.0)?;
        let operations = 0;
        Ok(Box::new(Mutex::new(Opened { store, operations })))
    }

    fn damage(&self, _error: &Refusal) -> Option<Place> {
        None
    }

    fn killing(&self) -> Option<Killing> {
        None
    }
}

impl Opened {
    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> Outcome<()> {
        let mut entry = Encoder::default();
        entry.u32(u32::try_from(key.len())?).bytes(key);
        entry.bytes(value.unwrap_or(&[]));
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

impl Store for Mutex<Opened> {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        let mut opened = self.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            opened.append(key, value.as_deref())?;
        }
        Ok(())
    }

    fn dump(&self) -> Outcome<Contents> {
        let opened = self.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = Contents::new();
        for (nth, entry) in opened.store.values().iter().enumerate() {
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
