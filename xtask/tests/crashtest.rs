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

#[test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn fuse_finds_that_sqlite_loses_transactions_in_one_journal_mode_and_none_in_the_other() {
    let which = "import sqlite3, sys; assert sys.version_info >= (3, 10); print(sys.executable)";
    let python = Command::new("python3").args(["-c", which]).output();
    let python = match python {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
        _ => return eprintln!("NOT TESTED: there is no python3 from 3.10 on with sqlite3 here"),
    };
    let python = python.trim_end();
    let store = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sqlite_store.py");
    for (mode, loses) in [("WAL", false), ("DELETE", true)] {
        let command = format!("{python} {store} {{dir}} {mode}");
        let (passed, report) = crashtest(&["--command", &command]);
        let fuse = &report["engines"]["command"]["fuse"];
        if !ran(passed, &report, fuse) {
            return;
        }
        assert_eq!(passed, !loses, "{report:#}");
        assert_eq!(fuse["lost"].as_u64().unwrap() > 0, loses, "{report:#}");
        assert!(
            loses || fuse["states"].as_u64().unwrap() > 100,
            "{report:#}"
        );
    }
}
