//! The end of the report on the terminal: the verdict on each engine, the audit table, what was skipped, and
//! what is red. It can be read at 80 columns.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};

use crate::progress::wrapped;
use crate::report::{Barriers, Engine, FileOrDir, Report, SiteVerdict, Verdict};

/// The operation groups in the order of a store's life; others follow by name.
const OPERATIONS: [&str; 9] = [
    "create", "open", "append", "batch", "sync", "rotate", "truncate", "close", "repair",
];
const WIDTH: u16 = 80;
const FIRST_COLUMN: u16 = 12;

/// The whole end of the report; with `details`, every sync one by one.
pub(crate) fn render(report: &Report, details: bool) -> String {
    let mut text = String::new();
    for (name, engine) in &report.engines {
        if let Some(barriers) = engine.barriers.as_ref().filter(|_| details) {
            let _infallible = writeln!(
                text,
                "\nThe audit of {name}: what each sync protects, shown by leaving it out\n{}",
                table(barriers)
            );
        }
    }
    if let Some(controls) = &report.controls.fuse {
        text.push_str("\nThe control engines on the file system that loses power:\n");
        for (name, fuse) in &controls.engines {
            let (states, wrong) = (fuse.states, fuse.wrong());
            let _infallible = writeln!(text, "  {name:<15}{states:>6} states: {wrong}");
        }
    }
    text.push_str(&verdicts(report));
    if !report.skipped.is_empty() {
        text.push_str("\nNot run, and so not passed:\n");
    }
    for skipped in &report.skipped {
        let line = format!("  {:<22} {}", skipped.layer, skipped.reason);
        let _infallible = writeln!(text, "{}", wrapped(&line));
    }
    let red = &report.red;
    if red.is_empty() {
        let _infallible = write!(text, "\nAll passed in {} s.", report.seconds);
    } else {
        let _infallible = writeln!(text, "\nRED ({}), seed {}:", red.len(), report.seed);
        for reason in red {
            let reason = wrapped(&format!("  {}", reason.replace('\n', "\n    ")));
            let _infallible = writeln!(text, "{reason}");
        }
    }
    text
}

/// One line for each engine: whether it passed what ran, and how much that was.
fn verdicts(report: &Report) -> String {
    let mut text = String::new();
    if report.engines.iter().any(|(_, engine)| engine.ran()) {
        text.push_str(
            "\nengine       verdict   images    syncs   faults  changes  kills   fuse seconds\n",
        );
    }
    for (name, engine) in report.engines.iter().filter(|(_, engine)| engine.ran()) {
        let is_red = engine.layers().any(|(_, layer)| !layer.red().is_empty());
        let verdict = if is_red { "RED" } else { "passed" };
        let seconds: f64 = engine.seconds.values().sum();
        let counts = [
            (9, engine.sim.as_ref().map(|sim| sim.images.to_string())),
            (9, engine.barriers.as_ref().map(proven)),
            (
                9,
                engine
                    .faults
                    .as_ref()
                    .map(|faults| faults.injected.to_string()),
            ),
            (9, changes(engine)),
            (7, engine.kill.as_ref().map(|kill| kill.kills.to_string())),
            (7, engine.fuse.as_ref().map(|fuse| fuse.states.to_string())),
            (8, Some(format!("{seconds:.0}"))),
        ];
        let _infallible = write!(text, "{name:<12} {verdict:<7}");
        for (width, count) in counts {
            let _infallible = write!(text, "{:>width$}", count.as_deref().unwrap_or("-"));
        }
        text.push('\n');
    }
    text
}

/// How many syncs something is lost without, of how many there are.
fn proven(barriers: &Barriers) -> String {
    format!("{}/{}", barriers.caught, barriers.sites)
}

fn changes(engine: &Engine) -> Option<String> {
    let corruption = engine.corruption.as_ref()?;
    Some(corruption.tally.changes.to_string())
}

/// One row per operation group, one column per kind of barrier. A barrier is described in full in
/// the first row that has it, and named in the later ones.
fn table(barriers: &Barriers) -> Table {
    let mut table = Table::new();
    let column = (WIDTH - FIRST_COLUMN) / 2;
    table
        .load_style(UTF8_FULL)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_constraints([
            ColumnConstraint::Absolute(Width::Fixed(FIRST_COLUMN)),
            ColumnConstraint::Absolute(Width::Fixed(column)),
            ColumnConstraint::Absolute(Width::Fixed(column)),
        ])
        .set_header(["operation", "file sync", "directory sync"]);
    let mut described: Vec<&str> = Vec::new();
    for group in groups(barriers) {
        let mut cells = [FileOrDir::File, FileOrDir::Dir].map(|kind| {
            let sites = barriers
                .table
                .iter()
                .filter(|site| site.kind == kind && in_group(site, &group));
            let texts: Vec<String> = sites
                .map(|site| {
                    if described.contains(&site.site.as_str()) {
                        return format!("{} (above)", site.site);
                    }
                    described.push(&site.site);
                    describe(site)
                })
                .collect();
            if texts.is_empty() {
                "none".to_owned()
            } else {
                texts.join("\n")
            }
        });
        let [file, dir] = &mut cells;
        table.add_row([group, std::mem::take(file), std::mem::take(dir)]);
    }
    table
}

fn in_group(site: &SiteVerdict, group: &str) -> bool {
    if site.operations.is_empty() {
        return group == NOWHERE;
    }
    site.operations.iter().any(|operation| operation == group)
}

/// The row of the barriers that no operation reached.
const NOWHERE: &str = "(none)";

fn groups(barriers: &Barriers) -> Vec<String> {
    let mut groups: Vec<String> = barriers
        .table
        .iter()
        .flat_map(|site| site.operations.iter().cloned())
        .collect();
    if barriers.table.iter().any(|site| site.operations.is_empty()) {
        groups.push(NOWHERE.to_owned());
    }
    let rank = |group: &String| OPERATIONS.iter().position(|known| known == group);
    groups.sort_by_cached_key(|group| (rank(group).unwrap_or(OPERATIONS.len()), group.clone()));
    groups.dedup();
    groups
}

fn describe(site: &SiteVerdict) -> String {
    let mut text = format!("{}\n  {}", site.site, site.verdict.name());
    if site.verdict != Verdict::Unreached {
        let _infallible = write!(text, ", {} states", site.states);
    }
    if !site.reason.is_empty() {
        let _infallible = write!(text, ": {}", site.reason);
    }
    if !site.counterexample.is_empty() {
        let _infallible = write!(text, "\n  off: {}", site.counterexample);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(site: &str, kind: FileOrDir, operations: &[&str], verdict: Verdict) -> SiteVerdict {
        SiteVerdict {
            site: site.to_owned(),
            kind,
            operations: operations.iter().map(|&name| name.to_owned()).collect(),
            verdict,
            states: 12,
            length: 2,
            counterexample: "append, append, crash: record 1 is lost".to_owned(),
            reason: String::new(),
        }
    }

    #[test]
    fn a_row_per_operation_and_each_barrier_described_once() {
        let barriers = Barriers::new(
            vec![
                site(
                    "wal.rs:7:1",
                    FileOrDir::File,
                    &["rotate", "append"],
                    Verdict::Caught,
                ),
                site("wal.rs:9:1", FileOrDir::Dir, &["create"], Verdict::Caught),
                site("wal.rs:11:1", FileOrDir::Dir, &[], Verdict::Unreached),
            ],
            Vec::new(),
        );
        assert_eq!(groups(&barriers), ["create", "append", "rotate", "(none)"]);
        let text = table(&barriers).to_string();
        assert_eq!(text.matches("wal.rs:7:1\u{20}").count(), 2, "{text}");
        assert_eq!(text.matches("(above)").count(), 1, "{text}");
        assert_eq!(text.matches("caught, 12 states").count(), 2, "{text}");
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= usize::from(WIDTH)),
            "{text}"
        );
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let cause =
            "nothing syncs directory disk after call 89, rename store.json.new to store.json";
        let red = format!("command fuse: {cause}\n{cause}: {cause}\n12 states; the first: {cause}");
        let judged = Engine {
            fuse: Some(crate::report::Fuse::default()),
            ..Engine::default()
        };
        let report = Report {
            engines: vec![("event-store", judged)],
            skipped: vec![crate::report::Skipped {
                layer: "event-store corruption".to_owned(),
                reason: cause.to_owned(),
            }],
            red: vec![red],
            ..Report::default()
        };
        let text = render(&report, true);
        assert!(text.contains("event-store  RED"), "{text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words.join(" ").matches(cause).count(), 5, "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= usize::from(WIDTH), "{line}");
        }
    }
}
