//! What the explorer relies on: the hash of a state is that of its image, a sync covers what came
//! before it began, and a sample covers single effects and pairs.

use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::sim::SimDisk;
use crate::sim::world::ChainChange;
use crate::{Barrier, Site};

fn site() -> Site {
    Site::new(std::panic::Location::caller(), Barrier::Data, "")
}

/// A machine whose disk holds these files, all of it durable.
fn machine(files: &[(&str, &[u8])]) -> SimDisk {
    let sim = SimDisk::new();
    let root = sim.disk().open_dir("/").unwrap();
    for (name, bytes) in files {
        root.create_new(name)
            .unwrap()
            .write_all_at(bytes, 0)
            .unwrap();
    }
    SimDisk::boot(sim.world().keep_unsynced())
}

/// Fails if two images have one hash, or one image has two.
fn assert_one_to_one(states: &[(u64, Image)]) {
    let mut image_of: HashMap<u64, &Image> = HashMap::new();
    let mut hash_of: HashMap<&Image, u64> = HashMap::new();
    for (hash, image) in states {
        let first = *image_of.entry(*hash).or_insert(image);
        assert!(first == image, "one hash for two images");
        let first = *hash_of.entry(image).or_insert(*hash);
        assert!(first == *hash, "two hashes for one image");
    }
}

#[test]
fn the_hash_of_a_state_is_that_of_its_image() {
    let sim = machine(&[("old", &[b'O'; 700]), ("log", &[b'L'; 900])]);
    let root = sim.disk().open_dir("/").unwrap();
    root.remove("old").unwrap();
    root.create_new("new")
        .unwrap()
        .write_all_at(&[b'N'; 800], 0)
        .unwrap();
    root.open("log")
        .unwrap()
        .write_all_at(&[b'M'; 1024], 100)
        .unwrap();
    let (visited, states) = visit(&mut States::new(1 << 13), &sim.world());
    assert!(!visited.sampled && visited.states > 100, "{visited:?}");
    assert_one_to_one(&states);
}

#[test]
fn the_hash_of_a_state_in_which_a_file_has_two_names_is_that_of_its_image() {
    let sim = machine(&[("a", b"")]);
    let root = sim.disk().open_dir("/").unwrap();
    let file = root.open("a").unwrap();
    file.write_all_at(&[b'A'; 512], 0).unwrap();
    root.rename("a", "b").unwrap();
    assert_one_to_one(&visit(&mut States::new(1 << 13), &sim.world()).1);
}

#[test]
fn a_state_is_not_taken_for_one_that_no_crash_left() {
    // One file of two names, which is either empty or holds As.
    let sim = machine(&[("a", b"")]);
    let root = sim.disk().open_dir("/").unwrap();
    root.open("a").unwrap().set_len(3).unwrap();
    root.link("a", "b").unwrap();
    let (_, first) = visit(&mut States::new(1 << 13), &sim.world());
    // Two files: b holds three bytes, a none.
    let (_, second) = visit(
        &mut States::new(1 << 13),
        &machine(&[("a", b""), ("b", &[0; 3])]).world(),
    );
    let images: BTreeSet<&Image> = first.iter().map(|(_, image)| image).collect();
    for (hash, image) in &second {
        assert!(!images.contains(image), "the test itself");
        assert!(
            first.iter().all(|(of, _)| of != hash),
            "the explorer would leave it out"
        );
    }
}

#[test]
fn a_cached_state_belongs_to_the_stale_content_it_was_made_from() {
    let sim = machine(&[("old 1", &[b'1'; 512]), ("old 2", &[b'2'; 512])]);
    let root = sim.disk().open_dir("/").unwrap();
    let log = root.create_new("log").unwrap();
    log.write_all_at(&[b'L'; 512], 0).unwrap();
    let base = sim.world();
    // As after two deaths of a process, of which each recovery removes another old file.
    let without = |name: &str| {
        let mut world = base.clone();
        world.remove(crate::sim::world::ROOT, name).unwrap();
        world
    };
    let (first, mut second) = (without("old 1"), without("old 2"));
    let mut states = States::new(1 << 13);
    let (_, mut all) = visit(&mut states, &first);
    let address = Arc::as_ptr(&first.stale[0]);
    drop(first);
    // The allocator gives the place of the first world's stale content to the second's.
    let held: Vec<_> = (0..1000)
        .map(|_| Arc::new(second.stale[0].to_vec()))
        .collect();
    let reused = held.iter().find(|stale| Arc::as_ptr(stale) == address);
    let Some(reused) = reused else { return };
    second.stale[0] = Arc::clone(reused);
    all.extend(visit(&mut states, &second).1);
    assert_one_to_one(&all);
}

#[test]
fn worlds_with_different_futures_have_different_full_hashes() {
    let (renamed, linked) = (machine(&[("a", b"A")]), machine(&[("a", b"A")]));
    let root = |sim: &SimDisk| sim.disk().open_dir("/").unwrap();
    root(&renamed).rename("a", "b").unwrap();
    root(&linked).link("a", "b").unwrap();
    root(&linked).remove("a").unwrap();
    let (renamed, linked) = (renamed.world(), linked.world());
    // Only the second may lose both names.
    assert_ne!(
        crash_images(1 << 13, &renamed),
        crash_images(1 << 13, &linked)
    );
    assert_ne!(renamed.full_hash(), linked.full_hash());
}

#[test]
fn what_is_written_between_the_two_halves_of_a_sync_is_not_covered() {
    let sim = machine(&[("log", &[b'O'; 1024])]);
    let file = sim.disk().open_dir("/").unwrap().open("log").unwrap();
    file.write_all_at(&[b'1'; 512], 0).unwrap();
    let limit = sim.lock().begin_sync(&site()).unwrap();
    // Another thread: over what the sync covers, beside it, and beyond the end.
    file.write_all_at(&[b'2'; 1024], 0).unwrap();
    file.write_all_at(&[b'3'; 512], 1024).unwrap();
    let ino = sim.world().lookup(0, "log").unwrap();
    sim.lock()
        .world
        .for_covered(ino, ChainChange::Promote(limit));
    let world = sim.world();
    let durable = [[b'1'; 512], [b'O'; 512]].concat();
    assert_eq!(world.lose_unsynced().file_bytes("/log"), Some(durable));
    let states = crash_images(1 << 13, &world).unwrap();
    // First sector 1 or 2, second O or 2; the length 1024, or 1536 with a third sector that is
    // 3, zero or garbage.
    assert_eq!(states.len(), 2 * 2 * (1 + 3));
}

#[test]
fn a_failed_sync_loses_only_what_was_written_before_it_began() {
    for cache_keeps in [true, false] {
        let sim = machine(&[("log", &[b'O'; 1024])]);
        let file = sim.disk().open_dir("/").unwrap().open("log").unwrap();
        file.write_all_at(&[b'1'; 512], 0).unwrap();
        let limit = sim.lock().begin_sync(&site()).unwrap();
        file.write_all_at(&[b'2'; 512], 512).unwrap();
        let ino = sim.world().lookup(0, "log").unwrap();
        sim.lock()
            .world
            .for_covered(ino, ChainChange::Lose { limit, cache_keeps });
        let world = sim.world();
        let bytes = |first: u8, second: u8| Some([[first; 512], [second; 512]].concat());
        let seen = if cache_keeps { b'1' } else { b'O' };
        assert_eq!(world.file_bytes("/log"), bytes(seen, b'2'));
        assert_eq!(world.lose_unsynced().file_bytes("/log"), bytes(b'O', b'O'));
        assert_eq!(world.keep_unsynced().file_bytes("/log"), bytes(b'O', b'2'));
    }
}

#[test]
fn an_instant_with_as_many_states_as_the_bound_is_tried_in_full_and_one_with_more_is_sampled() {
    let sim = machine(&[("log", &[b'O'; 3 * 512])]);
    let file = sim.disk().open_dir("/").unwrap().open("log").unwrap();
    file.write_all_at(&[b'N'; 3 * 512], 0).unwrap();
    let world = sim.world();
    let (visited, states) = visit(&mut States::new(8), &world);
    assert_eq!((visited.states, visited.sampled), (8, false));
    let distinct: BTreeSet<&Image> = states.iter().map(|(_, image)| image).collect();
    assert_eq!(distinct.len(), 8);
    assert!(visit(&mut States::new(7), &world).0.sampled);
}

#[test]
fn a_sample_has_every_effect_alone_lost_and_alone_kept_and_every_pair_in_four_ways() {
    const SECTORS: usize = 60;
    let sim = machine(&[("log", &vec![b'O'; SECTORS * 512])]);
    let file = sim.disk().open_dir("/").unwrap().open("log").unwrap();
    file.write_all_at(&vec![b'N'; SECTORS * 512], 0).unwrap();
    let (visited, states) = visit(&mut States::new(1 << 13), &sim.world());
    assert!(visited.sampled);
    let sampled: BTreeSet<Vec<bool>> = (states.iter())
        .map(|(_, image)| {
            let bytes = image["/log"].as_ref().unwrap();
            bytes.chunks(512).map(|sector| sector[0] == b'N').collect()
        })
        .collect();
    assert!(sampled.contains(&vec![false; SECTORS]) && sampled.contains(&vec![true; SECTORS]));
    for first in 0..SECTORS {
        for others in [false, true] {
            let mut alone = vec![others; SECTORS];
            alone[first] = !others;
            assert!(
                sampled.contains(&alone),
                "sector {first} alone is {}",
                !others
            );
        }
        for second in 0..first {
            let ways: BTreeSet<(bool, bool)> = sampled
                .iter()
                .map(|kept| (kept[first], kept[second]))
                .collect();
            assert_eq!(ways.len(), 4, "sectors {first} and {second}");
        }
    }
}
