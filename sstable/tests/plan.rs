//! Plans: single cases, and stores of random tables for which every plan must hold what
//! `sstable::compaction` promises.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

#[allow(dead_code, reason = "each test file uses a part")]
mod support;
#[path = "merging/tables.rs"]
mod tables;

use std::collections::BTreeMap;
use std::ops::Bound;

use rand::RngExt;
use rand::rngs::StdRng;
use sstable::KeyRange;
use sstable::compaction::{
    Fifo, Job, LazyLeveled, Leveled, SizeTiered, Strategy, TableMeta, plan, plan_beside,
};
use support::{rng, seed};
use tables::{ENTRY, SimStore};

/// `"id level.run first-last bytes"`, and behind it `t` for tombstones, or `due`, which is one that has some and is.
fn table(text: &str) -> TableMeta {
    let parts: Vec<&str> = text.split(' ').collect();
    let (level, run) = parts[1].split_once('.').unwrap();
    let (first, last) = parts[2].split_once('-').unwrap();
    TableMeta {
        id: parts[0].parse().unwrap(),
        level: level.parse().unwrap(),
        run: run.parse().unwrap(),
        bytes: parts[3].parse().unwrap(),
        tombstones: u64::from(parts.len() > 4),
        is_due: parts.last() == Some(&"due"),
        range: KeyRange {
            first: first.into(),
            last: Bound::Included(last.into()),
        },
    }
}

/// `"Merge 3,2 > 1.3"`: what is done with which tables, and the level and run of the outputs.
fn text(job: &Job) -> String {
    let inputs: Vec<String> = job.inputs.iter().map(u64::to_string).collect();
    let (action, inputs) = (job.action, inputs.join(","));
    format!(
        "{action:?} {inputs} > {}.{}",
        job.output_level, job.output_run
    )
}

#[track_caller]
fn check(strategy: impl Into<Strategy>, tables: &[&str], expected: &[&str]) {
    let tables: Vec<TableMeta> = tables.iter().map(|text| table(text)).collect();
    let jobs = plan(&tables, &strategy.into());
    let jobs: Vec<String> = jobs.iter().map(text).collect();
    assert_eq!(jobs, expected);
}

fn leveled() -> Leveled {
    let leveled = Leveled::new().levels(4).fanout(10).base_bytes(1000);
    leveled.new_runs(2).table_bytes(100)
}

#[test]
fn leveled_leaves_alone_what_is_in_order() {
    check(leveled(), &[], &[]);
    check(leveled(), &["1 0.1 a-z 500"], &[]);
    check(leveled(), &["2 3.1 a-k 900", "3 3.2 l-z 100000"], &[]);
}

#[test]
fn leveled_merges_new_tables_into_the_first_level_in_use() {
    let new = ["2 0.2 a-z 50", "1 0.1 a-z 50"];
    check(leveled(), &new, &["Merge 2,1 > 3.2"]);
    let one = [&new[..], &["3 3.0 c-d 1000"]].concat();
    check(leveled(), &one, &["Merge 2,1,3 > 3.0"]);
    // The last level is large enough for another one above it.
    let two = [&new[..], &["3 3.0 c-d 1001"]].concat();
    check(leveled(), &two, &["Merge 2,1 > 2.2"]);
    let three = [&new[..], &["3 3.0 c-d 10100"]].concat();
    check(leveled(), &three, &["Merge 2,1 > 1.2"]);
    // Not past a level that is in use.
    let used = [&new[..], &["3 2.0 m-n 1"]].concat();
    check(leveled(), &used, &["Merge 2,1,3 > 2.0"]);
}

#[test]
fn leveled_moves_what_overlaps_nothing() {
    let apart = ["2 0.2 m-z 50", "1 0.1 a-l 50", "3 3.0 lz-lz 10"];
    check(leveled(), &apart, &["Move 1 > 3.1", "Move 2 > 3.2"]);
    // Its tombstones go if it is merged.
    let dead = ["2 0.2 m-z 50 t", "1 0.1 a-l 50"];
    check(leveled(), &dead, &["Move 1 > 3.1", "Merge 2 > 3.2"]);
    // But not while there may be something older.
    let needed = ["1 1.1 m-z 50 t", "2 3.0 m-n 200"];
    check(leveled().base_bytes(300), &needed, &["Move 1 > 2.1"]);
}

#[test]
fn leveled_takes_first_what_overlaps_least_for_its_size() {
    let tables = [
        "1 2.1 a-c 90",
        "2 2.2 d-f 90",
        "3 2.3 g-i 91",
        "4 3.0 a-b 800",
        "5 3.0 c-f 700",
        "6 3.0 h-m 500",
    ];
    // 2000 bytes in the last level: 200 above.
    check(leveled(), &tables, &["Merge 3,6 > 3.0"]);
}

#[test]
fn lazy_leveled_merges_a_level_that_is_full_of_runs() {
    let lazy = LazyLeveled::new().levels(4).runs(2).base_bytes(100);
    let lazy = lazy.table_bytes(100);
    let new = ["2 0.2 a-z 50", "1 0.1 a-z 50"];
    check(lazy.clone(), &new, &["Merge 2,1 > 3.2"]);
    let large = [&new[..], &["3 3.0 a-m 300", "4 3.0 n-z 100"]].concat();
    check(lazy.clone(), &large, &["Merge 2,1 > 1.2"]);
    let middle = [
        "5 2.4 a-b 50",
        "6 2.3 a-c 50",
        "3 3.0 a-m 300",
        "4 3.0 n-z 9",
    ];
    check(lazy, &middle, &["Merge 5,6,3 > 3.0"]);
}

#[test]
fn a_table_that_is_due_goes_down_although_its_level_is_not() {
    let quiet = || leveled().new_runs(9);
    // With what overlaps it in its own level, and below; the others stay.
    let new = [
        "4 0.4 c-e 10",
        "3 0.3 d-g 10 due",
        "2 0.2 x-z 10",
        "1 3.1 f-h 90",
        "5 3.1 m-z 10",
    ];
    check(quiet(), &new, &["Merge 4,3,1 > 3.1"]);
    let middle = [
        "3 2.3 a-c 1 due",
        "2 2.3 d-f 1",
        "1 3.1 b-c 5000",
        "4 3.1 d-z 5000",
    ];
    check(quiet(), &middle, &["Merge 3,1 > 3.1"]);
    // In the last level it is written again, if it has what can go by that.
    let last = ["1 3.1 a-c 10 due", "2 3.1 d-f 10"];
    check(quiet(), &last, &["Merge 1 > 3.1"]);
    let mut without = last.map(table);
    without[0].tombstones = 0;
    assert_eq!(plan(&without, &quiet().into()), []);
    // To a level of several runs as one more of them; to the last one into it.
    let lazy = LazyLeveled::new().levels(3).runs(4).base_bytes(1);
    let new = [
        "4 0.4 c-e 10 due",
        "3 0.3 a-z 10",
        "2 1.2 a-z 90",
        "1 2.1 a-z 900",
    ];
    check(lazy.clone(), &new, &["Merge 4,3 > 1.4"]);
    let middle = [
        "3 1.3 c-e 10 due",
        "2 1.2 f-z 90",
        "1 2.1 a-f 900",
        "4 2.1 g-z 900",
    ];
    check(lazy, &middle, &["Merge 3,1 > 2.1"]);
}

/// The levels were counted through, each with its target in memory: the process ended for want of it. No number
/// has a limit now, be it of an option or, read from a manifest, of a table.
#[test]
fn no_number_of_levels_or_runs_costs_more_than_the_tables_there_are() {
    let numbers = [0, 1, 2, 1000, u32::MAX];
    let mut strategies: Vec<Strategy> = vec![Fifo::new(u64::MAX).into()];
    for n in numbers {
        let (wide, runs) = (u64::from(n) << 32, usize::try_from(n).unwrap() << 20);
        let leveled = Leveled::new().levels(n).fanout(wide).base_bytes(1);
        strategies.push(leveled.new_runs(runs).table_bytes(wide).into());
        strategies.push(Leveled::new().levels(n).base_bytes(1).into());
        strategies.push(LazyLeveled::new().levels(n).runs(runs).into());
        let lazy = LazyLeveled::new().levels(n).runs(2).base_bytes(1);
        strategies.push(lazy.table_bytes(0).into());
        let tiered = SizeTiered::new().runs(runs).smallest_bytes(wide);
        strategies.push(tiered.into());
    }
    let max = u64::MAX;
    for level in numbers {
        let tables = [
            format!("1 0.{max} a-m {max}"),
            format!("2 0.{} a-z 1", max - 1),
            format!("3 {level}.0 a-c 7"),
            format!("4 {level}.{max} d-z {max}"),
        ];
        let tables = tables.map(|text| table(&text));
        for strategy in &strategies {
            assert_eq!(plan(&[], strategy), []);
            for job in plan(&tables, strategy) {
                assert!(!job.inputs.is_empty());
            }
        }
    }
    let tables = ["2 0.2 a-z 50", "1 0.1 a-z 50"];
    let leveled = leveled().levels(u32::MAX);
    check(leveled, &tables, &["Merge 2,1 > 4294967294.2"]);
}

/// Runs of a level that another strategy kept sorted can have any numbers.
#[test]
fn outputs_are_newer_than_all_that_was_in_their_level() {
    let lazy = LazyLeveled::new().levels(5).runs(2);
    let tables = ["5 1.7 a-b 50", "6 1.6 a-c 50", "3 2.12 a-z 300"];
    check(lazy, &tables, &["Merge 5,6 > 2.13"]);
}

#[test]
fn size_tiered_merges_neighbours_of_similar_size() {
    let tiered = SizeTiered::new()
        .runs(3)
        .smallest_bytes(10)
        .table_bytes(500);
    check(tiered.clone(), &["2 0.2 a-z 9", "1 0.1 a-z 9"], &[]);
    let three = ["3 0.3 a-z 9", "2 0.2 a-z 9", "1 0.1 a-z 9"];
    check(tiered.clone(), &three, &["Merge 3,2,1 > 0.3"]);
    // A small one between them takes part: the order stays.
    let between = [
        "4 0.4 a-z 25",
        "3 0.3 a-z 9",
        "2 0.2 a-z 30",
        "1 0.1 a-z 28",
    ];
    check(tiered.clone(), &between, &["Merge 4,3,2,1 > 0.4"]);
    // A larger one does not.
    let large = ["4 0.4 a-z 9", "3 0.3 a-z 99", "2 0.2 a-z 9", "1 0.1 a-z 9"];
    check(tiered.clone(), &large, &[]);
    // Large ones that do not overlap become one run as they are.
    let apart = ["3 0.3 a-b 250", "2 0.2 c-d 260", "1 0.1 e-f 251"];
    check(tiered, &apart, &["Move 3,2,1 > 0.3"]);
}

#[test]
fn fifo_drops_the_oldest_beyond_the_limit() {
    let tables = ["3 0.3 a-z 40", "2 0.2 a-z 40", "1 0.1 a-z 40"];
    check(Fifo::new(120), &tables, &[]);
    check(Fifo::new(100), &tables, &["Drop 1 > 0.1"]);
    check(Fifo::new(50), &tables, &["Drop 2,1 > 0.1"]);
    check(Fifo::new(0), &tables, &["Drop 3,2,1 > 0.1"]);
}

#[test]
fn a_level_that_another_strategy_left_is_sorted_first() {
    let tangled = ["1 2.5 a-m 50", "2 2.4 k-z 50", "3 0.9 a-z 9", "4 0.8 a-z 9"];
    check(leveled(), &tangled, &["Merge 1,2 > 2.5"]);
}

#[test]
fn nothing_is_planned_that_meets_what_is_running() {
    let tables = ["2 0.2 a-m 50", "1 0.1 a-m 50"].map(table);
    let strategy = leveled().into();
    let running = plan(&tables, &strategy);
    assert_eq!(running.len(), 1);
    let newer = ["4 0.4 l-z 50", "3 0.3 n-z 50", "6 0.6 x-z 50"].map(table);
    let all = [tables.to_vec(), newer.to_vec()].concat();
    // One of the new tables overlaps what is merged, and all new ones each other.
    assert_eq!(plan_beside(&all, &running, &strategy), []);
    let apart = [tables.to_vec(), newer[1..].to_vec()].concat();
    let jobs = plan_beside(&apart, &running, &strategy);
    assert_eq!(
        jobs.iter().map(text).collect::<Vec<_>>(),
        ["Merge 6,3 > 3.6"]
    );
}

/// Small enough that a few tables fill a level.
fn strategies() -> Vec<(Strategy, u32)> {
    let leveled = Leveled::new().levels(5).fanout(4).base_bytes(30 * ENTRY);
    let leveled = leveled.new_runs(3).table_bytes(10 * ENTRY);
    let lazy = LazyLeveled::new().levels(5).runs(3).base_bytes(30 * ENTRY);
    let lazy = lazy.table_bytes(10 * ENTRY);
    let tiered = SizeTiered::new().runs(3).smallest_bytes(10 * ENTRY);
    let tiered = tiered.table_bytes(20 * ENTRY);
    vec![
        (leveled.into(), 1),
        (lazy.into(), 4),
        (tiered.into(), u32::MAX),
        (Fifo::new(100 * ENTRY).into(), u32::MAX),
    ]
}

fn flush(rng: &mut StdRng, store: &mut SimStore, model: &mut BTreeMap<u32, u64>, write: &mut u64) {
    let mut table = BTreeMap::new();
    let from = rng.random_range(0..100);
    let keys = from..=from + rng.random_range(0..100);
    for _ in 0..rng.random_range(1..30) {
        let key = rng.random_range(keys.clone());
        *write += 1;
        let written = rng.random_bool(0.7).then_some(*write);
        table.insert(key, written);
        match written {
            Some(write) => model.insert(key, write),
            None => model.remove(&key),
        };
    }
    store.flush(table);
}

/// Everything that `sstable::compaction` promises of plans, for random tables, with jobs that end in any
/// order while new tables come.
#[test]
fn every_plan_keeps_order_and_contents_and_ends() {
    let mut rng = rng(seed());
    for round in 0..60 {
        for (strategy, sorted_from) in strategies() {
            let is_fifo = matches!(strategy, Strategy::Fifo(_));
            let (mut store, mut model) = (SimStore::default(), BTreeMap::new());
            store.due_percent = [None, Some(0), Some(30)][round % 3];
            let (mut write, mut running) = (0, Vec::new());
            for _ in 0..40 {
                flush(&mut rng, &mut store, &mut model, &mut write);
                let jobs = plan_beside(&store.metas(), &running, &strategy);
                for job in &jobs {
                    store.check_older(job, true);
                }
                running.extend(jobs);
                while !running.is_empty() && rng.random_bool(0.7) {
                    let job = running.swap_remove(rng.random_range(0..running.len()));
                    step(&mut store, &job, sorted_from);
                }
                assert!(
                    is_fifo || store.contents() == model,
                    "round {round}, {strategy:?}"
                );
            }
            for job in running {
                step(&mut store, &job, sorted_from);
            }
            settle(&mut store, &strategy, sorted_from);
            assert!(
                is_fifo || store.contents() == model,
                "round {round}, {strategy:?}"
            );
            assert!(!is_fifo || store.bytes() <= 100 * ENTRY);
        }
    }
}

fn step(store: &mut SimStore, job: &Job, sorted_from: u32) {
    let before = store.debt(5);
    store.apply(job);
    store.check_sorted(sorted_from);
    assert!(store.debt(5) < before, "no progress: {job:?}");
}

/// Plans until there is nothing to do; the number of jobs is bounded, since each one makes the debt
/// smaller.
fn settle(store: &mut SimStore, strategy: &Strategy, sorted_from: u32) {
    for _ in 0..10_000 {
        let jobs = plan(&store.metas(), strategy);
        if jobs.is_empty() {
            return;
        }
        for job in jobs {
            step(store, &job, sorted_from);
        }
    }
    panic!("{strategy:?} does not end");
}

#[test]
fn a_store_can_go_on_with_another_strategy() {
    let mut rng = rng(seed());
    for _ in 0..60 {
        let (mut store, mut model, mut write) = (SimStore::default(), BTreeMap::new(), 0);
        for _ in 0..8 {
            let (strategy, _) = strategies().swap_remove(rng.random_range(0..3));
            for _ in 0..rng.random_range(1..20) {
                flush(&mut rng, &mut store, &mut model, &mut write);
                for job in plan(&store.metas(), &strategy) {
                    store.apply(&job);
                }
                assert_eq!(store.contents(), model);
            }
        }
    }
}

/// What a strategy costs: 400,000 writes of 100 bytes to 100,000 keys, in tables of 1000 keys. How
/// much is written, in percent of what was new; how much space is taken at most, in percent of what is
/// live; and how many sorted runs there are at most.
fn simulate(strategy: &Strategy, sorted_from: u32) -> (u64, u64, usize) {
    let mut rng = rng(5);
    let (mut store, mut write, mut most_runs, mut most_bytes) = (SimStore::default(), 0, 0, 0);
    for _ in 0..400 {
        let mut table = BTreeMap::new();
        while table.len() < 1000 {
            write += 1;
            table.insert(rng.random_range(0..100_000), Some(write));
        }
        store.flush(table);
        loop {
            let jobs = plan(&store.metas(), strategy);
            if jobs.is_empty() {
                break;
            }
            for job in &jobs {
                store.apply_unchecked(job);
            }
        }
        if write > 200_000 {
            most_runs = most_runs.max(store.runs(sorted_from));
            most_bytes = most_bytes.max(store.bytes());
        }
    }
    let written = (store.flushed + store.merged) * 100 / store.flushed;
    let live = store.contents().len() as u64 * ENTRY;
    (written, most_bytes * 100 / live, most_runs)
}

#[test]
fn each_strategy_pays_for_what_it_is_good_at() {
    let (table, base) = (1000 * ENTRY, 8000 * ENTRY);
    let leveled = Leveled::new().base_bytes(base).table_bytes(table);
    let lazy = LazyLeveled::new().base_bytes(base).table_bytes(table);
    let tiered = SizeTiered::new().smallest_bytes(table).table_bytes(table);
    let strategies: [Strategy; 3] = [leveled.into(), lazy.into(), tiered.into()];
    let [one, two, three] = &strategies;
    let costs = [
        simulate(one, 1),
        simulate(two, 6),
        simulate(three, u32::MAX),
    ];
    for (strategy, (writes, space, runs)) in strategies.iter().zip(costs) {
        eprintln!("{writes} % written, {space} % of the space, {runs} runs: {strategy:?}");
    }
    let [leveled, lazy, tiered] = costs;
    assert!(tiered.0 < lazy.0 && lazy.0 < leveled.0, "writes: {costs:?}");
    assert!(leveled.1 < lazy.1 && lazy.1 < tiered.1, "space: {costs:?}");
    assert!(leveled.1 < 130, "space: {costs:?}");
}
