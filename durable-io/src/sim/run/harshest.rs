//! The end of every check: the power fails and takes all it can, and the store is opened twice more.

use super::{Broken, Live, Runner};
use crate::sim::hash::{fixed_hash, mix};
use crate::sim::subject::Subject;

impl<S: Subject> Runner<'_, S> {
    /// Everything not yet durable is lost: what the store acknowledged since recovery must be there,
    /// and opening it again must change neither the answer nor a byte.
    pub(super) fn harshest_crash(&mut self, live: Live<S>) -> Result<(), Broken> {
        let Live {
            sim,
            store,
            history,
        } = live;
        drop(store);
        let allowed = history.since(history.floor);
        let before = sim.world();
        let image = before.lose_unsynced();
        let check = mix(image.visible_hash(), mix(fixed_hash(&allowed), 0xC4A5));
        if self.passed.is_some_and(|passed| passed.contains(check)) {
            return Ok(());
        }
        let sim = self.boot(image);
        let survived = self.open(&sim).and_then(|mut store| {
            const PROMISE: &str = "what a recovered store acknowledges survives";
            self.observe(&mut store, &allowed, PROMISE)
        });
        survived.map_err(|broken| self.with_lost_effects(broken, &before))?;
        let after_once = sim.world().visible_hash();
        let mut store = self.open(&sim)?;
        self.observe(
            &mut store,
            &allowed,
            "recovering twice gives the same answer",
        )?;
        drop(store);
        if sim.world().visible_hash() != after_once {
            return Err(Broken {
                promise: "recovering twice leaves the same bytes",
                detail: "the second open changed the disk".to_owned(),
            });
        }
        if let Some(passed) = self.passed {
            passed.insert(check);
        }
        Ok(())
    }
}
