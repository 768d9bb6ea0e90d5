//! The litmus programs: short sequences of calls after which a power cut says what a file system
//! promises.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use durable_io::sim::{Profile, SimDisk, World};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};

use super::inclusion::ALPHABET;
use super::step::{Place, Step, of};

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

/// `f` is durable, 5000 bytes of O.
const OLD: &[Step] = &[Step::Create("f"), Step::Write("f", of(b'O', 5000))];
const NOTHING: &[Step] = &[];
/// A sync of a file that has nothing to do with the others.
const OTHER: [Step; 3] = [
    Step::Create("other"),
    Step::Write("other", of(b'o', 10)),
    Step::SyncAll("other"),
];
/// A finished, synced `f.tmp`.
const TMP: [Step; 3] = [
    Step::Create("f.tmp"),
    Step::Write("f.tmp", of(b'N', 5000)),
    Step::SyncAll("f.tmp"),
];
const RENAME: Step = Step::Rename("f.tmp", "f");
const CUT: Step = Step::SetLen("f", 0);
const NEW: Step = Step::Write("f", of(b'N', 5000));

fn program(name: &str, start: &[Step], parts: &[&[Step]]) -> Program {
    Program {
        name: name.to_owned(),
        start: start.to_vec(),
        steps: parts.concat(),
    }
}

/// Every fixed program: what names, lengths and bytes promise of each other, and then what the
/// engines build on.
pub(super) fn programs() -> Vec<Program> {
    let mut programs = litmus();
    programs.extend(engines());
    programs
}

fn litmus() -> Vec<Program> {
    use Step::{Allocate, Create, Hold, Link, MakeDir, Remove, Rename};
    use Step::{StartWriteback, SyncAll, SyncData, SyncDir, Write};
    let unsynced_tmp = &TMP[..2];
    let g = [
        Create("g.tmp"),
        Write("g.tmp", of(b'N', 5000)),
        Rename("g.tmp", "g"),
    ];
    let a = [
        Create("a.tmp"),
        Write("a.tmp", of(b'N', 5000)),
        SyncAll("a.tmp"),
    ];
    let table = [Create("s"), Write("s", of(b'S', 5000))];
    let manifest = [
        Create("m.tmp"),
        Write("m.tmp", of(b'M', 100)),
        SyncAll("m.tmp"),
        Rename("m.tmp", "m"),
        SyncDir("."),
    ];
    let child = [
        MakeDir("d"),
        Create("d/x"),
        Write("d/x", of(b'A', 5000)),
        SyncAll("d/x"),
    ];
    let reserved = [Create("p"), Allocate("p", 1 << 20), SyncAll("p")];
    let more = |name| Write(name, of(b'Z', 1).at(5000));
    vec![
        program(
            "create, write, fsync file",
            NOTHING,
            &[&[Create("n"), Write("n", of(b'A', 5000)), SyncAll("n")]],
        ),
        program("synced tmp renamed over f", OLD, &[&TMP, &[RENAME]]),
        program(
            "synced tmp renamed over f, other synced",
            OLD,
            &[&TMP, &[RENAME], &OTHER],
        ),
        program(
            "unsynced tmp renamed over f, fsync dir",
            OLD,
            &[unsynced_tmp, &[RENAME, SyncDir(".")]],
        ),
        program(
            "unsynced tmp renamed to a new name, fsync dir",
            NOTHING,
            &[&g, &[SyncDir(".")]],
        ),
        program(
            "f cut and rewritten, other synced",
            OLD,
            &[&[CUT, NEW], &OTHER],
        ),
        program("f cut and rewritten", OLD, &[&[CUT, NEW]]),
        program(
            "f cut and rewritten, still open, other synced",
            OLD,
            &[&[Hold("f"), CUT, NEW], &OTHER],
        ),
        program(
            "f overwritten in place, other synced",
            OLD,
            &[&[Hold("f"), NEW], &OTHER],
        ),
        program(
            "synced tmp linked to a, more, synced",
            NOTHING,
            &[&a, &[Link("a.tmp", "a"), more("a.tmp"), SyncAll("a.tmp")]],
        ),
        program(
            "synced tmp renamed to a, more, synced",
            NOTHING,
            &[&a, &[Rename("a.tmp", "a"), more("a"), SyncAll("a")]],
        ),
        program("f removed, other synced", OLD, &[&[Remove("f")], &OTHER]),
        program("f removed", OLD, &[&[Remove("f")]]),
        program("fsync of a file in a new directory", NOTHING, &[&child]),
        program(
            "f appended to, other synced",
            OLD,
            &[&[Write("f", of(b'B', 2500).at(5000))], &OTHER],
        ),
        program(
            "unsynced table, durable manifest",
            NOTHING,
            &[&table, &manifest],
        ),
        program(
            "reserved and synced, written, fdatasync",
            NOTHING,
            &[
                &reserved,
                &[Write("p", of(b'P', 5000)), SyncData("p"), SyncDir(".")],
            ],
        ),
        // The kernel may write at any moment; asked to, it does so at once.
        program(
            "f cut, rewritten, written back, other synced",
            OLD,
            &[&[CUT, NEW, StartWriteback("f")], &OTHER],
        ),
        program(
            "f overwritten in place and written back",
            OLD,
            &[&[NEW, StartWriteback("f")]],
        ),
        program(
            "directory made, f appended to and written back, other synced",
            OLD,
            &[
                &[
                    MakeDir("d"),
                    Write("f", of(b'B', 5000).at(5000)),
                    StartWriteback("f"),
                ],
                &OTHER,
            ],
        ),
        program(
            "unsynced tmp written back, renamed over f, fsync dir",
            OLD,
            &[
                unsynced_tmp,
                &[StartWriteback("f.tmp"), RENAME, SyncDir(".")],
            ],
        ),
    ]
}

fn engines() -> Vec<Program> {
    use Step::{Create, CreateDurably, MakeDir, MakeDirDurably, Publish, Remove};
    use Step::{
        RemoveDurably, Replace, SetLen, SyncData, SyncDir, Write, WriteDurable, WriteZeros,
    };
    let segment = [
        Create("w"),
        WriteZeros("w", 16384),
        SyncData("w"),
        SyncDir("."),
    ];
    let page = |byte, at| Write("w", of(byte, 3000).at(at));
    vec![
        program("replace_file", OLD, &[&[Replace("f", of(b'N', 5000))]]),
        program(
            "replace_file, nothing there",
            NOTHING,
            &[&[Replace("f", of(b'N', 5000))]],
        ),
        program("publish", OLD, &[&TMP[..2], &[Publish("f.tmp", "f")]]),
        program(
            "create_durably",
            NOTHING,
            &[&[CreateDurably("f", of(b'N', 5000))]],
        ),
        program(
            "create_dir, a file in it",
            NOTHING,
            &[&[MakeDirDurably("d/e"), Create("d/e/x"), SyncDir("d/e")]],
        ),
        program("remove_durably", OLD, &[&[RemoveDurably("f")]]),
        program(
            "remove, fsync dir, made again",
            OLD,
            &[&[
                Remove("f"),
                SyncDir("."),
                Create("f"),
                Write("f", of(b'N', 700)),
                SyncData("f"),
            ]],
        ),
        program("rename, fsync dir", OLD, &[&TMP, &[RENAME, SyncDir(".")]]),
        program(
            "zeroed segment, written, fdatasync",
            NOTHING,
            &[&segment, &[page(b'1', 0), page(b'2', 3000), SyncData("w")]],
        ),
        program(
            "zeroed segment, one synced write, two that are not",
            NOTHING,
            &[
                &segment,
                &[
                    page(b'1', 0),
                    SyncData("w"),
                    page(b'2', 3000),
                    page(b'3', 9000),
                ],
            ],
        ),
        program(
            "zeroed segment, durable write",
            NOTHING,
            &[&segment, &[WriteDurable("w", of(b'1', 3000).at(2000))]],
        ),
        program(
            "durable append",
            OLD,
            &[&[WriteDurable("f", of(b'N', 3000).at(5000))]],
        ),
        program(
            "directory made, durable append",
            OLD,
            &[&[MakeDir("d"), WriteDurable("f", of(b'N', 3000).at(5000))]],
        ),
        program(
            "torn tail zeroed, cut, synced",
            OLD,
            &[&[
                Write("f", of(0, 1000).at(4000)),
                SyncData("f"),
                SetLen("f", 4000),
                SyncData("f"),
            ]],
        ),
    ]
}

impl Program {
    /// A random program, of calls that a disk does not refuse.
    pub(super) fn random(rng: &mut StdRng) -> Self {
        let start = if rng.random_bool(0.5) { NOTHING } else { OLD };
        let disk = SimDisk::new();
        let mut place = Place::new(disk.disk(), Path::new("/"));
        let (mut steps, wanted) = (Vec::new(), rng.random_range(3..9));
        // What the disk holds before it is all that a call's success depends on.
        place.run(start).expect("the start runs on an empty disk");
        while steps.len() < wanted {
            let at = rng.random_range(0..ALPHABET.len());
            let step = ALPHABET.get(at).copied().unwrap_or(CUT);
            if place.run(&[step]).is_ok() {
                steps.push(step);
            }
        }
        Self {
            name: format!("random {:08x}", rng.next_u32()),
            start: start.to_vec(),
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

    /// Everything that a power cut at the end may show under `profile`.
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
    pub(super) fn told(&self) -> String {
        let told = |steps: &[Step]| {
            let told: Vec<String> = steps.iter().map(Step::to_string).collect();
            told.join(", ")
        };
        match self.start.as_slice() {
            [] => told(&self.steps),
            start => format!("durable: {}; then: {}", told(start), told(&self.steps)),
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
