//! The litmus programs: short sequences of calls after which a power loss says what a file system
//! promises.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use durable_io::sim::{Profile, SimDisk, World};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};

use super::inclusion::ALPHABET;
use super::step::{Place, Step, parse};

/// The kernel writes pages, so they are what the simulated disk of these programs tears at.
pub(super) const UNIT: usize = 4096;
/// More crash states than this at one length of the journal are too many for one program.
pub(super) const STATES: u64 = 1 << 20;

/// A program: what is durable before it, and the calls before the power is cut.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) name: String,
    start: Vec<Step>,
    steps: Vec<Step>,
}

/// Durable before the programs of which the file `f` is old.
pub(super) const OLD: &str = "create f, write f O5000";

/// The name of each program, and its calls ([`parse`]); with `OLD` before a name, that is durable
/// beforehand. First what names, lengths and bytes promise of each other.
#[rustfmt::skip]
const LITMUS: [(&str, &str); 27] = [
    ("create, write, fsync file",
        "create n, write n A5000, fsync n"),
    ("OLD synced tmp renamed over f",
        "create t, write t N5000, fsync t, rename t f"),
    ("OLD synced tmp renamed over f, other synced",
        "create t, write t N5000, fsync t, rename t f, create other, write other o10, fsync other"),
    ("OLD unsynced tmp renamed over f, fsync dir",
        "create t, write t N5000, rename t f, fsyncdir ."),
    ("unsynced tmp renamed to a new name, fsync dir",
        "create t, write t N5000, rename t g, fsyncdir ."),
    ("OLD f truncated and rewritten, other synced",
        "truncate f 0, write f N5000, create other, write other o10, fsync other"),
    ("OLD f truncated and rewritten",
        "truncate f 0, write f N5000"),
    ("OLD f truncated and rewritten, still open, other synced",
        "hold f, truncate f 0, write f N5000, create other, write other o10, fsync other"),
    ("OLD f overwritten in place, other synced",
        "hold f, write f N5000, create other, write other o10, fsync other"),
    ("synced tmp linked to a, more, synced",
        "create t, write t N5000, fsync t, link t a, write t Z1@5000, fsync t"),
    ("synced tmp renamed to a, more, synced",
        "create t, write t N5000, fsync t, rename t a, write a Z1@5000, fsync a"),
    ("OLD f removed, other synced",
        "remove f, create other, write other o10, fsync other"),
    ("OLD f removed",
        "remove f"),
    ("fsync of a file in a new directory",
        "mkdir d, create d/x, write d/x A5000, fsync d/x"),
    ("OLD f appended to, other synced",
        "write f B2500@5000, create other, write other o10, fsync other"),
    ("OLD f linked into a directory",
        "mkdir d, fsyncdir ., link f d/f"),
    ("OLD f linked into a directory, that synced",
        "mkdir d, fsyncdir ., link f d/f, fsyncdir d"),
    ("OLD f moved by a link, the old directory synced",
        "mkdir d, fsyncdir ., link f d/f, remove f, fsyncdir ."),
    ("synced file linked into a directory, both written and synced",
        "mkdir d, fsyncdir ., create t, write t N5000, fsync t, link t d/t, fsyncdir d, \
         write d/t Z1@5000, fsync d/t"),
    ("directory emptied and removed",
        "mkdir d, create d/x, fsync d/x, fsyncdir d, fsyncdir ., remove d/x, rmdir d"),
    ("directory emptied, removed and made again, synced",
        "mkdir d, create d/x, fsync d/x, fsyncdir d, fsyncdir ., remove d/x, rmdir d, mkdir d, \
         create d/y, fsync d/y, fsyncdir d, fsyncdir ."),
    ("unsynced table, durable manifest",
        "create s, write s S5000, create t, write t M100, fsync t, rename t m, fsyncdir ."),
    ("reserved and synced, written, fdatasync",
        "create p, allocate p 1048576, fsync p, write p P5000, fdatasync p, fsyncdir ."),
    // The kernel may write at any moment; asked to, it does so at once.
    ("OLD f truncated, rewritten, written back, other synced",
        "truncate f 0, write f N5000, writeback f, create other, write other o10, fsync other"),
    ("OLD f overwritten in place and written back",
        "write f N5000, writeback f"),
    ("OLD directory made, f appended to and written back, other synced",
        "mkdir d, write f B5000@5000, writeback f, create other, write other o10, fsync other"),
    ("OLD unsynced tmp written back, renamed over f, fsync dir",
        "create t, write t N5000, writeback t, rename t f, fsyncdir ."),
];

/// What the engines build on.
#[rustfmt::skip]
const ENGINES: [(&str, &str); 15] = [
    ("OLD replace_file", "replace_file f N5000"),
    ("replace_file, nothing there", "replace_file f N5000"),
    ("OLD publish", "create t, write t N5000, publish t f"),
    ("create_durably", "create_durably f N5000"),
    ("create_dir, a file in it", "create_dir d/e, create d/e/x, fsyncdir d/e"),
    ("OLD remove_durably", "remove_durably f"),
    ("OLD remove, fsync dir, made again",
        "remove f, fsyncdir ., create f, write f N700, fdatasync f"),
    ("OLD rename, fsync dir",
        "create t, write t N5000, fsync t, rename t f, fsyncdir ."),
    ("zeroed segment, written, fdatasync",
        "create w, zero w 16384, fdatasync w, fsyncdir ., write w A3000, write w B3000@3000, fdatasync w"),
    ("zeroed segment, one synced write, two that are not",
        "create w, zero w 16384, fdatasync w, fsyncdir ., write w A3000, fdatasync w, \
         write w B3000@3000, write w C3000@9000"),
    ("zeroed segment, durable write",
        "create w, zero w 16384, fdatasync w, fsyncdir ., dwrite w A3000@2000"),
    ("OLD durable append", "dwrite f N3000@5000"),
    ("OLD directory made, durable append", "mkdir d, dwrite f N3000@5000"),
    ("many pages written, the first durable", "create w, write w A14000, dwrite w B400@500"),
    ("OLD torn tail zeroed, truncated, synced",
        "write f _1000@4000, fdatasync f, truncate f 4000, fdatasync f"),
];

/// Every fixed program.
pub(super) fn programs() -> Vec<Program> {
    let all = LITMUS.iter().chain(&ENGINES);
    all.map(|(name, steps)| Program {
        name: (*name).to_owned(),
        start: parse(if name.starts_with("OLD ") { OLD } else { "" }),
        steps: parse(steps),
    })
    .collect()
}

impl Program {
    /// A random program, of calls that a disk does not refuse.
    pub(super) fn random(rng: &mut StdRng) -> Self {
        let start = parse(if rng.random_bool(0.5) { OLD } else { "" });
        let alphabet = parse(ALPHABET);
        let disk = SimDisk::new();
        let mut place = Place::new(disk.disk(), Path::new("/"));
        let (mut steps, wanted) = (Vec::new(), rng.random_range(3..9));
        // What the disk holds before it is all that a call's success depends on.
        place.run(&start).expect("the start runs on an empty disk");
        while steps.len() < wanted {
            let at = rng.random_range(0..alphabet.len());
            let step = *alphabet.get(at).expect("it was drawn below the length");
            if place.run(&[step]).is_ok() {
                steps.push(step);
            }
        }
        Self {
            name: format!("random {:08x}", rng.next_u32()),
            start,
            steps,
        }
    }

    /// Puts what is durable beforehand there; the caller makes it so.
    pub(super) fn prepare(&self, place: &mut Place) -> durable_io::Result<()> {
        place.run(&self.start)
    }

    pub(super) fn run(&self, place: &mut Place) -> durable_io::Result<()> {
        place.run(&self.steps)
    }

    /// Everything that a power loss at the end may show under `profile`.
    pub(super) fn outcomes(&self, profile: Profile) -> anyhow::Result<BTreeSet<String>> {
        let machine = SimDisk::with_profile(UNIT, profile);
        self.prepare(&mut simulated(&machine))?;
        let machine = SimDisk::boot(machine.world().keep_unsynced());
        self.run(&mut simulated(&machine))?;
        let states = machine.world().crash_states(STATES);
        let states = states.with_context(|| format!("{} has too many crash states", self.name))?;
        Ok(states.into_iter().map(show).collect())
    }

    /// The program's calls, in one line.
    pub(super) fn describe(&self) -> String {
        let describe = |steps: &[Step]| {
            let describe: Vec<String> = steps.iter().map(Step::to_string).collect();
            describe.join(", ")
        };
        match self.start.as_slice() {
            [] => describe(&self.steps),
            start => format!(
                "durable: {}; then: {}",
                describe(start),
                describe(&self.steps)
            ),
        }
    }
}

pub(super) fn simulated(machine: &SimDisk) -> Place {
    Place::new(machine.disk(), Path::new("/"))
}

/// What a disk shows after a power loss.
pub(super) fn show(world: World) -> String {
    let shown = simulated(&SimDisk::boot(world)).look();
    shown.expect("no call of this disk fails")
}
