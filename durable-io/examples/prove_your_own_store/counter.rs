// The store and what the judge must know of it: of this example, and of those in the documentation.

use durable_io::sim::{Outcome, Subject, Survives};
use durable_io::{Dir, Disk, Result};

/// A counter that keeps its value in one file, replaced as a whole: what could go wrong?
struct Counter {
    dir: Dir,
    syncs_directory: bool,
}

impl Counter {
    fn open(disk: &Disk, syncs_directory: bool) -> Result<Self> {
        let dir = disk.create_dir("/counter")?;
        if syncs_directory {
            dir.sync()?; // a value renamed by a process that died is answered from below
        }
        Ok(Self {
            dir,
            syncs_directory,
        })
    }

    fn value(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        match self.dir.open("value") {
            Ok(file) => file
                .read_exact_at(&mut bytes, 0)
                .map(|()| u64::from_le_bytes(bytes)),
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn add(&self, by: u64) -> Result<()> {
        let value = self.value()? + by;
        drop(self.dir.remove("value.tmp")); // what a crash may have left
        let file = self.dir.create_new("value.tmp")?;
        file.write_all_at(&value.to_le_bytes(), 0)?;
        drop(file.sync_data()?);
        self.dir.rename("value.tmp", "value")?;
        if self.syncs_directory {
            self.dir.sync()?;
        }
        Ok(())
    }
}

/// What the judge must know: how to open it, what to do with it, and what it should then hold.
struct CounterSubject {
    syncs_directory: bool,
}

impl Subject for CounterSubject {
    /// "Add this much."
    type Op = u64;
    type State = u64;
    type Store = Counter;

    fn operations(&self) -> Vec<u64> {
        vec![1, 10]
    }

    fn empty(&self) -> u64 {
        0
    }

    fn open(&self, disk: &Disk) -> Outcome<Counter> {
        Ok(Counter::open(disk, self.syncs_directory)?)
    }

    fn apply(&self, store: &mut Counter, by: &u64, _n: u64) -> Outcome<Survives> {
        store.add(*by)?;
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, store: &mut Counter) -> Outcome<u64> {
        Ok(store.value()?)
    }

    fn model(&self, before: &u64, by: &u64, _n: u64) -> u64 {
        before + by
    }
}
