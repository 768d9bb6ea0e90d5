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
    /// How many times as fast this workspace's is as this one.
    own_to_this: Option<f64>,
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
        "own / it",
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
            ratio(summary.own_to_this),
            format!("{:.1}", summary.load),
            format!("{:.0}", summary.involuntary_switches),
        ]);
    }
    println!("{table}");
    println!(
        "Medians of {} rounds; ratios are medians of those of single rounds.\n\
         floor: the fastest raw method, one thread, same record, same guarantee; 1 is as fast.\n\
         best peer: the other one with the best median in the same workload, with the same guarantee.\n\
         own / it: how many times as fast this workspace's is.\n\
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
            "own_to_this": summary.own_to_this,
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
        let best = |role, workload: &str| {
            // The best one of all rounds: the best of each round would be the luckiest.
            let all = contenders.iter().enumerate();
            let meant = all.filter(|(_, other)| other.role == role && other.workload == workload);
            let rates = meant.filter_map(|(other, _)| {
                Some((other, median_of(rounds, other, |measured| measured.rate)?))
            });
            let (best, _) = rates.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
            Some(best)
        };
        let ratio = |one: usize, other: usize| {
            let ratio = |round: &Vec<Measured>| Some(round.get(one)?.rate / round.get(other)?.rate);
            median(rounds.iter().filter_map(ratio).collect())
        };
        let beside = |role| ratio(at, best(role, &contender.workload)?);
        let is_own = contender.role == Role::Own;
        let floor = best(Role::Floor, &contender.floor);
        Summary {
            rate: of_all(|measured| measured.rate),
            load: of_all(|measured| measured.load),
            involuntary_switches: of_all(|measured| float(measured.involuntary_switches)),
            to_floor: floor.and_then(|floor| ratio(at, floor)),
            to_gather_off: is_own.then(|| beside(Role::OwnWithoutGather)).flatten(),
            to_best_peer: is_own.then(|| beside(Role::Peer)).flatten(),
            own_to_this: match contender.role {
                Role::Peer | Role::LesserPeer => {
                    best(Role::Own, &contender.workload).and_then(|own| ratio(own, at))
                }
                _ => None,
            },
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
        Unit::BytesPerKey => format!("{per_second:.2} B/key"),
        Unit::Ratio => format!("{per_second:.2}"),
        Unit::Nanoseconds if per_second >= 1e6 => format!("{:.2} ms", per_second / 1e6),
        Unit::Nanoseconds => format!("{per_second:.0} ns"),
        Unit::Bytes if per_second >= 1e9 => format!("{:.2} GB/s", per_second / 1e9),
        Unit::Bytes => format!("{:.0} MB/s", per_second / 1e6),
        Unit::Operations if per_second >= 1e6 => format!("{:.2} M/s", per_second / 1e6),
        Unit::Operations => format!("{:.1} k/s", per_second / 1e3),
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}
