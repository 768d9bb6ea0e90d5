//! What is said of a broken promise beside the promise: what led to it.

use super::{Broken, Moment, Runner};
use crate::sim::subject::Subject;
use crate::sim::world::World;

impl<S: Subject> Runner<'_, S> {
    /// Adds what the loss of everything pending in `before` took, if that is to be reported.
    pub(super) fn with_lost_effects(&self, broken: Broken, before: &World) -> Broken {
        if self.machines.is_none() {
            return broken;
        }
        let (lines, _) = crate::sim::report::effects(before, &[], &self.notes());
        let Broken { promise, detail } = broken;
        let detail = format!("{}\n   {detail}", lines.join("\n"));
        Broken { promise, detail }
    }

    /// Says what led from the recovery to the last crash.
    pub(super) fn with_continuation(
        &self,
        broken: Broken,
        moment: &Moment<S>,
        opened: &str,
    ) -> Broken {
        let done = self.subject.continuation(&moment.prospect.interrupted);
        let Broken { promise, detail } = broken;
        let detail = format!(
            "the store was {opened}, did {done:?}, and lost power with everything not yet synced\n{detail}"
        );
        Broken { promise, detail }
    }
}
