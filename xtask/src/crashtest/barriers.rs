//! The layer `barriers`: each sync in the sources is left out, and something must be lost.
//!
//! The list comes from the sources, so a sync that no run reaches shows. A sync is left out alone, in
//! one run after the other until a run catches it (with `--full`, in every run that reaches it), and
//! the survivors in pairs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use durable_io::sim::{Bound, Exploration, Explorer, Removal, Subject};
use durable_io::{Barrier, Site};

use crate::crashtest::progress::Progress;
use crate::crashtest::report::{Barriers, FileOrDir, SiteVerdict, Verdict};
use crate::crashtest::scan::{self, Call};

/// What opening a store is called by the explorer.
const OPEN: &str = "open";

/// The removal of the barriers of one engine, run by run.
pub(crate) struct Judge {
    engine: &'static str,
    full: bool,
    progress: Progress,
    sites: BTreeMap<Site, SiteVerdict>,
}

impl Judge {
    /// A judge of the crate in the folder `engine`.
    pub(crate) fn new(engine: &'static str, full: bool) -> Self {
        let progress = Progress::new(&format!("{engine} barriers"), None);
        Self {
            engine,
            full,
            progress,
            sites: BTreeMap::new(),
        }
    }

    /// Leaves out what `explored` has reached, and which still needs a verdict. The complete store
    /// has passed `bound` in that exploration; if it has not, no removal would prove anything.
    pub(crate) fn run<S: Subject>(
        &mut self,
        name: &str,
        subject: &S,
        bound: &Bound,
        explored: &Exploration,
    ) {
        if explored.counterexample.is_some() {
            return;
        }
        let ours = format!("{}/", self.engine);
        let mut survivors = Vec::new();
        let reached = explored.sites.iter();
        for (site, operations) in reached.filter(|(site, _)| site.file.starts_with(&ours)) {
            let verdict = self
                .sites
                .entry(*site)
                .or_insert_with(|| SiteVerdict::of(site));
            verdict.reached_by(operations);
            if verdict.verdict == Verdict::Caught && !self.full {
                continue;
            }
            let removal = Explorer::remove(subject, bound, &[*site]);
            self.progress.inc(1);
            verdict.add(name, &removal, Verdict::Caught);
            if verdict.verdict == Verdict::Survived {
                survivors.push(*site);
            }
        }
        self.pairs(name, subject, bound, &survivors);
    }

    fn pairs<S: Subject>(&mut self, name: &str, subject: &S, bound: &Bound, survivors: &[Site]) {
        for (nth, first) in survivors.iter().enumerate() {
            for second in survivors.iter().skip(nth + 1) {
                let removal = Explorer::remove(subject, bound, &[*first, *second]);
                self.progress.inc(1);
                for (site, other) in [(first, second), (second, first)] {
                    if let Some(verdict) = self.sites.get_mut(site) {
                        verdict.add(name, &removal, Verdict::Pair);
                        if removal.is_caught() {
                            verdict.reason = format!("together with {other}");
                        }
                    }
                }
            }
        }
    }

    /// Compares with the sources below `workspace`: what no run has reached, and what a run has
    /// reached that the sources do not seem to hold.
    pub(crate) fn finish(mut self, workspace: &Path) -> anyhow::Result<Barriers> {
        let mut barriers = Barriers::default();
        for source in scan::sites(workspace, self.engine)? {
            let place = format!("{}:{}:{}", source.file, source.line, source.column);
            let (name, steps) = match source.call {
                Call::Barrier { name, steps } => (name, steps),
                Call::Unclassified(why) => {
                    barriers.findings.push(format!("{place}: {why}"));
                    continue;
                }
            };
            for step in steps {
                let same = |site: &&Site| {
                    (site.file, site.line, site.column, site.step)
                        == (&*source.file, source.line, source.column, &*step)
                };
                let site = self.sites.keys().find(same).copied();
                let verdict = match site.and_then(|site| self.sites.remove(&site)) {
                    Some(mut verdict) => {
                        verdict.prove(source.proof.as_deref());
                        verdict
                    }
                    None => SiteVerdict::unreached(format!("{place} {step}"), &name),
                };
                barriers.sites.push(verdict);
            }
        }
        for site in self.sites.keys() {
            let finding = format!("{site} was reached, but the scan of the sources missed it");
            barriers.findings.push(finding);
        }
        self.progress.finish(&barriers.summary());
        Ok(barriers)
    }
}

impl SiteVerdict {
    fn of(site: &Site) -> Self {
        Self {
            site: site.to_string(),
            kind: match site.barrier {
                Barrier::Dir => FileOrDir::Dir,
                Barrier::Data | Barrier::All | Barrier::Write => FileOrDir::File,
            },
            operations: Vec::new(),
            verdict: Verdict::Survived,
            states: 0,
            length: 0,
            counterexample: String::new(),
            reason: String::new(),
        }
    }

    fn unreached(site: String, call: &str) -> Self {
        Self {
            site,
            kind: if call == "sync" {
                FileOrDir::Dir
            } else {
                FileOrDir::File
            },
            operations: Vec::new(),
            verdict: Verdict::Unreached,
            states: 0,
            length: 0,
            counterexample: String::new(),
            reason: String::new(),
        }
    }

    /// What opening reaches belongs to opening: an operation comes past it only where it opens a
    /// closed store first.
    fn reached_by(&mut self, operations: &BTreeSet<String>) {
        self.operations.extend(operations.iter().cloned());
        if self.operations.iter().any(|operation| operation == OPEN) {
            self.operations = vec![OPEN.to_owned()];
        }
        self.operations.sort_unstable();
        self.operations.dedup();
    }

    fn add(&mut self, run: &str, removal: &Removal, caught: Verdict) {
        self.states += removal.counts.unique_states;
        let Some(example) = &removal.counterexample else {
            return;
        };
        if self.verdict == Verdict::Survived {
            self.verdict = caught;
            self.length = example.tape.operations();
            self.counterexample = format!("{run}: {}: {}", example.summary, example.promise);
        }
    }

    fn prove(&mut self, proof: Option<&str>) {
        if let (Verdict::Survived, Some(proof)) = (self.verdict, proof) {
            self.verdict = Verdict::Redundant;
            proof.clone_into(&mut self.reason);
        }
    }
}
