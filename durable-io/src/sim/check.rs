//! [`check`]: an exploration as the whole body of a `#[test]`.

use std::env;
use std::fmt::Display;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::explore::{Bound, Exploration, Explorer};
use super::report::Counterexample;
use super::subject::Subject;
use super::tape::Tape;
use crate::{Disk, replace_file};

/// Environment variables that [`check`] reads.
const LENGTH: &str = "CRASH_LENGTH";
const SEED: &str = "CRASH_SEED";
const SECONDS: &str = "CRASH_SECONDS";
const TAPE: &str = "CRASH_TAPE";

/// How long random sequences are tried where only a seed is given.
const SOAK: Duration = Duration::from_secs(10);

/// Explores `subject` within `bound`, as the whole body of a `#[test]`. Returns what was done.
///
/// The environment makes it deeper without a change of the test:
///
/// | variable | |
/// |---|---|
/// | `CRASH_LENGTH=5` | sequences of so many operations, in the place of [`Bound::length`] |
/// | `CRASH_SEED=7` | after that, random sequences of 5 to 12 operations, drawn by this seed |
/// | `CRASH_SECONDS=60` | for so long; 10 s if only the seed is given |
/// | `CRASH_TAPE=FILE` | nothing but the run that this tape describes |
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prove_your_own_store/counter.rs"));
/// use durable_io::sim::{Bound, check};
///
/// // #[test]
/// fn the_counter_survives_every_crash() {
///     let explored = check(&CounterSubject { syncs_directory: true }, &Bound::of_length(2));
///     assert!(explored.counts.unique_states > 100);
/// }
/// # fn main() { the_counter_survives_every_crash() }
/// ```
///
/// # Panics
/// If a promise is broken: with the report of the smallest counterexample. Its [`Tape`] is then saved beside the source
/// of the test, under the test's name with the ending `.tape`, and the panic says how to replay it. Also if nothing was
/// found but that proves nothing: with each [`Doubt`](super::Doubt). And if a variable or a tape makes no sense.
#[track_caller]
pub fn check<S: Subject>(subject: &S, bound: &Bound) -> Exploration {
    let caller = Location::caller();
    if let Some(path) = env::var_os(TAPE) {
        return replay(subject, Path::new(&path));
    }
    let (bound, seed, soak) = asked_for(bound);
    let explorer = Explorer::new(subject);
    let explored = explorer.explore(&bound, &|_counts| {});
    accept(subject, &explored, caller);
    if let Some(seed) = seed {
        let bound = Bound {
            time: Some(soak),
            ..bound
        };
        let soaked = explorer.soak(&bound, seed, &|_counts| {});
        if let Some(example) = &soaked.counterexample {
            fail(subject, example, caller);
        }
    }
    explored
}

/// `bound` as the environment changes it, the seed of random sequences if there is one, and for how long to try them.
fn asked_for(bound: &Bound) -> (Bound, Option<u64>, Duration) {
    let mut bound = bound.clone();
    if let Some(length) = variable(LENGTH) {
        bound.length = length;
    }
    let soak = variable(SECONDS).map_or(SOAK, Duration::from_secs);
    (bound, variable(SEED), soak)
}

/// The value of an environment variable, if it is set.
fn variable<T: FromStr<Err: Display>>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => panic!("{name}={text}: {error}"),
    }
}

/// Panics if something was found, or if that nothing was found proves nothing.
fn accept<S: Subject>(subject: &S, explored: &Exploration, caller: &Location<'_>) {
    let doubts: Vec<String> = explored.doubts.iter().map(ToString::to_string).collect();
    let doubts = doubts.join("\n");
    // A violation of a store that is on another disk is none.
    let is_elsewhere = explored.doubts.contains(&super::Doubt::NoCalls);
    match &explored.counterexample {
        Some(example) if !is_elsewhere => fail(subject, example, caller),
        _ if doubts.is_empty() => {}
        _ => panic!("this proves nothing: {doubts}"),
    }
}

/// Panics with the report of `example`, and saves its tape.
fn fail<S: Subject>(subject: &S, example: &Counterexample, caller: &Location<'_>) -> ! {
    let text = example.tape.to_text(subject, &[]);
    let saved = match save(&text, caller) {
        Ok(path) => format!("once more: {TAPE}={} cargo test", path.display()),
        Err(error) => format!("its tape could not be saved ({error}):\n{text}"),
    };
    panic!("{example}\n{saved}");
}

/// Saves a tape beside the source of the test that runs in this thread.
fn save(text: &str, caller: &Location<'_>) -> crate::Result<PathBuf> {
    let source = Path::new(caller.file());
    // The compiler names the file from the workspace's root; tests run in the root of their package.
    let here = env::current_dir().ok();
    let roots = here.iter().flat_map(|here| here.ancestors());
    let disk = Disk::os();
    let dir = roots
        .filter_map(|root| root.join(source).parent().map(Path::to_owned))
        .find(|dir| disk.open_dir(dir).is_ok());
    let dir = dir.unwrap_or_else(env::temp_dir);
    let thread = std::thread::current();
    let test = match thread.name() {
        Some("main") | None => format!("line-{}", caller.line()),
        Some(name) => name.replace("::", "-"),
    };
    let name = format!("{test}.tape");
    replace_file(&disk.open_dir(&dir)?, &name, text.as_bytes())?;
    Ok(dir.join(name))
}

/// Runs the tape in the file at `path`, and panics if it breaks something.
fn replay<S: Subject>(subject: &S, path: &Path) -> Exploration {
    let (at, explorer) = (path.display(), Explorer::new(subject));
    let text = read(path).unwrap_or_else(|error| panic!("cannot read the tape {at}: {error}"));
    let tape = Tape::from_text(subject, &text);
    let (tape, without) = tape.unwrap_or_else(|error| panic!("{at}: {error}"));
    if let Some(example) = explorer.without(&without).replay(&tape) {
        panic!("{example}");
    }
    panic!("the tape {at} breaks nothing any more: remove it, and run the test without {TAPE}");
}

fn read(path: &Path) -> Result<String, String> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("it has no name that is text")?;
    let bytes = || -> crate::Result<Vec<u8>> {
        let dir = Disk::os().open_dir(dir.unwrap_or(Path::new(".")))?;
        let file = dir.open_read_only(name)?;
        let len = usize::try_from(file.len()?).expect("a tape fits into memory");
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    let bytes = bytes().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
