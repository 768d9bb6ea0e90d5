//! Faults that are no crash, one by one: each does what its description says, and no more.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

mod support;

use durable_io::Result;
use durable_io::sim::{FaultKind, ShortBy};
use support::machine::{EINTR, EIO, ENOSPC, Machine, code};
use support::picture::of_file;

type Call = fn(&Machine) -> Result<()>;

/// Every call that reaches the disk.
const CALLS: [(&str, Call); 21] = [
    ("open", |m| m.dir.open("log").map(drop)),
    ("open_dir", |m| m.sim.disk().open_dir("/").map(drop)),
    ("create_new", |m| m.dir.create_new("new").map(drop)),
    ("create_dir", |m| m.dir.create_dir("new")),
    ("rename", |m| m.dir.rename("log", "new")),
    ("rename over", |m| m.dir.rename("log", "other")),
    ("link", |m| m.dir.link("log", "new")),
    ("link_into", |m| {
        m.dir.link_into("log", &m.sim.disk().open_dir("/")?, "new")
    }),
    ("remove", |m| m.dir.remove("log")),
    ("remove_dir", |m| m.dir.remove_dir("below")),
    ("map", |m| m.log.map(0..1024).map(drop)),
    ("list", |m| m.dir.list().map(drop)),
    ("len", |m| m.log.len().map(drop)),
    ("read", |m| m.log.read_at(&mut [0; 9], 0).map(drop)),
    ("write", |m| m.log.write_all_at(&[b'N'; 700], 0)),
    ("write_durable", |m| {
        m.log.write_durable_at(&[b'N'; 700], 0).map(drop)
    }),
    ("set_len", |m| m.log.set_len(600)),
    ("allocate", |m| m.log.allocate(0, 2048)),
    ("sync_data", |m| m.log.sync_data().map(drop)),
    ("sync_dir", |m| m.dir.sync()),
    ("try_lock", |m| m.dir.try_lock("LOCK").map(drop)),
];

#[test]
fn a_call_that_fails_has_done_nothing() {
    for (name, call) in CALLS {
        let machine = Machine::new();
        let before = machine.pictures();
        machine.strike_next(FaultKind::Errno(EIO));
        assert_eq!(code(call(&machine)), Some(EIO), "{name}");
        assert_eq!(machine.pictures(), before, "{name}");
        assert_eq!(machine.sim.clear_fault(), 1, "{name}");
    }
}

#[test]
fn a_call_that_fails_although_it_happened_leaves_what_the_same_call_leaves() {
    let changes = [
        "create_new",
        "create_dir",
        "rename",
        "rename over",
        "link",
        "remove",
        "write",
    ];
    for (name, call) in CALLS {
        if !changes.contains(&name) {
            continue;
        }
        let (machine, succeeding) = (Machine::new(), Machine::new());
        machine.strike_next(FaultKind::ErrnoAfter(EIO));
        assert_eq!(code(call(&machine)), Some(EIO), "{name}");
        call(&succeeding).unwrap();
        assert_eq!(machine.pictures(), succeeding.pictures(), "{name}");
        assert_ne!(machine.pictures(), Machine::new().pictures(), "{name}");
    }
}

#[test]
fn a_durable_write_that_fails_although_it_happened_is_not_durable() {
    let machine = Machine::new();
    machine.strike_next(FaultKind::ErrnoAfter(EIO));
    let result = machine.log.write_durable_at(&[b'N'; 512], 0);
    assert_eq!(code(result), Some(EIO));
    assert_eq!(machine.log(), ["1024 NO", "1024 OO", "1024 NO"]);
}

#[test]
fn an_interrupted_call_is_made_again_unless_it_syncs() {
    for (name, call) in CALLS {
        let machine = Machine::new();
        machine.strike_next(FaultKind::Errno(EINTR));
        let gives_up = ["sync", "write_durable"];
        let result = call(&machine);
        if gives_up.iter().any(|of| name.starts_with(of)) {
            assert_eq!(
                result.err().map(|e| code::<()>(Err(e))),
                Some(Some(EINTR)),
                "{name}"
            );
        } else {
            assert!(result.is_ok(), "{name}");
        }
        assert_eq!(machine.sim.clear_fault(), 1, "{name}");
    }
}

/// How many of 1500 bytes a short call moves.
const SHORT: [(ShortBy, u64); 3] = [
    (ShortBy::OneByte, 1),
    (ShortBy::WholeSectors, 1024),
    (ShortBy::AllButOne, 1499),
];

#[test]
fn a_call_that_is_refused_changes_nothing_and_the_next_one_succeeds() {
    // ENOMEM, EACCES, EMFILE, ENFILE, EFBIG, ENOSPC, EROFS, EDQUOT.
    for errno in [12, 13, 24, 23, 27, 28, 30, 122] {
        for (name, call) in CALLS {
            if ["write", "sync"].iter().any(|of| name.starts_with(of)) {
                continue;
            }
            let machine = Machine::new();
            // Maps and links open something first.
            let skip = u64::from(name == "map" || name == "link_into");
            let before = machine.pictures();
            machine.plan(skip, FaultKind::Errno(errno), false);
            let error = call(&machine).unwrap_err();
            assert!(error.changed_nothing(), "{name}: {error}");
            assert!(
                error.is_no_space() || error.resource().is_some(),
                "{name}: {error}"
            );
            assert_eq!(machine.pictures(), before, "{name}");
            call(&machine).unwrap();
            assert_eq!(machine.sim.clear_fault(), 1, "{name}");
            machine.log.write_all_at(b"N", 0).unwrap();
            drop(machine.log.sync_data().unwrap());
            machine.dir.sync().unwrap();
        }
    }
}

#[test]
fn a_short_write_is_gone_on_with_where_it_stopped() {
    for (by, moved) in SHORT {
        let machine = Machine::new();
        machine.strike_next(FaultKind::Short(by));
        machine.sim.start_trace();
        machine.log.write_all_at(&[b'N'; 1500], 100).unwrap();
        let expected = [(100, 1500), (100 + moved, 1500 - moved)];
        assert_eq!(machine.lengths("write"), expected, "{by:?}");
        assert_eq!(of_file(&machine.dir, "log"), "1600 (O100N412)NNN", "{by:?}");
    }
}

#[test]
fn a_call_interrupted_at_a_sector_never_moves_all_its_sectors() {
    let machine = Machine::new();
    machine.strike_next(FaultKind::Short(ShortBy::WholeSectors));
    machine.sim.start_trace();
    machine.log.write_all_at(&[b'N'; 1024], 0).unwrap();
    assert_eq!(machine.lengths("write"), [(0, 1024), (512, 512)]);
}

#[test]
fn a_short_durable_write_is_gone_on_with_and_durable_in_the_end() {
    for (by, moved) in SHORT {
        let machine = Machine::new();
        machine.strike_next(FaultKind::Short(by));
        machine.sim.start_trace();
        drop(machine.log.write_durable_at(&[b'N'; 1500], 0).unwrap());
        let expected = [(0, 1500), (moved, 1500 - moved)];
        assert_eq!(machine.lengths("write_durable"), expected, "{by:?}");
        assert_eq!(machine.log(), ["1500 NNN"; 3], "{by:?}");
    }
}

#[test]
fn a_short_read_is_gone_on_with_where_it_stopped() {
    for (by, moved) in SHORT {
        let machine = Machine::new();
        machine.log.set_len(1500).unwrap();
        machine.strike_next(FaultKind::Short(by));
        machine.sim.start_trace();
        let mut bytes = [1; 1500];
        machine.log.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(machine.lengths("read"), [(0, 1500), (moved, 1500 - moved)]);
        assert_eq!(
            bytes[..],
            [[b'O'; 1024].as_slice(), &[0; 476]].concat(),
            "{by:?}"
        );
    }
}

#[test]
fn calls_that_stay_short_are_completed_byte_by_byte_and_sector_by_sector() {
    for (by, calls) in [(ShortBy::OneByte, 1500), (ShortBy::WholeSectors, 478)] {
        let machine = Machine::new();
        machine.plan(0, FaultKind::Short(by), true);
        machine.sim.start_trace();
        machine.log.write_all_at(&[b'N'; 1500], 0).unwrap();
        // Whole sectors: 1024 of the 1500 bytes, and then 476 times one.
        let expected = if by == ShortBy::OneByte {
            calls
        } else {
            calls - 1
        };
        assert_eq!(machine.lengths("write").len(), expected);
        let mut bytes = [0; 1500];
        machine.log.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [b'N'; 1500]);
    }
}

#[test]
fn a_fault_strikes_once_and_only_at_its_call() {
    let machine = Machine::new();
    machine.plan(2, FaultKind::Errno(EIO), false);
    let outcomes: Vec<_> = (0..5).map(|_| code(machine.dir.list())).collect();
    assert_eq!(outcomes, [None, None, Some(EIO), None, None]);
    assert_eq!(machine.sim.clear_fault(), 1);
}

#[test]
fn a_sticky_fault_strikes_every_later_call_that_can_meet_it_and_no_other() {
    let machine = Machine::new();
    machine.plan(1, FaultKind::Errno(ENOSPC), true);
    machine.dir.create_new("a").unwrap();
    assert!(machine.dir.create_new("b").is_err());
    // A full disk is met by what needs space, not by reading and opening.
    drop(machine.dir.open("log").unwrap());
    machine.log.read_at(&mut [0; 9], 0).unwrap();
    machine.dir.list().unwrap();
    assert!(machine.log.allocate(0, 9000).is_err());
    assert!(machine.log.write_all_at(b"x", 0).is_err());
    assert_eq!(machine.sim.clear_fault(), 3);
    machine.dir.create_new("b").unwrap();
}

#[test]
fn the_last_planned_fault_stands_and_one_taken_back_strikes_nothing() {
    let machine = Machine::new();
    machine.strike_next(FaultKind::Errno(EIO));
    machine.strike_next(FaultKind::Errno(ENOSPC));
    assert_eq!(code(machine.dir.list()), Some(ENOSPC));
    machine.strike_next(FaultKind::Errno(EIO));
    machine.sim.clear_fault();
    machine.dir.list().unwrap();
}
