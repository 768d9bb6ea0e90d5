use super::*;
use crate::frame::{GROUP_HEADER_SIZE, place};
use crate::segment::{FIRST_GROUP, SegmentHeader};
use crate::slot::TailTruncation;
use crate::truncate_end::ANY_LAYOUT;
use durable_io::codec::put;

const GROUP: GroupHeader = GroupHeader {
    bytes: 8,
    count: 1,
    epoch: 1,
    first_lsn: Lsn(1),
    durable_lsn: Lsn(0),
    time: 0,
};

fn superblock(truncation: Option<TailTruncation>) -> Superblock {
    Superblock {
        log_id: 7,
        durable: Lsn(1),
        low_segment: 1,
        low: Lsn(1),
        epochs: Epochs {
            current: 1,
            first_lsn: Lsn(1),
            segment: truncation.map_or(0, |truncation| truncation.segment),
        },
        checkpoint: Lsn(0),
        truncation,
        newest: 1,
        time: 0,
        note: std::sync::Arc::from([]),
    }
}

/// The text of a log that has one segment with `group`, and `superblock` in a slot.
fn text(superblock: &Superblock, group: GroupHeader) -> String {
    let path = tempfile::tempdir().unwrap();
    let dir = Disk::os().open_dir(path.path()).unwrap();
    let file = dir.create_new(names::SUPERBLOCK).unwrap();
    file.write_all_at(&superblock.encode(2), 0).unwrap();
    let number = superblock.low_segment;
    let size = 1024;
    let header = SegmentHeader {
        log_id: 7,
        number,
        size,
        usual: size,
        layout: ANY_LAYOUT,
    };
    let mut bytes = [0; 1024];
    put(&mut bytes, 0, &header.encode());
    put(
        &mut bytes,
        64,
        &group.encode(place(7, number, FIRST_GROUP), ANY_LAYOUT),
    );
    let file = dir.create_new(&names::segment(number)).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let mut out = Vec::new();
    dump(&Disk::os(), path.path(), Detail::Records, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_truncation_that_is_to_be_finished_is_shown() {
    let mut truncation = TailTruncation {
        segment: 1,
        offset: 64,
        header: [0; GROUP_HEADER_SIZE],
    };
    let shown = text(&superblock(Some(truncation)), GROUP);
    assert!(shown.contains("\n    a truncation is to be finished: of segment 1, at 64\n"));
    assert!(
        shown.ends_with("\nopen: finishes the truncation first\n"),
        "{shown}"
    );
    truncation.header = GROUP.encode(place(7, 1, 64), ANY_LAYOUT);
    let shown = text(&superblock(Some(truncation)), GROUP);
    let stay = "\n    a truncation is to be finished: of segment 1, at 64, where LSN 1..=1 stay\n";
    assert!(shown.contains(stay), "{shown}");
}

#[test]
fn a_void_slot_says_its_reason() {
    let mut superblock = superblock(None);
    superblock.checkpoint = Lsn(2);
    let shown = text(&superblock, GROUP);
    assert!(shown.contains("! 0: void slot: its checkpoint is above the durable LSN"));
    assert!(shown.contains("! 4096: void slot: the file ends before it does"));
    assert!(shown.contains("! 0: the superblock is missing, unreadable or older than the log"));
}

#[test]
fn numbers_at_their_limits_are_shown() {
    let max = Lsn(u64::MAX);
    let truncation = TailTruncation {
        segment: u64::MAX,
        offset: u64::MAX,
        header: GROUP.encode(place(7, u64::MAX, u64::MAX), ANY_LAYOUT),
    };
    let mut superblock = superblock(None);
    for (durable, low, epoch) in [(1, 1, 1), (u64::MAX, u64::MAX, u32::MAX)] {
        for (number, truncation) in [(1, None), (u64::MAX, None), (u64::MAX, Some(truncation))] {
            superblock.durable = Lsn(durable);
            superblock.low = Lsn(low);
            superblock.low_segment = number;
            superblock.epochs = Epochs {
                current: epoch,
                first_lsn: max,
                segment: number,
            };
            superblock.truncation = truncation;
            let group = GroupHeader {
                first_lsn: Lsn(u64::MAX - 1),
                durable_lsn: Lsn(u64::MAX - 2),
                ..GROUP
            };
            let shown = text(&superblock, group);
            assert!(
                shown.contains("  64: group, LSN 18446744073709551614"),
                "{shown}"
            );
            assert!(shown.contains("\nopen: "), "{shown}");
        }
    }
}
