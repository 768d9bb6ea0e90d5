//! LMDB: one write transaction at a time, two syncs for each; a map of 32 GiB.

use std::hint::black_box;
use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithTls};

use crate::keys::Key;
use crate::ordered::Ordered;
use crate::stores::KeyValue;

/// With a transaction for each get.
pub(super) struct Lmdb {
    env: Env,
    entries: Database<Bytes, Bytes>,
}

/// With one transaction for all gets of a thread: they see the store as it was at first.
pub(super) struct InsideTransaction(Lmdb);

impl KeyValue for Lmdb {
    const NAME: &str = "LMDB, a transaction per get";

    #[expect(
        unsafe_code,
        reason = "the files that it maps must not be changed by others"
    )]
    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(32 << 30);
        if !is_durable {
            // SAFETY: a file that a crash damages is not opened again.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: nobody else knows this directory.
        let env = unsafe { options.open(dir)? };
        let mut transaction = env.write_txn()?;
        let entries = env.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Self { env, entries })
    }

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        let mut transaction = self.env.write_txn()?;
        for number in 0..count {
            self.entries.put(&mut transaction, &key(number), value)?;
        }
        Ok(transaction.commit()?)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.entries.put(&mut transaction, key, value)?;
        Ok(transaction.commit()?)
    }

    type Reader<'a> = ();

    fn reader(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn get(&self, _reader: &(), key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        let transaction = self.env.read_txn()?;
        if let Some(value) = self.entries.get(&transaction, key)? {
            see(value);
        }
        Ok(())
    }
}

impl KeyValue for InsideTransaction {
    const NAME: &str = "LMDB, inside one transaction";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        Lmdb::open(dir, is_durable).map(Self)
    }

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        self.0.load(count, key, value)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        self.0.put(key, value)
    }

    type Reader<'a> = RoTxn<'a, WithTls>;

    fn reader(&self) -> anyhow::Result<RoTxn<'_, WithTls>> {
        Ok(self.0.env.read_txn()?)
    }

    fn get(
        &self,
        transaction: &RoTxn<'_, WithTls>,
        key: &[u8],
        see: impl FnOnce(&[u8]),
    ) -> anyhow::Result<()> {
        if let Some(value) = self.0.entries.get(transaction, key)? {
            see(value);
        }
        Ok(())
    }
}

impl Ordered for Lmdb {
    const SHORT: &str = "LMDB";

    type View<'a> = (&'a Lmdb, RoTxn<'a, WithTls>);

    fn view(&self) -> anyhow::Result<Self::View<'_>> {
        Ok((self, self.env.read_txn()?))
    }

    fn read_on((store, read): &Self::View<'_>, from: &[u8], most: u64) -> anyhow::Result<u64> {
        let range = (Bound::Included(from), Bound::Unbounded);
        let entries = store.entries.range(read, &range)?;
        let mut count = 0;
        for entry in entries.take(usize::try_from(most)?) {
            black_box(entry?.1.last());
            count += 1;
        }
        Ok(count)
    }

    fn read_back((store, read): &Self::View<'_>) -> anyhow::Result<u64> {
        let mut count = 0;
        for entry in store.entries.rev_iter(read)? {
            black_box(entry?.1.last());
            count += 1;
        }
        Ok(count)
    }

    fn get_many((store, read): &Self::View<'_>, keys: &[Key]) -> anyhow::Result<u64> {
        let mut found = 0;
        for key in keys {
            let value = store.entries.get(read, key)?;
            found += u64::from(black_box(value.and_then(<[u8]>::last)).is_some());
        }
        Ok(found)
    }
}
