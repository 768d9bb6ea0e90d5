//! What a crash can leave of a file's content, call by call: the sets of `crash-model.md` sections 1.2 to
//! 1.5, written down by hand.
#![allow(clippy::unwrap_used, reason = "test")]

mod support;

use std::collections::BTreeSet;

use durable_io::{Advice, Dir, File, Result};
use support::crash_states::{crash_states, crash_states_torn_at};
use support::picture::{after, contents, set};

/// A durable file `log` of `len` bytes.
fn log(dir: &Dir, byte: u8, len: usize) -> Result<File> {
    let file = dir.create_new("log")?;
    write(&file, byte, 0, len)?;
    drop(file.sync_data()?);
    dir.sync()?;
    Ok(file)
}

fn write(file: &File, byte: u8, at: u64, len: usize) -> Result<()> {
    file.write_all_at(&vec![byte; len], at)
}

const A: &[&str] = &["A", "_"];

#[test]
fn an_unsynced_append_leaves_any_sectors_with_zeros_or_garbage_in_the_holes_or_nothing() {
    let found = crash_states(|dir| write(&log(dir, b'-', 0)?, b'A', 0, 1500));
    let expected = &set(&["log 0"]) | &after("log ", contents(1500, &[A, A, A], &[]));
    assert_eq!(found, expected);
    assert_eq!(found.len(), 1 + 1 + 7 * 2);
}

#[test]
fn a_write_of_many_pages_can_end_after_each_of_them() {
    for written in [
        |file: &File| file.write_all_at(&[b'A'; 9000], 0),
        // Only the first page is asked for; the kernel may end the file there.
        |file: &File| {
            file.write_all_at(&[b'A'; 9000], 0)?;
            file.write_durable_at(b"A", 500).map(drop)
        },
    ] {
        let found = crash_states_torn_at(4096, |dir| written(&log(dir, b'-', 0)?));
        let length = |picture: &String| picture.split(' ').nth(1).unwrap().parse().unwrap();
        let lengths: BTreeSet<usize> = found.iter().map(length).collect();
        let synced = !found.contains("log 0");
        let expected = [0, 4096, 8192, 9000].into_iter().skip(usize::from(synced));
        assert_eq!(lengths, expected.collect());
    }
}

#[test]
fn a_hole_shows_what_a_removed_file_held_at_the_same_offset() {
    let found = crash_states(|dir| {
        for (name, byte, len) in [("long", b'S', 1500), ("short", b'T', 512)] {
            write(&dir.create_new(name)?, byte, 0, len)?;
            dir.remove(name)?;
        }
        write(&log(dir, b'-', 0)?, b'A', 0, 1500)
    });
    let held = contents(1500, &[A, A, A], &["SSS", "T"]);
    assert_eq!(found, &set(&["log 0"]) | &after("log ", held));
    assert!(found.contains("log 1500 ASS") && found.contains("log 1500 T.A"));
}

#[test]
fn a_hole_shows_what_the_same_file_held_before_it_was_truncated_or_replaced() {
    let truncated = crash_states(|dir| {
        let file = log(dir, b'S', 1024)?;
        file.set_len(0)?;
        drop(file.sync_data()?);
        write(&file, b'A', 0, 1024)
    });
    let states = &set(&["log 0"]) | &after("log ", contents(1024, &[A, A], &["SS"]));
    assert_eq!(truncated, states);
    let replaced = crash_states(|dir| {
        log(dir, b'S', 1024)?;
        let new = dir.create_new("new")?;
        dir.rename("new", "log")?;
        dir.sync()?;
        write(&new, b'A', 0, 1024)
    });
    assert_eq!(replaced, states);
}

#[test]
fn synced_bytes_stay_also_in_the_sector_that_an_unsynced_append_goes_on_in() {
    let found = crash_states(|dir| write(&log(dir, b'D', 600)?, b'A', 600, 1500));
    let shared: &[&str] = &["(D88A424)", "(D88.424)"];
    let long = contents(2100, &[&["D"], shared, A, A, A], &[]);
    assert_eq!(found, &set(&["log 600 DD"]) | &after("log ", long));
}

#[test]
fn an_append_over_the_end_of_a_page_may_grow_the_file_only_up_to_there() {
    let found = crash_states(|dir| write(&log(dir, b'D', 2500)?, b'A', 2500, 2500));
    let d: &[&str] = &["D"];
    let shared: &[&str] = &["(D452A60)", "(D452.60)"];
    let page = [d, d, d, d, shared, A, A, A];
    let all = [&page[..], &[A, A]].concat();
    let mut expected = set(&["log 2500 DDDDD"]);
    expected.extend(after("log ", contents(4096, &page, &[])));
    expected.extend(after("log ", contents(5000, &all, &[])));
    assert_eq!(found, expected);
}

#[test]
fn an_overwritten_sector_is_old_or_new_each_for_itself() {
    let found = crash_states(|dir| write(&log(dir, b'O', 1536)?, b'N', 512, 1000));
    let last: &[&str] = &["(N488O24)", "O"];
    let expected = contents(1536, &[&["O"], &["O", "N"], last], &[]);
    assert_eq!(found, after("log ", expected));
    assert_eq!(found.len(), 4);
}

#[test]
fn several_writes_of_a_sector_reach_the_disk_in_their_order() {
    let found = crash_states(|dir| {
        let file = log(dir, b'O', 1024)?;
        write(&file, b'1', 0, 1024)?;
        write(&file, b'2', 0, 100)?;
        write(&file, b'3', 512, 512)
    });
    // The last: 100 twos and 412 ones.
    let first: &[&str] = &["O", "1", "(21001412)"];
    let expected = contents(1024, &[first, &["O", "1", "3"]], &[]);
    assert_eq!(found, after("log ", expected));
}

#[test]
fn a_sync_through_any_handle_covers_all_that_was_written_and_nothing_later() {
    let found = crash_states(|dir| {
        let file = log(dir, b'O', 512)?;
        write(&file, b'A', 0, 1024)?;
        drop(dir.open("log")?.sync_all()?);
        write(&file, b'B', 512, 512)
    });
    assert_eq!(found, set(&["log 1024 AA", "log 1024 AB"]));
}

#[test]
fn hints_and_dropped_handles_make_nothing_durable() {
    let found = crash_states(|dir| {
        let file = log(dir, b'O', 512)?;
        write(&file, b'N', 0, 512)?;
        file.start_writeback(0, 512);
        file.advise(0, 512, Advice::DontNeed);
        drop(file);
        dir.sync()
    });
    assert_eq!(found, set(&["log 512 O", "log 512 N"]));
}

#[test]
fn a_truncation_that_is_not_synced_may_be_lost_and_never_touches_what_it_keeps() {
    let found = crash_states(|dir| log(dir, b'O', 1536)?.set_len(700));
    assert!(found.contains("log 1536 OOO") && found.contains("log 700 OO"));
    for state in &found {
        let kept = ["log 700 OO", "log 1536 OO", "log 1536 O(O188.324)"];
        assert!(kept.iter().any(|kept| state.starts_with(kept)), "{state}");
    }
    let synced = crash_states(|dir| {
        let file = log(dir, b'O', 1536)?;
        file.set_len(700)?;
        file.sync_data().map(drop)
    });
    assert_eq!(synced, set(&["log 700 OO"]));
}

#[test]
fn what_was_truncated_does_not_come_back_when_the_file_grows_again() {
    let found = crash_states(|dir| {
        let file = log(dir, b'O', 1536)?;
        file.set_len(700)?;
        file.set_len(1536)?;
        file.sync_data().map(drop)
    });
    assert_eq!(found, set(&["log 1536 O(O188.324)."]));
}

#[test]
fn a_longer_file_has_holes_until_it_is_synced_and_zeros_then() {
    let lengthen: fn(&File) -> Result<()> = |file| file.set_len(1500);
    let allocate: fn(&File) -> Result<()> = |file| file.allocate(600, 900);
    for longer in [lengthen, allocate] {
        let found = crash_states(|dir| longer(&log(dir, b'D', 600)?));
        let long = contents(1500, &[&["D"], &["(D88.424)"], &["_", "."]], &[]);
        assert_eq!(found, &set(&["log 600 DD"]) | &after("log ", long));
        let synced = crash_states(|dir| {
            let file = log(dir, b'D', 600)?;
            longer(&file)?;
            file.sync_data().map(drop)
        });
        assert_eq!(synced, set(&["log 1500 D(D88.424)."]));
    }
}

#[test]
fn allocating_what_is_there_changes_nothing() {
    let found = crash_states(|dir| log(dir, b'D', 1024)?.allocate(100, 900));
    assert_eq!(found, set(&["log 1024 DD"]));
}

#[test]
fn a_write_into_reserved_space_leaves_zeros_or_the_new_bytes_and_no_garbage() {
    let found = crash_states(|dir| {
        let file = log(dir, b'-', 0)?;
        file.write_zeros(0, 1024)?;
        drop(file.sync_data()?);
        write(&file, b'A', 0, 1024)
    });
    let expected = contents(1024, &[&["A", "."], &["A", "."]], &[]);
    assert_eq!(found, after("log ", expected));
}

#[test]
fn the_gap_before_a_write_beyond_the_end_is_zeros_once_synced() {
    let gap = |dir: &Dir| {
        let file = log(dir, b'D', 512)?;
        write(&file, b'A', 1536, 512)?;
        Ok(file)
    };
    let found = crash_states(|dir| gap(dir).map(drop));
    for state in [
        "log 512 D",
        "log 2048 D..A",
        "log 2048 D??A",
        "log 2048 D???",
        "log 2048 D.?A",
    ] {
        assert!(found.contains(state), "{state} is missing in {found:?}");
    }
    let synced = crash_states(|dir| gap(dir)?.sync_data().map(drop));
    assert_eq!(synced, set(&["log 2048 D..A"]));
}

#[test]
fn a_durable_write_covers_its_own_range_and_no_other_pending_one() {
    let found = crash_states(|dir| {
        let file = log(dir, b'O', 2048)?;
        write(&file, b'A', 0, 512)?;
        write(&file, b'A', 1024, 1024)?;
        drop(file.write_durable_at(&[b'B'; 600], 512)?);
        Ok(())
    });
    let old_or_new: &[&str] = &["O", "A"];
    // The third sector was written whole, with the pending bytes beside the range.
    let expected = contents(2048, &[old_or_new, &["B"], &["(B88A424)"], old_or_new], &[]);
    assert_eq!(found, after("log ", expected));
}

#[test]
fn a_durable_append_makes_the_length_durable_and_nothing_before_it() {
    let found = crash_states(|dir| {
        let file = log(dir, b'-', 0)?;
        write(&file, b'A', 0, 512)?;
        drop(file.write_durable_at(&[b'B'; 512], 512)?);
        Ok(())
    });
    assert_eq!(found, after("log ", contents(1024, &[A, &["B"]], &[])));
}

#[test]
fn a_durable_write_does_not_make_the_length_of_a_pending_append_durable() {
    let found = crash_states(|dir| {
        let file = log(dir, b'O', 512)?;
        write(&file, b'A', 512, 512)?;
        drop(file.write_durable_at(&[b'B'; 512], 0)?);
        Ok(())
    });
    let long = contents(1024, &[&["B"], A], &[]);
    assert_eq!(found, &set(&["log 512 B"]) | &after("log ", long));
}

#[test]
fn a_disk_with_pages_of_4096_bytes_writes_whole_pages() {
    let found = crash_states_torn_at(4096, |dir| {
        write(&log(dir, b'O', 3 * 4096)?, b'N', 4096 - 512, 4096 + 1024)
    });
    let (old, new) = ("OOOOOOOO", "NNNNNNNN");
    let pages = [&["OOOOOOON", old][..], &[new, old], &["NOOOOOOO", old]];
    assert_eq!(found, after("log ", contents(3 * 4096, &pages, &[])));
    assert_eq!(found.len(), 8);
}

/// Programs of which the coarser disk must leave no state that the finer one cannot leave.
fn assert_coarse_within_fine(programs: &[fn(&Dir) -> Result<()>]) {
    for (nth, program) in programs.iter().enumerate() {
        let (coarse, fine) = (crash_states_torn_at(4096, program), crash_states(program));
        assert!(
            coarse.len() > 1 && coarse.len() < fine.len(),
            "program {nth}"
        );
        let missing: Vec<_> = coarse.difference(&fine).collect();
        assert!(missing.is_empty(), "program {nth}: {missing:?}");
    }
}

#[test]
fn whatever_a_disk_of_4096_bytes_leaves_one_of_512_bytes_leaves_too() {
    assert_coarse_within_fine(&[
        |dir| write(&log(dir, b'O', 1500)?, b'N', 100, 2000),
        |dir| write(&log(dir, b'O', 5000)?, b'N', 3000, 2000),
        |dir| write(&log(dir, b'-', 0)?, b'A', 0, 4500),
        |dir| log(dir, b'O', 3000)?.set_len(700),
        |dir| {
            let file = log(dir, b'-', 0)?;
            write(&file, b'A', 0, 600)?;
            dir.rename("log", "new")?;
            log(dir, b'B', 300).map(drop)
        },
    ]);
}
