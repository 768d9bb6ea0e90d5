//! What the layers found, as plain numbers: for the terminal, for `--json`, and for the exit status.
//!
//! A number that is red says so in `red()`, with what to do about it. The exit status is 0 only if
//! nothing is red, and a layer that ran without checking anything is red.

mod barriers;
mod fuse;
mod litmus;

use std::collections::BTreeSet;

use durable_io::sim::Counts;
use serde_json::{Value, json};

use crate::crashtest::corruption::Tally;

pub(crate) use barriers::{Barriers, FileOrDir, SiteVerdict, Verdict};
pub(crate) use fuse::{Fuse, FuseControls};
pub(crate) use litmus::{FileSystem, Inclusion, Litmus};

/// Everything one run found.
#[derive(Debug)]
pub(crate) struct Report {
    /// The seed of everything that was drawn.
    pub(crate) seed: u64,
    /// True with `--full`: the declared bound was used.
    pub(crate) full: bool,
    /// What was judged, as `git describe` names it.
    pub(crate) git: String,
    /// The kernel under the real-disk layers.
    pub(crate) kernel: String,
    /// Wall time of the whole run.
    pub(crate) seconds: u64,
    pub(crate) engines: Vec<Engine>,
    pub(crate) controls: Option<Controls>,
    pub(crate) litmus: Option<Litmus>,
    pub(crate) fuse_controls: Option<FuseControls>,
    pub(crate) skipped: Vec<Skipped>,
}

/// One engine: each layer that ran.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) sim: Option<Sim>,
    pub(crate) faults: Option<Faults>,
    pub(crate) corruption: Option<Corruption>,
    pub(crate) barriers: Option<Barriers>,
    pub(crate) kill: Option<Kill>,
    pub(crate) fuse: Option<Fuse>,
    pub(crate) trace: Option<Trace>,
}

/// The simulated disk: crash states of recorded runs.
#[derive(Debug, Default)]
pub(crate) struct Sim {
    pub(crate) runs: Vec<SimRun>,
    /// The violations, as text.
    pub(crate) findings: Vec<String>,
}

/// One exploration.
#[derive(Debug)]
pub(crate) struct SimRun {
    pub(crate) name: String,
    /// Every sequence of up to this many operations was run; 0 if they were drawn.
    pub(crate) length: u64,
    /// The unit of tearing, in bytes.
    pub(crate) unit: u64,
    pub(crate) threads: u64,
    pub(crate) seconds: f64,
    pub(crate) counts: Counts,
    /// Distinct states for each starting state.
    pub(crate) by_start: Vec<(&'static str, u64)>,
}

/// Errors injected into calls of the simulated disk.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) injected: u64,
    pub(crate) violations: u64,
    /// The violations, as text.
    pub(crate) findings: Vec<String>,
}

/// Bytes changed behind the engine's back.
#[derive(Debug, Default)]
pub(crate) struct Corruption {
    pub(crate) tally: Tally,
    /// The wrong answers and panics, as text.
    pub(crate) findings: Vec<String>,
}

/// Real processes, killed.
#[derive(Debug, Default)]
pub(crate) struct Kill {
    pub(crate) kills: u64,
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
    /// Records read back and compared, over all kills.
    pub(crate) recovered: u64,
    /// Kills that fell into each phase.
    pub(crate) phases: Vec<(&'static str, u64)>,
    /// Everything that broke the contract, as text.
    pub(crate) findings: Vec<String>,
}

/// The operating system's calls against the simulator's.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) procedures: u64,
    /// Calls compared, over all procedures.
    pub(crate) calls: u64,
    pub(crate) differences: u64,
    /// The differences, as text.
    pub(crate) findings: Vec<String>,
}

/// The control engines: the correct one and the planted ones.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    pub(crate) judged: u64,
    pub(crate) wrong: u64,
    /// The wrong judgements, as text.
    pub(crate) findings: Vec<String>,
}

/// A layer that did not run, and why. It never counts as passed.
#[derive(Debug)]
pub(crate) struct Skipped {
    pub(crate) layer: String,
    pub(crate) reason: String,
}

impl Report {
    /// The object that `--json` writes.
    pub(crate) fn json(&self) -> Value {
        let engines: serde_json::Map<String, Value> = self
            .engines
            .iter()
            .map(|engine| (engine.name.to_owned(), engine.json()))
            .collect();
        let skipped: Vec<Value> = self
            .skipped
            .iter()
            .map(|skipped| json!({"layer": skipped.layer, "reason": skipped.reason}))
            .collect();
        let mut report = json!({
            "seed": self.seed,
            "full": self.full,
            "git": self.git,
            "kernel": self.kernel,
            "seconds": self.seconds,
            "engines": engines,
            "skipped": skipped,
            "red": self.red(),
        });
        // It stands only where controls were judged.
        let mut controls = self.controls.as_ref().map(Controls::json);
        if let Some(fuse) = &self.fuse_controls {
            let controls = controls.get_or_insert_with(|| json!({}));
            if let Some(keys) = controls.as_object_mut() {
                keys.insert("fuse".to_owned(), fuse.json());
            }
        }
        let others = [
            ("controls", controls),
            ("litmus", self.litmus.as_ref().map(Litmus::json)),
        ];
        if let Some(keys) = report.as_object_mut() {
            let ran = others.into_iter();
            keys.extend(ran.filter_map(|(name, json)| Some((name.to_owned(), json?))));
        }
        report
    }

    /// Everything that keeps the exit status from being 0; empty if all is well.
    pub(crate) fn red(&self) -> Vec<String> {
        let mut red = Vec::new();
        for engine in &self.engines {
            engine.red(&mut red);
        }
        if let Some(controls) = &self.controls {
            red.extend(controls.red());
        }
        if let Some(litmus) = &self.litmus {
            red.extend(litmus.red());
        }
        if let Some(controls) = &self.fuse_controls {
            red.extend(controls.red());
        }
        let ran = self.controls.is_some()
            || self.fuse_controls.is_some()
            || self.litmus.is_some()
            || self.engines.iter().any(Engine::ran);
        if red.is_empty() && !ran {
            red.push("nothing was checked".to_owned());
        }
        red
    }
}

impl Engine {
    /// True if at least one layer ran.
    fn ran(&self) -> bool {
        self.sim.is_some()
            || self.faults.is_some()
            || self.corruption.is_some()
            || self.barriers.is_some()
            || self.kill.is_some()
            || self.fuse.is_some()
            || self.trace.is_some()
    }

    fn json(&self) -> Value {
        let layers = [
            ("sim", self.sim.as_ref().map(Sim::json)),
            ("faults", self.faults.as_ref().map(Faults::json)),
            ("corruption", self.corruption.as_ref().map(Corruption::json)),
            ("barriers", self.barriers.as_ref().map(Barriers::json)),
            ("kill", self.kill.as_ref().map(Kill::json)),
            ("fuse", self.fuse.as_ref().map(Fuse::json)),
            ("trace", self.trace.as_ref().map(Trace::json)),
        ];
        let ran = layers
            .into_iter()
            .filter_map(|(name, json)| Some((name.to_owned(), json?)));
        Value::Object(ran.collect())
    }

    fn red(&self, red: &mut Vec<String>) {
        let layers = [
            ("sim", self.sim.as_ref().map(Sim::red)),
            ("faults", self.faults.as_ref().map(Faults::red)),
            ("corruption", self.corruption.as_ref().map(Corruption::red)),
            ("barriers", self.barriers.as_ref().map(Barriers::red)),
            ("kill", self.kill.as_ref().map(Kill::red)),
            ("fuse", self.fuse.as_ref().map(Fuse::red)),
            ("trace", self.trace.as_ref().map(Trace::red)),
        ];
        for (layer, reasons) in layers {
            for reason in reasons.into_iter().flatten() {
                red.push(format!("{} {layer}: {reason}", self.name));
            }
        }
    }
}

/// The findings, or a line saying that there are `violations` without text, or that the layer
/// checked nothing (`checked` 0).
fn violated(checked: u64, what: &str, violations: u64, findings: &[String]) -> Vec<String> {
    let mut red = findings.to_vec();
    if violations > 0 && findings.is_empty() {
        red.push(format!("{violations} violations"));
    }
    if checked == 0 {
        red.push(format!("no {what} checked"));
    }
    red
}

impl SimRun {
    /// Full checks per second: a check opens the store at least once, and writes to it.
    fn checks_per_second(&self) -> u64 {
        rate(self.counts.unique_states, self.seconds)
    }

    pub(crate) fn summary(&self) -> String {
        let counts = &self.counts;
        let bound = if self.length == 0 {
            "drawn sequences".to_owned()
        } else {
            format!("every sequence of up to {} operations", self.length)
        };
        format!(
            "{bound}: {} workloads, {} crash points ({} sampled), {} states, {} distinct and fully \
             checked ({} nested) of {} distinct images, {} checks/s on {} threads",
            counts.workloads,
            counts.crash_points,
            counts.sampled_points,
            counts.states,
            counts.unique_states,
            counts.nested_states,
            counts.images,
            self.checks_per_second(),
            self.threads
        )
    }

    fn json(&self) -> Value {
        let by_start = self.by_start.iter();
        let by_start: serde_json::Map<String, Value> = by_start
            .map(|&(start, unique)| (start.to_owned(), unique.into()))
            .collect();
        json!({
            "name": self.name,
            "length": self.length,
            "unit": self.unit,
            "threads": self.threads,
            "seconds": self.seconds,
            "unique_states": self.counts.unique_states,
            "images": self.counts.images,
            "opens": self.counts.opens,
            "checks_per_second": self.checks_per_second(),
            "unique_states_by_start": by_start,
        })
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for the report"
)]
pub(crate) fn rate(n: u64, seconds: f64) -> u64 {
    (n as f64 / seconds.max(0.001)) as u64
}

impl Sim {
    fn total(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.runs.iter().map(|run| count(&run.counts)).sum()
    }

    fn json(&self) -> Value {
        let starts: BTreeSet<_> = self.runs.iter().flat_map(|run| &run.by_start).collect();
        let starts: BTreeSet<_> = starts.iter().map(|(start, _)| start).collect();
        let seconds = self.runs.iter().map(|run| run.seconds).sum();
        let unique = self.total(|counts| counts.unique_states);
        json!({
            "workloads": self.total(|counts| counts.workloads),
            "starting_states": starts.len(),
            "exhaustive_length": self.runs.iter().map(|run| run.length).max().unwrap_or(0),
            "crash_points": self.total(|counts| counts.crash_points),
            "sampled_points": self.total(|counts| counts.sampled_points),
            "states": self.total(|counts| counts.states),
            "unique_states": unique,
            "images": self.total(|counts| counts.images),
            "nested_states": self.total(|counts| counts.nested_states),
            "violations": self.findings.len(),
            "states_per_second": rate(unique, seconds),
            "runs": self.runs.iter().map(SimRun::json).collect::<Vec<_>>(),
        })
    }

    fn red(&self) -> Vec<String> {
        let states = self.total(|counts| counts.unique_states);
        violated(states, "crash states were", 0, &self.findings)
    }
}

impl Faults {
    fn json(&self) -> Value {
        json!({"injected": self.injected, "violations": self.violations})
    }

    fn red(&self) -> Vec<String> {
        violated(
            self.injected,
            "faults were",
            self.violations,
            &self.findings,
        )
    }
}

impl Corruption {
    pub(crate) fn summary(&self) -> String {
        let Tally {
            changes,
            detected,
            harmless,
            in_window,
            wrong,
            panics,
        } = self.tally;
        format!(
            "{changes} changes: {detected} detected, {harmless} harmless, {in_window} in the \
             documented window, {wrong} wrong, {panics} panics"
        )
    }

    fn json(&self) -> Value {
        let tally = self.tally;
        json!({
            "changes": tally.changes,
            "detected": tally.detected,
            "harmless": tally.harmless,
            "in_window": tally.in_window,
            "wrong": tally.wrong,
            "panics": tally.panics,
        })
    }

    fn red(&self) -> Vec<String> {
        let Tally {
            changes,
            wrong,
            panics,
            ..
        } = self.tally;
        violated(changes, "changes were", wrong + panics, &self.findings)
    }
}

impl Kill {
    pub(crate) fn summary(&self) -> String {
        let phases: Vec<String> = self
            .phases
            .iter()
            .map(|(phase, kills)| format!("{phase} {kills}"))
            .collect();
        format!(
            "{} kills ({}), {} writes acknowledged, {} records read back: {} lost, {} violations",
            self.kills,
            phases.join(", "),
            self.acknowledged,
            self.recovered,
            self.lost,
            self.findings.len()
        )
    }

    fn json(&self) -> Value {
        let phases: serde_json::Map<String, Value> = self
            .phases
            .iter()
            .map(|&(phase, kills)| (phase.to_owned(), kills.into()))
            .collect();
        json!({
            "kills": self.kills,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "recovered": self.recovered,
            "violations": self.findings.len(),
            "phases": phases,
        })
    }

    fn red(&self) -> Vec<String> {
        let mut red = violated(self.kills, "kills were", self.lost, &self.findings);
        if self.acknowledged == 0 || self.recovered == 0 {
            red.push(format!(
                "{} writes were acknowledged and {} records read back: nothing was compared",
                self.acknowledged, self.recovered
            ));
        }
        // A run that stopped at a violation says nothing about phases it had no time for.
        if self.findings.is_empty() {
            let missed = self.phases.iter().filter(|(_, kills)| *kills == 0);
            red.extend(missed.map(|(phase, _)| format!("no kill fell into the phase {phase}")));
        }
        red
    }
}

impl Trace {
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} procedures, {} calls: {} differences between the operating system and the simulator",
            self.procedures, self.calls, self.differences
        )
    }

    fn json(&self) -> Value {
        json!({
            "procedures": self.procedures,
            "calls": self.calls,
            "differences": self.differences,
        })
    }

    fn red(&self) -> Vec<String> {
        violated(self.calls, "calls were", self.differences, &self.findings)
    }
}

impl Controls {
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} control engines judged, {} wrongly",
            self.judged, self.wrong
        )
    }

    fn json(&self) -> Value {
        json!({"judged": self.judged, "wrong": self.wrong})
    }

    fn red(&self) -> Vec<String> {
        violated(
            self.judged,
            "control engines were",
            self.wrong,
            &self.findings,
        )
        .into_iter()
        .map(|reason| format!("controls: {reason}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(engine: Engine) -> Report {
        Report {
            seed: 1,
            full: false,
            git: String::new(),
            kernel: String::new(),
            seconds: 0,
            engines: vec![engine],
            controls: None,
            litmus: None,
            fuse_controls: None,
            skipped: Vec::new(),
        }
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
        assert_eq!(report(Engine::default()).red(), ["nothing was checked"]);
        let idle = Engine {
            name: "wal",
            sim: Some(Sim::default()),
            ..Engine::default()
        };
        assert_eq!(
            report(idle).red(),
            ["wal sim: no crash states were checked"]
        );
    }

    #[test]
    fn a_kill_run_is_green_only_if_every_phase_was_hit_and_nothing_lost() {
        let judge = |kill: Kill| {
            report(Engine {
                kill: Some(kill),
                ..Engine::default()
            })
            .red()
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
            name: "wal",
            sim: Some(Sim::default()),
            faults: Some(Faults::default()),
            corruption: Some(Corruption::default()),
            barriers: Some(Barriers::default()),
            kill: Some(kill()),
            fuse: Some(Fuse::default()),
            trace: Some(Trace::default()),
        };
        let mut report = report(engine);
        report.controls = Some(Controls::default());
        report.litmus = Some(Litmus::default());
        report.fuse_controls = Some(FuseControls::default());
        let json = report.json();
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
            "litmus/cuts",
            "litmus/outside",
            "litmus/file_systems",
            "litmus/inclusion/exceptions",
            "controls/fuse/judged",
            "controls/fuse/wrong",
            "skipped",
            "seed",
            "seconds",
        ] {
            assert!(json.pointer(&format!("/{path}")).is_some(), "{path}");
        }
    }
}
