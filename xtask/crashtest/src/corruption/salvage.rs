//! What a salvage of a damaged store may give out, and what a new store must hold that is made of it.

use std::path::Path;

use durable_io::sim::{SimDisk, World};

use super::changes::Kind;
use super::judge::{Answer, Case, Judged, describe, summary};
use super::specimen::{Held, files};
use crate::engine::Salvaged;

impl Case<'_> {
    /// A salvage, if the engine has one, changes nothing; and what it gives out without a warning is what the store
    /// held, all of it if it says that nothing is wrong.
    pub(super) fn check_salvage(&self, world: &World) -> Judged<()> {
        let disk = SimDisk::boot(world.clone());
        let salvaged = match self.engine.salvage(&self.setting(&disk)) {
            None => return Ok(()),
            Some(Err(error)) if self.engine.damage(&*error).is_some() => return Ok(()),
            Some(Err(error)) => return Err(format!("it ends: {}", describe(&*error))),
            Some(Ok(salvaged)) => salvaged,
        };
        if !world.shows_the_same(&disk.world()) {
            return Err("a file was changed".to_owned());
        }
        let roots = &self.specimen.roots;
        let history: Vec<&Held> = roots.iter().flat_map(|root| &root.history).collect();
        // Of a store that was killed only the steps are known that it may show.
        let is_complete = history.iter().any(|held| held.step == 0);
        let mut older = salvaged.older.iter();
        let was = |key: &Vec<u8>, value: &Vec<u8>| {
            let mut history = history.iter();
            history.any(|held| held.contents.get(key) == Some(value))
        };
        if let Some((key, _)) = older.find(|(key, value)| is_complete && !was(key, value)) {
            return Err(format!("{key:?} never had that value"));
        }
        let least = self.least();
        let whole = self.specimen.whole();
        let mut held = history.iter().filter(|held| held.step >= least);
        if fits(&salvaged, whole) || held.any(|held| fits(&salvaged, held)) {
            return self.check_rebuilt(world, &salvaged);
        }
        let keys: Vec<_> = salvaged.contents.keys().collect();
        let errors: Vec<_> = salvaged
            .errors
            .iter()
            .map(|error| describe(&**error))
            .collect();
        Err(format!("it gives out {keys:?} and says {errors:?}"))
    }
}

impl Case<'_> {
    /// A new store of what is certain, if the engine makes one, holds just that, is all right, and leaves the damaged
    /// one as it is. A byte damages what the sector does that it is in: only larger damage is asked about.
    fn check_rebuilt(&self, world: &World, salvaged: &Salvaged) -> Judged<()> {
        if matches!(self.kind, Kind::Byte | Kind::Strip | Kind::Truncation) {
            return Ok(());
        }
        let disk = SimDisk::boot(world.clone());
        let store = match self
            .engine
            .rebuild(&self.setting(&disk), Path::new(REBUILT))
        {
            Ok(None) => return Ok(()),
            Ok(Some(store)) => store,
            Err(error) => return Err(format!("a new store of it: {}", describe(&*error))),
        };
        let dir = self.specimen.dir;
        if files(dir, world) != files(dir, &disk.world()) {
            return Err("a new store of it changed a file".to_owned());
        }
        let answer = Answer::of(&*store)?;
        let found = &answer.contents;
        let is_found = |(key, value): (&Vec<u8>, &Vec<u8>)| found.get(key) == Some(value);
        let was_given = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            let mut given = [&salvaged.contents, &salvaged.older].into_iter();
            given.any(|given| given.get(key) == Some(value))
        };
        let is_right = salvaged.contents.iter().all(is_found) && found.iter().all(was_given);
        if is_right && answer.is_quiet() {
            return Ok(());
        }
        let (found, certain) = (summary(found), summary(&salvaged.contents));
        let is_quiet = answer.is_quiet();
        Err(format!(
            "a new store of {certain} holds {found}; is all right: {is_quiet}"
        ))
    }
}

/// Where new stores are made.
const REBUILT: &str = "/rebuilt";

/// True if that is left of a store that held `held`.
fn fits(salvaged: &Salvaged, held: &Held) -> bool {
    let mut contents = salvaged.contents.iter();
    let is_right = contents.all(|(key, value)| held.contents.get(key) == Some(value));
    let is_whole = salvaged.older.is_empty() && salvaged.contents.len() == held.contents.len();
    is_right && (is_whole || !salvaged.errors.is_empty())
}
