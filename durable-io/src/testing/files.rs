//! Verbs on the files of a store's directory.

use std::path::Path;

use tempfile::TempDir;

use crate::dir::Dir;
use crate::disk::Disk;

/// A directory in memory where the system has one: for tests that open thousands of stores and do not
/// ask what a sync does.
///
/// # Panics
/// If there is no room for it.
pub fn fast_dir() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm").or_else(|_none| tempfile::tempdir());
    in_memory.expect("there is a directory for temporary files")
}

fn dir(path: &Path) -> Dir {
    Disk::os().open_dir(path).expect("the directory is there")
}

/// The content of the file `name` in the directory `path`.
///
/// # Panics
/// If it cannot be read.
pub fn read(path: &Path, name: &str) -> Vec<u8> {
    let file = dir(path).open(name).expect("the file is there");
    let len = file.len().expect("a file has a length");
    let mut bytes = vec![0; usize::try_from(len).expect("a test's file is small")];
    file.read_exact_at(&mut bytes, 0)
        .expect("the file can be read");
    bytes
}

/// Makes the file `name` in the directory `path` hold exactly `bytes`.
///
/// # Panics
/// If it cannot be written.
pub fn write(path: &Path, name: &str, bytes: &[u8]) {
    let dir = dir(path);
    let file = match dir.create_new(name) {
        Err(error) if error.is_already_exists() => dir.open(name),
        other => other,
    };
    let file = file.expect("the file can be opened");
    file.set_len(bytes.len() as u64)
        .and_then(|()| file.write_all_at(bytes, 0))
        .expect("the file can be written");
}

/// Every file of the directory `path` and of those below it, by its path from there, in order; files called `lock` left
/// out.
///
/// # Panics
/// If one cannot be read.
pub fn snapshot(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in dir(path).list().expect("the directory can be listed") {
        let name = entry.name;
        if entry.is_dir {
            let below = snapshot(&path.join(&name)).into_iter();
            files.extend(below.map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else if name != "lock" {
            let bytes = read(path, &name);
            files.push((name, bytes));
        }
    }
    files.sort();
    files
}

/// Makes the directory `path`, which has none below it, hold exactly `files`, and a lock file if it has one.
///
/// # Panics
/// If it cannot be changed.
pub fn restore(path: &Path, files: &[(String, Vec<u8>)]) {
    let dir = dir(path);
    for entry in dir.list().expect("the directory can be listed") {
        let is_kept = entry.name == "lock" || files.iter().any(|(name, _)| *name == entry.name);
        if !is_kept {
            dir.remove(&entry.name).expect("the file can be removed");
        }
    }
    for (name, bytes) in files {
        write(path, name, bytes);
    }
}

/// How many descriptors this process has open, that of the count among them. For a test that is alone
/// in its process.
///
/// # Panics
/// On a system that does not tell (`/proc/self/fd`).
pub fn descriptors() -> usize {
    let listed = dir(Path::new("/proc/self/fd")).list();
    listed.expect("the system lists open descriptors").len()
}
