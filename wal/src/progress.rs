//! [`Progress`]: who is told how far an open has come.

use std::fmt;
use std::sync::Arc;

/// Called with the segments done so far, and all.
#[derive(Clone, Default)]
pub(crate) struct Progress(Option<Arc<Call>>);

type Call = dyn Fn(u64, u64) + Send + Sync;

impl Progress {
    pub(crate) fn new(call: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }

    pub(crate) fn report(&self, done: usize, all: usize) {
        if let Some(call) = &self.0 {
            call(done as u64, all as u64);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").finish_non_exhaustive()
    }
}
