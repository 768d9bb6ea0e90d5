"""SQLite as a store for `cargo xtask crashtest --command`.

usage: python3 sqlite_store.py DIRECTORY JOURNAL_MODE
"""

import sqlite3
import sys

directory, journal_mode = sys.argv[1:]
db = sqlite3.connect(directory + "/store.db", isolation_level=None)
(mode,) = db.execute("PRAGMA journal_mode = " + journal_mode).fetchone()
if mode.upper() != journal_mode:  # that it failed is said by nothing else
    sys.exit("the journal mode is still " + mode)
db.execute("PRAGMA synchronous = FULL")
db.execute("CREATE TABLE IF NOT EXISTS pairs (key TEXT PRIMARY KEY, value BLOB)")


def answer(text):
    print(text, flush=True)  # nobody reads what is still in a buffer


for line in sys.stdin:
    match line.split():
        case ["put", key, value]:
            db.execute("REPLACE INTO pairs VALUES (?, ?)", (key, bytes.fromhex(value)))
            answer("ok")  # the transaction is committed: only now
        case ["del", key]:
            db.execute("DELETE FROM pairs WHERE key = ?", (key,))
            answer("ok")
        case ["dump"]:
            for key, value in db.execute("SELECT key, value FROM pairs"):
                answer(key + " " + value.hex())
            answer("end")
db.close()
