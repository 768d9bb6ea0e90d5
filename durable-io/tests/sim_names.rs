//! What a crash can leave of names, call by call: the sets of `crash-model.md` sections 1.2 to 1.4,
//! written down by hand.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use std::collections::BTreeSet;

use durable_io::sim::SimDisk;
use durable_io::{Dir, Disk, Result};
use support::crash_states::crash_states;
use support::picture::{after, contents, of_disk, set};

/// A file of one sector, its bytes durable and its name not.
fn create(dir: &Dir, name: &str, byte: u8) -> Result<()> {
    let file = dir.create_new(name)?;
    file.write_all_at(&[byte; 512], 0)?;
    file.sync_data().map(drop)
}

/// Durable files of one sector.
fn durable(dir: &Dir, files: &[(&str, u8)]) -> Result<()> {
    for (name, byte) in files {
        create(dir, name, *byte)?;
    }
    dir.sync()
}

#[test]
fn a_file_sync_does_not_make_the_name_durable() {
    let found = crash_states(|dir| create(dir, "a", b'A'));
    assert_eq!(found, set(&["", "a 512 A"]));
}

#[test]
fn a_directory_sync_does_not_make_the_content_durable() {
    let found = crash_states(|dir| {
        dir.create_new("a")?.write_all_at(&[b'A'; 512], 0)?;
        dir.sync()
    });
    assert_eq!(found, set(&["a 0", "a 512 A", "a 512 .", "a 512 ?"]));
}

#[test]
fn a_directory_sync_covers_the_names_of_that_directory_alone() {
    let found = crash_states(|dir| {
        dir.create_dir("d")?;
        dir.create_dir("e")?;
        dir.sync()?;
        let (d, e) = (dir.open_dir("d")?, dir.open_dir("e")?);
        d.create_new("x")?;
        e.create_new("y")?;
        dir.create_new("z")?;
        d.sync()
    });
    let expected = ["", "e/y 0", "z 0", "e/y 0, z 0"].map(|others| {
        let text = format!("d/, d/x 0, e/, {others}");
        text.trim_end_matches(", ").to_owned()
    });
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_synced_file_in_a_synced_directory_is_lost_with_the_directorys_own_name() {
    let found = crash_states(|dir| {
        dir.create_dir("d")?;
        let d = dir.open_dir("d")?;
        create(&d, "x", b'X')?;
        d.sync()
    });
    assert_eq!(found, set(&["", "d/, d/x 512 X"]));
}

#[test]
fn names_reach_the_disk_in_any_order() {
    let found = crash_states(|dir| {
        for name in ["a", "b", "c"] {
            dir.create_new(name)?;
        }
        Ok(())
    });
    let expected = [
        "",
        "a 0",
        "b 0",
        "c 0",
        "a 0, b 0",
        "a 0, c 0",
        "b 0, c 0",
        "a 0, b 0, c 0",
    ];
    assert_eq!(found, set(&expected));
}

#[test]
fn a_removal_may_be_undone_until_the_directory_is_synced() {
    let remove = |dir: &Dir| {
        durable(dir, &[("a", b'A'), ("b", b'B')])?;
        dir.remove("a")?;
        dir.remove("b")
    };
    let all = ["", "a 512 A", "b 512 B", "a 512 A, b 512 B"];
    assert_eq!(crash_states(remove), set(&all));
    let synced = crash_states(|dir| remove(dir).and_then(|()| dir.sync()));
    assert_eq!(synced, set(&[""]));
}

#[test]
fn a_removed_name_that_is_given_again_is_the_old_file_none_or_the_new_one() {
    let found = crash_states(|dir| {
        durable(dir, &[("a", b'A')])?;
        dir.remove("a")?;
        create(dir, "a", b'B')
    });
    assert_eq!(found, set(&["a 512 A", "", "a 512 B"]));
}

#[test]
fn a_link_is_a_second_name_of_one_content() {
    let found = crash_states(|dir| {
        durable(dir, &[("a", b'A')])?;
        dir.link("a", "b")?;
        dir.open("a")?.write_all_at(&[b'N'; 512], 0)
    });
    let expected = ["a 512 A", "a 512 N", "a 512 A, b 512 A", "a 512 N, b 512 N"];
    assert_eq!(found, set(&expected));
}

#[test]
fn a_link_into_another_directory_is_durable_by_that_directory_alone() {
    let link = |dir: &Dir| {
        durable(dir, &[("a", b'A')])?;
        dir.create_dir("d")?;
        dir.sync()?;
        dir.link_into("a", &dir.open_dir("d")?, "b")
    };
    let either = ["a 512 A, d/", "a 512 A, d/, d/b 512 A"];
    assert_eq!(crash_states(link), set(&either));
    let here = crash_states(|dir| link(dir).and_then(|()| dir.sync()));
    assert_eq!(here, set(&either), "a sync of the first directory");
    let there = crash_states(|dir| link(dir).and_then(|()| dir.open_dir("d")?.sync()));
    assert_eq!(there, set(&either[1..]));
    // Moved by a link and a removal: the file is lost if only the removal reaches the disk.
    let moved = crash_states(|dir| link(dir).and_then(|()| dir.remove("a")));
    let all = [
        "d/",
        "a 512 A, d/",
        "d/, d/b 512 A",
        "a 512 A, d/, d/b 512 A",
    ];
    assert_eq!(moved, set(&all));
}

#[test]
fn a_removed_directory_may_come_back_with_what_was_in_it() {
    let remove = |dir: &Dir| {
        dir.create_dir("d")?;
        let below = dir.open_dir("d")?;
        durable(&below, &[("x", b'X')])?;
        dir.sync()?;
        below.remove("x")?;
        dir.remove_dir("d")
    };
    let all = ["", "d/", "d/, d/x 512 X"];
    assert_eq!(crash_states(remove), set(&all));
    let synced = crash_states(|dir| remove(dir).and_then(|()| dir.sync()));
    assert_eq!(synced, set(&[""]));
}

#[test]
fn a_directory_that_came_back_takes_names_again() {
    let sim = SimDisk::new();
    let root = sim.disk().open_dir("/").unwrap();
    root.create_dir("d").unwrap();
    root.sync().unwrap();
    root.remove_dir("d").unwrap();
    let reborn = SimDisk::boot(sim.world().lose_unsynced());
    let root = reborn.disk().open_dir("/").unwrap();
    let below = root.open_dir("d").unwrap();
    below.create_new("a").unwrap();
    below.remove("a").unwrap();
    root.remove_dir("d").unwrap();
    root.create_dir("d").unwrap();
    assert!(below.create_new("a").unwrap_err().is_not_found());
    root.open_dir("d").unwrap().create_new("a").unwrap();
}

#[test]
fn a_link_does_not_leave_the_machine() {
    let [here, there] = [(), ()].map(|()| SimDisk::new().disk().open_dir("/").unwrap());
    here.create_new("a").unwrap();
    here.link_into("a", &there, "b").unwrap_err();
}

#[test]
fn a_rename_leaves_either_name_or_both_and_never_neither() {
    let rename = |dir: &Dir| {
        durable(dir, &[("a", b'A')])?;
        dir.rename("a", "b")
    };
    let either = ["a 512 A", "a 512 A, b 512 A", "b 512 A"];
    assert_eq!(crash_states(rename), set(&either));
    let synced = crash_states(|dir| rename(dir).and_then(|()| dir.sync()));
    assert_eq!(synced, set(&["b 512 A"]));
}

#[test]
fn a_rename_over_a_file_shows_the_old_or_the_new_one_and_never_none() {
    let rename = |dir: &Dir| {
        durable(dir, &[("f", b'O'), ("t", b'N')])?;
        dir.rename("t", "f")
    };
    let either = ["f 512 O, t 512 N", "f 512 N, t 512 N", "f 512 N"];
    assert_eq!(crash_states(rename), set(&either));
    let synced = crash_states(|dir| rename(dir).and_then(|()| dir.sync()));
    assert_eq!(synced, set(&["f 512 N"]));
}

#[test]
fn a_renamed_file_that_was_then_removed_may_be_gone_with_the_replaced_one_still_there() {
    let found = crash_states(|dir| {
        durable(dir, &[("f", b'O'), ("t", b'N')])?;
        dir.rename("t", "f")?;
        dir.remove("f")
    });
    let all = [
        "",
        "t 512 N",
        "f 512 N",
        "f 512 N, t 512 N",
        "f 512 O, t 512 N",
    ];
    assert_eq!(found, &set(&all) | &set(&["f 512 O"]));
}

#[test]
fn a_rename_of_a_name_that_is_not_durable_itself() {
    let found = crash_states(|dir| {
        durable(dir, &[("f", b'O')])?;
        create(dir, "t", b'N')?;
        dir.rename("t", "f")
    });
    let expected = ["f 512 O", "f 512 O, t 512 N", "f 512 N", "f 512 N, t 512 N"];
    assert_eq!(found, set(&expected));
}

#[test]
fn a_chain_of_renames_never_loses_the_file() {
    let found = crash_states(|dir| {
        durable(dir, &[("a", b'A')])?;
        dir.rename("a", "b")?;
        dir.rename("b", "c")
    });
    let texts = ["a", "b", "c", "ab", "ac", "bc", "abc"].map(|names| {
        let files: Vec<String> = names.chars().map(|name| format!("{name} 512 A")).collect();
        files.join(", ")
    });
    assert_eq!(found, BTreeSet::from(texts));
}

#[test]
fn a_rename_of_an_unsynced_file_over_another_leaves_it_empty_or_torn() {
    let found = crash_states(|dir| {
        durable(dir, &[("f", b'O')])?;
        dir.create_new("t")?.write_all_at(&[b'N'; 1024], 0)?;
        dir.rename("t", "f")?;
        dir.sync()
    });
    let torn = contents(1024, &[&["N", "_"], &["N", "_"]], &["O"]);
    assert_eq!(found, &set(&["f 0"]) | &after("f ", torn));
}

#[test]
fn a_rename_to_itself_changes_nothing() {
    let found = crash_states(|dir| {
        durable(dir, &[("a", b'A')])?;
        dir.rename("a", "a")
    });
    assert_eq!(found, set(&["a 512 A"]));
}

/// What both backends leave after the same calls.
fn on_both(program: impl Fn(&Dir) -> Result<()>) -> (String, String) {
    let temp = tempfile::TempDir::new().unwrap();
    program(&Disk::os().open_dir(temp.path()).unwrap()).unwrap();
    let mut os: Vec<_> = std::fs::read_dir(temp.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let len = entry.metadata().unwrap().len();
            format!("{} {len}", entry.file_name().into_string().unwrap())
        })
        .collect();
    os.sort();
    let sim = SimDisk::new();
    program(&sim.disk().open_dir("/").unwrap()).unwrap();
    (os.join(", "), of_disk(&sim.disk()))
}

#[test]
fn names_change_as_on_the_operating_system() {
    let (os, sim) = on_both(|dir| {
        for name in ["a", "b", "c", "d"] {
            dir.create_new(name)?;
        }
        dir.rename("a", "b")?;
        dir.link("b", "e")?;
        dir.remove("b")?;
        dir.create_dir("f")?;
        dir.link_into("e", &dir.open_dir("f")?, "g")?;
        dir.remove_dir("f").unwrap_err();
        dir.remove("f").unwrap_err();
        dir.open_dir("f")?.remove("g")?;
        dir.remove_dir("d").unwrap_err();
        dir.remove_dir("f")?;
        dir.rename("c", "c")
    });
    assert_eq!(os, "c 0, d 0, e 0");
    assert_eq!(sim, os);
}

#[test]
#[cfg(unix)]
fn a_rename_between_two_names_of_one_file_does_nothing() {
    let (os, sim) = on_both(|dir| {
        dir.create_new("a")?;
        dir.link("a", "b")?;
        dir.rename("a", "b")
    });
    assert_eq!(os, "a 0, b 0");
    assert_eq!(sim, os);
}

#[test]
fn a_process_death_loses_nothing_and_makes_nothing_durable() {
    let sim = SimDisk::new();
    let root = sim.disk().open_dir("/").unwrap();
    durable(&root, &[("a", b'A')]).unwrap();
    root.rename("a", "b").unwrap();
    root.open("b")
        .unwrap()
        .write_all_at(&[b'N'; 1024], 0)
        .unwrap();
    let reborn = SimDisk::boot(sim.world());
    assert_eq!(of_disk(&reborn.disk()), "b 1024 NN");
    let lost = SimDisk::boot(reborn.world().lose_unsynced());
    assert_eq!(of_disk(&lost.disk()), "a 512 A");
    // The new process can still make the old one's writes durable.
    let root = reborn.disk().open_dir("/").unwrap();
    drop(root.open("b").unwrap().sync_data().unwrap());
    let lost = SimDisk::boot(reborn.world().lose_unsynced());
    assert_eq!(of_disk(&lost.disk()), "a 1024 NN");
    root.sync().unwrap();
    let lost = SimDisk::boot(reborn.world().lose_unsynced());
    assert_eq!(of_disk(&lost.disk()), "b 1024 NN");
}
