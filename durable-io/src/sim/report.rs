//! A counterexample as a report: the operations, what of each effect reached the disk, the files that
//! are then there, and the promise that is broken.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use super::crash::ChainRef;
use super::disk::EffectNote;
use super::explore::Workload;
use super::run::{Broken, Moment, Runner, whole};
use super::subject::{StartStep, Subject};
use super::tape::{CrashPoint, Tape};
use super::world::{Node, World};
use crate::site::Site;

/// A crash after which the store breaks a promise, in as few operations and lost effects as the
/// shrinker could find. `Display` reports it in one screen.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The run and its end, to keep and to replay.
    pub tape: Tape,
    /// The promise that was broken, in one line.
    pub promise: String,
    /// What was expected and what was found.
    pub detail: String,
    /// The last state of the run, in one line, for tables.
    pub summary: String,
    report: String,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

/// Runs `tape` and reports what happened if it breaks a promise.
pub(crate) fn replay<S: Subject>(
    subject: &S,
    ignored: &[Site],
    tape: &Tape,
) -> Option<Counterexample> {
    let (broken, writer) = write(subject, ignored, tape);
    broken.map(|broken| writer.end(tape, broken))
}

/// The same; and that the run has the moments at which the tape ends it is a promise, too.
pub(crate) fn replay_whole<S: Subject>(
    subject: &S,
    ignored: &[Site],
    tape: &Tape,
) -> Option<Counterexample> {
    let (broken, writer) = write(subject, ignored, tape);
    let broken = broken.or_else(|| {
        let (at, moments) = writer.missed?;
        Some(Broken {
            promise: "a tape fits the store that it is of",
            detail: format!(
                "it ends a run of {moments} moments at moment {at}: it is of another store, or of another version"
            ),
        })
    });
    broken.map(|broken| writer.end(tape, broken))
}

fn write<S: Subject>(subject: &S, ignored: &[Site], tape: &Tape) -> (Option<Broken>, ReportWriter) {
    let mut runner = Runner::new(subject, ignored, tape.unit);
    runner.keep_notes();
    let mut writer = ReportWriter::default();
    writer.begin(&runner, tape, ignored);
    let workload = Workload {
        start: tape.start,
        ops: tape.ops.clone(),
    };
    let broken = run(&mut runner, &workload, tape, &mut writer).err();
    (broken, writer)
}

fn run<S: Subject>(
    runner: &mut Runner<'_, S>,
    workload: &Workload,
    tape: &Tape,
    writer: &mut ReportWriter,
) -> Result<(), Broken> {
    let mut moments = whole(|| runner.workload(workload))?;
    let mut notes = Vec::new();
    for crash_point in &tape.crash_points {
        let Some(moment) = moments.get(crash_point.moment) else {
            writer.missed = Some((crash_point.moment, moments.len()));
            return Ok(());
        };
        notes.extend(runner.notes());
        let image = match &crash_point.power_loss {
            Some(choice) => moment.world.crash(choice),
            None => moment.world.clone(),
        };
        writer.crash(crash_point, moment, &image, &notes);
        moments = whole(|| runner.restart(moment, image, true))?;
    }
    Ok(())
}

#[derive(Default)]
struct ReportWriter {
    report: String,
    summary: String,
    /// A moment at which the tape ends the run, and of how many moments the run was, which has no such.
    missed: Option<(usize, usize)>,
}

impl ReportWriter {
    fn line(&mut self, text: &str) {
        self.report.push_str(text);
        self.report.push('\n');
    }

    fn begin<S: Subject>(&mut self, runner: &Runner<'_, S>, tape: &Tape, ignored: &[Site]) {
        for site in ignored {
            self.line(&format!("with the barrier at {site} switched off"));
        }
        let mut steps: Vec<String> = Vec::new();
        if let Some(start) = runner.starts().get(tape.start) {
            steps.extend(start.script.iter().map(|step| match step {
                StartStep::Do(op) => format!("{op:?}"),
                StartStep::CrashDuring(op, keep) => {
                    format!("power loss during {op:?} ({keep:?} kept)")
                }
                StartStep::Kill => "process dies".to_owned(),
            }));
        }
        let from = steps.len();
        let ops = tape.ops.iter().filter_map(|op| runner.letters().get(*op));
        steps.extend(ops.map(|op| format!("{op:?}")));
        self.line("operations, from an empty disk:");
        if steps.is_empty() {
            self.line("   (only opening the store)");
        }
        for (nth, step) in steps.iter().enumerate() {
            let note = if nth < from { " (starting state)" } else { "" };
            self.line(&format!("{:>4}. {step}{note}", nth + 1));
        }
        let shown = steps
            .iter()
            .skip(from)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        self.summary = match (tape.start, shown.is_empty()) {
            (0, true) => "open".to_owned(),
            (0, false) => shown,
            (start, true) => format!("({})", runner.start_name(start)),
            (start, false) => format!("({}) {shown}", runner.start_name(start)),
        };
    }

    fn crash<S: Subject>(
        &mut self,
        crash_point: &CrashPoint,
        moment: &Moment<S>,
        image: &World,
        notes: &[EffectNote],
    ) {
        let during = moment.during();
        let when = match &moment.barrier {
            Some(site) => {
                format!("during {during}, just before the barrier at {site} takes effect")
            }
            None => format!("during {during}, after its last call so far"),
        };
        let Some(choice) = &crash_point.power_loss else {
            self.line(&format!("then the process dies {when};"));
            self.line("   the kernel lives and shows all that was written, none of it durable yet");
            self.summary.push_str(" | process dies");
            return;
        };
        self.line(&format!("then the power fails {when}:"));
        let (lines, lost) = effects(&moment.world, &choice.kept, notes);
        for line in &lines {
            self.line(line);
        }
        for (ino, fill) in &choice.fills {
            if image
                .nodes
                .get(*ino)
                .is_some_and(|node| matches!(node.node(), Node::File(_)))
            {
                self.line(&format!(
                    "   blocks of file #{ino} that were never written show: {fill:?}"
                ));
            }
        }
        self.line("files on the disk then:");
        let mut files = Vec::new();
        image.for_each_path(&mut |path, node| {
            files.push(match node {
                Node::File(file) => format!("   {path}, {} bytes", file.size.current()),
                Node::Dir(_) => format!("   {path}/"),
            });
        });
        for file in files {
            self.line(&file);
        }
        write!(self.summary, " | power loss, {lost} effects lost").expect("a string takes all");
    }

    fn end(mut self, tape: &Tape, broken: Broken) -> Counterexample {
        self.line(&format!("broken: {}", broken.promise));
        self.line(&format!("   {}", broken.detail));
        Counterexample {
            tape: tape.clone(),
            promise: broken.promise.to_owned(),
            detail: broken.detail,
            summary: self.summary,
            report: self.report,
        }
    }
}

/// One line for each call whose effects were pending, with what was kept and what was lost of it.
pub(crate) fn effects(world: &World, kept: &[usize], notes: &[EffectNote]) -> (Vec<String>, usize) {
    let texts: HashMap<u32, &str> = notes
        .iter()
        .map(|note| (note.id, note.text.as_str()))
        .collect();
    let mut all = Vec::new();
    for (nth, chain) in world.pending_chains().iter().enumerate() {
        let kept = kept.get(nth).copied().unwrap_or(0);
        let part = match &chain.chain {
            ChainRef::Name { name, .. } => format!("name {name}"),
            ChainRef::Size { .. } => "size".to_owned(),
            ChainRef::Unit { index, .. } => format!("sector {index}"),
        };
        for (at, effect) in chain.effects.iter().enumerate() {
            all.push((*effect, at < kept, part.clone()));
        }
    }
    all.sort_by_key(|(effect, ..)| *effect);
    let lost = all.iter().filter(|(_, kept, _)| !kept).count();
    let mut lines: Vec<String> = Vec::new();
    let mut last: Option<(&str, bool)> = None;
    for (effect, kept, part) in &all {
        let text = texts
            .get(effect)
            .copied()
            .unwrap_or("an effect of an earlier run");
        match lines.last_mut() {
            Some(line) if last == Some((text, *kept)) => {
                line.push_str(", ");
                line.push_str(part);
            }
            _ => lines.push(format!(
                "   {} {text}: {part}",
                if *kept { "kept" } else { "LOST" }
            )),
        }
        last = Some((text, *kept));
    }
    if lines.is_empty() {
        lines.push("   (nothing was pending)".to_owned());
    }
    (lines, lost)
}

impl Counterexample {
    /// A violation that did not come back when its tape was run again: the store does something that
    /// the simulator does not drive.
    pub(crate) fn unrepeatable(tape: Tape) -> Self {
        let promise = "the same run gives the same result".to_owned();
        let detail =
            "a violation did not come back when its tape was replayed: the store uses time, \
                      randomness, threads or files that the simulated disk does not drive"
                .to_owned();
        let report = format!("broken: {promise}\n   {detail}\n");
        Self {
            tape,
            promise,
            detail,
            summary: "not repeatable".to_owned(),
            report,
        }
    }
}
