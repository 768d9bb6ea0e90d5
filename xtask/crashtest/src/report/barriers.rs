//! What the removal of barriers found: a verdict for each sync in the sources.

use serde::{Serialize, Serializer};

use super::{Layer, violated};

/// Each barrier in the sources, switched off.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Barriers {
    pub(crate) sites: usize,
    pub(crate) caught: usize,
    redundant: usize,
    pairs: usize,
    unreached: usize,
    /// The sites of which nobody has said why they stay.
    survivors: Vec<String>,
    /// A verdict for each.
    pub(crate) table: Vec<SiteVerdict>,
    /// Calls whose nature or place the scan of the sources could not tell.
    #[serde(skip)]
    findings: Vec<String>,
}

/// Which column of the audit table a barrier belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum FileOrDir {
    #[serde(rename = "file")]
    File,
    #[serde(rename = "directory")]
    Dir,
}

/// What switching a barrier off showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Off alone, something acknowledged is lost.
    Caught,
    /// Off alone, nothing is lost; `reason` proves that it never can be.
    Redundant,
    /// Off alone, nothing is lost; off together with another one, something is.
    Pair,
    /// No run came past it.
    Unreached,
    /// Off, nothing is lost, and nobody has said why.
    Survived,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Redundant => "redundant",
            Self::Pair => "pair",
            Self::Unreached => "UNREACHED",
            Self::Survived => "SURVIVED",
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name().to_lowercase())
    }
}

/// One barrier of the sources and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SiteVerdict {
    /// `file:line:column`, and the step within a procedure.
    pub(crate) site: String,
    pub(crate) kind: FileOrDir,
    /// The operation groups that came past it: `append`, `rotate`, …
    pub(crate) operations: Vec<String>,
    pub(crate) verdict: Verdict,
    /// Crash states checked with the barrier off.
    pub(crate) states: u64,
    /// Operations in the shortest counterexample; 0 if there is none.
    pub(crate) length: usize,
    /// The shortest counterexample found with the barrier off, in one line; empty if none.
    pub(crate) counterexample: String,
    /// Why it may stay although nothing is lost without it, or which one it forms a pair with.
    pub(crate) reason: String,
}

impl SiteVerdict {
    fn red(&self) -> Option<String> {
        let site = &self.site;
        match self.verdict {
            Verdict::Unreached => Some(format!(
                "{site} was never reached: a starting state, an operation, a job interleaving or a \
                 way to die is missing"
            )),
            Verdict::Survived => Some(format!(
                "{site} protects nothing that was found: remove it, prove that it is redundant, or \
                 add what is missing (often the warm restart)"
            )),
            Verdict::Redundant if self.reason.is_empty() => {
                Some(format!("{site} is called redundant without a proof"))
            }
            Verdict::Caught | Verdict::Redundant | Verdict::Pair => None,
        }
    }
}

impl Barriers {
    /// The verdicts in `table`, and what else was found.
    pub(crate) fn new(table: Vec<SiteVerdict>, findings: Vec<String>) -> Self {
        let of = |verdict| table.iter().filter(move |site| site.verdict == verdict);
        Self {
            sites: table.len(),
            caught: of(Verdict::Caught).count(),
            redundant: of(Verdict::Redundant).count(),
            pairs: of(Verdict::Pair).count(),
            unreached: of(Verdict::Unreached).count(),
            survivors: of(Verdict::Survived)
                .map(|site| site.site.clone())
                .collect(),
            table,
            findings,
        }
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} barriers: {} caught, {} redundant, {} pairs, {} unreached, {} survivors",
            self.sites,
            self.caught,
            self.redundant,
            self.pairs,
            self.unreached,
            self.survivors.len()
        )
    }
}

impl Layer for Barriers {
    fn red(&self) -> Vec<String> {
        let red = self.table.iter().filter_map(SiteVerdict::red);
        let red: Vec<String> = red.chain(self.findings.iter().cloned()).collect();
        violated(self.sites as u64, "barriers were", 0, &red)
    }
}
