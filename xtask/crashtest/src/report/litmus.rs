//! What real file systems showed, against what the simulated disk says that they may.

use serde::Serialize;

use super::{Layer, by_name, violated};

/// The file systems of this kernel against their profiles, and the profiles against `strict`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Litmus {
    /// Fixed programs; random ones run beside them.
    pub(crate) programs: u64,
    pub(crate) repetitions: u64,
    /// Power cuts, on all file systems.
    pub(crate) power_losses: u64,
    /// Those that showed what a profile does not allow.
    pub(crate) outside: u64,
    #[serde(serialize_with = "by_name")]
    pub(crate) file_systems: Vec<(&'static str, FileSystem)>,
    pub(crate) inclusion: Inclusion,
    /// Profiles that promise more than the file system keeps, held against it.
    pub(crate) wrong_profiles: u64,
    /// Those that its outcomes refuted.
    pub(crate) wrong_caught: u64,
    /// What is wrong beside the outcomes, as text.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

/// One file system, mounted in one way.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FileSystem {
    /// Power cuts.
    pub(crate) power_losses: u64,
    /// Outcomes that its profile allows, over all programs.
    #[serde(rename = "outcomes_allowed")]
    pub(crate) allowed: u64,
    /// Those of them that were seen.
    #[serde(rename = "outcomes_seen")]
    pub(crate) seen: u64,
    /// Power cuts that showed something else.
    pub(crate) outside: u64,
    /// Some of those, as text.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

/// Crash states of profiles, looked for among those of `strict`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Inclusion {
    /// Every sequence of up to this many calls was run.
    pub(crate) length: u64,
    pub(crate) workloads: u64,
    /// Those that had too many states to compare.
    pub(crate) too_large: u64,
    pub(crate) strict_states: u64,
    /// The states of each profile.
    #[serde(rename = "states", serialize_with = "by_name")]
    pub(crate) profiles: Vec<(&'static str, u64)>,
    /// Those that strict does not have.
    pub(crate) exceptions: u64,
    /// Some of those, as text.
    #[serde(skip)]
    pub(crate) findings: Vec<String>,
}

impl Litmus {
    /// Adds what the file system called `name` showed.
    pub(crate) fn add(&mut self, name: &'static str, fs: FileSystem) {
        self.power_losses += fs.power_losses;
        self.outside += fs.outside;
        self.file_systems.push((name, fs));
    }

    pub(crate) fn summary(&self) -> String {
        let each: Vec<String> = self
            .file_systems
            .iter()
            .map(|(name, fs)| {
                format!(
                    "{name} {} ({} of {} outcomes seen)",
                    fs.power_losses, fs.seen, fs.allowed
                )
            })
            .collect();
        format!(
            "{} power losses, {} programs and random ones, {} times: {}; {} outside the profile; {} of \
             {} wrong profiles refuted",
            self.power_losses,
            self.programs,
            self.repetitions,
            each.join(", "),
            self.outside,
            self.wrong_caught,
            self.wrong_profiles,
        )
    }
}

impl Layer for Litmus {
    /// File systems that could not be tried are skipped, not red; that nothing could be is no pass of
    /// the layer, and its line says so.
    fn red(&self) -> Vec<String> {
        let mut red = self.inclusion.red();
        red.extend(self.findings.iter().cloned());
        for (name, fs) in &self.file_systems {
            let reasons = violated(
                fs.power_losses,
                "power losses were",
                fs.outside,
                &fs.findings,
            );
            red.extend(
                reasons
                    .into_iter()
                    .map(|reason| format!("{name}: {reason}")),
            );
        }
        if self.wrong_caught < self.wrong_profiles && self.findings.is_empty() {
            red.push("a wrong profile was not refuted".to_owned());
        }
        red
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

    fn red(&self) -> Vec<String> {
        violated(
            self.workloads - self.too_large,
            "workloads were",
            self.exceptions,
            &self.findings,
        )
    }
}
