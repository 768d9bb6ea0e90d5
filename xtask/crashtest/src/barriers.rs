//! The layer `barriers`: each sync in the sources is left out, and something must be lost.
//!
//! The list comes from the sources, so a sync that no run reaches shows. A sync is left out alone, in
//! one run after the other until a run catches it (with `--full`, in every run that reaches it), and
//! the survivors in pairs.

use std::collections::{BTreeMap, BTreeSet};

use durable_io::sim::{Bound, Exploration, Explorer, Removal, Subject};
use durable_io::{Barrier, Site};

use crate::engine::Engine;
use crate::progress::Progress;
use crate::report::{Barriers, FileOrDir, SiteVerdict, Verdict};
use crate::scan::{self, Call, SourceSite};
use crate::{Context, cores};

/// A crash point of a removal with more states than this is sampled: few are enough to see what is mostly lost.
const STATES_PER_POINT: u64 = 1 << 9;
/// The same with `--full`.
const MORE_STATES_PER_POINT: u64 = 1 << 12;

/// What opening a store is called by the explorer.
const OPEN: &str = "open";

/// The removal of the barriers of one engine, run by run.
pub(crate) struct Removals {
    /// Of the engine's crate.
    folder: &'static str,
    /// Other files whose barriers are judged.
    files: &'static [&'static str],
    /// What is in the sources.
    sources: Vec<SourceSite>,
    full: bool,
    progress: Progress,
    sites: BTreeMap<Site, SiteVerdict>,
}

impl Removals {
    /// Those of the crate of `engine`, and of its other sources.
    ///
    /// # Errors
    /// Sources that cannot be read.
    pub(crate) fn new(engine: &dyn Engine, context: &Context<'_>) -> anyhow::Result<Self> {
        let (name, folder, files) = (engine.name(), engine.folder(), engine.sources());
        let mut sources = scan::sites(context.workspace, folder)?;
        sources.extend(scan::sites_in(context.workspace, files)?);
        Ok(Self {
            folder,
            files,
            sources,
            full: context.full,
            progress: Progress::new(&format!("{name} barriers"), None),
            sites: BTreeMap::new(),
        })
    }

    /// The proof in the sources that nothing is lost without `site`.
    fn proof(&self, site: &Site) -> Option<String> {
        let source = self.sources.iter().find(|source| {
            (&*source.file, source.line, source.column) == (site.file, site.line, site.column)
        });
        source?.proof.clone()
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
        let folder = format!("{}/src/", self.folder);
        let files = self.files;
        let is_ours = |site: &Site| site.file.starts_with(&folder) || files.contains(&site.file);
        // A removal can leave very much pending; a sample of that is enough to find what is lost. And one
        // thread finds the first and shortest sequence at once: so each removal has one, side by side.
        let most = if self.full {
            MORE_STATES_PER_POINT
        } else {
            STATES_PER_POINT
        };
        let bound = Bound {
            states_per_point: bound.states_per_point.min(most),
            threads: 1,
            ..bound.clone()
        };
        let mut due = Vec::new();
        let reached = explored.sites.iter();
        for (site, operations) in reached.filter(|(site, _)| is_ours(site)) {
            let proof = self.proof(site);
            let verdict = self
                .sites
                .entry(*site)
                .or_insert_with(|| SiteVerdict::of(site, proof));
            verdict.reached_by(operations);
            if verdict.verdict == Verdict::Survived || self.full {
                due.push([*site]);
            }
        }
        let mut survivors = Vec::new();
        for ([site], removal) in self.remove(subject, &bound, &due) {
            let verdict = self.sites.get_mut(&site).expect("it was reached");
            verdict.add(name, &removal, Verdict::Caught);
            if matches!(verdict.verdict, Verdict::Survived | Verdict::Redundant) {
                survivors.push(site);
            }
        }
        let first = survivors.iter().enumerate();
        let pairs = first.flat_map(|(nth, first)| {
            let others = survivors.iter().skip(nth + 1);
            others.map(|second| [*first, *second])
        });
        let pairs: Vec<_> = pairs.collect();
        for ([first, second], removal) in self.remove(subject, &bound, &pairs) {
            for (site, other) in [(first, second), (second, first)] {
                let verdict = self.sites.get_mut(&site).expect("it was reached");
                verdict.add(name, &removal, Verdict::Pair);
                if removal.is_caught() {
                    verdict.reason = format!("together with {other}");
                }
            }
        }
    }

    /// Leaves out each of `groups` of barriers.
    fn remove<S: Subject, const N: usize>(
        &self,
        subject: &S,
        bound: &Bound,
        groups: &[[Site; N]],
    ) -> impl Iterator<Item = ([Site; N], Removal)> + use<S, N> {
        let removals = cores::each(groups, |sites| {
            let removal = Explorer::remove(subject, bound, sites);
            self.progress.inc(1);
            (*sites, removal)
        });
        removals.into_iter()
    }

    /// True if a trial has left out barriers.
    pub(crate) fn has_run(&self) -> bool {
        !self.sites.is_empty()
    }

    /// Compares with the sources: what no run has reached, and what a run has reached that the
    /// sources do not seem to hold.
    pub(crate) fn finish(mut self) -> Barriers {
        let (mut table, mut findings) = (Vec::new(), Vec::new());
        for source in self.sources {
            let place = format!("{}:{}:{}", source.file, source.line, source.column);
            let (name, steps) = match source.call {
                Call::Barrier { name, steps } => (name, steps),
                Call::Unclassified(reason) => {
                    findings.push(format!("{place}: {reason}"));
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
                    Some(verdict) => verdict,
                    None => SiteVerdict::unreached(relative(&format!("{place} {step}")), &name),
                };
                table.push(verdict);
            }
        }
        for site in self.sites.keys() {
            let finding = format!("{site} was reached, but the scan of the sources missed it");
            findings.push(finding);
        }
        let barriers = Barriers::new(table, findings);
        self.progress.finish(&barriers.summary());
        barriers
    }
}

/// The place `site` without steps up and down again: relative to the workspace.
fn relative(site: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in site.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

impl SiteVerdict {
    /// Survived, until something is lost; or redundant, if there is a proof.
    fn of(site: &Site, proof: Option<String>) -> Self {
        let (verdict, reason) = match proof {
            Some(proof) => (Verdict::Redundant, proof),
            None => (Verdict::Survived, String::new()),
        };
        Self {
            site: relative(&site.to_string()),
            kind: match site.barrier {
                Barrier::Dir => FileOrDir::Dir,
                Barrier::Data | Barrier::All | Barrier::Write => FileOrDir::File,
            },
            operations: Vec::new(),
            verdict,
            states: 0,
            length: 0,
            counterexample: String::new(),
            reason,
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
        if matches!(self.verdict, Verdict::Survived | Verdict::Redundant) {
            self.verdict = caught;
            self.reason.clear();
            self.length = example.tape.operations();
            self.counterexample = format!("{run}: {}: {}", example.summary, example.promise);
        }
    }
}
