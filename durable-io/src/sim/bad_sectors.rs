//! Sectors that cannot be read, one at a time: a store on a disk that has lost one may refuse, but not answer
//! wrongly, and has lost nothing else by it.

use super::disk::SimDisk;
use super::inject::Injection;
use super::run::guarded;
use super::subject::Subject;
use super::world::World;

const SECTOR: usize = 512;

/// Runs `ops` on an empty disk, and then opens the store once for each sector of its files, which cannot be
/// read; and once more when it can be.
pub fn spoil_everywhere<S: Subject>(
    subject: &S,
    ops: &[S::Op],
    progress: &(dyn Fn(&Injection) + Sync),
) -> Injection {
    let mut report = Injection::default();
    let (world, state) = match whole(|| run(subject, ops)) {
        Ok(left) => left,
        Err(error) => {
            report.violations.push(format!("without a fault: {error}"));
            return report;
        }
    };
    for (path, len) in SimDisk::boot(world.clone()).files() {
        for start in (0..len).step_by(SECTOR) {
            let range = start..len.min(start + SECTOR as u64);
            report.injected += 1;
            let sim = SimDisk::boot(world.clone());
            sim.spoil(&path, range.clone());
            if let Err(wrong) = whole(|| one(subject, &sim, &state)) {
                let at = format!("bytes {range:?} of {path} cannot be read");
                report.violations.push(format!("{at}: {wrong}"));
            }
        }
        progress(&report);
    }
    report.calls = report.injected;
    report
}

/// The disk after `ops`, all of it durable, and what the store holds.
fn run<S: Subject>(subject: &S, ops: &[S::Op]) -> Result<(World, S::State), String> {
    let sim = SimDisk::new();
    let mut store = subject.open(&sim.disk()).map_err(|e| e.to_string())?;
    let mut state = subject.empty();
    for (op, n) in ops.iter().zip(0..) {
        subject
            .apply(&mut store, op, n)
            .map_err(|e| e.to_string())?;
        state = subject.model(&state, op, n);
    }
    drop(store);
    Ok((sim.world().keep_unsynced(), state))
}

fn one<S: Subject>(subject: &S, sim: &SimDisk, state: &S::State) -> Result<(), String> {
    if let Ok(mut store) = subject.open(&sim.disk())
        && let Ok(seen) = subject.observe(&mut store)
        && !subject.matches_without_caches(state, &seen)
    {
        return Err(format!("it shows {seen:?}, not {state:?}"));
    }
    let healed = SimDisk::boot(sim.world());
    let mut store = subject.open(&healed.disk());
    let store = store
        .as_mut()
        .map_err(|error| format!("when it can be, open answers: {error}"))?;
    let seen = subject.observe(store);
    let seen = seen.map_err(|error| format!("when it can be, reading answers: {error}"))?;
    if subject.matches_without_caches(state, &seen) {
        return Ok(());
    }
    Err(format!("when it can be, it shows {seen:?}, not {state:?}"))
}

/// What `work` of a store answers; a panic is an error.
fn whole<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    guarded(&"the store", work).map_err(|broken| broken.detail)?
}
