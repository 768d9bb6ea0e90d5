//! The table, and the same figures as JSON.

use std::path::Path;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use durable_io::{Disk, replace_file};
use serde_json::json;

use crate::contender::{Contender, Measured, Role, Unit};
use crate::measure::float;

/// What a contender came to.
struct Summary {
    /// Medians over all rounds.
    rate: f64,
    load: f64,
    involuntary_switches: f64,
    /// Medians of the ratios of single rounds, where there is something to compare with.
    to_floor: Option<f64>,
    to_gather_off: Option<f64>,
    to_best_peer: Option<f64>,
}

/// Prints what was measured: a list of rounds, each in the order of `contenders`.
pub(crate) fn print(contenders: &[Contender], rounds: &[Vec<Measured>]) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "workload",
        "contender",
        "median",
        "/ floor",
        "/ gather off",
        "/ best peer",
        "load",
        "switches",
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut workload = "";
    for (contender, summary) in contenders.iter().zip(summaries(contenders, rounds)) {
        let is_new = contender.workload != workload;
        workload = &contender.workload;
        table.add_row([
            if is_new { workload } else { "" }.to_owned(),
            contender.name.clone(),
            rate(summary.rate, contender.unit),
            ratio(summary.to_floor),
            ratio(summary.to_gather_off),
            ratio(summary.to_best_peer),
            format!("{:.1}", summary.load),
            format!("{:.0}", summary.involuntary_switches),
        ]);
    }
    println!("{table}");
    println!(
        "Medians of {} rounds; ratios are medians of those of single rounds.\n\
         floor: the fastest raw method, one thread, same record, same guarantee; 1 is as fast.\n\
         best peer: the other log with the best median in the same workload, with the same guarantee.\n\
         load: of the machine. switches: involuntary ones of this process, per round; a yield counts.",
        rounds.len()
    );
}

/// Writes the figures of every round to `comparisons.json` in `dir`.
pub(crate) fn write_json(
    dir: &Path,
    contenders: &[Contender],
    rounds: &[Vec<Measured>],
) -> anyhow::Result<()> {
    let rows = contenders.iter().zip(summaries(contenders, rounds));
    let rows = rows.enumerate().map(|(at, (contender, summary))| {
        let own = rounds.iter().filter_map(|round| round.get(at));
        json!({
            "workload": contender.workload,
            "contender": contender.name,
            "role": format!("{:?}", contender.role),
            "unit": format!("{:?} per second", contender.unit),
            "real_time": contender.real_time,
            "median": summary.rate,
            "to_floor": summary.to_floor,
            "to_gather_off": summary.to_gather_off,
            "to_best_peer": summary.to_best_peer,
            "load": summary.load,
            "involuntary_switches": summary.involuntary_switches,
            "rounds": own.map(|measured| measured.rate).collect::<Vec<_>>(),
        })
    });
    let text = format!("{:#}\n", json!(rows.collect::<Vec<_>>()));
    let dir = Disk::os().open_dir(dir)?;
    replace_file(&dir, "comparisons.json", text.as_bytes())?;
    Ok(())
}

fn summaries(contenders: &[Contender], rounds: &[Vec<Measured>]) -> Vec<Summary> {
    let summary = |(at, contender): (usize, &Contender)| {
        let of_all = |figure| median_of(rounds, at, figure).unwrap_or_default();
        let to_best = |is_meant: &dyn Fn(&Contender) -> bool| {
            // The best one of all rounds: the best of each round would be the luckiest.
            let all = contenders.iter().enumerate();
            let meant = all.filter(|(_, other)| is_meant(other));
            let rates = meant.filter_map(|(other, _)| {
                Some((other, median_of(rounds, other, |measured| measured.rate)?))
            });
            let (best, _) = rates.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
            let ratio = |round: &Vec<Measured>| Some(round.get(at)?.rate / round.get(best)?.rate);
            median(rounds.iter().filter_map(ratio).collect())
        };
        let beside = |role| {
            let workload = &contender.workload;
            to_best(&|other| other.role == role && other.workload == *workload)
        };
        let is_own = contender.role == Role::Own;
        Summary {
            rate: of_all(|measured| measured.rate),
            load: of_all(|measured| measured.load),
            involuntary_switches: of_all(|measured| float(measured.involuntary_switches)),
            to_floor: to_best(&|other| {
                other.role == Role::Floor && other.workload == contender.floor
            }),
            to_gather_off: is_own.then(|| beside(Role::OwnWithoutGather)).flatten(),
            #[cfg(feature = "peers")]
            to_best_peer: is_own.then(|| beside(Role::Peer)).flatten(),
            #[cfg(not(feature = "peers"))]
            to_best_peer: None,
        }
    };
    contenders.iter().enumerate().map(summary).collect()
}

/// The median of a figure of contender `at`.
fn median_of(rounds: &[Vec<Measured>], at: usize, figure: fn(&Measured) -> f64) -> Option<f64> {
    let own = rounds.iter().filter_map(|round| round.get(at));
    median(own.map(figure).collect())
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

fn rate(per_second: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{:.2} GB/s", per_second / 1e9),
        Unit::Appends if per_second >= 1e6 => format!("{:.2} M/s", per_second / 1e6),
        Unit::Appends => format!("{:.1} k/s", per_second / 1e3),
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}
