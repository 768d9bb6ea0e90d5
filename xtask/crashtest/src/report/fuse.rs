//! What the layer `fuse` found of one engine, as plain numbers, and as the line that its process
//! says; and whether the control engines were judged rightly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::conditions::Ending;

use super::{Layer, by_name, rate, violated};

/// How many findings are told; the others are counted.
const SHOWN_FINDINGS: usize = 3;

/// What became of one engine on the file system that loses power.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// In each process.
    states_per_second: u64,
    /// Why it did not survive, as far as that was found.
    pub(crate) causes: Vec<Cause>,
    /// The first findings without a known cause, as text.
    pub(crate) findings: Vec<String>,
}

/// One reason for violations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cause {
    /// The words, with N for each number: what is the same for all of them.
    pub(crate) name: String,
    /// What was not durable in them, by which others are recognized.
    pub(crate) alike: Vec<String>,
    /// Which barriers are missing: with them, the states of the moment were right.
    pub(crate) words: String,
    /// The first of them.
    pub(crate) example: String,
    /// How many there are.
    pub(crate) states: u64,
    /// What came of it under each profile.
    pub(crate) tried: BTreeMap<Ending, Tried>,
}

/// What came of a cause under a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// States that were opened and compared, up to the first that was wrong.
    pub(crate) states: u64,
    /// Of these.
    pub(crate) wrong: u64,
}

impl Cause {
    /// Where it may lose something, and where it did not.
    fn where_it_loses(&self) -> String {
        let (may, not): (Vec<_>, Vec<_>) =
            self.tried.iter().partition(|(_, tried)| tried.wrong > 0);
        let names = |tried: &[(&Ending, &Tried)]| {
            let names = tried.iter().map(|(ending, _)| ending.name());
            names.collect::<Vec<_>>().join(", ")
        };
        let states: u64 = not.iter().map(|(_, tried)| tried.states).sum();
        let mut words = Vec::new();
        words.extend((!may.is_empty()).then(|| format!("may lose on: {}", names(&may))));
        words.extend(
            (!not.is_empty()).then(|| format!("not on: {} ({states} states)", names(&not))),
        );
        words.join("; ")
    }

    fn describe(&self) -> String {
        let Self {
            words,
            example,
            states,
            ..
        } = self;
        let many = if *states == 1 { "state" } else { "states" };
        let places = match self.where_it_loses() {
            none if none.is_empty() => none,
            places => format!("{places}\n"),
        };
        format!("{words}\n{places}{states} {many}; the first: {example}")
    }
}

impl Fuse {
    /// Tells `finding`, if not enough was told already.
    pub(crate) fn find(&mut self, finding: impl FnOnce() -> String) {
        if self.findings.len() < SHOWN_FINDINGS {
            self.findings.push(finding());
        }
    }

    /// A known cause.
    pub(crate) fn cause(&mut self, is_it: impl Fn(&Cause) -> bool) -> Option<&mut Cause> {
        self.causes.iter_mut().find(|known| is_it(known))
    }

    /// Counts to `cause`, which may be known.
    pub(crate) fn explained(&mut self, cause: Cause) {
        match self.cause(|known| known.name == cause.name) {
            Some(known) => {
                known.states += cause.states;
                known.alike.extend(cause.alike);
                for (name, more) in cause.tried {
                    let tried = known.tried.entry(name).or_default();
                    tried.states += more.states;
                    tried.wrong += more.wrong;
                }
            }
            None => self.causes.push(cause),
        }
    }

    /// The states in which something was wrong.
    pub(crate) fn violations(&self) -> u64 {
        self.lost + self.inconsistent + self.refused
    }

    pub(crate) fn summary(&self) -> String {
        // A program that starts slowly makes less than one.
        let rate = match self.states_per_second {
            0 => String::new(),
            rate => format!("; {rate} states/s in each process"),
        };
        format!(
            "{} operations acknowledged, ended at {} moments, {} syncs failed, {} full disks; {} \
             states opened and compared ({} again after one more end): {}{rate}",
            self.acknowledged,
            self.moments,
            self.failed_syncs,
            self.full_disks,
            self.states,
            self.continued,
            self.wrong(),
        )
    }

    /// Says that it took so many seconds.
    pub(crate) fn took(&mut self, seconds: f64) {
        self.seconds = seconds;
        self.states_per_second = rate(self.states, seconds);
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
        self.took(self.seconds + other.seconds);
        for cause in other.causes {
            self.explained(cause);
        }
        self.findings.extend(other.findings);
    }

    /// The states in which something was wrong, by kind.
    pub(crate) fn wrong(&self) -> String {
        format!(
            "{} lost, {} inconsistent, {} refused",
            self.lost, self.inconsistent, self.refused
        )
    }
}

impl Layer for Fuse {
    fn red(&self) -> Vec<String> {
        let causes = self.causes.iter().map(Cause::describe);
        // Beside a cause, one more example is enough.
        let without = if self.causes.is_empty() {
            usize::MAX
        } else {
            1
        };
        let findings = self.findings.iter().take(without).cloned();
        let shown_findings: Vec<String> = causes.chain(findings).collect();
        let mut red = violated(
            self.states,
            "states were",
            self.violations(),
            &shown_findings,
        );
        let explained: u64 = self.causes.iter().map(|cause| cause.states).sum();
        let shown = explained + self.findings.len().min(without) as u64;
        if self.violations() > shown && !shown_findings.is_empty() {
            red.push(format!("and more: {}", self.wrong()));
        }
        red
    }
}

/// The control engines on that file system; the first is the correct one.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FuseControls {
    judged: usize,
    wrong: usize,
    #[serde(serialize_with = "by_name")]
    pub(crate) engines: Vec<(&'static str, Fuse)>,
}

impl FuseControls {
    pub(crate) fn new(engines: Vec<(&'static str, Fuse)>) -> Self {
        let mut controls = Self {
            judged: engines.len(),
            wrong: 0,
            engines,
        };
        controls.wrong = controls.misjudged().count();
        controls
    }

    /// What is wrong with the judgement of an engine, by its name.
    fn misjudged(&self) -> impl Iterator<Item = String> {
        let judged = self.engines.iter().enumerate();
        judged.filter_map(|(nth, (name, fuse))| match (nth, fuse.violations()) {
            (_, _) if fuse.states == 0 => Some(format!("{name} was not judged")),
            (0, 0) => None,
            (0, _) => Some(format!(
                "{name} is correct and was accused: {:?}",
                fuse.findings
            )),
            (_, 0) => Some(format!("{name} was not caught")),
            (_, _) => None,
        })
    }
}

impl Layer for FuseControls {
    fn red(&self) -> Vec<String> {
        if self.engines.is_empty() {
            return vec!["no control engines were judged".to_owned()];
        }
        self.misjudged().collect()
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
        let line = serde_json::to_string(&fuse).unwrap();
        assert_eq!(serde_json::from_str::<Fuse>(&line).unwrap(), fuse);
        assert!(serde_json::from_str::<Fuse>("{\"states\": 7}").is_err());
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
            FuseControls::new(engines).red()
        };
        assert!(controls(fuse(9, 0), fuse(9, 1)).is_empty());
        assert_eq!(controls(fuse(9, 1), fuse(9, 1)).len(), 1);
        assert_eq!(controls(fuse(9, 0), fuse(9, 0)).len(), 1);
        assert_eq!(controls(fuse(0, 0), fuse(0, 0)).len(), 2);
        assert_eq!(FuseControls::default().red().len(), 1);
    }
}
