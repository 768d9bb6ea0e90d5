//! What the layer `fuse` found of one engine, as plain numbers, and as the line that its process
//! says; and whether the control engines were judged rightly.

use serde_json::{Value, json};

use super::{rate, violated};

/// How many findings are told; the others are counted.
const TOLD: usize = 3;

/// What became of one engine on the file system that loses power.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fuse {
    /// Operations acknowledged in the recorded run.
    pub(crate) acknowledged: u64,
    /// Calls in it that wrote.
    pub(crate) writes: u64,
    /// Moments at which it was ended.
    pub(crate) moments: u64,
    /// States, left by a crash or a failure, in which the store was opened and compared.
    pub(crate) states: u64,
    /// Of these: the store took one more operation, lost power, and was compared again.
    pub(crate) continued: u64,
    /// Of these, in either comparison: acknowledged operations were gone.
    pub(crate) lost: u64,
    /// Of these: nothing that ever was.
    pub(crate) inconsistent: u64,
    /// Of these: it did not open, or took no more operations.
    pub(crate) refused: u64,
    /// Runs in which a sync failed.
    pub(crate) failed_syncs: u64,
    /// Runs on a disk that was full.
    pub(crate) full_disks: u64,
    /// Over all processes that judged it.
    pub(crate) seconds: f64,
    /// The first findings, as text.
    pub(crate) findings: Vec<String>,
}

impl Fuse {
    /// Tells `finding`, if not enough was told already.
    pub(crate) fn find(&mut self, finding: impl FnOnce() -> String) {
        if self.findings.len() < TOLD {
            self.findings.push(finding());
        }
    }

    /// The states in which something was wrong.
    pub(crate) fn violations(&self) -> u64 {
        self.lost + self.inconsistent + self.refused
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} operations acknowledged, ended at {} moments, {} syncs failed, {} full disks; {} \
             states opened and compared ({} again after one more power loss): {}; {} states/s in \
             each process",
            self.acknowledged,
            self.moments,
            self.failed_syncs,
            self.full_disks,
            self.states,
            self.continued,
            self.wrong(),
            rate(self.states, self.seconds)
        )
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.writes += other.writes;
        self.moments += other.moments;
        self.states += other.states;
        self.continued += other.continued;
        self.lost += other.lost;
        self.inconsistent += other.inconsistent;
        self.refused += other.refused;
        self.failed_syncs += other.failed_syncs;
        self.full_disks += other.full_disks;
        self.seconds += other.seconds;
        self.findings.extend(other.findings);
    }

    pub(super) fn red(&self) -> Vec<String> {
        let mut red = violated(
            self.states,
            "states were",
            self.violations(),
            &self.findings,
        );
        let told = self.findings.len() as u64;
        if self.violations() > told && told > 0 {
            red.push(format!("and more: {}", self.wrong()));
        }
        red
    }

    /// The states in which something was wrong, by kind.
    pub(crate) fn wrong(&self) -> String {
        format!(
            "{} lost, {} inconsistent, {} refused",
            self.lost, self.inconsistent, self.refused
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "acknowledged": self.acknowledged,
            "writes": self.writes,
            "moments": self.moments,
            "states": self.states,
            "continued": self.continued,
            "lost": self.lost,
            "inconsistent": self.inconsistent,
            "refused": self.refused,
            "failed_syncs": self.failed_syncs,
            "full_disks": self.full_disks,
            "seconds": self.seconds,
            "states_per_second": rate(self.states, self.seconds),
            "findings": self.findings,
        })
    }

    /// The tally that `json` says; `None` if it says none.
    pub(crate) fn from_json(json: &Value) -> Option<Self> {
        let number = |key: &str| json.get(key)?.as_u64();
        let findings = json.get("findings")?.as_array()?.iter();
        Some(Self {
            acknowledged: number("acknowledged")?,
            writes: number("writes")?,
            moments: number("moments")?,
            states: number("states")?,
            continued: number("continued")?,
            lost: number("lost")?,
            inconsistent: number("inconsistent")?,
            refused: number("refused")?,
            failed_syncs: number("failed_syncs")?,
            full_disks: number("full_disks")?,
            seconds: json.get("seconds")?.as_f64()?,
            findings: findings
                .map(|finding| finding.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
        })
    }
}

/// The control engines on that file system, each with its name; the first is the correct one.
#[derive(Debug, Default)]
pub(crate) struct FuseControls {
    pub(crate) engines: Vec<(&'static str, Fuse)>,
}

impl FuseControls {
    /// What is wrong with the judgement of an engine, by its name.
    fn wrong(&self) -> impl Iterator<Item = (&'static str, String)> {
        let judged = self.engines.iter().enumerate();
        judged.filter_map(|(nth, (name, fuse))| match (nth, fuse.violations()) {
            (_, _) if fuse.states == 0 => Some((*name, "was not judged".to_owned())),
            (0, 0) => None,
            (0, _) => Some((
                *name,
                format!("is correct and was accused: {:?}", fuse.findings),
            )),
            (_, 0) => Some((*name, "was not caught".to_owned())),
            (_, _) => None,
        })
    }

    pub(super) fn json(&self) -> Value {
        let engines = self.engines.iter();
        let engines: serde_json::Map<String, Value> = engines
            .map(|(name, fuse)| ((*name).to_owned(), fuse.json()))
            .collect();
        json!({
            "judged": self.engines.len(),
            "wrong": self.wrong().count(),
            "engines": engines,
        })
    }

    pub(super) fn red(&self) -> Vec<String> {
        if self.engines.is_empty() {
            return vec!["controls fuse: no control engines were judged".to_owned()];
        }
        let wrong = self.wrong();
        wrong
            .map(|(name, wrong)| format!("controls fuse: {name} {wrong}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_read_back_from_its_line() {
        let mut fuse = Fuse {
            states: 7,
            lost: 1,
            seconds: 0.5,
            ..Fuse::default()
        };
        for nth in 0..5 {
            fuse.find(|| format!("finding {nth}"));
        }
        let line = fuse.json().to_string();
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(Fuse::from_json(&read), Some(fuse));
        assert_eq!(Fuse::from_json(&json!({"states": 7})), None);
    }

    #[test]
    fn a_control_that_is_misjudged_is_red() {
        let fuse = |states: u64, lost: u64| Fuse {
            states,
            lost,
            ..Fuse::default()
        };
        let controls = |correct: Fuse, planted: Fuse| {
            let engines = vec![("good", correct), ("bad", planted)];
            FuseControls { engines }.red()
        };
        assert!(controls(fuse(9, 0), fuse(9, 1)).is_empty());
        assert_eq!(controls(fuse(9, 1), fuse(9, 1)).len(), 1);
        assert_eq!(controls(fuse(9, 0), fuse(9, 0)).len(), 1);
        assert_eq!(controls(fuse(0, 0), fuse(0, 0)).len(), 2);
        assert_eq!(FuseControls::default().red().len(), 1);
    }
}
