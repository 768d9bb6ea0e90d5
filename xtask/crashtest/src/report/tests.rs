//! What is red, and what is in the object that `--json` writes.

use super::*;

fn report(engine: Engine) -> Report {
    Report {
        engines: vec![("wal", engine)],
        ..Report::default()
    }
}

fn red(engine: Engine) -> Vec<String> {
    let mut report = report(engine);
    report.judge();
    report.red
}

fn kill() -> Kill {
    Kill {
        kills: 1,
        acknowledged: 1,
        recovered: 1,
        ..Kill::default()
    }
}

#[test]
fn a_run_that_checked_nothing_is_red() {
    assert_eq!(red(Engine::default()), ["nothing was checked"]);
    let idle = Engine {
        sim: Some(Sim::default()),
        ..Engine::default()
    };
    assert_eq!(red(idle), ["wal sim: no crash states were checked"]);
}

#[test]
fn a_kill_run_is_green_only_if_every_phase_was_hit_and_nothing_lost() {
    let judge = |kill: Kill| {
        red(Engine {
            kill: Some(kill),
            ..Engine::default()
        })
        .len()
    };
    assert_eq!(judge(kill()), 0);
    assert_eq!(judge(Kill { lost: 1, ..kill() }), 1);
    assert_eq!(
        judge(Kill {
            recovered: 0,
            ..kill()
        }),
        1
    );
    assert_eq!(
        judge(Kill {
            phases: vec![("rotate", 0), ("append", 1)],
            ..kill()
        }),
        1
    );
}

#[test]
fn every_key_of_the_object_is_there() {
    let engine = Engine {
        sim: Some(Sim::default()),
        faults: Some(Faults::default()),
        corruption: Some(Corruption::default()),
        life: Some(Life::default()),
        barriers: Some(Barriers::default()),
        kill: Some(kill()),
        fuse: Some(Fuse::default()),
        trace: Some(Trace::default()),
        seconds: Seconds::default(),
    };
    let mut report = report(engine);
    report.controls.sim = Some(Controls::default());
    report.controls.life = Some(Controls::default());
    report.controls.fuse = Some(FuseControls::default());
    report.litmus = Some(Litmus::default());
    let json = serde_json::to_value(&report).unwrap();
    for path in [
        "engines/wal/sim/workloads",
        "engines/wal/sim/starting_states",
        "engines/wal/sim/exhaustive_length",
        "engines/wal/sim/crash_points",
        "engines/wal/sim/sampled_points",
        "engines/wal/sim/states",
        "engines/wal/sim/unique_states",
        "engines/wal/sim/nested_states",
        "engines/wal/sim/violations",
        "engines/wal/sim/states_per_second",
        "engines/wal/faults/injected",
        "engines/wal/faults/violations",
        "engines/wal/corruption/changes",
        "engines/wal/corruption/detected",
        "engines/wal/corruption/harmless",
        "engines/wal/corruption/wrong",
        "engines/wal/corruption/panics",
        "engines/wal/life/images",
        "engines/wal/life/wrong",
        "engines/wal/barriers/sites",
        "engines/wal/barriers/caught",
        "engines/wal/barriers/redundant",
        "engines/wal/barriers/pairs",
        "engines/wal/barriers/unreached",
        "engines/wal/barriers/survivors",
        "engines/wal/kill/kills",
        "engines/wal/kill/acknowledged",
        "engines/wal/kill/lost",
        "engines/wal/fuse/moments",
        "engines/wal/fuse/states",
        "engines/wal/fuse/lost",
        "engines/wal/fuse/inconsistent",
        "engines/wal/fuse/refused",
        "engines/wal/fuse/failed_syncs",
        "engines/wal/fuse/full_disks",
        "engines/wal/trace/procedures",
        "engines/wal/trace/differences",
        "controls/judged",
        "controls/wrong",
        "litmus/power_losses",
        "litmus/outside",
        "litmus/file_systems",
        "litmus/inclusion/exceptions",
        "controls/life/judged",
        "controls/fuse/judged",
        "controls/fuse/wrong",
        "skipped",
        "seed",
        "seconds",
    ] {
        assert!(json.pointer(&format!("/{path}")).is_some(), "{path}");
    }
}
