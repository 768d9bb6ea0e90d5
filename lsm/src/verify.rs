//! Reading and checking everything.

use crate::error::{Corruption, Error, Result};
use crate::names;
use crate::stats::Verified;
use crate::store::Store;

impl Store {
    pub(crate) fn verify(&self) -> Result<Verified> {
        // Held across I/O: so that the tables that are verified are those of the manifest.
        let _compacting = self.health.lock(&self.compacting);
        let mut verified = Verified::default();
        for tree in &self.catalog_full().trees {
            let state = tree.state();
            for live in &state.levels.tables {
                let found = live.table.verify()?;
                verified.tables += 1;
                verified.entries += found.entries;
                verified.bytes += found.bytes;
                let is_whole = found.is_whole();
                verified
                    .damage
                    .extend(found.damage.into_iter().map(Error::from));
                if is_whole && found.checksum != live.entry.checksum {
                    let path = self.tables.path().join(names::table(live.entry.number));
                    let error = Error::corrupt(&path, Corruption::ForeignTable);
                    verified.damage.push(error);
                }
            }
            if let Some(live) = state.levels.tangle() {
                let path = self.tables.path().join(names::table(live.entry.number));
                verified
                    .damage
                    .push(Error::corrupt(&path, Corruption::Overlap));
            }
        }
        match self.log.verify() {
            Ok(found) => {
                verified.records = found.records;
                verified.bytes += found.bytes;
            }
            Err(error) => note(&mut verified, error)?,
        }
        // Held across I/O: no edit comes meanwhile.
        let manifest = self.health.lock(&self.manifest);
        match manifest.log().verify() {
            Ok(found) => {
                verified.edits = found.records;
                verified.bytes += found.bytes;
            }
            Err(error) => note(&mut verified, error)?,
        }
        Ok(verified)
    }
}

fn note(verified: &mut Verified, error: wal::Error) -> Result<()> {
    match error.into() {
        error @ Error::Corrupt { .. } => {
            verified.damage.push(error);
            Ok(())
        }
        error => Err(error),
    }
}
