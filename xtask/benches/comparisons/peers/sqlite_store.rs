//! `SQLite`: a table without row ids, a write-ahead log, a page cache that holds everything. One connection writes,
//! since only one can; each reader has its own.

use std::hint::black_box;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::keys::Key;
use crate::ordered::Ordered;
use crate::sqlite::Connections;
use crate::stores::KeyValue;

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";
const PUT: &str = "INSERT OR REPLACE INTO entries VALUES (?1, ?2)";
const GET: &str = "SELECT value FROM entries WHERE key = ?1";

pub(super) struct Store(Connections);

fn get(connection: &Connection, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
    let mut statement = connection.prepare_cached(GET)?;
    statement
        .query_row([key], |row| {
            see(row.get_ref(0)?.as_blob()?);
            Ok(())
        })
        .optional()?;
    Ok(())
}

/// How many entries the query gives; each is looked at.
fn count(connection: &Connection, query: &str, with: impl rusqlite::Params) -> anyhow::Result<u64> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(with)?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        black_box((
            row.get_ref(0)?.as_blob()?,
            row.get_ref(1)?.as_blob()?.last(),
        ));
        read += 1;
    }
    Ok(read)
}

impl KeyValue for Store {
    const NAME: &str = "SQLite";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        Connections::open(dir, is_durable, TABLE).map(Self)
    }

    fn load(&self, count: u64, key: fn(u64) -> Key, value: &[u8]) -> anyhow::Result<()> {
        let mut writer = self.0.writer()?;
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut put = transaction.prepare_cached(PUT)?;
        for number in 0..count {
            put.execute(params![key(number), value])?;
        }
        drop(put);
        Ok(transaction.commit()?)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        self.0
            .writer()?
            .prepare_cached(PUT)?
            .execute(params![key, value])?;
        Ok(())
    }

    type Reader<'a> = Connection;

    fn reader(&self) -> anyhow::Result<Connection> {
        self.0.reader()
    }

    fn get(&self, reader: &Connection, key: &[u8], see: impl FnOnce(&[u8])) -> anyhow::Result<()> {
        get(reader, key, see)
    }

    fn close(self) -> anyhow::Result<()> {
        self.0.close()
    }
}

impl Ordered for Store {
    const SHORT: &str = "SQLite";

    type View<'a> = Connection;

    fn view(&self) -> anyhow::Result<Connection> {
        let reader = self.0.reader()?;
        reader.execute_batch("BEGIN")?;
        Ok(reader)
    }

    fn read_on(reader: &Connection, from: &[u8], most: u64) -> anyhow::Result<u64> {
        let query = "SELECT key, value FROM entries WHERE key >= ?1 ORDER BY key LIMIT ?2";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        count(reader, query, params![from, most])
    }

    fn read_back(reader: &Connection) -> anyhow::Result<u64> {
        count(
            reader,
            "SELECT key, value FROM entries ORDER BY key DESC",
            [],
        )
    }

    fn get_many(reader: &Connection, keys: &[Key]) -> anyhow::Result<u64> {
        let mut found = 0;
        for key in keys {
            get(reader, key, |value| {
                black_box(value.last());
                found += 1;
            })?;
        }
        Ok(found)
    }
}
