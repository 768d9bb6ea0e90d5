//! [`Changes`]: what an entry does to the store.

use std::collections::BTreeMap;
use std::mem;

use durable_io::codec::Encoder;
use lsm::{Batch, Keyspace, Lsm, Value};

use super::applied::{LAST, MEMBERSHIP, encode_point};
use crate::error::Result;
use crate::types::LogPoint;

/// An open store, with handles of its keyspaces.
#[derive(Debug)]
pub(super) struct Open {
    /// The number of its directory.
    pub(super) number: u64,
    pub(super) store: Lsm,
    pub(super) own: Keyspace,
    pub(super) keyspaces: BTreeMap<String, Keyspace>,
}

/// What one entry of the log does to the store, as one atomic batch; and the store before it, to read.
///
/// Whoever fills it must do the same on every node: what it does may depend on the entry and on the store, and on
/// nothing else, neither on time nor on chance.
#[derive(Debug)]
pub struct Changes<'a> {
    open: &'a Open,
    batch: Batch,
}

impl<'a> Changes<'a> {
    pub(super) fn new(open: &'a Open) -> Self {
        let batch = Batch::new();
        Self { open, batch }
    }

    /// The value of `key` in the default keyspace behind all entries before this one; `None` if it is absent. What
    /// was changed by this entry is not seen.
    ///
    /// # Errors
    /// Those of [`Keyspace::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.open.store.get(key)?)
    }

    /// Like [`get`](Changes::get), in the keyspace `name`.
    ///
    /// # Errors
    /// Those of [`Keyspace::get`]; [`State`](crate::Error::State) with
    /// [`NoKeyspace`](lsm::Error::NoKeyspace) if the state machine was not
    /// [opened with it](super::Options::keyspace).
    pub fn get_in(&self, name: &str, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.keyspace(name)?.get(key)?)
    }

    /// The store behind all entries before this one, to scan.
    ///
    /// # Errors
    /// Those of [`Keyspace::snapshot`].
    pub fn before(&self) -> Result<lsm::Snapshot> {
        Ok(self.open.store.snapshot()?)
    }

    /// Gives `key` the value `value`, in the default keyspace.
    ///
    /// A key or value over its limit is refused when the entry is applied, with nothing written: an error there
    /// stops the node, so refuse it where it is proposed.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.change(|batch| batch.put(key, value));
    }

    /// Makes `key` absent, in the default keyspace.
    pub fn delete(&mut self, key: &[u8]) {
        self.change(|batch| batch.delete(key));
    }

    /// Makes all keys from `start` to `end`, which is excluded, absent, in the default keyspace.
    pub fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        self.change(|batch| batch.delete_range(start, end));
    }

    /// Like [`put`](Changes::put), in the keyspace `name`.
    ///
    /// # Errors
    /// [`State`](crate::Error::State) with [`NoKeyspace`](lsm::Error::NoKeyspace), as
    /// [`get_in`](Changes::get_in).
    pub fn put_in(&mut self, name: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let keyspace = self.keyspace(name)?;
        self.change(|batch| batch.put_in(keyspace, key, value));
        Ok(())
    }

    /// Like [`delete`](Changes::delete), in the keyspace `name`.
    ///
    /// # Errors
    /// As [`put_in`](Changes::put_in).
    pub fn delete_in(&mut self, name: &str, key: &[u8]) -> Result<()> {
        let keyspace = self.keyspace(name)?;
        self.change(|batch| batch.delete_in(keyspace, key));
        Ok(())
    }

    /// Like [`delete_range`](Changes::delete_range), in the keyspace `name`.
    ///
    /// # Errors
    /// As [`put_in`](Changes::put_in).
    pub fn delete_range_in(&mut self, name: &str, start: &[u8], end: &[u8]) -> Result<()> {
        let keyspace = self.keyspace(name)?;
        self.change(|batch| batch.delete_range_in(keyspace, start, end));
        Ok(())
    }

    fn keyspace(&self, name: &str) -> Result<&'a Keyspace> {
        let known = self.open.keyspaces.get(name);
        let unknown = || lsm::Error::NoKeyspace {
            name: name.to_owned(),
        };
        Ok(known.ok_or_else(unknown)?)
    }

    fn change(&mut self, change: impl FnOnce(Batch) -> Batch) {
        self.batch = change(mem::take(&mut self.batch));
    }

    /// The whole batch: with what the store then says of itself.
    pub(super) fn finish(self, point: &LogPoint, membership: Option<&[u8]>) -> Batch {
        let own = &self.open.own;
        let mut bytes = Encoder::default();
        encode_point(point, &mut bytes);
        let batch = self.batch.put_in(own, LAST, bytes.as_slice());
        match membership {
            Some(membership) => batch.put_in(own, MEMBERSHIP, membership),
            None => batch,
        }
    }
}
