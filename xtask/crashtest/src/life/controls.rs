//! A store of a few lines, right or with a planted bug that only this layer finds: each change writes
//! everything to a new file, and then a root that names it. The file before is kept.

use std::sync::{Mutex, PoisonError};

use durable_io::codec::{Decoder, Encoder};
use durable_io::{Dir, checksum::checksum, create_durably, replace_file};

use crate::engine::{Change, Contents, Engine, Outcome, Place, Refusal, Setting, Store};

/// The control engines, and whether they are wrong.
pub(super) const ALL: [(&dyn Engine, bool); 4] = [
    (&Control::Right, false),
    (&Control::BelievesAnOlderRoot, true),
    (&Control::RemovesBeforeItRefuses, true),
    (&Control::BelievesAnyFile, true),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Right,
    /// What an older root does not name is removed.
    BelievesAnOlderRoot,
    /// It sees that the root is older, but has removed what that does not name.
    RemovesBeforeItRefuses,
    /// It does not look whether a file is the one that the root names.
    BelievesAnyFile,
}

/// What their format would say.
pub(super) const CLAUSES: &str = "```text undecidable
root data-*: the root, and each file that is newer than it, are older ones
```";

const ROOT: &str = "root";

fn file_name(generation: u64) -> String {
    format!("data-{}", generation % 3)
}

struct Open {
    dir: Dir,
    generation: u64,
    contents: Contents,
}

impl Engine for Control {
    fn name(&self) -> &'static str {
        "ctl-life"
    }

    fn open(&self, setting: &Setting) -> Outcome<Box<dyn Store>> {
        let dir = setting.disk.create_dir(&setting.dir)?;
        let (generation, sum) = match dir.open(ROOT) {
            Err(error) if error.is_not_found() => (0, 0),
            root => {
                let bytes = read(&root?)?;
                let mut root = Decoder::new(&bytes);
                let both = root.u64().zip(root.u32());
                both.ok_or("the root is damaged")?
            }
        };
        let mut newest = 0;
        for name in names(&dir)? {
            let bytes = read(&dir.open(&name)?)?;
            newest = newest.max(Decoder::new(&bytes).u64().unwrap_or(0));
        }
        if newest > generation {
            let is_wrong = matches!(
                self,
                Self::BelievesAnOlderRoot | Self::RemovesBeforeItRefuses
            );
            if is_wrong {
                for name in names(&dir)? {
                    if name != file_name(generation) {
                        dir.remove(&name)?;
                    }
                }
            }
            if *self != Self::BelievesAnOlderRoot {
                return Err("a file is newer than the root".into());
            }
        }
        let mut contents = Contents::new();
        if generation > 0 {
            let bytes = read(&dir.open(&file_name(generation))?)?;
            if checksum(&bytes) != sum && *self != Self::BelievesAnyFile {
                return Err("the file is not that of the root".into());
            }
            contents = decode(&bytes).ok_or("the file is damaged")?;
        }
        Ok(Box::new(Mutex::new(Open {
            dir,
            generation,
            contents,
        })))
    }

    fn damage(&self, _error: &Refusal) -> Option<Place> {
        Some(Place::file(ROOT.as_ref()))
    }
}

impl Store for Mutex<Open> {
    fn apply(&self, changes: &[Change]) -> Outcome<()> {
        let mut open = self.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => drop(open.contents.insert(key.clone(), value.clone())),
                None => drop(open.contents.remove(key)),
            }
        }
        let generation = open.generation + 1;
        let bytes = encode(generation, &open.contents);
        let name = file_name(generation);
        match open.dir.remove(&name) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        // Durable: the file. Only now may the root name it.
        create_durably::<durable_io::Error>(&open.dir, &name, |file| file.write_all_at(&bytes, 0))?;
        let mut root = Encoder::default();
        root.u64(generation).u32(checksum(&bytes));
        // Durable: the root. Only now is the change acknowledged.
        replace_file(&open.dir, ROOT, root.as_slice())?;
        open.generation = generation;
        Ok(())
    }

    fn dump(&self) -> Outcome<Contents> {
        let open = self.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(open.contents.clone())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

fn names(dir: &Dir) -> Outcome<Vec<String>> {
    let names = dir.list()?.into_iter().map(|entry| entry.name);
    Ok(names.filter(|name| name.starts_with("data-")).collect())
}

fn read(file: &durable_io::File) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn encode(generation: u64, contents: &Contents) -> Vec<u8> {
    let mut bytes = Encoder::default();
    bytes.u64(generation).u64(contents.len() as u64);
    for (key, value) in contents {
        for part in [key, value] {
            bytes.u64(part.len() as u64).bytes(part);
        }
    }
    bytes.into_vec()
}

fn decode(bytes: &[u8]) -> Option<Contents> {
    let mut bytes = Decoder::new(bytes);
    bytes.u64()?;
    let count = bytes.u64()?;
    let mut part = || {
        let len = usize::try_from(bytes.u64()?).ok()?;
        Some(bytes.bytes(len)?.to_vec())
    };
    (0..count).map(|_| Some((part()?, part()?))).collect()
}
