//! What a power loss can leave on each file system, program by program, written down by hand. The
//! layer `litmus` of `cargo xtask crashtest` holds the same profiles against the real ones.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use std::collections::BTreeSet;

use durable_io::sim::{Profile, SimDisk, SyncCommits};
use durable_io::{Dir, Result};
use support::picture::{self, set};

const STRICT: Profile = Profile::STRICT;
const EXT4: Profile = Profile::EXT4;
const NOAUTO: Profile = Profile::EXT4_NOAUTO_DA_ALLOC;
const XFS: Profile = Profile::XFS;
const BTRFS: Profile = Profile::BTRFS;

/// The file `f` is durable: 512 times O.
fn old(dir: &Dir) -> Result<()> {
    write(dir, "f", b'O', 0)
}

/// Writes 512 times `byte` to a file that is made if need be.
fn write(dir: &Dir, name: &str, byte: u8, at: u64) -> Result<()> {
    let file = match dir.open(name) {
        Err(error) if error.is_not_found() => dir.create_new(name)?,
        other => other?,
    };
    file.write_all_at(&[byte; 512], at)
}

fn sync(dir: &Dir, name: &str) -> Result<()> {
    dir.open(name)?.sync_data().map(drop)
}

/// What a power loss after `program` leaves under `profile`, of a disk on which `f` was durable.
fn leaves(profile: Profile, program: impl Fn(&Dir) -> Result<()>) -> BTreeSet<String> {
    let machine = SimDisk::with_profile(512, profile);
    old(&machine.disk().open_dir("/").unwrap()).unwrap();
    let machine = SimDisk::boot(machine.world().keep_unsynced());
    program(&machine.disk().open_dir("/").unwrap()).unwrap();
    let states = machine.world().crash_states(1 << 16).unwrap();
    let pictures = states
        .into_iter()
        .map(|world| picture::of_disk(&SimDisk::boot(world).disk()));
    pictures.collect()
}

/// Checks the states of `program` under each profile.
#[track_caller]
fn check(program: impl Fn(&Dir) -> Result<()>, expected: &[(&[Profile], &[&str])]) {
    for (profiles, states) in expected {
        for profile in *profiles {
            assert_eq!(leaves(*profile, &program), set(states), "{}", profile.name);
        }
    }
}

#[test]
fn names_reach_a_journal_in_order() {
    check(
        |dir| {
            dir.create_new("a")?;
            dir.create_new("b").map(drop)
        },
        &[
            (
                &[EXT4, NOAUTO, XFS, BTRFS],
                &["f 512 O", "a 0, f 512 O", "a 0, b 0, f 512 O"],
            ),
            (
                &[STRICT],
                &[
                    "f 512 O",
                    "a 0, f 512 O",
                    "b 0, f 512 O",
                    "a 0, b 0, f 512 O",
                ],
            ),
        ],
    );
}

#[test]
fn a_rename_reaches_a_journal_in_one_piece() {
    check(
        |dir| dir.rename("f", "g"),
        &[
            (&[EXT4, NOAUTO, XFS, BTRFS], &["f 512 O", "g 512 O"]),
            (&[STRICT], &["f 512 O", "g 512 O", "f 512 O, g 512 O"]),
        ],
    );
}

#[test]
fn a_sync_commits_the_journal_up_to_the_last_change_of_its_file() {
    check(
        |dir| {
            dir.remove("f")?;
            write(dir, "other", b'A', 0)?;
            sync(dir, "other")?;
            dir.create_new("late").map(drop)
        },
        &[
            (
                &[EXT4, NOAUTO, XFS],
                &["other 512 A", "late 0, other 512 A"],
            ),
            (
                &[BTRFS],
                &[
                    "f 512 O, other 512 A",
                    "f 512 O, late 0, other 512 A",
                    "other 512 A",
                    "late 0, other 512 A",
                ],
            ),
        ],
    );
}

#[test]
fn a_sync_of_what_has_not_changed_commits_nothing() {
    check(
        |dir| {
            dir.create_dir("d")?;
            sync(dir, "f")
        },
        &[(&[EXT4, XFS, BTRFS], &["f 512 O", "d/, f 512 O"])],
    );
}

#[test]
fn the_creation_of_a_file_or_directory_is_a_change_of_it() {
    check(
        |dir| {
            dir.create_dir("d")?;
            dir.create_new("n")?.sync_data().map(drop)
        },
        &[(&[EXT4, XFS], &["d/, f 512 O, n 0"])],
    );
    check(
        |dir| {
            dir.create_dir("d")?;
            dir.open_dir("d")?.sync()
        },
        &[(&[EXT4, XFS, BTRFS], &["d/, f 512 O"])],
    );
}

#[test]
fn what_an_unsynced_file_shows_once_it_replaced_another() {
    check(
        |dir| {
            write(dir, "new", b'N', 0)?;
            dir.rename("new", "f")?;
            dir.sync()
        },
        &[
            (&[EXT4], &["f 512 N", "f 512 ."]),
            (&[NOAUTO, BTRFS], &["f 512 N", "f 512 .", "f 0"]),
            (&[XFS], &["f 512 N", "f 0"]),
            // Garbage, and what the replaced file held.
            (
                &[STRICT],
                &["f 512 N", "f 512 .", "f 512 ?", "f 512 O", "f 0"],
            ),
        ],
    );
}

#[test]
fn a_file_is_not_seen_longer_without_what_was_made_before() {
    check(
        |dir| {
            dir.create_dir("d")?;
            write(dir, "f", b'N', 512)
        },
        &[
            (
                &[EXT4, NOAUTO, BTRFS],
                &["f 512 O", "d/, f 512 O", "d/, f 1024 O.", "d/, f 1024 ON"],
            ),
            (&[XFS], &["f 512 O", "d/, f 512 O", "d/, f 1024 ON"]),
        ],
    );
}

#[test]
fn only_where_blocks_are_copied_does_overwritten_data_wait() {
    let overwrite = |dir: &Dir| {
        dir.create_dir("d")?;
        write(dir, "f", b'N', 0)
    };
    check(
        overwrite,
        &[
            (&[BTRFS], &["f 512 O", "d/, f 512 O", "d/, f 512 N"]),
            (
                &[EXT4, XFS],
                &["f 512 O", "f 512 N", "d/, f 512 O", "d/, f 512 N"],
            ),
        ],
    );
}

#[test]
fn a_truncation_is_in_the_journal_and_what_is_written_after_it_waits_for_it() {
    check(
        |dir| {
            dir.create_dir("d")?;
            dir.open("f")?.set_len(0)?;
            write(dir, "f", b'N', 0)
        },
        &[
            (
                &[EXT4, NOAUTO, BTRFS],
                &[
                    "f 512 O",
                    "d/, f 512 O",
                    "d/, f 0",
                    "d/, f 512 .",
                    "d/, f 512 N",
                ],
            ),
            (
                &[XFS],
                &["f 512 O", "d/, f 512 O", "d/, f 0", "d/, f 512 N"],
            ),
        ],
    );
}

#[test]
fn a_sync_on_btrfs_makes_all_names_of_the_file_durable_and_frees_the_rest() {
    check(
        |dir| {
            dir.create_new("a")?;
            dir.create_dir("d")?;
            write(&dir.open_dir("d")?, "x", b'X', 0)?;
            dir.create_new("b")?;
            sync(&dir.open_dir("d")?, "x")
        },
        &[(
            &[BTRFS],
            &[
                "d/, d/x 512 X, f 512 O",
                "a 0, d/, d/x 512 X, f 512 O",
                "b 0, d/, d/x 512 X, f 512 O",
                "a 0, b 0, d/, d/x 512 X, f 512 O",
            ],
        )],
    );
}

#[test]
fn a_synced_file_that_took_the_name_of_a_renamed_one_leaves_it_the_new_name() {
    check(
        |dir| {
            dir.rename("f", "g")?;
            write(dir, "f", b'N', 0)?;
            sync(dir, "f")
        },
        &[(&[EXT4, XFS, BTRFS], &["f 512 N, g 512 O"])],
    );
}

/// Seen on Linux 6.18.
#[test]
fn btrfs_can_lose_a_replacement_and_keep_the_removal_of_the_file_that_replaced() {
    let found = leaves(BTRFS, |dir| {
        dir.create_new("g")?;
        dir.sync()?;
        dir.create_dir("d")?;
        dir.rename("g", "f")?;
        dir.remove("f")?;
        dir.open_dir("d")?.sync()
    });
    assert!(found.contains("d/, f 512 O"), "{found:?}");
}

#[test]
fn a_durable_write_commits_what_its_length_needs() {
    check(
        |dir| {
            dir.create_dir("d")?;
            dir.open("f")?.write_durable_at(&[b'N'; 512], 512).map(drop)
        },
        &[
            (&[EXT4, NOAUTO, XFS], &["d/, f 1024 ON"]),
            (&[BTRFS], &["f 1024 ON", "d/, f 1024 ON"]),
        ],
    );
}

#[test]
fn more_states_than_the_bound_are_not_listed() {
    let machine = SimDisk::with_profile(512, XFS);
    let dir = machine.disk().open_dir("/").unwrap();
    write(&dir, "f", b'A', 0).unwrap();
    assert!(machine.world().crash_states(1).is_none());
    assert_eq!(machine.world().crash_states(4).unwrap().len(), 3);
}

#[test]
fn a_profile_is_put_together_from_its_promises() {
    let ordered = Profile {
        journal: true,
        ..STRICT
    };
    assert_eq!(ordered.sync_commits, SyncCommits::Nothing);
    check(
        |dir| {
            dir.remove("f")?;
            write(dir, "a", b'A', 0)?;
            sync(dir, "a")
        },
        &[(&[ordered], &["", "a 512 A", "f 512 O"])],
    );
}

#[test]
fn a_file_that_replaces_another_is_written_page_by_page() {
    let replace = |dir: &Dir| {
        write(dir, "g", b'N', 4096 - 256)?;
        dir.rename("g", "f")
    };
    let one_page = "f 512 O, g 4096 .......(.256N256)";
    assert!(leaves(EXT4, replace).contains(one_page));
    assert!(leaves(STRICT, replace).contains(one_page));
}
