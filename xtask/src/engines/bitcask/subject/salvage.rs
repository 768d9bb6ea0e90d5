//! What is left of a damaged store.

use bitcask::Options;
use crashtest::{Outcome, Salvaged, Setting};

pub(in crate::engines::bitcask) fn salvage(setting: &Setting) -> Outcome<Salvaged> {
    let options = Options::new().disk(setting.disk.clone());
    let items = options.salvage(&setting.dir)?;
    Ok(Salvaged::of(items.map(|item| {
        item.map(|item| (item.key, item.value, item.may_be_older))
    })))
}
