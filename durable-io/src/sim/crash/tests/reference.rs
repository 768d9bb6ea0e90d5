//! A second implementation of the crash model (sections 1.2 to 1.4, `strict`), as slow and as plain
//! as possible: one list of effects, each with those that must come before it, and every subset of
//! the list that respects them.

use std::collections::BTreeMap;

mod images;

/// A disk's content by path; `None` is a directory.
pub(super) type Image = BTreeMap<String, Option<Vec<u8>>>;

/// A name in the directory `/` (0) or `/d` (1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub(super) usize, pub(super) &'static str);

/// One call. Writes and allocations begin at `at` or at the end of the file, if that is before.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Once in a program: another directory of that name would be another one.
    MakeDir,
    RemoveDir,
    Create(Name),
    Write {
        name: Name,
        at: u64,
        len: u64,
        byte: u8,
    },
    /// 400 bytes that are durable when the call returns.
    WriteDurable(Name, u64, u8),
    SetLen(Name, u64),
    Allocate(Name, u64, u64),
    /// Within one directory: that of the first name.
    Rename(Name, Name),
    Link(Name, Name),
    Remove(Name),
    Sync(Name),
    SyncDir(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    /// The directory `/d`: there is but one.
    Dir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Name(Name),
    Size(usize),
    Sector(usize, usize),
}

#[derive(Clone, Debug)]
enum Value {
    Name(Option<Node>),
    Size(u64),
    Sector(Option<Vec<u8>>),
}

#[derive(Clone, Debug)]
struct Effect {
    key: Key,
    value: Value,
    /// Effects that must have happened if this one has.
    after: Vec<usize>,
    durable: bool,
}

/// What a set of effects makes of an empty disk.
#[derive(Default)]
struct Disk {
    names: BTreeMap<Name, Node>,
    sizes: BTreeMap<usize, u64>,
    sectors: BTreeMap<(usize, usize), Vec<u8>>,
}

#[derive(Default)]
pub(super) struct Reference {
    unit: usize,
    files: usize,
    effects: Vec<Effect>,
    /// Sectors of removed and of truncated files.
    stale: Vec<BTreeMap<usize, Vec<u8>>>,
}

impl Reference {
    pub(super) fn new(unit: usize) -> Self {
        Self {
            unit,
            ..Self::default()
        }
    }

    /// How many files were removed or truncated: the simulator remembers but a few.
    pub(super) fn stale_sources(&self) -> usize {
        self.stale.len()
    }

    fn fold(&self, happened: impl Fn(usize) -> bool) -> Disk {
        let mut disk = Disk::default();
        for (index, effect) in self.effects.iter().enumerate() {
            if !happened(index) {
                continue;
            }
            match (effect.key, effect.value.clone()) {
                (Key::Name(name), Value::Name(Some(node))) => {
                    disk.names.insert(name, node);
                }
                (Key::Name(name), Value::Name(None)) => {
                    disk.names.remove(&name);
                }
                (Key::Size(file), Value::Size(size)) => {
                    disk.sizes.insert(file, size);
                }
                (Key::Sector(file, at), Value::Sector(Some(bytes))) => {
                    disk.sectors.insert((file, at), bytes);
                }
                (Key::Sector(file, at), Value::Sector(None)) => {
                    disk.sectors.remove(&(file, at));
                }
                other => unreachable!("{other:?}"),
            }
        }
        disk
    }

    fn now(&self) -> Disk {
        self.fold(|_| true)
    }

    fn push(&mut self, key: Key, value: Value, also_after: Option<usize>) -> usize {
        let same_key = self.effects.iter().rposition(|effect| effect.key == key);
        self.effects.push(Effect {
            key,
            value,
            after: same_key.into_iter().chain(also_after).collect(),
            durable: false,
        });
        self.effects.len() - 1
    }

    /// Makes the call; false if it must fail.
    pub(super) fn perform(&mut self, step: &Step) -> bool {
        self.try_perform(step).is_some()
    }

    fn try_perform(&mut self, step: &Step) -> Option<()> {
        let now = self.now();
        let file = |name: &Name| match now.names.get(name) {
            Some(Node::File(file)) if now.has_dir(name.0) => Some(*file),
            _ => None,
        };
        let is_free = |name: &Name| now.has_dir(name.0) && !now.names.contains_key(name);
        let set = |name: Name, node| (Key::Name(name), Value::Name(node));
        let (key, value) = match *step {
            Step::MakeDir => {
                let name = Name(0, "d");
                is_free(&name).then(|| set(name, Some(Node::Dir)))?
            }
            Step::RemoveDir => {
                let is_empty = now.names.keys().all(|name| name.0 != 1);
                (now.has_dir(1) && is_empty).then(|| set(Name(0, "d"), None))?
            }
            Step::Create(name) => {
                is_free(&name).then_some(())?;
                self.files += 1;
                set(name, Some(Node::File(self.files)))
            }
            Step::Link(from, to) => {
                let node = Some(Node::File(file(&from)?));
                is_free(&to).then(|| set(to, node))?
            }
            Step::Remove(name) => {
                self.forget(&now, file(&name)?);
                self.free_removals_for(name);
                set(name, None)
            }
            Step::Rename(from, to) => return self.rename(&now, from, to, &file),
            Step::Write {
                name,
                at,
                len,
                byte,
            } => {
                self.write(&now, file(&name)?, at, &vec![byte; as_usize(len)]);
                return Some(());
            }
            Step::WriteDurable(name, at, byte) => {
                let file = file(&name)?;
                let at = at.min(now.size(file));
                self.write(&now, file, at, &[byte; 400]);
                self.make_range_durable(file, at, at + 400);
                return Some(());
            }
            Step::SetLen(name, len) => {
                self.set_len(&now, file(&name)?, len);
                return Some(());
            }
            Step::Allocate(name, at, len) => {
                let file = file(&name)?;
                let at = at.min(now.size(file));
                self.reserve(&now, file, at, at + len);
                return Some(());
            }
            Step::Sync(name) => {
                let file = file(&name)?;
                self.make_durable(
                    |key| matches!(key, Key::Size(of) | Key::Sector(of, _) if of == file),
                );
                return Some(());
            }
            Step::SyncDir(dir) => {
                now.has_dir(dir).then_some(())?;
                self.make_durable(|key| matches!(key, Key::Name(name) if name.0 == dir));
                return Some(());
            }
        };
        self.push(key, value, None);
        Some(())
    }

    fn rename(
        &mut self,
        now: &Disk,
        from: Name,
        to: Name,
        file: &impl Fn(&Name) -> Option<usize>,
    ) -> Option<()> {
        let node = Node::File(file(&from)?);
        if from != to {
            if let Some(replaced) = file(&to) {
                self.forget(now, replaced);
            }
            let added = self.push(Key::Name(to), Value::Name(Some(node)), None);
            self.push(Key::Name(from), Value::Name(None), Some(added));
        }
        Some(())
    }

    /// Old names no longer wait for renames to `name`, which is removed.
    fn free_removals_for(&mut self, name: Name) {
        let keys: Vec<Key> = self.effects.iter().map(|effect| effect.key).collect();
        for effect in &mut self.effects {
            let own = effect.key;
            effect
                .after
                .retain(|before| own == Key::Name(name) || keys[*before] != Key::Name(name));
        }
    }

    fn make_durable(&mut self, covers: impl Fn(Key) -> bool) {
        for effect in &mut self.effects {
            effect.durable |= covers(effect.key);
        }
    }

    /// The sectors of the range, and the lengths without which some crash could leave a file that is
    /// too short to read it.
    fn make_range_durable(&mut self, file: usize, at: u64, end: u64) {
        let sectors = as_usize(at) / self.unit..=as_usize(end - 1) / self.unit;
        self.make_durable(
            |key| matches!(key, Key::Sector(of, at) if of == file && sectors.contains(&at)),
        );
        let of_file = |effect: &&mut Effect| effect.key == Key::Size(file);
        let mut sizes: Vec<&mut Effect> = self.effects.iter_mut().filter(of_file).collect();
        let too_short =
            |effect: &&mut Effect| matches!(effect.value, Value::Size(size) if size < end);
        // A new file is of no length: at least the first effect is needed.
        let needed = sizes.iter().rposition(too_short).map_or(1, |last| last + 2);
        for effect in sizes.iter_mut().take(needed) {
            effect.durable = true;
        }
    }

    /// The sectors of a file that is removed or truncated can turn up in another.
    fn forget(&mut self, now: &Disk, file: usize) {
        let of_file = now.sectors.iter().filter(|((of, _), _)| *of == file);
        let sectors = of_file.map(|((_, at), bytes)| (*at, bytes.clone()));
        self.stale.push(sectors.collect());
    }

    fn set_sector(&mut self, file: usize, at: usize, bytes: Option<Vec<u8>>) {
        self.push(Key::Sector(file, at), Value::Sector(bytes), None);
    }

    fn write(&mut self, now: &Disk, file: usize, at: u64, bytes: &[u8]) {
        let at = at.min(now.size(file));
        let start = as_usize(at);
        for sector in start / self.unit..=(start + bytes.len() - 1) / self.unit {
            let mut whole = now.sector(file, sector, self.unit);
            for (nth, byte) in bytes.iter().enumerate() {
                if (start + nth) / self.unit == sector {
                    whole[(start + nth) % self.unit] = *byte;
                }
            }
            self.set_sector(file, sector, Some(whole));
        }
        let end = at + bytes.len() as u64;
        let pages = (1..).map(|page| page * 4096).take_while(|at| *at < end);
        for size in pages.chain([end]).filter(|size| *size > now.size(file)) {
            self.push(Key::Size(file), Value::Size(size), None);
        }
    }

    /// Longer, in two steps where the old end was within a page that the new end is not in.
    fn grow(&mut self, now: &Disk, file: usize, end: u64) {
        let old = now.size(file);
        let page_end = old.next_multiple_of(4096);
        if old < page_end && page_end < end {
            self.push(Key::Size(file), Value::Size(page_end), None);
        }
        if end > old {
            self.push(Key::Size(file), Value::Size(end), None);
        }
    }

    fn reserve(&mut self, now: &Disk, file: usize, from: u64, to: u64) {
        for sector in as_usize(from) / self.unit..=as_usize(to - 1) / self.unit {
            if !now.sectors.contains_key(&(file, sector)) {
                self.set_sector(file, sector, Some(vec![0; self.unit]));
            }
        }
        self.grow(now, file, to);
    }

    fn set_len(&mut self, now: &Disk, file: usize, len: u64) {
        let old = now.size(file);
        if len > old {
            self.reserve(now, file, old, len);
        }
        if len >= old {
            return;
        }
        self.forget(now, file);
        self.push(Key::Size(file), Value::Size(len), None);
        let kept = as_usize(len);
        if !kept.is_multiple_of(self.unit) {
            let mut last = now.sector(file, kept / self.unit, self.unit);
            last[kept % self.unit..].fill(0);
            self.set_sector(file, kept / self.unit, Some(last));
        }
        for sector in kept.div_ceil(self.unit)..as_usize(old).div_ceil(self.unit) {
            self.set_sector(file, sector, None);
        }
    }
}

impl Disk {
    fn has_dir(&self, dir: usize) -> bool {
        dir == 0 || self.names.contains_key(&Name(0, "d"))
    }

    fn size(&self, file: usize) -> u64 {
        self.sizes.get(&file).copied().unwrap_or(0)
    }

    fn sector(&self, file: usize, at: usize, unit: usize) -> Vec<u8> {
        let written = self.sectors.get(&(file, at)).cloned();
        written.unwrap_or_else(|| vec![0; unit])
    }
}

fn as_usize(n: u64) -> usize {
    usize::try_from(n).unwrap()
}
