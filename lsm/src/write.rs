//! The write path: the log, then the memtables, then visible.
//!
//! - W1: a version is visible only when it and all before it are in the memtables, with the whole of its
//!   batch.
//! - W2: a batch takes its place in the log, and goes into the memtables, inside the gate; who changes
//!   keyspaces or memtables closes it. So nothing is written under an id after its drop, and a memtable
//!   that is frozen misses nothing.
//! - W3: who panics between the log and its publication poisons the store, and wakes all who wait.

use std::ops::Range;
use std::sync::Arc;

use durable_io::engine::Failure;
use durable_io::made_durable;
use sstable::Kind;
use wal::{Appended, Lsn};

use crate::batch::Batch;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::limits::MAX_MEMTABLE_RANGES;
use crate::record::{Action, HEADER_SIZE, Record};
use crate::store::{Catalog, Store};
use crate::tree::{State, Tree};

/// Inside the gate; comes out when dropped.
struct Inside<'a>(&'a Store);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.gate.leave();
    }
}

/// Records that are in the log and not published yet.
struct Unpublished<'a> {
    store: &'a Store,
    versions: Range<u64>,
    is_published: bool,
}

impl Unpublished<'_> {
    fn publish(mut self) {
        self.store.sequence.publish(&self.versions);
        self.is_published = true;
    }
}

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        if !self.is_published {
            // Only a panic comes here.
            self.store.health.poison(Failure::Panic);
            self.store.sequence.end();
        }
    }
}

impl Keyspace {
    /// Gives `key` the value `value`. Any bytes will do for both, none at all too.
    ///
    /// Concurrent callers share one write and one sync.
    ///
    /// # Durability
    /// As the [`SyncMode`](crate::SyncMode) says; under [`Always`](crate::SyncMode::Always) the value
    /// survives power loss once this returns.
    ///
    /// # Cost
    /// Two copies of key and value, one write, and in `Always` one `fdatasync`, both shared.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge), [`Error::Dropped`](crate::Error::Dropped),
    /// [`Error::Closed`](crate::Error::Closed): nothing was written. [`Error::Disk`](crate::Error::Disk)
    /// with [`NoSpace`](durable_io::Error::NoSpace): nothing was written, and a later write may succeed.
    /// Any other `Error::Disk`: the store is poisoned, and the value may or may not survive.
    /// [`Error::Poisoned`](crate::Error::Poisoned): the same.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write_one(Action::Put, key, value)
    }

    /// Makes `key` absent. That it is absent already is no error.
    ///
    /// # Durability, cost
    /// As [`put`](Keyspace::put).
    ///
    /// # Errors
    /// As [`put`](Keyspace::put).
    pub fn delete(&self, key: &[u8]) -> Result<()> {
        self.write_one(Action::Delete, key, &[])
    }

    /// Makes all keys from `start` to `end`, which is excluded, absent. It costs the same however many
    /// there are; whole tables in the range go without being read.
    ///
    /// # Durability, cost
    /// As [`put`](Keyspace::put).
    ///
    /// # Errors
    /// As [`put`](Keyspace::put).
    pub fn delete_range(&self, start: &[u8], end: &[u8]) -> Result<()> {
        self.write_one(Action::DeleteRange, start, end)
    }

    fn write_one(&self, action: Action, key: &[u8], value: &[u8]) -> Result<()> {
        let mut batch = Batch::new();
        batch.push(self.slot(), action, key, value);
        self.store().write(batch)
    }
}

impl Store {
    /// Does all of `batch`.
    pub(crate) fn write(&self, batch: Batch) -> Result<()> {
        self.write_where(batch, |bytes| self.make_room(bytes))
    }

    /// Does all of `batch`, unless it would be held up.
    pub(crate) fn try_write(&self, batch: Batch) -> Result<()> {
        self.write_where(batch, |bytes| self.check_room(bytes))
    }

    /// Does all of `batch`, where `make_room` finds room for so many bytes.
    fn write_where(
        &self,
        mut batch: Batch,
        make_room: impl FnOnce(u64) -> Result<()>,
    ) -> Result<()> {
        batch.check()?;
        self.check_healthy()?;
        if batch.is_empty() {
            return Ok(());
        }
        make_room(batch.byte_len() as u64)?;
        let (last, is_due) = {
            self.gate.enter();
            let _inside = Inside(self);
            let trees = self.resolve(&mut batch)?;
            let versions = self.append(&batch)?;
            let last = versions.end - 1;
            (last, self.publish(&batch, &trees, versions))
        };
        self.wait_until_visible(last)?;
        if is_due {
            self.freeze_due();
        }
        Ok(())
    }

    /// Waits until what was published up to `version` is visible.
    pub(crate) fn wait_until_visible(&self, version: u64) -> Result<()> {
        if !self.sequence.wait_for(version) {
            self.check_healthy()?;
        }
        Ok(())
    }

    /// Puts a batch that is in the log into the memtables, and publishes it; true if a memtable may be
    /// due. Inside the gate.
    pub(crate) fn publish(&self, batch: &Batch, trees: &[Arc<Tree>], versions: Range<u64>) -> bool {
        let last = versions.end - 1;
        let unpublished = Unpublished {
            store: self,
            versions,
            is_published: false,
        };
        insert_all(batch, trees, unpublished.versions.start);
        unpublished.publish();
        self.note_written(batch, trees, last)
    }

    /// The keyspaces of the operations of `batch`, whose ids are put into its records.
    pub(crate) fn resolve(&self, batch: &mut Batch) -> Result<Vec<Arc<Tree>>> {
        let catalog = self.catalog();
        let operations = batch.operations().iter();
        let trees = operations.map(|operation| catalog.find(operation.slot).cloned());
        let trees = trees.collect::<Result<Vec<_>>>()?;
        let ids: Vec<u32> = trees.iter().map(|tree| tree.id).collect();
        batch.set_keyspaces(&ids);
        Ok(trees)
    }

    fn append(&self, batch: &Batch) -> Result<Range<u64>> {
        let append = || {
            let payloads: Vec<&[u8]> = batch.payloads().collect();
            // Durable: the records, as the mode says. Only now may anybody see them.
            self.note_appended(made_durable(|| self.log.append_batch(&payloads)))
        };
        if batch.only_deletes() {
            return self.with_reserve(append);
        }
        append()
    }

    /// The versions of what was appended; a failure ends all writing, unless it changed nothing.
    pub(crate) fn note_appended(&self, appended: wal::Result<Appended>) -> Result<Range<u64>> {
        match appended {
            Ok(appended) => {
                let lsns = appended.lsns();
                Ok(lsns.start.0..lsns.end.0)
            }
            Err(error) => {
                let error = self.note(error.into());
                if self.health.is_poisoned() {
                    self.sequence.end();
                }
                Err(error)
            }
        }
    }

    /// Counts what was written; true if a memtable may be due.
    fn note_written(&self, batch: &Batch, trees: &[Arc<Tree>], version: u64) -> bool {
        let limit = self.options.memtable_size;
        let is_full = |tree: &Arc<Tree>| {
            let state = tree.peek();
            state.active.bytes() >= limit || state.active.ranges() >= MAX_MEMTABLE_RANGES
        };
        let mut due = false;
        let mut last = None;
        for tree in trees {
            if last != Some(tree.id) {
                due |= is_full(tree);
                last = Some(tree.id);
            }
        }
        due | self.throttle.note_logged(batch.byte_len() as u64, version)
    }

    /// Freezes the memtables that are full, and those that make an opening too long or are too much
    /// memory together.
    pub(crate) fn freeze_due(&self) {
        let limit = self.options.memtable_size;
        let catalog = self.catalog_full();
        for tree in &catalog.trees {
            let state = tree.peek();
            if state.active.bytes() >= limit || state.active.ranges() >= MAX_MEMTABLE_RANGES {
                self.freeze(tree);
            }
        }
        if let Some(tree) = self.most_due(&catalog) {
            self.freeze(tree);
        }
    }

    /// Goes on in a new memtable; the old one is flushed by the background.
    pub(crate) fn freeze(&self, tree: &Tree) {
        let closed = self.gate.close(|| self.help());
        // Everything that was given a place in the log is in a memtable, and visible.
        let is_frozen = tree.freeze(Lsn(self.sequence.visible()));
        drop(closed);
        if is_frozen {
            self.flushes.notify();
        }
    }

    /// Goes on in new memtables, of all keyspaces at one moment: the last version before it, and the keyspaces.
    /// The caller has the turn to flush.
    pub(crate) fn freeze_all(&self) -> (Lsn, Arc<Catalog>) {
        let closed = self.gate.close(|| self.help());
        let (version, catalog) = (Lsn(self.sequence.visible()), self.catalog_full());
        for tree in &catalog.trees {
            tree.freeze(version);
        }
        drop(closed);
        (version, catalog)
    }

    /// Under `Inline`, does a part of what those inside the gate wait for.
    pub(crate) fn help(&self) -> bool {
        // An error poisons the log, and those inside learn of it.
        self.is_inline() && self.log.run_background().unwrap_or(false)
    }
}

/// Puts `batch`, whose first operation has the version `first`, into the memtables.
fn insert_all(batch: &Batch, trees: &[Arc<Tree>], first: u64) {
    let mut last: Option<(&Tree, arc_swap::Guard<Arc<State>>)> = None;
    for ((payload, tree), version) in batch.payloads().zip(trees).zip(first..) {
        if last.as_ref().is_none_or(|(last, _)| last.id != tree.id) {
            last = Some((tree, tree.peek()));
        }
        let record = Record::decode(payload).expect("the batch was encoded here");
        if let Some((_, state)) = &last {
            insert(state, &record, payload, version);
        }
    }
}

/// Puts `record`, which is all of `payload`, into the active memtable.
pub(crate) fn insert(state: &State, record: &Record<'_>, payload: &[u8], version: u64) {
    let data = payload.get(HEADER_SIZE..);
    let data = data.expect("a record has a header");
    let kind = match record.action {
        Action::Put => Kind::Put,
        Action::Delete => Kind::Delete,
        Action::DeleteRange => {
            state.active.insert_range(record.key, record.value, version);
            return;
        }
    };
    state.active.insert(data, record.key.len(), version, kind);
}
