//! What the removal of barriers found: a verdict for each sync in the sources.

use serde_json::{Value, json};

use super::violated;

/// Each barrier in the sources, switched off.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    pub(crate) sites: Vec<SiteVerdict>,
    /// Calls whose nature or place the scan of the sources could not tell.
    pub(crate) findings: Vec<String>,
}

/// Which column of the audit table a barrier belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileOrDir {
    File,
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

/// One barrier of the sources and what became of it.
#[derive(Clone, Debug)]
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
    /// How many sites got `verdict`.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.sites
            .iter()
            .filter(|site| site.verdict == verdict)
            .count()
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} barriers: {} caught, {} redundant, {} pairs, {} unreached, {} survivors",
            self.sites.len(),
            self.count(Verdict::Caught),
            self.count(Verdict::Redundant),
            self.count(Verdict::Pair),
            self.count(Verdict::Unreached),
            self.count(Verdict::Survived)
        )
    }

    pub(super) fn json(&self) -> Value {
        let survivors: Vec<&str> = self
            .sites
            .iter()
            .filter(|site| site.verdict == Verdict::Survived)
            .map(|site| site.site.as_str())
            .collect();
        let table: Vec<Value> = self.sites.iter().map(SiteVerdict::json).collect();
        json!({
            "sites": self.sites.len(),
            "caught": self.count(Verdict::Caught),
            "redundant": self.count(Verdict::Redundant),
            "pairs": self.count(Verdict::Pair),
            "unreached": self.count(Verdict::Unreached),
            "survivors": survivors,
            "table": table,
        })
    }

    pub(super) fn red(&self) -> Vec<String> {
        let red = self.sites.iter().filter_map(SiteVerdict::red);
        let red: Vec<String> = red.chain(self.findings.iter().cloned()).collect();
        violated(self.sites.len() as u64, "barriers were", 0, &red)
    }
}

impl SiteVerdict {
    pub(super) fn json(&self) -> Value {
        json!({
            "site": self.site,
            "kind": if self.kind == FileOrDir::File { "file" } else { "directory" },
            "operations": self.operations,
            "verdict": self.verdict.name().to_lowercase(),
            "states": self.states,
            "length": self.length,
            "counterexample": self.counterexample,
            "reason": self.reason,
        })
    }
}
