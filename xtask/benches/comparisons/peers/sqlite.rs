//! `SQLite` as an event store: a table of events and one of tags, a write-ahead log, a sync for each transaction,
//! and a page cache that holds everything. One connection writes, since only one can; each reader has its own.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use anyhow::anyhow;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::contender::{Contender, Role};
use crate::events::{self, EventLog, Fact};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        id BLOB NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        at INTEGER NOT NULL,
        payload BLOB NOT NULL,
        UNIQUE (stream, version)
    );
    CREATE TABLE IF NOT EXISTS tags (
        tag TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (tag, position)
    ) WITHOUT ROWID;";

const INSERT: &str = "
    INSERT INTO events (stream, version, id, kind, at, payload)
    SELECT ?1, coalesce(max(version), 0) + 1, ?2, 'Placed', 7, ?3 FROM events WHERE stream = ?1";

pub(crate) fn contenders() -> Vec<Contender> {
    events::contenders::<Store>(Role::Peer)
}

/// A file, with the connection that writes.
pub(crate) struct Connections {
    path: PathBuf,
    writer: Mutex<Connection>,
}

impl Connections {
    /// Of the file in `dir`, which has at least `tables`.
    pub(crate) fn open(dir: &Path, is_durable: bool, tables: &str) -> anyhow::Result<Self> {
        let path = dir.join("file");
        let writer = connect(&path, is_durable)?;
        writer.execute_batch(tables)?;
        let writer = Mutex::new(writer);
        Ok(Self { path, writer })
    }

    pub(crate) fn writer(&self) -> anyhow::Result<MutexGuard<'_, Connection>> {
        self.writer
            .lock()
            .map_err(|_poisoned| anyhow!("a writer panicked"))
    }

    pub(crate) fn reader(&self) -> anyhow::Result<Connection> {
        connect(&self.path, false)
    }

    pub(crate) fn close(self) -> anyhow::Result<()> {
        let writer = self
            .writer
            .into_inner()
            .map_err(|_poisoned| anyhow!("a writer panicked"))?;
        writer.close().map_err(|(_, error)| error.into())
    }
}

struct Store(Connections);

fn connect(path: &Path, is_durable: bool) -> anyhow::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = if is_durable { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "cache_size", -(1 << 20))?;
    connection.pragma_update(None, "mmap_size", 1 << 30)?;
    Ok(connection)
}

fn insert(connection: &Connection, fact: &Fact<'_>) -> anyhow::Result<i64> {
    let id = fact.id.to_le_bytes();
    connection
        .prepare_cached(INSERT)?
        .execute(params![fact.stream, id, fact.payload])?;
    let position = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO tags VALUES (?1, ?2)")?
        .execute(params![fact.tag, position])?;
    Ok(position)
}

/// How many rows the query gives; the payload of each, the last column, is looked at.
fn count(connection: &Connection, query: &str, with: impl rusqlite::Params) -> anyhow::Result<u64> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(with)?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        black_box((row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_i64()?));
        black_box(row.get_ref(4)?.as_blob()?.last());
        read += 1;
    }
    Ok(read)
}

impl EventLog for Store {
    const NAME: &str = "SQLite";

    fn open(dir: &Path, is_durable: bool) -> anyhow::Result<Self> {
        Connections::open(dir, is_durable, TABLES).map(Self)
    }

    fn append(&self, facts: &[Fact<'_>]) -> anyhow::Result<()> {
        let mut writer = self.0.writer()?;
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for fact in facts {
            insert(&transaction, fact)?;
        }
        Ok(transaction.commit()?)
    }

    fn append_if(&self, fact: &Fact<'_>, seen: u64) -> anyhow::Result<u64> {
        let mut writer = self.0.writer()?;
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let is_refused = transaction
            .prepare_cached("SELECT 1 FROM tags WHERE tag = ?1 AND position > ?2")?
            .exists(params![fact.tag, i64::try_from(seen)?])?;
        anyhow::ensure!(!is_refused, "a condition is not met");
        let position = insert(&transaction, fact)?;
        transaction.commit()?;
        Ok(u64::try_from(position)?)
    }

    type Reader<'a> = Connection;

    fn reader(&self) -> anyhow::Result<Connection> {
        self.0.reader()
    }

    fn read_all(&self, reader: &Connection) -> anyhow::Result<u64> {
        let query = "SELECT stream, version, id, kind, payload FROM events ORDER BY position";
        count(reader, query, [])
    }

    fn read_stream(&self, reader: &Connection, stream: &str) -> anyhow::Result<u64> {
        let query = "SELECT stream, version, id, kind, payload FROM events \
                     WHERE stream = ?1 ORDER BY version";
        count(reader, query, [stream])
    }

    fn read_tag(&self, reader: &Connection, tag: &str) -> anyhow::Result<u64> {
        let query = "SELECT stream, version, id, kind, payload FROM tags JOIN events USING (position) \
                     WHERE tag = ?1 ORDER BY position";
        count(reader, query, [tag])
    }

    fn close(self) -> anyhow::Result<()> {
        self.0.close()
    }
}
