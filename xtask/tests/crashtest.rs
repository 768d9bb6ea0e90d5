//! The command as a user runs it: its exit status and its `--json` object.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::process::Command;

use serde_json::Value;

/// Runs `cargo xtask crashtest` with `args`; returns whether its exit status was 0, and its report.
fn crashtest(args: &[&str]) -> (bool, Value) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("crashtest")
        .args(args)
        .arg("--json")
        .arg(&file)
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (
        output.status.success(),
        serde_json::from_str(&text).unwrap(),
    )
}

#[test]
fn kill_finds_writes_that_were_acknowledged_in_user_space() {
    for engine in ["wal", "bitcask"] {
        let (passed, report) = crashtest(&[engine, "--layer", "kill", "--plant"]);
        assert!(!passed);
        let kill = &report["engines"][engine]["kill"];
        assert!(kill["lost"].as_u64().unwrap() > 0, "{report:#}");
        assert!(!report["red"].as_array().unwrap().is_empty(), "{report:#}");
    }
}

#[test]
fn trace_finds_no_difference_between_the_real_disk_and_the_simulated_one() {
    let (passed, report) = crashtest(&["wal", "--layer", "trace"]);
    let Some(trace) = report["engines"]["wal"].get("trace") else {
        // Nothing was checked, so the run must not count as passed.
        assert!(!passed, "{report:#}");
        return;
    };
    assert!(passed, "{report:#}");
    assert_eq!(trace["differences"], 0, "{report:#}");
    assert!(trace["procedures"].as_u64().unwrap() > 20, "{report:#}");
}

/// True if `layer` of the engine called `key` ran; otherwise the run must not have counted as passed.
#[track_caller]
fn ran(passed: bool, report: &Value, layer: &Value) -> bool {
    if layer.is_null() {
        assert!(!passed, "{report:#}");
    }
    !layer.is_null()
}

#[test]
fn fuse_sees_every_planted_bug_and_nothing_in_a_correct_store() {
    let (passed, report) = crashtest(&["controls", "--layer", "fuse"]);
    let fuse = &report["controls"]["fuse"];
    if !ran(passed, &report, fuse) {
        return;
    }
    assert!(passed, "{report:#}");
    assert_eq!(fuse["judged"], 8, "{report:#}");
    assert_eq!(fuse["wrong"], 0, "{report:#}");
    for (name, engine) in fuse["engines"].as_object().unwrap() {
        assert!(
            engine["states"].as_u64().unwrap() >= 2000,
            "{name}: {engine}"
        );
    }
}

#[test]
fn fuse_finds_a_program_that_writes_nowhere() {
    let store = "sh -c 'while read order; do echo ok; done' {dir}";
    let (passed, report) = crashtest(&["--command", store]);
    assert!(!passed);
    let fuse = &report["engines"]["command"]["fuse"];
    if ran(passed, &report, fuse) {
        let red = report["red"].to_string();
        assert!(red.contains("not one write reached the device"), "{red}");
    }
}

#[test]
fn a_process_that_mounts_can_be_killed_at_any_moment() {
    let place = tempfile::tempdir().unwrap();
    for kill in 1..=20 {
        let mut process = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("fuse-child")
            .arg(place.path())
            .args(["--engine=wal", "--unit=512", "--seed=1", "--full"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // It is in the middle of a call of the file system, of another one each time.
        let said = std::io::BufReader::new(process.stdout.take().unwrap());
        let lines: Vec<String> = std::io::BufRead::lines(said)
            .map_while(Result::ok)
            .take(1 + kill % 3)
            .collect();
        process.kill().unwrap();
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || ended.send(process.wait()));
        let end = end.recv_timeout(std::time::Duration::from_secs(60));
        end.expect("a killed process ends").unwrap();
        assert!(!lines.is_empty());
        if lines[0].contains("skipped") {
            return;
        }
    }
}

#[test]
fn a_killed_run_leaves_no_process_and_nothing_mounted() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["crashtest", "wal", "--layer", "fuse", "--full"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    // The first line of progress, if the layer can run here; then it has mounted.
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    // Every process that it started has its standard error: this ends with the last of them.
    std::io::Read::read_to_string(&mut said, &mut line).unwrap();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains("crashtest"), "{mounts}");
}

/// Judges an example program in Python as `args` say; `None`, and a word about it, where that cannot run.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn example(program: &str, args: &[&str]) -> Option<(bool, Value)> {
    let which = "import sqlite3, sys; assert sys.version_info >= (3, 10); print(sys.executable)";
    let python = Command::new("python3").args(["-c", which]).output();
    let python = match python {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
        _ => {
            eprintln!("NOT TESTED: there is no python3 from 3.10 on with sqlite3 here");
            return None;
        }
    };
    let (file, options) = program.split_once(' ').unwrap_or((program, ""));
    let (python, examples) = (
        python.trim_end(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/examples"),
    );
    let command = format!("{python} {examples}/{file} {{dir}} {options}");
    let (passed, report) = crashtest(&[&["--command", &command], args].concat());
    let fuse = &report["engines"]["command"]["fuse"];
    ran(passed, &report, fuse).then_some((passed, report))
}

/// What is red of `program`, as one text: empty if it passed, which takes some states.
#[track_caller]
fn red_of(program: &str, args: &[&str]) -> Option<String> {
    let (passed, report) = example(program, args)?;
    let red = report["red"].as_array().unwrap().iter();
    let red: Vec<&str> = red.map(|reason| reason.as_str().unwrap()).collect();
    assert_eq!(passed, red.is_empty(), "{report:#}");
    let states = report["engines"]["command"]["fuse"]["states"].as_u64();
    assert!(!passed || states.unwrap() > 80, "{report:#}");
    Some(red.join("\n"))
}

#[test]
fn sqlite_loses_transactions_in_one_journal_mode_and_none_in_the_other() {
    for (mode, loses) in [("WAL", false), ("DELETE", true)] {
        let Some((passed, report)) = example(&format!("sqlite_store.py {mode}"), &[]) else {
            return;
        };
        let fuse = &report["engines"]["command"]["fuse"];
        assert_eq!(passed, !loses, "{report:#}");
        assert_eq!(fuse["lost"].as_u64().unwrap() > 0, loses, "{report:#}");
        assert!(
            loses || fuse["states"].as_u64().unwrap() > 100,
            "{report:#}"
        );
    }
}

#[test]
fn sqlite_that_syncs_at_checkpoints_loses_only_what_came_after_one() {
    let args = ["--batches", "--unsynced"];
    if let Some(red) = red_of("sqlite_store.py WAL NORMAL", &args) {
        assert_eq!(red, "");
    }
}

#[test]
fn a_log_passes_and_one_whose_directory_is_not_synced_does_from_its_second_start_on() {
    let log = ["--kind", "log", "--batches"];
    let Some(red) = red_of("log_store.py", &log) else {
        return;
    };
    assert_eq!(red, "");
    let red = red_of("log_store.py forget-directory", &log).unwrap();
    let cause = "nothing syncs directory disk after call 1, create log in disk\n\
                 may lose on: strict POSIX; not on: ext4, ext4 with noauto_da_alloc, XFS, btrfs, kill -9 (";
    assert!(red.contains(cause), "{red}");
    let after = [log.as_slice(), &["--after-creation"]].concat();
    let red = red_of("log_store.py forget-directory", &after).unwrap();
    assert_eq!(red, "");
}

#[test]
fn a_log_that_answers_first_may_lose_its_end_and_no_part_of_a_batch() {
    let unsynced = ["--kind", "log", "--unsynced"];
    let Some(red) = red_of("log_store.py lazy", &unsynced) else {
        return;
    };
    assert_eq!(red, "");
    let red = red_of(
        "log_store.py split-batches",
        &["--kind", "log", "--batches"],
    )
    .unwrap();
    assert!(red.contains("it is no state that ever was"), "{red}");
    assert!(!red.contains("nothing syncs"), "{red}");
}

#[test]
fn the_storage_of_a_raft_node_passes_and_one_that_keeps_its_vote_apart_does_not() {
    let Some(red) = red_of("raft_store.py", &["--kind", "raft"]) else {
        return;
    };
    assert_eq!(red, "");
    let red = red_of("raft_store.py vote-file", &["--kind", "raft"]).unwrap();
    let expected = ["nothing syncs vote after call", "the vote has"];
    assert!(
        expected.iter().all(|expected| red.contains(expected)),
        "{red}"
    );
}

#[test]
fn a_file_saved_without_its_directory_is_lost_on_real_file_systems_too_but_not_by_a_kill() {
    let program = "safe_save_store.py";
    let Some(red) = red_of(program, &["--after-creation"]) else {
        return;
    };
    let cause = ", rename store.json.new to store.json\n\
                 may lose on: strict POSIX, ext4, ext4 with noauto_da_alloc, XFS, btrfs; not on: kill -9 (";
    assert!(
        red.contains("nothing syncs directory disk after call"),
        "{red}"
    );
    assert!(red.contains(cause), "{red}");
    let red = red_of(program, &["--profile", "kill"]).unwrap();
    assert_eq!(red, "");
}
