//! A run of the judge: which layers run on which engine, and the report at the end.

use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use durable_io::Disk;

use crate::args::{Args, CONTROLS, DISK, LayerName};
use crate::engine::Engine;
use crate::model::{Kind, Shape};
use crate::report::{self, Fuse, FuseControls, Report, Skipped};
use crate::{
    Context, Ran, audit, command, controls, corruption, find, kill, life, litmus, progress, sim,
    trace,
};

/// Runs what `args` ask for on `engines`, which are crates of the workspace at `workspace`, and prints the
/// report; true if nothing is red.
///
/// # Errors
/// The harness itself failed, or there is nothing of the name that was asked for. What the engines did
/// wrong is in the report.
pub fn run(args: &Args, engines: &[&'static dyn Engine], workspace: &Path) -> anyhow::Result<bool> {
    if let Some(path) = &args.replay {
        return sim::replay(path, engines);
    }
    for name in &args.engines {
        ensure!(
            [CONTROLS, DISK].contains(&name.as_str()) || find(engines, name).is_ok(),
            "there is no engine called {name:?}; there are {CONTROLS}, {DISK}, {}",
            engines
                .iter()
                .map(|engine| engine.name())
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    sim::check_names(&args.trials, engines)?;
    let context = Context {
        full: args.full,
        seed: args.seed,
        extra_time: Duration::from_secs(args.minutes.unwrap_or(0) * 60) / 3,
        conditions: args.conditions,
        plant: args.plant,
        first: args.first,
        trials: &args.trials,
        workspace,
    };
    let started = Instant::now();
    let mut report = match &args.command {
        Some(command) => judge_command(Run::new(args, context), (command, args.shape))?,
        None => judge_all(args, context, engines)?,
    };
    report.seed = args.seed;
    report.full = args.full;
    report.git = output_of(Command::new("git").args(["describe", "--always", "--dirty"]));
    report.kernel = output_of(Command::new("uname").args(["-s", "-r"]));
    report.seconds = started.elapsed().as_secs();
    report.judge();
    progress::print(&audit::render(&report, args.details));
    if let Some(path) = &args.json {
        write_json(path, &report)?;
    }
    Ok(report.red.is_empty())
}

/// Judges what is asked for. The layers that start processes wait most of the time, for each other and for the
/// kernel: meanwhile those on the simulated disk have the cores.
fn judge_all(
    args: &Args,
    context: Context<'_>,
    engines: &[&'static dyn Engine],
) -> anyhow::Result<Report> {
    let engines = engines.iter().copied();
    let engines: Vec<_> = engines.filter(|engine| args.wants(engine.name())).collect();
    let (simulated, started) = thread::scope(|scope| {
        let processes = scope.spawn(|| start_all(Run::new(args, context), &engines));
        let simulated = simulate_all(Run::new(args, context), &engines);
        let started = processes.join();
        (
            simulated,
            started.unwrap_or_else(|panic| resume_unwind(panic)),
        )
    });
    Ok(simulated?.with(started?))
}

/// The layers on the simulated disk.
fn simulate_all(mut run: Run<'_>, engines: &[&'static dyn Engine]) -> anyhow::Result<Report> {
    if run.args.wants(CONTROLS) && run.runs(LayerName::Sim, CONTROLS) {
        run.report.controls.sim = Some(controls::run(&run.context));
    }
    if run.args.wants(CONTROLS) && run.runs(LayerName::Life, CONTROLS) {
        run.report.controls.life = Some(life::judge_controls(&run.context));
    }
    for engine in engines {
        let judged = run.simulate(*engine)?;
        run.report.engines.push((engine.name(), judged));
    }
    Ok(run.report)
}

/// The layers that start processes.
fn start_all(mut run: Run<'_>, engines: &[&'static dyn Engine]) -> anyhow::Result<Report> {
    let context = run.context;
    if run.args.wants(DISK) && run.runs(LayerName::Litmus, DISK) {
        let (litmus, skipped) = litmus::run(&context)?;
        run.report.litmus = Some(litmus);
        run.report.skipped.extend(skipped);
    }
    if run.args.wants(CONTROLS) && run.runs(LayerName::Fuse, CONTROLS) {
        let names = controls::key_value::ALL.map(Engine::name);
        let once = Context {
            extra_time: Duration::ZERO,
            ..context
        };
        let judged = run.on_fuse(CONTROLS, &names, None, &once)?;
        let judged = judged.map(|judged| names.into_iter().zip(judged).collect());
        run.report.controls.fuse = judged.map(FuseControls::new);
    }
    for engine in engines {
        let judged = run.start(*engine)?;
        run.report.engines.push((engine.name(), judged));
    }
    Ok(run.report)
}

/// Judges the store that `command` runs.
fn judge_command(mut run: Run<'_>, command: (&str, Shape)) -> anyhow::Result<Report> {
    let (name, place) = ("command", command::PLACE);
    let (line, shape) = command;
    ensure!(
        line.contains(place),
        "the command must say where it takes the store's directory: {place}"
    );
    ensure!(
        shape.kind != Kind::Raft || !shape.batches && !shape.unsynced,
        "the storage of a Raft node is durable when it answers, step by step: it has neither --batches nor --unsynced"
    );
    let mut judged = report::Engine::default();
    if run.runs(LayerName::Fuse, name) {
        let context = run.context;
        let fuse = judged.timed("fuse", || {
            run.on_fuse(name, &[name], Some(command), &context)
        })?;
        judged.fuse = first(fuse);
    }
    run.report.engines.push((name, judged));
    Ok(run.report)
}

/// Some of the layers, one after the other.
struct Run<'a> {
    args: &'a Args,
    context: Context<'a>,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(args: &'a Args, context: Context<'a>) -> Self {
        Self {
            args,
            context,
            report: Report::default(),
        }
    }

    fn runs(&mut self, layer: LayerName, name: &str) -> bool {
        self.args.runs(layer, name, &mut self.report.skipped)
    }

    fn skip(&mut self, layer: String, reason: &str) {
        let reason = reason.to_owned();
        self.report.skipped.push(Skipped { layer, reason });
    }

    /// Every layer on the simulated disk that is asked for, on one engine.
    fn simulate(&mut self, engine: &'static dyn Engine) -> anyhow::Result<report::Engine> {
        let (name, context) = (engine.name(), self.context);
        let mut judged = report::Engine::default();
        if self.runs(LayerName::Sim, name) {
            let (sim, barriers) = judged.timed("sim", || sim::simulate(engine, &context))?;
            if barriers.is_none() {
                let reason = if !context.trials.is_empty() {
                    "only some of the trials were asked for"
                } else if sim.findings.is_empty() {
                    "its barriers are left out with --full only"
                } else {
                    "the complete engine breaks, so leaving out a barrier proves nothing"
                };
                self.skip(format!("{name} barriers"), reason);
            }
            judged.sim = Some(sim);
            judged.barriers = barriers;
        }
        if self.runs(LayerName::Faults, name) {
            judged.faults = Some(judged.timed("faults", || sim::inject(engine, &context)));
        }
        if self.runs(LayerName::Corruption, name) {
            judged.corruption = judged.timed("corruption", || corruption::run(engine, &context));
            if judged.corruption.is_none() {
                self.skip(
                    format!("{name} corruption"),
                    "the engine gives no specimens",
                );
            }
        }
        if self.runs(LayerName::Life, name) {
            judged.life = Some(judged.timed("life", || life::run(engine, &context)));
        }
        Ok(judged)
    }

    /// Every layer that starts processes and is asked for, on one engine.
    fn start(&mut self, engine: &'static dyn Engine) -> anyhow::Result<report::Engine> {
        let (name, context) = (engine.name(), self.context);
        let mut judged = report::Engine::default();
        if self.runs(LayerName::Kill, name) {
            match engine.killing() {
                Some(killing) => {
                    let kill = judged.timed("kill", || kill::run(engine, &killing, &context))?;
                    judged.kill = Some(kill);
                }
                None => self.skip(format!("{name} kill"), "the engine has no process to kill"),
            }
        }
        if self.runs(LayerName::Fuse, name) {
            let fuse = judged.timed("fuse", || self.on_fuse(name, &[name], None, &context))?;
            judged.fuse = first(fuse);
        }
        if engine.script().is_some() && self.runs(LayerName::Trace, name) {
            match judged.timed("trace", || trace::run(engine))? {
                Ran::Ran(trace) => judged.trace = Some(trace),
                Ran::Skipped(reason) => self.skip(format!("{name} trace"), &reason),
            }
        }
        Ok(judged)
    }

    /// The layer `fuse`: what was found of each engine, or `None` if it cannot run here.
    #[cfg_attr(
        not(all(feature = "fuse", target_os = "linux")),
        expect(
            unused_variables,
            clippy::unnecessary_wraps,
            reason = "they are for where it runs, and there it fails"
        )
    )]
    fn on_fuse(
        &mut self,
        name: &str,
        engines: &[&str],
        command: Option<(&str, Shape)>,
        context: &Context<'_>,
    ) -> anyhow::Result<Option<Vec<Fuse>>> {
        #[cfg(all(feature = "fuse", target_os = "linux"))]
        let outcome = crate::fuse::run(&format!("{name} fuse"), engines, command, context)?;
        #[cfg(not(all(feature = "fuse", target_os = "linux")))]
        let outcome = {
            let reason = "this program was built without the feature fuse, or not for Linux";
            Ran::Skipped(reason.to_owned())
        };
        match outcome {
            Ran::Ran(judged) => Ok(Some(judged)),
            Ran::Skipped(reason) => {
                self.skip(format!("{name} fuse"), &reason);
                Ok(None)
            }
        }
    }
}

fn first<T>(judged: Option<Vec<T>>) -> Option<T> {
    judged.into_iter().flatten().next()
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
    let text = serde_json::to_string_pretty(report)? + "\n";
    durable_io::replace_file(&dir, name, text.as_bytes())?;
    Ok(())
}
