//! What the simulated disk showed: crash states of recorded runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use durable_io::sim::{Bound, Counts, Exploration};
use serde::Serialize;

use super::{Layer, number, rate, violated};

/// Every exploration of one engine, and their sums.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Sim {
    workloads: u64,
    starting_states: usize,
    exhaustive_length: usize,
    crash_points: u64,
    sampled_points: u64,
    states: u64,
    pub(crate) unique_states: u64,
    pub(crate) images: u64,
    nested_states: u64,
    states_per_second: u64,
    pub(crate) runs: Vec<SimRun>,
    /// The violations, as text.
    #[serde(rename = "violations", serialize_with = "number")]
    pub(crate) findings: Vec<String>,
}

/// One exploration.
#[derive(Debug, Serialize)]
pub(crate) struct SimRun {
    name: String,
    /// Every sequence of up to this many operations was run; 0 if they were drawn.
    length: usize,
    /// The unit of tearing, in bytes.
    unit: usize,
    threads: usize,
    seconds: f64,
    unique_states: u64,
    images: u64,
    opens: u64,
    /// Full checks per second: a check opens the store at least once, and writes to it.
    checks_per_second: u64,
    /// Distinct states for each starting state.
    unique_states_by_start: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    counts: Counts,
}

impl SimRun {
    pub(crate) fn new(name: &str, bound: &Bound, took: Duration, explored: &Exploration) -> Self {
        let (counts, seconds) = (explored.counts, took.as_secs_f64());
        Self {
            name: name.to_owned(),
            length: bound.length,
            unit: bound.unit,
            threads: bound.threads,
            seconds,
            unique_states: counts.unique_states,
            images: counts.images,
            opens: counts.opens,
            checks_per_second: rate(counts.unique_states, seconds),
            unique_states_by_start: explored.by_start.clone(),
            counts,
        }
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
            self.checks_per_second,
            self.threads
        )
    }
}

impl Sim {
    pub(crate) fn add(&mut self, run: SimRun) {
        let counts = run.counts;
        self.workloads += counts.workloads;
        self.crash_points += counts.crash_points;
        self.sampled_points += counts.sampled_points;
        self.states += counts.states;
        self.unique_states += counts.unique_states;
        self.images += counts.images;
        self.nested_states += counts.nested_states;
        self.exhaustive_length = self.exhaustive_length.max(run.length);
        self.runs.push(run);
        let starts = self
            .runs
            .iter()
            .flat_map(|run| run.unique_states_by_start.keys());
        self.starting_states = starts.collect::<BTreeSet<_>>().len();
        let seconds = self.runs.iter().map(|run| run.seconds).sum();
        self.states_per_second = rate(self.unique_states, seconds);
    }
}

impl Layer for Sim {
    fn red(&self) -> Vec<String> {
        violated(self.unique_states, "crash states were", 0, &self.findings)
    }
}
