"""SQLite as a store for `cargo xtask crashtest --command`.

usage: python3 sqlite_store.py DIRECTORY JOURNAL_MODE [SYNCHRONOUS]

SYNCHRONOUS is FULL, if it is not given. With `WAL NORMAL` a transaction is durable with the next checkpoint: for
--unsynced, where `sync` makes one.
"""

import sqlite3
import sys

directory, journal_mode, *rest = sys.argv[1:]
synchronous = rest[0] if rest else "FULL"
db = sqlite3.connect(directory + "/store.db", isolation_level=None)
(mode,) = db.execute("PRAGMA journal_mode = " + journal_mode).fetchone()
if mode.upper() != journal_mode:  # that it failed is said by nothing else
    sys.exit("the journal mode is still " + mode)
db.execute("PRAGMA synchronous = " + synchronous)
db.execute("CREATE TABLE IF NOT EXISTS pairs (key TEXT PRIMARY KEY, value BLOB)")


def answer(text):
    print(text, flush=True)  # nobody reads what is still in a buffer


def put(key, value):
    db.execute("REPLACE INTO pairs VALUES (?, ?)", (key, bytes.fromhex(value)))


for line in sys.stdin:
    match line.split():
        case ["put", key, value]:
            put(key, value)
            answer("ok")  # the transaction is committed: only now
        case ["batch", *pairs]:
            db.execute("BEGIN")
            for key, value in zip(pairs[::2], pairs[1::2]):
                put(key, value)
            db.execute("COMMIT")
            answer("ok")
        case ["del", key]:
            db.execute("DELETE FROM pairs WHERE key = ?", (key,))
            answer("ok")
        case ["sync"]:
            busy, pages, done = db.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            answer("ok" if busy == 0 and pages == done else "busy")
        case ["dump"]:
            for key, value in db.execute("SELECT key, value FROM pairs"):
                answer(key + " " + value.hex())
            answer("end")
db.close()
