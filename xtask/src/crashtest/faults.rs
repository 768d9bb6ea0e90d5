//! The layer `faults`: every call of a run fails in every way, once and from then on, and the disk is
//! full at every size. After each the store must be healthy or poisoned, and nothing acknowledged may
//! be lost, whether it goes on, is opened again, or loses power.

use durable_io::sim::{Injection, Subject, fill_the_disk, inject_everywhere};

use crate::crashtest::progress::Progress;
use crate::crashtest::report::Faults;

/// Injects everything into the run of `ops`, and adds what was found to `faults`.
pub(crate) fn run<S: Subject>(name: &str, subject: &S, ops: &[S::Op], faults: &mut Faults) {
    let progress = Progress::new(name, None);
    let show = |injection: &Injection| progress.set(injection.injected);
    let everywhere = inject_everywhere(subject, ops, &show);
    let full = fill_the_disk(subject, ops, &show);
    let summary = format!(
        "{} calls, {} faults, {} sizes of a full disk: {} violations",
        everywhere.calls,
        everywhere.injected,
        full.injected,
        everywhere.violations.len() + full.violations.len()
    );
    if everywhere.unstruck > 0 {
        let unstruck = everywhere.unstruck;
        let finding = format!("{name}: {unstruck} faults struck no call, and prove nothing");
        faults.findings.push(finding);
    }
    for injection in [everywhere, full] {
        faults.injected += injection.injected;
        faults.violations += injection.violations.len() as u64;
        let findings = injection.violations.into_iter();
        faults
            .findings
            .extend(findings.map(|finding| format!("{name}: {finding}")));
    }
    progress.finish(&summary);
}
