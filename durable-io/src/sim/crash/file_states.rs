//! All states of one file: each combination of how many of its pending effects are kept, chain by chain.
//!
//! There may be thousands for each instant of a run. So what a unit adds to the hash of a state is worked out once, and
//! each combination of units once for all lengths.

use super::Fill;
use crate::sim::hash::MixedSet;
use crate::sim::order::End;
use crate::sim::world::{FileNode, Ino, Unit, World, size_hash, to_index, unit_hash};

/// One state of one file: which combination of its chains, and the hash of what it shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileState {
    pub(super) hash: u64,
    /// Mixed-radix index over the file's pending chains, size first; digit 0 keeps everything.
    pub(super) code: u64,
    pub(super) fill: Fill,
}

/// Every distinct state of `file`, the one that keeps most first; `None` if there are too many.
pub(super) fn expand_file(
    world: &World,
    ino: Ino,
    file: &FileNode,
    limit: u64,
) -> Option<Vec<FileState>> {
    let mut total = file.size.choices() as u64;
    for unit in &file.units {
        total = total
            .checked_mul(unit.choices() as u64)
            .filter(|total| *total <= limit)?;
    }
    let mut states = Vec::new();
    let mut seen = MixedSet::default();
    let ends = world.order.ends_of(ino);
    let open = OpenUnits::of(world, file);
    let sizes = Size::all(world, file, &open);
    let mut kept: Vec<usize> = file.units.iter().map(|unit| unit.pending().len()).collect();
    let mut code = 0;
    loop {
        let shown = Shown::of(&open, &kept);
        for size in &sizes {
            let is_broken = |end: &End| end.is_broken(file, size.kept, &kept);
            if !shown.wastes_effects_beyond(size) && !ends.iter().any(is_broken) {
                shown.visit(size, |fill, hash| {
                    if seen.insert(hash) {
                        states.push(FileState { hash, code, fill });
                    }
                });
            }
            code += 1;
        }
        if !open.turn(&mut kept) {
            return Some(states);
        }
    }
}

/// A length that the file may have.
struct Size {
    kept: usize,
    units: usize,
    /// How many of the open units are within it.
    open: usize,
    /// The hash of the length, and of all within it that is the same in all states.
    known: u64,
}

impl Size {
    /// All of them, the one that keeps every effect first.
    fn all(world: &World, file: &FileNode, open: &OpenUnits) -> Vec<Self> {
        let of_kept = |kept| {
            let bytes = file.size.version(kept).value;
            let units = to_index(bytes.div_ceil(world.unit as u64));
            // Units that the chain list does not reach were never written at all.
            let unreached = (file.units.len()..units).map(|index| unit_hash(index, None));
            let settled = open.settled_up_to(units).wrapping_add(size_hash(bytes));
            Self {
                kept,
                units,
                open: open.units.partition_point(|unit| unit.index < units),
                known: unreached.fold(settled, u64::wrapping_add),
            }
        };
        (0..file.size.choices()).rev().map(of_kept).collect()
    }
}

/// A unit that is not the same in all states of its file.
struct OpenUnit {
    index: usize,
    /// What it adds to the hash, by how many of its effects are kept; `None` where that is a hole.
    adds: Vec<Option<u64>>,
}

/// The units of a file that are pending, or holes, and what is the same in all of its states.
struct OpenUnits {
    units: Vec<OpenUnit>,
    /// The sums of the hashes of the other units, up to each.
    settled: Vec<u64>,
    /// What a hole in each of `units` adds, for each thing that it may show.
    fills: Vec<(Fill, Vec<u64>)>,
}

impl OpenUnits {
    fn of(world: &World, file: &FileNode) -> Self {
        let (mut units, mut settled, mut sum) = (Vec::new(), vec![0], 0_u64);
        for (index, unit) in file.units.iter().enumerate() {
            let add_of = |value: &Unit| value.as_ref().map(|b| unit_hash(index, Some(b.hash)));
            match add_of(&unit.version(0).value) {
                Some(add) if unit.pending().is_empty() => sum = sum.wrapping_add(add),
                _ => {
                    let adds = (0..unit.choices()).map(|kept| add_of(&unit.version(kept).value));
                    let adds = adds.collect();
                    units.push(OpenUnit { index, adds });
                }
            }
            settled.push(sum);
        }
        let fill_all = |fill| {
            let add = |unit: &OpenUnit| {
                let hash = world.fill(fill, unit.index).hash;
                unit_hash(unit.index, Some(hash))
            };
            (fill, units.iter().map(add).collect())
        };
        let has_hole = units.iter().any(|unit| unit.adds.contains(&None));
        let fills = Fill::all(world).take(if has_hole { usize::MAX } else { 1 });
        Self {
            fills: fills.map(fill_all).collect(),
            units,
            settled,
        }
    }

    fn settled_up_to(&self, units: usize) -> u64 {
        let units = units.min(self.settled.len() - 1);
        let sum = self.settled.get(units);
        *sum.expect("a sum stands before and behind each unit")
    }

    /// Goes on to the next combination of effects `kept`, the first unit fastest; false after the last one.
    fn turn(&self, kept: &mut [usize]) -> bool {
        for unit in &self.units {
            let kept = kept
                .get_mut(unit.index)
                .expect("there is a number for each unit");
            if *kept > 0 {
                *kept -= 1;
                return true;
            }
            *kept = unit.adds.len() - 1;
        }
        false
    }
}

/// What one combination of effects shows in the open units.
struct Shown<'o> {
    open: &'o OpenUnits,
    /// The sums of what the units add that are no holes, up to each.
    sums: Vec<u64>,
    /// Which of the open units are holes.
    holes: Vec<usize>,
    /// Behind the last unit with an effect that is lost.
    first_waste: usize,
}

impl<'o> Shown<'o> {
    fn of(open: &'o OpenUnits, kept: &[usize]) -> Self {
        let (mut sums, mut holes, mut first_waste) = (vec![0], Vec::new(), 0);
        let mut sum = 0_u64;
        for (at, unit) in open.units.iter().enumerate() {
            let kept = kept.get(unit.index).copied();
            let add = kept.and_then(|kept| unit.adds.get(kept));
            match add.expect("no more is kept than is pending") {
                Some(add) => sum = sum.wrapping_add(*add),
                None => holes.push(at),
            }
            sums.push(sum);
            if kept < Some(unit.adds.len() - 1) {
                first_waste = unit.index + 1;
            }
        }
        Self {
            open,
            sums,
            holes,
            first_waste,
        }
    }

    /// True if an effect beyond the size is lost: the state shows the same as if it were kept.
    fn wastes_effects_beyond(&self, size: &Size) -> bool {
        self.first_waste > size.units
    }

    /// Calls `visit` with each thing that the holes within `size` may show, and the hash of the state.
    fn visit(&self, size: &Size, mut visit: impl FnMut(Fill, u64)) {
        let sum = self.sums.get(size.open);
        let sum = size
            .known
            .wrapping_add(*sum.expect("a sum stands before and behind each unit"));
        let in_size = self.holes.partition_point(|hole| *hole < size.open);
        let holes = self.holes.iter().take(in_size);
        let fills = if in_size == 0 { 1 } else { usize::MAX };
        for (fill, adds) in self.open.fills.iter().take(fills) {
            let adds = holes.clone().filter_map(|hole| adds.get(*hole));
            visit(*fill, adds.fold(sum, |sum, add| sum.wrapping_add(*add)));
        }
    }
}

/// A mixed-radix code, taken apart: how many effects of each of the file's chains are kept.
pub(super) struct Digits {
    pub(super) kept_size: usize,
    pub(super) kept_units: Vec<usize>,
}

impl Digits {
    pub(super) fn of(file: &FileNode, code: u64) -> Self {
        let mut rest = code;
        let mut digit = |choices: usize| {
            let choices = choices as u64;
            let digit = rest % choices;
            rest /= choices;
            // Digit 0 keeps everything.
            to_index(choices - 1 - digit)
        };
        Self {
            kept_size: digit(file.size.choices()),
            kept_units: file
                .units
                .iter()
                .map(|unit| digit(unit.choices()))
                .collect(),
        }
    }
}
