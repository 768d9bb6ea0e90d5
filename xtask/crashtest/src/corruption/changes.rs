//! The changes that are made to a store: each to one file, as a disk might make it.

use durable_io::sim::{Damage, SimDisk, World};

use super::specimen::{Blocks, ProbedFile, Specimen};

const SECTOR: usize = 512;
const PAGE: usize = 4096;
/// As many bytes as no header of the format survives, and fewer than a sector.
const STRIP: u64 = 20;

/// One change to one file.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The file, as an index.
    pub(super) file: usize,
    pub(super) kind: Kind,
    what: What,
}

/// The kinds of changes, for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Byte,
    Strip,
    Sector,
    Page,
    Truncation,
    Removed,
    /// A sector, or a block of the format, that another write went to.
    Misdirected,
    /// A sector that shows what was there before.
    LostWrite,
}

#[derive(Clone, Debug)]
enum What {
    Damage(Damage),
    /// These bytes are at `offset`; `from` says where they come from.
    Bytes {
        offset: usize,
        bytes: Vec<u8>,
        from: String,
    },
}

impl Change {
    /// The disk of `target` with this change; `None` if it changes nothing.
    pub(super) fn apply(&self, target: &Specimen) -> Option<World> {
        let (file, world) = (target.files.get(self.file)?, &target.world);
        match &self.what {
            What::Damage(damage) => world.damaged(&file.path(), *damage),
            What::Bytes { offset, bytes, .. } => {
                // The disk takes the place of the damage: `Damage` has no kind for this.
                let machine = SimDisk::boot(world.clone());
                let path = file.path();
                let (dir, name) = path.rsplit_once('/')?;
                let opened = machine.disk().open_dir(dir).ok()?.open(name).ok()?;
                opened.write_all_at(bytes, *offset as u64).ok()?;
                Some(machine.world().keep_unsynced())
            }
        }
    }

    /// True if it changes nothing but the byte at `at` of file `file`.
    #[cfg(test)]
    pub(super) fn is_byte(&self, file: usize, at: usize) -> bool {
        let is_there =
            matches!(self.what, What::Damage(Damage::Flip { offset, .. }) if offset == at as u64);
        self.file == file && is_there
    }

    /// What was done, for a finding.
    pub(super) fn describe(&self, target: &Specimen) -> String {
        let name = target.files.get(self.file).map_or("", |file| &file.name);
        match &self.what {
            What::Damage(damage) => format!("{name}: {damage:?}"),
            What::Bytes { offset, from, .. } => {
                format!("{name}: what is at {offset} is {from}")
            }
        }
    }
}

/// Every change to `target`; `full` leaves none out.
pub(super) fn all(target: &Specimen, full: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    for (index, file) in target.files.iter().enumerate() {
        let mut add = |kind, what| {
            changes.push(Change {
                file: index,
                kind,
                what,
            });
        };
        for at in 0..file.bytes.len() {
            // What is in unused bytes differs little: one pattern is enough for most runs.
            let every = full || target.is_used(index, at);
            for damage in patterns(at, every) {
                add(Kind::Byte, What::Damage(damage));
            }
        }
        for (kind, damage) in ranges(file.bytes.len(), full) {
            add(kind, What::Damage(damage));
        }
        let blocks = target
            .blocks
            .map(|blocks| misplaced_blocks(target, blocks, file));
        let sectors = misplaced(&target.files, index).into_iter();
        for (bytes, offset, from) in sectors.chain(blocks.into_iter().flatten()) {
            let what = What::Bytes {
                offset,
                bytes,
                from,
            };
            add(Kind::Misdirected, what);
        }
        for (bytes, offset) in earlier(&target.earlier, file) {
            let from = "what was there before".to_owned();
            let what = What::Bytes {
                offset,
                bytes,
                from,
            };
            add(Kind::LostWrite, what);
        }
    }
    changes
}

/// Other values of the byte at `at`: every flipped bit, all zeros and all ones, or just one bit.
fn patterns(at: usize, every: bool) -> Vec<Damage> {
    let offset = at as u64;
    let flip = |bit: usize| Damage::Flip {
        offset,
        mask: 1 << bit,
    };
    if !every {
        return vec![flip(at % 8)];
    }
    let sets = [0x00, 0xFF].map(|value| Damage::Set { offset, value });
    (0..8).map(flip).chain(sets).collect()
}

/// Everything that happens to more than a byte of a file of `len` bytes.
fn ranges(len: usize, full: bool) -> Vec<(Kind, Damage)> {
    let mut damages = Vec::new();
    for (kind, size) in [(Kind::Sector, SECTOR), (Kind::Page, PAGE)] {
        let (from, len) = ((0..len).step_by(size), size as u64);
        damages.extend(from.map(|at| {
            (
                kind,
                Damage::Zero {
                    offset: at as u64,
                    len,
                },
            )
        }));
    }
    for at in (0..len).step_by(if full { 1 } else { 4 }) {
        let (offset, len) = (at as u64, STRIP);
        damages.push((Kind::Strip, Damage::Zero { offset, len }));
    }
    let is_near_border = |at: &usize| (at + 1) % SECTOR <= 2;
    let truncations = (0..len).filter(|at| full || at.is_multiple_of(8) || is_near_border(at));
    damages.extend(truncations.map(|at| (Kind::Truncation, Damage::Truncate { len: at as u64 })));
    damages.push((Kind::Removed, Damage::Remove));
    damages
}

/// The sectors of file `index`, each with the bytes of another sector of the file or of the same
/// sector of another file: bytes, where they are now, and where they belong.
fn misplaced(files: &[ProbedFile], index: usize) -> Vec<(Vec<u8>, usize, String)> {
    let mut found = Vec::new();
    let Some(file) = files.get(index) else {
        return found;
    };
    for (at, old) in sectors(&file.bytes) {
        let own = sectors(&file.bytes).map(|(from, bytes)| (file, from, bytes));
        let others = files.iter().filter_map(|other| {
            let bytes = other.bytes.get(at..at + SECTOR)?;
            Some((other, at, bytes))
        });
        for (other, from, bytes) in own.chain(others).filter(|(_, _, bytes)| *bytes != old) {
            let origin = format!("the sector at {from} of {}", other.name);
            found.push((bytes.to_vec(), at, origin));
        }
    }
    found
}

/// The blocks of `file`, each with the bytes of another one, of this or another file or of an earlier life.
fn misplaced_blocks(
    target: &Specimen,
    blocks: Blocks,
    file: &ProbedFile,
) -> Vec<(Vec<u8>, usize, String)> {
    let lives = target.earlier.iter();
    let lives: Vec<_> = lives
        .filter_map(|world| world.file_bytes(&file.path()))
        .collect();
    let all = target.files.iter().map(|file| (&*file.name, &file.bytes));
    let all = all.chain(lives.iter().map(|bytes| ("an earlier life", bytes)));
    let mut found = Vec::new();
    for (name, bytes) in all {
        for (from, len) in blocks(bytes) {
            for (to, _) in blocks(&file.bytes) {
                let len = len.min(file.bytes.len() - to);
                let Some(block) = bytes.get(from..from + len) else {
                    continue;
                };
                if file.bytes.get(to..to + len) != Some(block) {
                    let origin = format!("the block at {from} of {name}");
                    found.push((block.to_vec(), to, origin));
                }
            }
        }
    }
    found
}

/// The sectors of `file`, each with the bytes that were there at an earlier instant.
fn earlier(worlds: &[World], file: &ProbedFile) -> Vec<(Vec<u8>, usize)> {
    let mut found: Vec<(Vec<u8>, usize)> = Vec::new();
    for world in worlds {
        let Some(bytes) = world.file_bytes(&file.path()) else {
            continue;
        };
        for ((at, old), (_, now)) in sectors(&bytes).zip(sectors(&file.bytes)) {
            if old != now
                && !found
                    .iter()
                    .any(|(bytes, place)| *place == at && bytes == old)
            {
                found.push((old.to_vec(), at));
            }
        }
    }
    found
}

fn sectors(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes
        .chunks(SECTOR)
        .enumerate()
        .map(|(index, sector)| (index * SECTOR, sector))
}
