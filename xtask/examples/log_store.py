"""An append-only log as a store for `cargo xtask crashtest --command --kind log`: each record is a line of hexadecimal
digits with a checksum, each append is synced, and so is the directory, once the file is there. What is torn at the end
is cut off when the log is opened.

usage: python3 log_store.py DIRECTORY [lazy | torn-tail | forget-directory | split-batches]

lazy              answers before it syncs, and syncs when it is told `sync`: for --unsynced
torn-tail         bug: leaves what is torn at the end, and appends behind it
forget-directory  bug: does not sync the directory
split-batches     bug: writes and syncs a batch record by record
"""

import os
import sys
import zlib

directory, *options = sys.argv[1:]
path = directory + "/log"
log = os.open(path, os.O_RDWR | os.O_CREAT)
if "forget-directory" not in options:
    names = os.open(directory, os.O_RDONLY)
    os.fsync(names)  # the log's name: without it the log is gone, whatever is synced in it
    os.close(names)


def frame(batch):
    text = " ".join(batch)
    return f"{zlib.crc32(text.encode()):08x} {text}\n".encode()


def batch_of(line):
    """The records of a line, or None if it is torn."""
    text = line.decode(errors="replace")
    if text.endswith("\n") and frame(text.split()[1:]) == line:
        return text.split()[1:]
    return None


records, end = [], 0
with open(path, "rb") as file:
    for line in file:
        batch = batch_of(line)
        if batch is None:
            break
        records += batch
        end += len(line)
if "torn-tail" in options:
    end = os.stat(path).st_size
else:
    os.ftruncate(log, end)


def write(data, offset):
    if os.pwrite(log, data, offset) < len(data):
        raise OSError("the disk is full")  # it takes what it can, and says how much that is


with open(path, "rb") as file:
    write(file.read(end), 0)  # where a sync has failed, the page cache shows what is not on the disk
os.fsync(log)  # what is answered from now on


def append(batch):
    global end
    line = frame(batch)
    write(line, end)
    end += len(line)
    records.extend(batch)
    if "lazy" not in options:
        os.fsync(log)


def answer(text):
    print(text, flush=True)  # nobody reads what is still in a buffer


for line in sys.stdin:
    match line.split():
        case ["append", record]:
            append([record])
            answer("ok")
        case ["batch", *batch]:
            if "split-batches" in options:
                for record in batch:
                    append([record])
            else:
                append(batch)
            answer("ok")
        case ["sync"]:
            os.fsync(log)
            answer("ok")
        case ["dump"]:
            for record in records:
                answer(record)
            answer("end")
