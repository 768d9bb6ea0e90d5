//! The states a power loss can leave, checked from inside: against a second implementation of the
//! crash model, and for what the explorer relies on.

use std::collections::BTreeSet;

use super::{Choice, Fill, States, Visited};
use crate::disk::Disk;
use crate::error::Result;
use crate::sim::hash::mix;
use crate::sim::world::{Node, World};
use reference::{Image, Name, Step};

mod lemma;
mod reference;
mod shrinking;
mod soundness;
mod states;

/// The seed of a random test: `SEED` of the environment, or always the same one.
fn seed() -> u64 {
    std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"))
}

/// A source of small random numbers.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = mix(self.0, 0x0D1E);
        (self.0 >> 13) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// A random program of `steps` calls over two directories and two names in each, with something
/// there to begin with.
fn random_program(draw: &mut Draw, steps: usize, durable_writes: bool) -> Vec<Step> {
    let first = Name(0, "a");
    let mut program = vec![Step::Create(first), write(draw, first, 0)];
    if draw.below(2) == 0 {
        program.extend([Step::Sync(first), Step::SyncDir(0)]);
    }
    if draw.below(4) == 0 {
        program.push(Step::MakeDir);
    }
    for nth in 0..steps {
        let dir = usize::from(draw.below(5) == 0);
        let mut name = || Name(dir, draw.pick(&["a", "a", "b"]));
        let (from, to) = (name(), name());
        let (at, len) = (
            draw.pick(&[0, 100, 512, 900, 5000]),
            draw.pick(&[1, 300, 700]),
        );
        program.push(match draw.below(22) {
            0..4 => Step::Create(from),
            4..7 if durable_writes => Step::WriteDurable(from, at, b'z'),
            4..9 => write(draw, from, nth + 1),
            9 | 10 => Step::SetLen(from, at),
            11 => Step::Allocate(from, at, len),
            12 | 13 => Step::Rename(from, to),
            14 => Step::Link(from, to),
            19 => Step::Link(from, Name(1 - dir, to.1)),
            20 => Step::RemoveDir,
            15 | 16 => Step::Remove(from),
            17 | 18 => Step::Sync(from),
            _ => Step::SyncDir(dir),
        });
    }
    program
}

fn write(draw: &mut Draw, name: Name, nth: usize) -> Step {
    Step::Write {
        name,
        at: draw.pick(&[0, 100, 512, 900, 5000]),
        len: draw.pick(&[1, 300, 512, 700, 9000]),
        byte: b'A' + u8::try_from(nth).unwrap(),
    }
}

/// Makes the call on a simulated disk.
fn perform(disk: &Disk, step: &Step) -> Result<()> {
    let dir = |dir: usize| disk.open_dir(["/", "/d"][dir]);
    let open = |name: &Name| dir(name.0)?.open(name.1);
    match step {
        Step::MakeDir => dir(0)?.create_dir("d"),
        Step::Create(name) => dir(name.0)?.create_new(name.1).map(drop),
        Step::Write {
            name,
            at,
            len,
            byte,
        } => {
            let file = open(name)?;
            let at = file.len()?.min(*at);
            file.write_all_at(&vec![*byte; usize::try_from(*len).unwrap()], at)
        }
        Step::WriteDurable(name, at, byte) => {
            let file = open(name)?;
            let at = file.len()?.min(*at);
            file.write_durable_at(&[*byte; 400], at).map(drop)
        }
        Step::SetLen(name, len) => open(name)?.set_len(*len),
        Step::Allocate(name, at, len) => {
            let file = open(name)?;
            let at = file.len()?.min(*at);
            file.allocate(at, *len)
        }
        Step::Rename(from, to) => dir(from.0)?.rename(from.1, to.1),
        Step::Link(from, to) => dir(from.0)?.link_into(from.1, &dir(to.0)?, to.1),
        Step::RemoveDir => dir(0)?.remove_dir("d"),
        Step::Remove(name) => dir(name.0)?.remove(name.1),
        Step::Sync(name) => open(name)?.sync_data().map(drop),
        Step::SyncDir(of) => dir(*of)?.sync(),
    }
}

/// Everything on a disk: bytes of files, `None` for directories.
fn image(world: &World) -> Image {
    let mut image = Image::new();
    world.for_each_path(&mut |path, node| {
        let bytes = matches!(node, Node::File(_)).then(|| world.file_bytes(path).unwrap());
        image.insert(path.to_owned(), bytes);
    });
    image
}

/// Each state that `states` shows, with its hash.
fn visit(states: &mut States, world: &World) -> (Visited, Vec<(u64, Image)>) {
    let mut all = Vec::new();
    let mut keep = |hash, choice: &dyn Fn() -> Choice| {
        all.push((hash, image(&world.crash(&choice()))));
        Ok::<(), ()>(())
    };
    let visited = states.visit(world, &mut keep).unwrap();
    (visited, all)
}

/// The distinct states a power loss at this instant can leave; `None` if they are more than `limit`.
fn crash_images(limit: u64, world: &World) -> Option<BTreeSet<Image>> {
    let (visited, all) = visit(&mut States::new(limit), world);
    (!visited.sampled).then(|| all.into_iter().map(|(_, image)| image).collect())
}

/// The bytes that the simulator puts where it puts garbage.
fn garbage(world: &World, index: usize) -> Vec<u8> {
    world.fill(Fill::Garbage, index).bytes.to_vec()
}
