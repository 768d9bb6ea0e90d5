"""A file that is saved as a whole, as a store for `cargo xtask crashtest --command`: written beside the old one,
synced, and renamed over it. What many programs forget is the directory, which has the names.

usage: python3 safe_save_store.py DIRECTORY [sync-directory]
"""

import json
import os
import sys

directory, *options = sys.argv[1:]
path = directory + "/store.json"
pairs = {}
if os.path.exists(path):
    with open(path) as file:
        pairs = json.load(file)


def save():
    with open(path + ".new", "w") as file:
        json.dump(pairs, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)
    if "sync-directory" in options:
        names = os.open(directory, os.O_RDONLY)
        os.fsync(names)
        os.close(names)


def answer(text):
    print(text, flush=True)  # nobody reads what is still in a buffer


for line in sys.stdin:
    match line.split():
        case ["put", key, value]:
            pairs[key] = value
            save()
            answer("ok")
        case ["del", key]:
            pairs.pop(key, None)
            save()
            answer("ok")
        case ["dump"]:
            for key, value in pairs.items():
                answer(key + " " + value)
            answer("end")
