//! What real file systems showed, against what the simulated disk says that they may.

use serde_json::{Value, json};

use super::violated;

/// The file systems of this kernel against their profiles, and the profiles against `strict`.
#[derive(Debug, Default)]
pub(crate) struct Litmus {
    /// Fixed programs; random ones run beside them.
    pub(crate) programs: u64,
    pub(crate) repetitions: u64,
    pub(crate) file_systems: Vec<FileSystem>,
    pub(crate) inclusion: Inclusion,
    /// Profiles that promise more than the file system keeps, held against it.
    pub(crate) wrong_profiles: u64,
    /// Those that its outcomes refuted.
    pub(crate) wrong_caught: u64,
    /// What is wrong beside the outcomes, as text.
    pub(crate) findings: Vec<String>,
}

/// One file system, mounted in one way.
#[derive(Debug, Default)]
pub(crate) struct FileSystem {
    pub(crate) name: &'static str,
    /// Power cuts.
    pub(crate) cuts: u64,
    /// Outcomes that its profile allows, over all programs.
    pub(crate) allowed: u64,
    /// Those of them that were seen.
    pub(crate) seen: u64,
    /// Power cuts that showed something else.
    pub(crate) outside: u64,
    /// Some of those, as text.
    pub(crate) findings: Vec<String>,
}

/// Crash states of profiles, looked for among those of `strict`.
#[derive(Debug, Default)]
pub(crate) struct Inclusion {
    /// Every sequence of up to this many calls was run.
    pub(crate) length: u64,
    pub(crate) workloads: u64,
    /// Those that had too many states to compare.
    pub(crate) too_large: u64,
    pub(crate) strict_states: u64,
    /// The states of each profile.
    pub(crate) profiles: Vec<(&'static str, u64)>,
    /// Those that strict does not have.
    pub(crate) exceptions: u64,
    /// Some of those, as text.
    pub(crate) findings: Vec<String>,
}

impl Litmus {
    fn total(&self, count: impl Fn(&FileSystem) -> u64) -> u64 {
        self.file_systems.iter().map(count).sum()
    }

    pub(crate) fn summary(&self) -> String {
        let each: Vec<String> = self
            .file_systems
            .iter()
            .map(|fs| {
                format!(
                    "{} {} ({} of {} outcomes seen)",
                    fs.name, fs.cuts, fs.seen, fs.allowed
                )
            })
            .collect();
        format!(
            "{} power cuts, {} programs and random ones, {} times: {}; {} outside the profile; {} of \
             {} wrong profiles refuted",
            self.total(|fs| fs.cuts),
            self.programs,
            self.repetitions,
            each.join(", "),
            self.total(|fs| fs.outside),
            self.wrong_caught,
            self.wrong_profiles,
        )
    }

    pub(super) fn json(&self) -> Value {
        let file_systems: serde_json::Map<String, Value> = self
            .file_systems
            .iter()
            .map(|fs| {
                let counts = json!({
                    "cuts": fs.cuts,
                    "outcomes_allowed": fs.allowed,
                    "outcomes_seen": fs.seen,
                    "outside": fs.outside,
                });
                (fs.name.to_owned(), counts)
            })
            .collect();
        json!({
            "programs": self.programs,
            "repetitions": self.repetitions,
            "cuts": self.total(|fs| fs.cuts),
            "outside": self.total(|fs| fs.outside),
            "file_systems": file_systems,
            "inclusion": self.inclusion.json(),
            "wrong_profiles": self.wrong_profiles,
            "wrong_caught": self.wrong_caught,
        })
    }

    /// File systems that could not be tried are skipped, not red; that nothing could be is no pass of
    /// the layer, and its line says so.
    pub(super) fn red(&self) -> Vec<String> {
        let mut red = self.inclusion.red();
        red.extend(self.findings.iter().cloned());
        for fs in &self.file_systems {
            let reasons = violated(fs.cuts, "power cuts were", fs.outside, &fs.findings);
            red.extend(
                reasons
                    .into_iter()
                    .map(|reason| format!("{}: {reason}", fs.name)),
            );
        }
        if self.wrong_caught < self.wrong_profiles && self.findings.is_empty() {
            red.push("a wrong profile was not refuted".to_owned());
        }
        red.into_iter()
            .map(|reason| format!("litmus: {reason}"))
            .collect()
    }
}

impl Inclusion {
    pub(crate) fn summary(&self) -> String {
        let profiles: Vec<String> = self
            .profiles
            .iter()
            .map(|(name, states)| format!("{name} {states}"))
            .collect();
        format!(
            "every sequence of up to {} calls: {} workloads ({} too large), states of strict {}, {}: \
             {} outside strict",
            self.length,
            self.workloads,
            self.too_large,
            self.strict_states,
            profiles.join(", "),
            self.exceptions
        )
    }

    fn json(&self) -> Value {
        let profiles: serde_json::Map<String, Value> = self
            .profiles
            .iter()
            .map(|&(name, states)| (name.to_owned(), states.into()))
            .collect();
        json!({
            "length": self.length,
            "workloads": self.workloads,
            "too_large": self.too_large,
            "strict_states": self.strict_states,
            "states": profiles,
            "exceptions": self.exceptions,
        })
    }

    fn red(&self) -> Vec<String> {
        violated(
            self.workloads - self.too_large,
            "workloads were",
            self.exceptions,
            &self.findings,
        )
    }
}
