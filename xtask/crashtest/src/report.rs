//! What the layers found, as plain numbers: for the terminal, for `--json`, and for the exit status.
//!
//! A number that is red says so in `red()`, with what to do about it. The exit status is 0 only if
//! nothing is red, and a layer that ran without checking anything is red.

mod barriers;
mod fuse;
mod litmus;
mod sim;
mod tallies;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

pub(crate) use barriers::{Barriers, FileOrDir, SiteVerdict, Verdict};
pub(crate) use fuse::{Cause, Fuse, FuseControls, Tried};
pub(crate) use litmus::{FileSystem, Inclusion, Litmus};
pub(crate) use sim::{Sim, SimRun};
pub(crate) use tallies::{Controls, Corruption, Faults, Kill, Life, Tally, Trace};

/// Everything one run found; as JSON, the object that `--json` writes.
#[derive(Debug, Default, Serialize)]
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
    #[serde(serialize_with = "by_name")]
    pub(crate) engines: Vec<(&'static str, Engine)>,
    #[serde(skip_serializing_if = "ControlEngines::is_empty")]
    pub(crate) controls: ControlEngines,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) litmus: Option<Litmus>,
    pub(crate) skipped: Vec<Skipped>,
    /// Everything that keeps the exit status from being 0; see [`judge`](Report::judge).
    pub(crate) red: Vec<String>,
}

/// One engine: each layer that ran.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Engine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sim: Option<Sim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) faults: Option<Faults>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corruption: Option<Corruption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) life: Option<Life>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) barriers: Option<Barriers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kill: Option<Kill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fuse: Option<Fuse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<Trace>,
    /// Seconds that each layer took, beside others.
    pub(crate) seconds: Seconds,
}

/// The wall time of each layer, in seconds. Layers on the simulated disk run beside those that start processes.
pub(crate) type Seconds = std::collections::BTreeMap<&'static str, f64>;

/// The control engines, in the layers that judge them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ControlEngines {
    #[serde(flatten)]
    pub(crate) sim: Option<Controls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) life: Option<Controls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fuse: Option<FuseControls>,
}

impl ControlEngines {
    fn is_empty(&self) -> bool {
        self.sim.is_none() && self.life.is_none() && self.fuse.is_none()
    }
}

/// A layer that did not run, and why. It never counts as passed.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) layer: String,
    pub(crate) reason: String,
}

/// What a layer found.
pub(crate) trait Layer {
    /// What is wrong, or what was not checked.
    fn red(&self) -> Vec<String>;
}

impl Report {
    /// The same of `other`, which judged the same engines in other layers.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.litmus = self.litmus.or(other.litmus);
        self.controls.sim = self.controls.sim.or(other.controls.sim);
        self.controls.fuse = self.controls.fuse.or(other.controls.fuse);
        for ((_, engine), (_, more)) in self.engines.iter_mut().zip(other.engines) {
            engine.kill = more.kill;
            engine.fuse = more.fuse;
            engine.trace = more.trace;
            engine.seconds.extend(more.seconds);
        }
        self.skipped.extend(other.skipped);
        self
    }

    /// Looks for everything that keeps the exit status from being 0.
    pub(crate) fn judge(&mut self) {
        let mut red = Vec::new();
        for (name, engine) in &self.engines {
            for (layer, found) in engine.layers() {
                let reasons = found.red().into_iter();
                red.extend(reasons.map(|reason| format!("{name} {layer}: {reason}")));
            }
        }
        let others = [
            ("controls", layer(self.controls.sim.as_ref())),
            ("controls life", layer(self.controls.life.as_ref())),
            ("litmus", layer(self.litmus.as_ref())),
            ("controls fuse", layer(self.controls.fuse.as_ref())),
        ];
        let mut ran = self.engines.iter().any(|(_, engine)| engine.ran());
        for (layer, found) in others {
            ran |= found.is_some();
            let reasons = found.into_iter().flat_map(Layer::red);
            red.extend(reasons.map(|reason| format!("{layer}: {reason}")));
        }
        if !ran {
            red.push("nothing was checked".to_owned());
        }
        self.red = red;
    }
}

impl Engine {
    /// Runs a layer, and notes how long it took.
    pub(crate) fn timed<T>(&mut self, layer: &'static str, run: impl FnOnce() -> T) -> T {
        let started = std::time::Instant::now();
        let found = run();
        self.seconds.insert(layer, started.elapsed().as_secs_f64());
        found
    }

    /// True if at least one layer ran.
    pub(crate) fn ran(&self) -> bool {
        self.layers().next().is_some()
    }

    /// Each layer that ran.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (&'static str, &dyn Layer)> {
        let layers = [
            ("sim", layer(self.sim.as_ref())),
            ("faults", layer(self.faults.as_ref())),
            ("corruption", layer(self.corruption.as_ref())),
            ("life", layer(self.life.as_ref())),
            ("barriers", layer(self.barriers.as_ref())),
            ("kill", layer(self.kill.as_ref())),
            ("fuse", layer(self.fuse.as_ref())),
            ("trace", layer(self.trace.as_ref())),
        ];
        let ran = layers.into_iter();
        ran.filter_map(|(name, layer)| Some((name, layer?)))
    }
}

fn layer<L: Layer>(found: Option<&L>) -> Option<&dyn Layer> {
    found.map(|found| found as &dyn Layer)
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

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for the report"
)]
fn rate(n: u64, seconds: f64) -> u64 {
    (n as f64 / seconds.max(0.001)) as u64
}

/// Findings, which are for people, as their number.
fn number<S: Serializer>(findings: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(findings.len() as u64)
}

/// Named things as an object.
fn by_name<S: Serializer, N: AsRef<str>, T: Serialize>(
    named: &[(N, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(named.len()))?;
    for (name, thing) in named {
        map.serialize_entry(name.as_ref(), thing)?;
    }
    map.end()
}
