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
fn kill_finds_records_that_were_acknowledged_in_user_space() {
    let (passed, report) = crashtest(&["wal", "--layer", "kill", "--plant"]);
    assert!(!passed);
    let kill = &report["engines"]["wal"]["kill"];
    assert!(kill["lost"].as_u64().unwrap() > 0, "{report:#}");
    assert!(!report["red"].as_array().unwrap().is_empty(), "{report:#}");
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
