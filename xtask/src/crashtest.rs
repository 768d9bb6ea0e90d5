//! `cargo xtask crashtest`: which layers run on which engine, and the report at the end.

mod audit;
mod barriers;
mod bitcask;
mod content;
mod controls;
mod corruption;
pub(crate) mod engines;
mod faults;
#[cfg(all(feature = "fuse", target_os = "linux"))]
pub(crate) mod fuse;
mod interrupt;
mod judge;
pub(crate) mod kill;
mod litmus;
mod process;
mod progress;
mod report;
mod scan;
mod scratch;
mod sim;
mod splitmix;
mod sstable;
mod stores;
mod table_set;
pub(crate) mod trace;
mod wal;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use durable_io::Disk;

use engines::{ENGINES, Judged, Simulated};
use report::{Engine, Fuse, FuseControls, Report, Skipped};

/// The seed of a run that asks for none: two such runs draw the same.
const DEFAULT_SEED: u64 = 1;

/// The command line of `crashtest`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to judge; everything if nothing is named.
    #[arg(value_enum, value_name = "ENGINE")]
    engines: Vec<EngineName>,
    /// The declared bound instead of the short one.
    #[arg(long)]
    full: bool,
    /// Run only this layer; may be given more than once.
    #[arg(long = "layer", value_enum, value_name = "LAYER")]
    layers: Vec<LayerName>,
    /// The seed of everything that is drawn.
    #[arg(long, default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// Run only the recorded run of this file and say what it breaks.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Go on sampling for this long, shared by the layers that sample.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u64>,
    /// Also write the report to this file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Judge a program of yours instead, a key-value store that speaks the protocol of the read-me:
    /// this command runs it, with the store's directory for `{dir}`.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["engines", "replay"])]
    command: Option<String>,
    /// Judge a process that acknowledges before it appends, and profiles of file systems that promise
    /// too much: the layers `kill` and `litmus` must be red.
    #[arg(long, hide = true)]
    plant: bool,
}

/// What can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// The write-ahead log.
    Wal,
    /// The hash-indexed store.
    Bitcask,
    /// Sorted tables and their compaction, as a set with a manifest.
    Sstable,
    /// The control engines: a correct one, and ones with a planted bug that must be found.
    Controls,
    /// The simulated disk itself, against the file systems of this kernel.
    Disk,
}

/// The layers, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LayerName {
    /// Every crash state of recorded runs on the simulated disk, and every barrier left out.
    Sim,
    /// Errors of the simulated disk's calls.
    Faults,
    /// Bytes changed behind the engine's back.
    Corruption,
    /// Real processes, killed at random moments.
    Kill,
    /// Power losses, failing syncs and full disks on a real file system, mounted through FUSE.
    Fuse,
    /// The operating system's calls against the simulator's.
    Trace,
    /// Power cuts on real file systems, against what the simulator allows them to leave.
    Litmus,
}

/// What every layer is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// The declared bound instead of the short one.
    pub(crate) full: bool,
    pub(crate) seed: u64,
    /// How long each layer that samples goes on beyond its bound.
    pub(crate) extra_time: Duration,
    /// The layers `kill` and `litmus` judge a planted bug instead.
    pub(crate) plant: bool,
}

/// What became of a layer that cannot run everywhere.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Ran(T),
    /// With the reason.
    Skipped(String),
}

/// Runs what `args` ask for and prints the report; true if nothing is red.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    if let Some(path) = &args.replay {
        let (subject, tape) = sim::read_tape(path)?;
        let engine = subject.split(' ').next().and_then(engines::find);
        let engine = engine.with_context(|| format!("no engine is judged as {subject:?}"))?;
        return (engine.replay)(&subject, &tape);
    }
    let started = Instant::now();
    let context = Context {
        full: args.full,
        seed: args.seed,
        extra_time: Duration::from_secs(args.minutes.unwrap_or(0) * 60) / 3,
        plant: args.plant,
    };
    let mut report = Report {
        seed: args.seed,
        full: args.full,
        git: output_of(Command::new("git").args(["describe", "--always", "--dirty"])),
        kernel: output_of(Command::new("uname").args(["-s", "-r"])),
        seconds: 0,
        engines: Vec::new(),
        controls: None,
        litmus: None,
        fuse_controls: None,
        skipped: Vec::new(),
    };
    if let Some(command) = &args.command {
        let engine = judge_command(args, command, &context, &mut report.skipped)?;
        report.engines.push(engine);
        return finish(args, report, started);
    }
    if args.wants(EngineName::Controls)
        && args.runs(LayerName::Sim, "controls", &mut report.skipped)
    {
        report.controls = Some(controls::run(&context));
    }
    if args.wants(EngineName::Disk) && args.runs(LayerName::Litmus, "disk", &mut report.skipped) {
        let (litmus, skipped) = litmus::run(&context)?;
        report.litmus = Some(litmus);
        report.skipped.extend(skipped);
    }
    if args.wants(EngineName::Controls)
        && args.runs(LayerName::Fuse, "controls", &mut report.skipped)
    {
        let names = stores::controls();
        let once = Context {
            extra_time: Duration::ZERO,
            ..context
        };
        let judged = on_fuse("controls", &names, None, &once, &mut report.skipped)?;
        report.fuse_controls = judged.map(|judged| FuseControls {
            engines: names.into_iter().zip(judged).collect(),
        });
    }
    for engine in ENGINES.iter().filter(|engine| args.wants(engine.which)) {
        let judged = judge(engine, args, &context, &mut report.skipped)?;
        report.engines.push(judged);
    }
    finish(args, report, started)
}

/// Prints the report and writes it where it is wanted; true if nothing is red.
fn finish(args: &Args, mut report: Report, started: Instant) -> anyhow::Result<bool> {
    report.seconds = started.elapsed().as_secs();
    progress::print(&audit::render(&report));
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    Ok(report.red().is_empty())
}

impl Args {
    fn wants(&self, engine: EngineName) -> bool {
        self.engines.is_empty() || self.engines.contains(&engine)
    }

    /// True if `layer` is to run; notes in `skipped` that nobody asked for it otherwise.
    fn runs(&self, layer: LayerName, engine: &str, skipped: &mut Vec<Skipped>) -> bool {
        let runs = self.layers.is_empty() || self.layers.contains(&layer);
        if !runs {
            let name = layer
                .to_possible_value()
                .map(|value| value.get_name().to_owned());
            let layer = format!("{engine} {}", name.unwrap_or_default());
            skipped.push(Skipped {
                layer,
                reason: "not asked for".to_owned(),
            });
        }
        runs
    }
}

/// Runs every layer that is asked for on one engine.
fn judge(
    judged: &Judged,
    args: &Args,
    context: &Context,
    skipped: &mut Vec<Skipped>,
) -> anyhow::Result<Engine> {
    let name = judged.name;
    let mut engine = Engine {
        name,
        ..Engine::default()
    };
    if args.runs(LayerName::Sim, name, skipped) {
        engine.simulated((judged.simulate)(context, &workspace()?)?, skipped);
    }
    if args.runs(LayerName::Faults, name, skipped) {
        engine.faults = Some((judged.inject)());
    }
    if args.runs(LayerName::Corruption, name, skipped) {
        engine.corruption = Some((judged.corrupt)(context));
    }
    if let Some((kill, _)) = judged.kill
        && args.runs(LayerName::Kill, name, skipped)
    {
        engine.kill = Some(kill(context)?);
    }
    if args.runs(LayerName::Fuse, name, skipped) {
        engine.fuse = first(on_fuse(name, &[name], None, context, skipped)?);
    }
    if let Some(trace) = judged.trace
        && args.runs(LayerName::Trace, name, skipped)
    {
        match trace()? {
            Outcome::Ran(trace) => engine.trace = Some(trace),
            Outcome::Skipped(reason) => {
                let layer = format!("{name} trace");
                skipped.push(Skipped { layer, reason });
            }
        }
    }
    Ok(engine)
}

impl Engine {
    /// Takes the layer `sim`, and notes that barriers were not judged if the complete engine broke.
    fn simulated(&mut self, (sim, barriers): Simulated, skipped: &mut Vec<Skipped>) {
        if barriers.is_none() {
            let reason = "the complete engine breaks, so leaving out a barrier proves nothing";
            skipped.push(Skipped {
                layer: format!("{} barriers", self.name),
                reason: reason.to_owned(),
            });
        }
        self.sim = Some(sim);
        self.barriers = barriers;
    }
}

/// Judges the store that `command` runs.
fn judge_command(
    args: &Args,
    command: &str,
    context: &Context,
    skipped: &mut Vec<Skipped>,
) -> anyhow::Result<Engine> {
    let name = "command";
    let place = stores::PLACE;
    ensure!(
        command.contains(place),
        "the command must say where it takes the store's directory: {place}"
    );
    let mut engine = Engine {
        name,
        ..Engine::default()
    };
    if args.runs(LayerName::Fuse, name, skipped) {
        engine.fuse = first(on_fuse(name, &[name], Some(command), context, skipped)?);
    }
    Ok(engine)
}

fn first<T>(judged: Option<Vec<T>>) -> Option<T> {
    judged.into_iter().flatten().next()
}

/// The layer `fuse`: what was found of each engine, or `None` if it cannot run here.
#[cfg_attr(
    not(all(feature = "fuse", target_os = "linux")),
    expect(clippy::unnecessary_wraps, reason = "it fails where it runs")
)]
fn on_fuse(
    name: &str,
    engines: &[&str],
    command: Option<&str>,
    context: &Context,
    skipped: &mut Vec<Skipped>,
) -> anyhow::Result<Option<Vec<Fuse>>> {
    #[cfg(all(feature = "fuse", target_os = "linux"))]
    let outcome = fuse::run(&format!("{name} fuse"), engines, command, context)?;
    #[cfg(not(all(feature = "fuse", target_os = "linux")))]
    let outcome = {
        let _ = (engines, command, context);
        let reason = "this program was built without the feature fuse, or not for Linux";
        Outcome::Skipped(reason.to_owned())
    };
    match outcome {
        Outcome::Ran(judged) => Ok(Some(judged)),
        Outcome::Skipped(reason) => {
            let layer = format!("{name} fuse");
            skipped.push(Skipped { layer, reason });
            Ok(None)
        }
    }
}

/// The root of the workspace that this program was built from.
fn workspace() -> anyhow::Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let root = built_from.context("the crate stands in the workspace's root")?;
    Ok(root.to_owned())
}

/// The first line that `command` prints, or "unknown": for the report only.
fn output_of(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}

fn write_json(path: &Path, report: &Report) -> anyhow::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .context("--json needs a file name")?;
    let dir = Disk::os().open_dir(parent.unwrap_or(Path::new(".")))?;
    let text = format!("{:#}\n", report.json());
    durable_io::replace_file(&dir, name, text.as_bytes())?;
    Ok(())
}
