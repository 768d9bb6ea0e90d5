//! The procedures of this crate under the explorer: each passes, and fails when one of its barriers is
//! switched off.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use std::collections::BTreeSet;

use durable_io::sim::{Bound, Exploration, Explorer, Outcome, Subject, Survives};
use durable_io::{Barrier, Disk, Site};
use support::files::{Files, Op};
use support::log::{Append, LogSubject};
use support::{bound, explore, passes};

/// The sites that were reached, by what was in progress and what they make durable.
fn reached(explored: &Exploration) -> BTreeSet<(String, &'static str, Barrier)> {
    let sites = explored.sites.iter();
    sites
        .flat_map(|(site, during)| {
            let of_site = |during: &String| (during.clone(), site.step, site.barrier);
            during.iter().map(of_site).collect::<Vec<_>>()
        })
        .collect()
}

/// Every barrier that `subject` takes within `bound` is needed.
fn every_barrier_is_needed<S: Subject>(subject: &S, bound: &Bound) -> Exploration {
    let explored = passes(subject, bound);
    assert_eq!(explored.counts.sampled_points, 0, "{:?}", explored.counts);
    let sites: Vec<Site> = explored.sites.keys().copied().collect();
    for removal in Explorer::remove_barriers(subject, bound, &sites, &|_removal| {}) {
        assert!(removal.is_caught(), "{removal}");
    }
    explored
}

#[test]
fn replace_file_keeps_its_promise_and_needs_both_barriers() {
    let explored = every_barrier_is_needed(
        &Files::new(&[Op::Replace(20), Op::Replace(1100)]),
        &bound(3),
    );
    for op in ["Replace(20)", "Replace(1100)"] {
        let found = reached(&explored);
        assert!(
            found.contains(&(op.to_owned(), "contents", Barrier::Data)),
            "{found:?}"
        );
        assert!(
            found.contains(&(op.to_owned(), "name", Barrier::Dir)),
            "{found:?}"
        );
    }
}

#[test]
fn publish_keeps_its_promise_and_needs_both_barriers() {
    let explored = every_barrier_is_needed(
        &Files::new(&[Op::Publish(20), Op::Publish(1100)]),
        &bound(3),
    );
    let found = reached(&explored);
    assert!(found.contains(&("Publish(20)".to_owned(), "contents", Barrier::Data)));
    assert!(found.contains(&("Publish(20)".to_owned(), "name", Barrier::Dir)));
}

#[test]
fn create_and_remove_durably_keep_their_promises_and_need_every_barrier() {
    let explored = every_barrier_is_needed(&Files::new(&[Op::Create(600), Op::Remove]), &bound(3));
    let found = reached(&explored);
    assert!(found.contains(&("Create(600)".to_owned(), "contents", Barrier::Data)));
    assert!(found.contains(&("Create(600)".to_owned(), "name", Barrier::Dir)));
    assert!(found.contains(&("Remove".to_owned(), "name", Barrier::Dir)));
}

#[test]
fn all_procedures_together_keep_their_promises() {
    let all = [
        Op::Replace(600),
        Op::Publish(20),
        Op::Create(20),
        Op::Remove,
    ];
    passes(&Files::new(&all), &bound(3));
}

#[test]
fn all_procedures_together_keep_their_promises_where_pages_are_written_whole() {
    let all = [
        Op::Replace(600),
        Op::Publish(20),
        Op::Create(20),
        Op::Remove,
    ];
    let bound = Bound {
        unit: 4096,
        ..bound(3)
    };
    passes(&Files::new(&all), &bound);
}

#[test]
fn group_commit_of_one_thread_keeps_its_promise_and_its_barrier_is_where_the_queue_was_made() {
    let subject = LogSubject::appending(Append::Groups);
    let explored = every_barrier_is_needed(&subject, &bound(3));
    let of_appends: Vec<&Site> = (explored.sites.iter())
        .filter(|(_, during)| during.contains("AppendOne"))
        .map(|(site, _)| site)
        .collect();
    let [queue] = of_appends[..] else {
        panic!("{of_appends:?}");
    };
    assert_eq!(queue.step, "group commit");
    assert!(queue.file.ends_with("log.rs"), "{queue}");
}

#[test]
fn write_durable_at_keeps_its_promise_and_is_needed() {
    let subject = LogSubject::appending(Append::WritesDurably);
    let explored = every_barrier_is_needed(&subject, &bound(3));
    let found = reached(&explored);
    assert!(
        found.contains(&("AppendOne".to_owned(), "", Barrier::Write)),
        "{found:?}"
    );
}

/// A store of directories: opening makes sure of those that it finds.
struct Dirs;

/// The paths that count; what is made on the way to them does not.
const PATHS: [&str; 2] = ["/a/b/c", "/a/d"];

impl Subject for Dirs {
    /// Makes the path of that index.
    type Op = usize;
    type State = BTreeSet<usize>;
    type Store = Disk;

    fn operations(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn empty(&self) -> BTreeSet<usize> {
        BTreeSet::new()
    }

    fn open(&self, disk: &Disk) -> Outcome<Disk> {
        for path in PATHS {
            if disk.open_dir(path).is_ok() {
                // Whoever made it may have died before it was durable.
                disk.create_dir(path)?;
            }
        }
        Ok(disk.clone())
    }

    fn apply(&self, disk: &mut Disk, path: &usize, _n: u64) -> Outcome<Survives> {
        disk.create_dir(PATHS.get(*path).unwrap())?;
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, disk: &mut Disk) -> Outcome<BTreeSet<usize>> {
        let found = PATHS
            .iter()
            .enumerate()
            .filter(|(_, path)| disk.open_dir(path).is_ok());
        Ok(found.map(|(nth, _)| nth).collect())
    }

    fn model(&self, before: &BTreeSet<usize>, path: &usize, _n: u64) -> BTreeSet<usize> {
        before.iter().chain([path]).copied().collect()
    }
}

#[test]
fn create_dir_makes_every_parent_durable_and_also_what_a_dead_process_made() {
    // One site for all the directories of one call: without it none of them is durable.
    let explored = every_barrier_is_needed(&Dirs, &bound(3));
    let found = reached(&explored);
    for during in ["0", "1", "open"] {
        let site = (during.to_owned(), "create_dir", Barrier::Dir);
        assert!(found.contains(&site), "{found:?}");
    }
}

#[test]
fn d01_acknowledged_means_synced() {
    passes(&LogSubject::appending(Append::Syncs), &bound(3));
    let wrong = LogSubject::appending(Append::DoesNotSync);
    assert!(explore(&wrong, &bound(3)).counterexample.is_some());
}

#[test]
fn d02_names_are_synced() {
    let pairs = [
        (Op::ReplaceUnsynced(20), Op::Replace(20)),
        (Op::CreateUnsynced(20), Op::Create(20)),
    ];
    for (unsynced, synced) in pairs {
        let example = explore(&Files::new(&[unsynced]), &bound(3)).counterexample;
        assert!(example.is_some(), "{unsynced:?}");
        let explored = passes(&Files::new(&[synced]), &bound(3));
        let of_names = |site: &&Site| site.step == "name";
        let name = *explored.sites.keys().find(of_names).unwrap();
        let off = Explorer::new(&Files::new(&[synced]))
            .without(&[name])
            .explore(&bound(3), &|_counts| {});
        let example = off.counterexample.expect("a directory sync that is needed");
        assert!(example.to_string().contains("switched off"), "{example}");
    }
}

#[test]
fn d03_no_half_file_under_a_final_name() {
    let in_place = explore(&Files::new(&[Op::ReplaceInPlace(1100)]), &bound(3));
    let example = in_place.counterexample.expect("half a file");
    assert!(example.detail.contains("half a file"), "{example}");
    for op in [Op::Replace(1100), Op::Publish(1100), Op::Create(1100)] {
        passes(&Files::new(&[op]), &bound(3));
    }
}
