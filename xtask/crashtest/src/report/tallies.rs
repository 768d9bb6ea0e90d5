//! What the smaller layers counted.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

use super::{Layer, by_name, number, violated};

/// Errors injected into calls of the simulated disk.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Faults {
    pub(crate) injected: u64,
    pub(crate) violations: u64,
    /// The violations, as text.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

impl Layer for Faults {
    fn red(&self) -> Vec<String> {
        violated(
            self.injected,
            "faults were",
            self.violations,
            &self.findings,
        )
    }
}

/// Bytes changed without the engine's knowledge.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Corruption {
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// The wrong answers and panics, as text.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

/// What became of some changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) changes: u64,
    /// Answered by a typed error.
    pub(crate) detected: u64,
    /// Answered exactly as before.
    pub(crate) harmless: u64,
    /// Silent losses where the format says that no witness of what is gone can be left.
    pub(crate) in_window: u64,
    /// Answered wrongly.
    pub(crate) wrong: u64,
    pub(crate) panics: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.changes += other.changes;
        self.detected += other.detected;
        self.harmless += other.harmless;
        self.in_window += other.in_window;
        self.wrong += other.wrong;
        self.panics += other.panics;
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
}

impl Layer for Corruption {
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

/// Files of a recorded run, older ones in the places of newer ones.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Life {
    /// Stores that were opened on them.
    pub(crate) images: u64,
    /// They answered as if nothing had been replaced.
    pub(crate) right: u64,
    /// A typed error said what is wrong, and nothing was removed.
    pub(crate) refused: u64,
    /// They held what the run had left at an earlier moment, by the clause of the format that says why
    /// nobody can tell.
    pub(crate) undecidable: BTreeMap<String, u64>,
    pub(crate) wrong: u64,
    /// The wrong answers, as text.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

impl Life {
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} replaced files, pairs and copies: {} right, {} refused, {} undecidable, {} wrong",
            self.images,
            self.right,
            self.refused,
            self.undecidable.values().sum::<u64>(),
            self.wrong
        )
    }
}

impl Layer for Life {
    fn red(&self) -> Vec<String> {
        let mut red = violated(self.images, "replacements were", self.wrong, &self.findings);
        if self.images > 0 && self.refused == 0 {
            red.push("no replacement was refused: nothing was distinguished".to_owned());
        }
        red
    }
}

/// Real processes, killed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Kill {
    pub(crate) kills: u64,
    pub(crate) acknowledged: u64,
    /// Writers that missed something they had been told was there.
    pub(crate) lost: u64,
    /// Keys read back and compared, over all kills.
    pub(crate) recovered: u64,
    /// Kills that fell into each phase.
    #[serde(serialize_with = "by_name")]
    pub(crate) phases: Vec<(&'static str, u64)>,
    /// Everything that broke the contract, as text.
    #[serde(rename = "violations", serialize_with = "number")]
    pub(crate) findings: Vec<String>,
}

impl Kill {
    pub(crate) fn summary(&self) -> String {
        let phases: Vec<String> = self
            .phases
            .iter()
            .map(|(phase, kills)| format!("{phase} {kills}"))
            .collect();
        format!(
            "{} kills ({}), {} writes acknowledged, {} keys read back: {} lost, {} violations",
            self.kills,
            phases.join(", "),
            self.acknowledged,
            self.recovered,
            self.lost,
            self.findings.len()
        )
    }
}

impl Layer for Kill {
    fn red(&self) -> Vec<String> {
        let mut red = violated(self.kills, "kills were", self.lost, &self.findings);
        if self.acknowledged == 0 || self.recovered == 0 {
            red.push(format!(
                "{} writes were acknowledged and {} keys read back: nothing was compared",
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

/// The operating system's calls against the simulator's.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Trace {
    pub(crate) procedures: u64,
    /// Calls compared, over all procedures.
    pub(crate) calls: u64,
    pub(crate) differences: u64,
    /// The differences, as text.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

impl Trace {
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} procedures, {} calls: {} differences between the operating system and the simulator",
            self.procedures, self.calls, self.differences
        )
    }
}

impl Layer for Trace {
    fn red(&self) -> Vec<String> {
        violated(self.calls, "calls were", self.differences, &self.findings)
    }
}

/// The control engines on the simulated disk: the correct one and the planted ones.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Controls {
    pub(crate) judged: u64,
    pub(crate) wrong: u64,
    /// The wrong judgements, as text.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

impl Controls {
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} control engines judged, {} wrongly",
            self.judged, self.wrong
        )
    }
}

impl Layer for Controls {
    fn red(&self) -> Vec<String> {
        violated(
            self.judged,
            "control engines were",
            self.wrong,
            &self.findings,
        )
    }
}
