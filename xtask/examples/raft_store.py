"""The storage of a Raft node as a store for `cargo xtask crashtest --command --kind raft`: vote, entries, truncation
and purge are lines of one log, each with a checksum, each synced before it is answered. So there is one order for all.

usage: python3 raft_store.py DIRECTORY [vote-file | unsynced-truncate]

vote-file          bug: keeps the vote in a file of its own, written in place and not synced
unsynced-truncate  bug: syncs neither truncation nor purge
"""

import os
import sys
import zlib

directory, *options = sys.argv[1:]
log = os.open(directory + "/log", os.O_RDWR | os.O_CREAT)
vote_file = os.open(directory + "/vote", os.O_RDWR | os.O_CREAT) if "vote-file" in options else None
names = os.open(directory, os.O_RDONLY)
os.fsync(names)  # the names of the files
os.close(names)

vote, purged, entries = None, None, {}


def apply(words):
    global vote, purged
    match words:
        case ["vote", term, node]:
            vote = (term, node)
        case ["append", index, term, data]:
            entries[int(index)] = (term, data)
        case ["truncate", index]:
            for at in [at for at in entries if at >= int(index)]:
                del entries[at]
        case ["purge", index]:
            purged = index
            for at in [at for at in entries if at <= int(index)]:
                del entries[at]


def frame(words):
    text = " ".join(words)
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


end = 0
with open(directory + "/log", "rb") as file:
    for line in file:
        words = line.decode(errors="replace").split()[1:]
        if frame(words) != line:
            break  # torn: it was never answered
        apply(words)
        end += len(line)
os.ftruncate(log, end)


def write(file, data, offset):
    if os.pwrite(file, data, offset) < len(data):
        raise OSError("the disk is full")  # it takes what it can, and says how much that is


with open(directory + "/log", "rb") as file:
    write(log, file.read(end), 0)  # where a sync has failed, the page cache shows what is not on the disk
os.fsync(log)  # what is answered from now on
if vote_file is not None:
    words = os.pread(vote_file, 100, 0).decode(errors="replace").split()
    vote = tuple(words) if len(words) == 2 else None


def store(words):
    global end
    if words[0] == "vote" and vote_file is not None:
        write(vote_file, " ".join(words[1:]).encode(), 0)
    else:
        line = frame(words)
        write(log, line, end)
        end += len(line)
        if words[0] not in ("truncate", "purge") or "unsynced-truncate" not in options:
            os.fsync(log)
    apply(words)


def answer(text):
    print(text, flush=True)  # nobody reads what is still in a buffer


for line in sys.stdin:
    match line.split():
        case ["dump"]:
            if vote:
                answer(f"vote {vote[0]} {vote[1]}")
            if purged:
                answer(f"purged {purged}")
            for index in sorted(entries):
                answer(f"entry {index} {entries[index][0]} {entries[index][1]}")
            answer("end")
        case words:
            store(words)
            answer("ok")
