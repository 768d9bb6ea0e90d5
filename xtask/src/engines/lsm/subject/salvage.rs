//! What is left of a damaged store.

use crashtest::{Outcome, Salvaged, Setting};
use lsm::Options;

pub(in crate::engines::lsm) fn salvage(setting: &Setting) -> Outcome<Salvaged> {
    let mut left = Salvaged::default();
    for item in Options::new()
        .disk(setting.disk.clone())
        .salvage(&setting.dir)?
    {
        match item {
            Ok(item) => left.add(item.key, item.value, item.may_be_older),
            Err(error) => left.errors.push(error.into()),
        }
    }
    Ok(left)
}
