//! Specimens that are key-value stores, written by the engine as a script says.

use durable_io::SyncMode;
use durable_io::sim::{SimDisk, World};

use super::judge::SIZE;
use super::specimen::{Held, Root, Span, Specimen};
use crate::engine::{Contents, Engine, Outcome, Setting};

/// A store that was written by a script, and what it held on the way.
#[derive(Debug)]
pub struct Written {
    /// The disk it is on.
    pub world: World,
    /// The disk after each operation, and when it had settled.
    pub earlier: Vec<World>,
    /// How many operations were done at each of these moments.
    pub done: Vec<usize>,
    /// What the store held after each operation, from none on.
    pub history: Vec<Contents>,
}

/// Writes a store of `engine` to `dir` of a new simulated disk. The steps of `script`, divided by commas, are
///
/// - operations on keys, of which `-` is the empty one: `put KEY LEN`, `delete KEY`, and `batch KEY LEN
///   KEY`, which puts one key and deletes another;
/// - `settle`: all that is due in the background;
/// - `sync`; `close`, as the last one, instead of the death of the process;
/// - any other word: the engine's chore of that name.
///
/// # Errors
/// Whatever the engine returns; a step that is none.
pub fn write(
    engine: &dyn Engine,
    dir: &'static str,
    sync: SyncMode,
    script: &str,
) -> Outcome<Written> {
    let disk = SimDisk::new();
    let setting = Setting {
        sync,
        ..Setting::new(disk.disk(), dir, SIZE)
    };
    let mut store = Some(engine.open(&setting)?);
    let (mut now, mut history, mut earlier) = (Contents::new(), vec![Contents::new()], Vec::new());
    let mut done = Vec::new();
    for step in script.split(',') {
        let open = store.as_ref().ok_or("a step after the end")?;
        let words: Vec<&str> = step.split_whitespace().collect();
        // A value tells which operation wrote it.
        let nth = u8::try_from(history.len())?;
        let value = |len: &str| len.parse().map(|len| vec![nth; len]);
        let changes = match *words.as_slice() {
            ["put", name, len] => vec![(key(name), Some(value(len)?))],
            ["delete", name] => vec![(key(name), None)],
            ["batch", name, len, other] => {
                vec![(key(name), Some(value(len)?)), (key(other), None)]
            }
            [] => continue,
            ["settle"] => {
                while open.maintain()? {}
                earlier.push(disk.world());
                done.push(history.len() - 1);
                continue;
            }
            ["sync"] => {
                open.sync()?;
                continue;
            }
            ["close"] => {
                if let Some(store) = store.take() {
                    store.close()?;
                }
                continue;
            }
            [chore] => {
                open.chore(chore, 0)?;
                continue;
            }
            _ => return Err(format!("{step:?} is no step").into()),
        };
        open.apply(&changes)?;
        for (key, value) in changes {
            match value {
                Some(value) => drop(now.insert(key, value)),
                None => drop(now.remove(&key)),
            }
        }
        history.push(now.clone());
        earlier.push(disk.world());
        done.push(history.len() - 1);
    }
    drop(store);
    let world = disk.world().keep_unsynced();
    Ok(Written {
        world,
        earlier,
        done,
        history,
    })
}

fn key(name: &str) -> Vec<u8> {
    match name {
        "-" => Vec::new(),
        name => name.into(),
    }
}

impl Written {
    /// The specimen called `name` in `dir`, of which nothing may vanish without a word.
    pub fn specimen(self, name: &'static str, dir: &'static str) -> Specimen {
        let held = self.history.into_iter().zip(0..);
        let held = held.map(|(held, step)| Held::new(step, held));
        let root = Root {
            // Of no file: it is never damaged.
            span: Span::new("", 0..0),
            witness: 0,
            history: held.collect(),
        };
        Specimen::new(name, dir, &self.world, self.earlier, vec![root])
    }
}
