//! Locks between processes: this file runs itself again as the other process.
#![allow(clippy::unwrap_used, reason = "test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use durable_io::{Disk, Error, Lock, Result};
use tempfile::TempDir;

/// Set in the other process: the directory whose lock it shall take.
const HOLD: &str = "DURABLE_IO_TEST_HOLD_LOCK_IN";

fn try_lock(dir: &Path) -> Result<Lock> {
    Disk::os().open_dir(dir)?.try_lock("LOCK")
}

/// Who is said to have the lock.
fn holder(dir: &Path) -> Option<u32> {
    match try_lock(dir) {
        Err(Error::Locked { pid, .. }) => pid,
        other => panic!("not locked: {other:?}"),
    }
}

/// The other process: takes the lock, says so, and holds it until its input ends.
#[test]
fn other_process() {
    let Some(dir) = std::env::var_os(HOLD) else {
        return;
    };
    let lock = try_lock(Path::new(&dir)).unwrap();
    writeln!(std::io::stderr(), "locked").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(lock);
}

/// Starts the other process and returns when it has the lock.
fn start_holder(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "other_process", "--nocapture"])
        .env(HOLD, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    child
}

#[test]
fn d29_a_second_opener_in_the_same_process_gets_our_pid() {
    let temp = TempDir::new().unwrap();
    let lock = try_lock(temp.path()).unwrap();
    assert_eq!(holder(temp.path()), Some(std::process::id()));
    drop(lock);
    let again = try_lock(temp.path()).unwrap();
    assert_eq!(holder(temp.path()), Some(std::process::id()));
    drop(again);
}

#[test]
fn d29_another_process_is_named_and_its_death_frees_the_lock() {
    let temp = TempDir::new().unwrap();
    let mut child = start_holder(temp.path());
    let error = try_lock(temp.path()).unwrap_err();
    let path = temp.path().join("LOCK");
    let text = format!("{} is locked by process {}", path.display(), child.id());
    assert_eq!(error.to_string(), text);
    // SIGKILL: nothing of the process runs any more that could let go.
    child.kill().unwrap();
    child.wait().unwrap();
    drop(try_lock(temp.path()).unwrap());
}

#[test]
fn d29_another_process_that_lets_go_frees_the_lock() {
    let temp = TempDir::new().unwrap();
    let mut child = start_holder(temp.path());
    assert_eq!(holder(temp.path()), Some(child.id()));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    drop(try_lock(temp.path()).unwrap());
}

#[test]
fn a_removed_lock_file_lets_nobody_in() {
    let temp = TempDir::new().unwrap();
    let mut child = start_holder(temp.path());
    std::fs::remove_file(temp.path().join("LOCK")).unwrap();
    assert_eq!(holder(temp.path()), None);
    assert!(!temp.path().join("LOCK").exists(), "nothing was made");
    // Nor does one that somebody else has put there.
    std::fs::write(temp.path().join("LOCK"), b"").unwrap();
    assert_eq!(holder(temp.path()), None);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let lock = try_lock(temp.path()).unwrap();
    std::fs::remove_file(temp.path().join("LOCK")).unwrap();
    assert_eq!(holder(temp.path()), None, "in the same process");
    drop(lock);
    drop(try_lock(temp.path()).unwrap());
}

#[test]
fn a_directory_has_one_lock_whatever_the_files_are_called() {
    let temp = TempDir::new().unwrap();
    let dir = Disk::os().open_dir(temp.path()).unwrap();
    let lock = dir.try_lock("LOCK").unwrap();
    assert!(dir.try_lock("OTHER").unwrap_err().is_locked());
    dir.create_dir("below").unwrap();
    drop(dir.open_dir("below").unwrap().try_lock("LOCK").unwrap());
    drop(lock);
    drop(dir.try_lock("OTHER").unwrap());
}

#[test]
fn who_locks_the_file_alone_is_seen_too() {
    // As another machine does by NFS, or an older version of this crate.
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("LOCK");
    let file = std::fs::File::create(&path).unwrap();
    file.lock().unwrap();
    std::fs::write(&path, b"77\n").unwrap();
    assert_eq!(holder(temp.path()), Some(77));
    file.unlock().unwrap();
    drop(try_lock(temp.path()).unwrap());
}

#[test]
fn a_planted_link_is_not_followed() {
    let temp = TempDir::new().unwrap();
    let target = temp.path().join("target");
    std::fs::write(&target, b"precious").unwrap();
    std::os::unix::fs::symlink(&target, temp.path().join("LOCK")).unwrap();
    assert!(!try_lock(temp.path()).unwrap_err().is_locked());
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
}

#[test]
fn a_lock_file_with_anything_in_it_can_be_taken_and_read() {
    let temp = TempDir::new().unwrap();
    let garbage: [&[u8]; 4] = [b"", b"\xff\xfe", b"99999999999999999999999999", b"x\ny\nz"];
    for bytes in garbage {
        std::fs::write(temp.path().join("LOCK"), bytes).unwrap();
        let lock = try_lock(temp.path()).unwrap();
        let pid = holder(temp.path());
        assert!(pid.is_none() || pid == Some(std::process::id()));
        // What is there instead of a pid is no pid, whoever wrote it.
        std::fs::write(temp.path().join("LOCK"), bytes).unwrap();
        assert_eq!(holder(temp.path()), None);
        drop(lock);
    }
}
