//! The layer `trace`: the calls that the operating system's backend really makes equal those that
//! the simulator saw. A backend that forgets a sync is caught here and nowhere else.
//!
//! One script ([`script`]) runs twice: on the simulated disk, which lists its calls, and on the real
//! one in a process under `strace`, whose lines are translated ([`strace`]). Compared are the names
//! opened, created, renamed, linked, removed and listed; reads and writes with offset and length;
//! lengths set and space reserved; maps by their file; and every sync with its kind and target, all
//! in order. Left out are closing, asking for a length, hints, and the lock file.

mod script;
mod strace;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use durable_io::sim::{Call, SimDisk};
use durable_io::{Disk, Temp};

use crate::engine::Engine;
use crate::progress::Progress;
use crate::report::Trace;
use crate::scratch::Scratch;
use crate::{Ran, find};

/// The directory that the script works in, on both disks.
const ROOT: &str = "root";

/// The command line of the process that is traced.
#[derive(Debug, clap::Args)]
pub struct TraceChild {
    /// The engine whose script it runs.
    engine: String,
    /// An empty directory.
    root: PathBuf,
}

impl TraceChild {
    /// Runs the script on the operating system's disk.
    ///
    /// # Errors
    /// There is no such engine, or the script failed.
    pub fn work(&self, engines: &[&'static dyn Engine]) -> anyhow::Result<()> {
        let engine = find(engines, &self.engine)?;
        let disk = Disk::os();
        let root = disk.open_dir(&self.root)?;
        script::run(engine, &disk, &self.root, |name| {
            // The trace shows it as a call that fails in a way nothing else does.
            let missing = root.open(&format!("{}{name}", strace::MARK));
            ensure!(missing.is_err_and(|error| error.is_not_found()));
            Ok(())
        })
    }
}

/// The calls made by one part of the script.
#[derive(Debug, PartialEq, Eq)]
struct Procedure {
    name: String,
    calls: Vec<String>,
}

/// Runs the script on both disks and compares.
///
/// # Errors
/// The script failed on one of them, or the trace cannot be read.
pub(crate) fn run(engine: &dyn Engine) -> anyhow::Result<Ran<Trace>> {
    let progress = Progress::new(&format!("{} trace", engine.name()), None);
    let simulated = on_simulated_disk(engine).context("on the simulated disk")?;
    let real = match on_real_disk(engine).context("on the real disk")? {
        Ran::Ran(real) => real,
        Ran::Skipped(reason) => return Ok(Ran::Skipped(reason)),
    };
    let trace = compare(&real, &simulated);
    progress.finish(&trace.summary());
    Ok(Ran::Ran(trace))
}

fn on_real_disk(engine: &dyn Engine) -> anyhow::Result<Ran<Vec<Procedure>>> {
    let scratch = Scratch::new()?;
    // Stands for the root of the simulated disk.
    let base = scratch.path().canonicalize()?;
    let root = base.join(ROOT);
    Disk::os().create_dir(&root)?;
    let log = base.join("strace");
    let traced = Command::new("strace")
        // Strings are not shown (-s 0), names always are.
        .args(["-f", "-y", "-s", "0", "-e", "trace=%desc,%file,sync", "-o"])
        .arg(&log)
        .arg(std::env::current_exe()?)
        .args(["trace-child", engine.name()])
        .arg(&root)
        .stdin(Stdio::null())
        .output();
    let output = match traced {
        Ok(output) => output,
        Err(error) => {
            return Ok(Ran::Skipped(format!("strace cannot be started: {error}")));
        }
    };
    let trace = match std::fs::read_to_string(&log) {
        Ok(trace) => trace,
        // It did not begin: what it said on standard error is the reason.
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context("what strace wrote cannot be read"),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !trace.contains("execve(") {
        let reason = stderr.lines().next().unwrap_or("strace wrote nothing");
        return Ok(Ran::Skipped(format!("strace cannot trace here: {reason}")));
    }
    if !output.status.success() {
        bail!("the traced process failed: {stderr}");
    }
    let mut procedures = strace::procedures(&trace, &base)?;
    ensure!(
        procedures.pop().is_some_and(|last| last.name.is_empty()),
        "the traced process did not reach its end"
    );
    Ok(Ran::Ran(procedures))
}

fn on_simulated_disk(engine: &dyn Engine) -> anyhow::Result<Vec<Procedure>> {
    let machine = SimDisk::new();
    let root = Path::new("/").join(ROOT);
    let disk = machine.disk();
    disk.create_dir(&root)?;
    machine.start_trace();
    let mut procedures: Vec<Procedure> = Vec::new();
    script::run(engine, &disk, &root, |name| {
        // Whatever was called so far belongs to the procedure before this one.
        let calls = machine.trace().iter().filter_map(simulated_call).collect();
        if let Some(procedure) = procedures.last_mut() {
            procedure.calls = calls;
        }
        procedures.push(Procedure {
            name: name.to_owned(),
            calls: Vec::new(),
        });
        Ok(())
    })?;
    procedures.pop();
    Ok(procedures)
}

/// A call of the simulated disk in the words of the comparison, or `None` if it is left out of it.
fn simulated_call(call: &Call) -> Option<String> {
    let relative = |path: &str| {
        let below = path.trim_start_matches('/');
        if below.is_empty() {
            ".".to_owned()
        } else {
            anonymous(below)
        }
    };
    let path = relative(&call.path);
    if path == "lock" || path.ends_with("/lock") {
        return None;
    }
    let op = call.op;
    match op {
        "len" => None,
        "read" | "write" | "write_durable" | "allocate" => {
            Some(format!("{op} {path} {} {}", call.offset, call.len))
        }
        "set_len" => Some(format!("{op} {path} {}", call.offset)),
        "rename" | "link" => {
            let to = call.to.as_deref();
            let to = to.expect("a call that gives a name has it");
            Some(format!("{op} {path} {}", relative(to)))
        }
        _ => Some(format!("{op} {path}")),
    }
}

/// `path`, with the number left out that is in the name of a temporary file: each side draws its own.
fn anonymous(path: &str) -> String {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    match Temp::target_of(name) {
        Some(target) if dir.is_empty() => format!("~~{target}"),
        Some(target) => format!("{dir}/~~{target}"),
        None => path.to_owned(),
    }
}

/// Compares call by call; a procedure that only one side has differs in all its calls.
fn compare(real: &[Procedure], simulated: &[Procedure]) -> Trace {
    let mut trace = Trace {
        procedures: simulated.len() as u64,
        ..Trace::default()
    };
    if !real
        .iter()
        .map(|it| &it.name)
        .eq(simulated.iter().map(|it| &it.name))
    {
        trace.differences += 1;
        trace
            .findings
            .push("the two sides ran different procedures".to_owned());
    }
    for (real, simulated) in real.iter().zip(simulated) {
        trace.calls += simulated.calls.len() as u64;
        let (real_only, simulated_only) = differing(&real.calls, &simulated.calls);
        let differences = real_only.len().max(simulated_only.len());
        if differences > 0 {
            trace.differences += differences as u64;
            let [real, simulated_calls] = [real_only, simulated_only].map(|calls| match calls {
                [] => "nothing".to_owned(),
                calls => calls.join("\n"),
            });
            trace.findings.push(format!(
                "{}: the operating system was asked for\n{real}\nand the simulator for\n{simulated_calls}",
                simulated.name
            ));
        }
    }
    trace
}

/// What is left of two lists without their common beginning and their common end.
fn differing<'a>(one: &'a [String], other: &'a [String]) -> (&'a [String], &'a [String]) {
    let common = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (
        one.get(common..).unwrap_or(one),
        other.get(common..).unwrap_or(other),
    );
    let common = one
        .iter()
        .rev()
        .zip(other.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    (
        one.get(..one.len() - common).unwrap_or(one),
        other.get(..other.len() - common).unwrap_or(other),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn procedure(calls: &[&str]) -> Vec<Procedure> {
        let calls = calls.iter().map(|&call| call.to_owned()).collect();
        vec![Procedure {
            name: "replace_file".to_owned(),
            calls,
        }]
    }

    const SIMULATED: [&str; 5] = [
        "create_new a.tmp",
        "write a.tmp 0 9",
        "sync_data a.tmp",
        "rename a.tmp a",
        "sync_dir .",
    ];

    #[test]
    fn equal_calls_do_not_differ() {
        let trace = compare(&procedure(&SIMULATED), &procedure(&SIMULATED));
        assert_eq!(
            (trace.procedures, trace.calls, trace.differences),
            (1, 5, 0)
        );
    }

    /// The same calls as strace writes them.
    const REAL: &str = r#"openat(3</s>, "@replace_file", O_RDWR|O_CLOEXEC) = -1 ENOENT (No such file)
        openat(AT_FDCWD</>, "/s", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 4</s>
        openat(4</s>, "a.tmp", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 5</s/a.tmp>
        pwrite64(5</s/a.tmp>, ""..., 9, 0) = 9
        fdatasync(5</s/a.tmp>) = 0
        renameat(4</s>, "a.tmp", 4</s>, "a") = 0
        fsync(4</s>) = 0"#;

    #[track_caller]
    fn check_forgotten(syscall: &str, call: &str) {
        let kept: Vec<&str> = REAL
            .lines()
            .filter(|line| !line.contains(syscall))
            .collect();
        let real = strace::procedures(&kept.join("\n"), Path::new("/s")).unwrap();
        let simulated = [&["open_dir ."], SIMULATED.as_slice()].concat();
        let trace = compare(&real, &procedure(&simulated));
        let expected = u64::from(!call.is_empty());
        assert_eq!(trace.differences, expected, "{:?}", trace.findings);
        assert!(
            trace.findings.iter().all(|finding| finding.contains(call)),
            "{:?}",
            trace.findings
        );
    }

    #[test]
    fn a_sync_that_the_backend_forgets_is_a_difference() {
        check_forgotten("nothing", "");
        check_forgotten("fdatasync", "sync_data a.tmp");
        check_forgotten("fsync(4", "sync_dir .");
    }

    #[test]
    fn two_temporary_names_of_one_file_are_the_same() {
        let [one, other] = ["0123456789abcdef", "0000000000000000"]
            .map(|number| anonymous(&format!("d/~{number}~mark")));
        assert_eq!(one, other);
        assert_ne!(one, anonymous("d/~0123456789abcdef~other"));
        assert_eq!(anonymous("d/mark"), "d/mark");
    }

    #[test]
    fn calls_in_another_order_or_of_another_length_differ() {
        let mut real = SIMULATED;
        real.swap(2, 3);
        assert_eq!(
            compare(&procedure(&real), &procedure(&SIMULATED)).differences,
            2
        );
        real = SIMULATED;
        real[1] = "write a.tmp 0 8";
        assert_eq!(
            compare(&procedure(&real), &procedure(&SIMULATED)).differences,
            1
        );
    }

    #[test]
    fn a_procedure_that_one_side_left_out_is_a_difference() {
        assert_eq!(compare(&[], &procedure(&SIMULATED)).differences, 1);
    }
}
