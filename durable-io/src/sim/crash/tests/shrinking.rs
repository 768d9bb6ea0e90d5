//! The shrinker keeps of a crash only what breaks the promise.

use super::*;
use crate::Dir;
use crate::sim::tape::{CrashPoint, Tape};
use crate::sim::{Bound, Outcome, Subject, Survives, shrink};

/// Six sectors, which the only operation overwrites and does not sync. Of these, one matters.
struct SixSectors;

#[derive(Clone, Copy, Debug)]
struct Overwrite;

impl Subject for SixSectors {
    type Op = Overwrite;
    /// Whether the third sector is new.
    type State = bool;
    type Store = Dir;

    fn operations(&self) -> Vec<Overwrite> {
        vec![Overwrite]
    }

    fn empty(&self) -> bool {
        false
    }

    fn open(&self, disk: &Disk) -> Outcome<Dir> {
        let dir = disk.open_dir("/")?;
        if dir.list()?.is_empty() {
            let file = dir.create_new("six")?;
            file.write_all_at(&[b'O'; 6 * 512], 0)?;
            drop(file.sync_data()?);
            dir.sync()?;
        }
        Ok(dir)
    }

    fn apply(&self, dir: &mut Dir, _op: &Overwrite, _n: u64) -> Outcome<Survives> {
        dir.open("six")?.write_all_at(&[b'N'; 6 * 512], 0)?;
        Ok(Survives::PowerLoss)
    }

    fn observe(&self, dir: &mut Dir) -> Outcome<bool> {
        let mut byte = [0];
        dir.open("six")?.read_exact_at(&mut byte, 1024)?;
        Ok(byte == *b"N")
    }

    fn model(&self, _before: &bool, _op: &Overwrite, _n: u64) -> bool {
        true
    }

    fn continuation(&self, _interrupted: &Overwrite) -> Vec<Overwrite> {
        Vec::new()
    }
}

/// The moment after the acknowledgement: the one before is the death of the process after the write.
const ACKNOWLEDGED: usize = 1;

#[test]
fn an_effect_whose_loss_does_not_matter_is_kept_and_a_crash_point_that_does_not_matter_is_left_out()
{
    let everything_lost = Choice {
        kept: vec![0; 6],
        fills: vec![(1, Fill::Garbage)],
    };
    let tape = Tape::new(512, 0, &[0])
        .then(CrashPoint::power(ACKNOWLEDGED, everything_lost.clone()))
        .then(CrashPoint::power(0, everything_lost));
    let small = shrink::shrink(&SixSectors, &[], &Bound::of_length(1), tape);
    let [crash_point] = small.tape.crash_points.as_slice() else {
        panic!("{small}");
    };
    let choice = crash_point.power_loss.as_ref().unwrap();
    let lost: Vec<usize> = (0..6).filter(|nth| choice.kept[*nth] == 0).collect();
    assert_eq!(lost, [2], "{small}");
    assert_eq!(choice.fills, [(1, Fill::Zero)]);
    let report = small.to_string();
    assert_eq!(report.matches("LOST").count(), 1, "{report}");
    assert!(
        report.contains("LOST write six bytes 0..3072: sector 2\n"),
        "{report}"
    );
}
