//! Changes of a key that depend on what it has: compare-and-set, and updates.

use durable_io::engine::Value;

use super::Commit;
use crate::batch::{Answer, Batch, Expected, Item, Op};
use crate::error::Result;
use crate::keydir::Found;
use crate::record::Kind;
use crate::store::Store;
use crate::writer::Writer;

impl Store {
    /// Gives `key` the value `new`, or makes it absent, if it is as `expected`.
    pub(crate) fn commit_if(
        &self,
        key: &[u8],
        expected: Option<Value>,
        new: Option<&[u8]>,
    ) -> Result<Answer> {
        let mut batch = Batch::new();
        match new {
            Some(value) => batch.push(Kind::Put, key, value),
            None => batch.push(Kind::Delete, key, &[]),
        }
        self.commit(batch, Some(Expected(expected)))
    }

    /// Gives `key` what `change` makes of its value, and returns that.
    pub(crate) fn update<V: AsRef<[u8]>>(
        &self,
        key: &[u8],
        mut change: impl FnMut(Option<&[u8]>) -> Option<V>,
    ) -> Result<Option<Value>> {
        self.check_healthy()?;
        let mut current = self.find(key)?.and_then(Found::into_value);
        loop {
            let new = change(current.as_deref());
            let new = new.as_ref().map(AsRef::as_ref);
            if new == current.as_deref() {
                self.check_healthy()?;
                return Ok(current);
            }
            match self.commit_if(key, current.clone(), new)? {
                Answer::Done => return Ok(current),
                // Somebody was faster: again, from what that one left.
                Answer::Found(newer) => current = newer,
            }
        }
    }

    /// Whether the item at `index` may be done: it expects nothing, or what is there.
    pub(super) fn compare(
        &self,
        writer: &mut Writer,
        commit: &mut Commit<'_>,
        index: usize,
    ) -> Result<Answer> {
        let condition = commit.items.get_mut(index).and_then(Item::take_condition);
        let Some((hash, key, Expected(expected))) = condition else {
            return Ok(Answer::Done);
        };
        if commit.touches(&commit.planned, hash, &key) {
            // What is only planned may yet fail: first it is written.
            self.write_planned(writer, commit);
        }
        let found = if let Some((item, op)) = commit.newest(hash, &key) {
            item.value(op).map(|value| Value::from(value.to_vec()))
        } else {
            self.find(&key)?.and_then(Found::into_value)
        };
        Ok(if found.as_deref() == expected.as_deref() {
            Answer::Done
        } else {
            Answer::Found(found)
        })
    }
}

impl Commit<'_> {
    /// True if one of the items at `among` changes `key`.
    fn touches(&self, among: &[usize], hash: u64, key: &[u8]) -> bool {
        let items = among.iter().filter_map(|&index| self.items.get(index));
        let mut items = items.filter(|item| item.changes(hash, key).is_some());
        items.next().is_some()
    }

    /// The last change of `key` that was written for this commit.
    fn newest(&self, hash: u64, key: &[u8]) -> Option<(&Item, &Op)> {
        let written = self.written.iter().rev();
        let mut items = written.filter_map(|&index| self.items.get(index));
        items.find_map(|item| Some((item, item.changes(hash, key)?)))
    }
}

impl Item {
    /// The hash and the key that the item is bound to, and the value that it expects, if it is bound to one.
    fn take_condition(&mut self) -> Option<(u64, Vec<u8>, Expected)> {
        let expected = self.expected.take()?;
        let op = self.ops().first()?;
        Some((op.hash, self.key(op).to_vec(), expected))
    }

    /// Its last change of `key`.
    fn changes(&self, hash: u64, key: &[u8]) -> Option<&Op> {
        let mut ops = self.ops().iter().rev();
        ops.find(|op| op.hash == hash && self.key(op) == key)
    }
}

#[cfg(test)]
mod tests {
    use durable_io::sim::{Fault, FaultKind, SimDisk, SyncFailure};
    use durable_io::{Background, SyncMode};

    use super::*;
    use crate::{Bitcask, Error, Options};

    fn open(sim: &SimDisk, mode: SyncMode) -> Bitcask {
        let options = Options::new().background(Background::Inline).reserve(0);
        let options = options.sync(mode).disk(sim.disk());
        options.open("/store").expect("a new store opens")
    }

    /// Two threads come together, and both want key `a`.
    fn both(store: &Bitcask) -> Vec<Result<Answer>> {
        let item = |value: &[u8]| {
            let mut batch = Batch::new();
            batch.push(Kind::Put, b"a", value);
            let mut item = Item::new(batch, &store.store().keydir.hasher).expect("it is small");
            item.expected = Some(Expected(None));
            item
        };
        let mut items = [item(b"1"), item(b"2")];
        store.store().lead(&mut items).to_vec()
    }

    #[test]
    fn of_two_that_come_together_the_second_is_answered_with_the_first() {
        for mode in [SyncMode::Always, SyncMode::Manual] {
            let store = open(&SimDisk::new(), mode);
            let answers = both(&store);
            assert!(
                matches!(&answers[..], [Ok(Answer::Done), Ok(Answer::Found(Some(one)))] if *one == b"1"),
                "{answers:?}"
            );
        }
    }

    #[test]
    fn what_is_lost_with_a_failed_sync_is_no_answer() {
        for failure in SyncFailure::ALL {
            let sim = SimDisk::new();
            let store = open(&sim, SyncMode::Always);
            store.put(b"b", b"1").expect("the disk is whole");
            // The zeros are written ahead: a write, and then the sync.
            sim.inject(Fault {
                call: sim.calls() + 1,
                kind: FaultKind::Sync(failure),
                sticky: false,
            });
            let answers = both(&store);
            assert!(
                matches!(&answers[..], [Err(Error::Disk(_)), Err(Error::Disk(_))]),
                "{answers:?}"
            );
            assert_eq!(store.get(b"a").expect("it is read"), None);
        }
    }
}
