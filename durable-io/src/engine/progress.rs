//! [`Progress`]: reports of how far a long operation has come.

use std::fmt;
use std::sync::Arc;

/// A callback that a user may have given to an option; `T` says how far it is. Default: no reports.
#[derive(Clone)]
pub struct Progress<T>(Option<Arc<Call<T>>>);

type Call<T> = dyn Fn(T) + Send + Sync;

impl<T> Progress<T> {
    /// Calls `report` with each report.
    pub fn new(report: impl Fn(T) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    /// Reports that it has come so far.
    pub fn report(&self, so_far: T) {
        if let Some(call) = &self.0 {
            call(so_far);
        }
    }
}

impl<T> Default for Progress<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> fmt::Debug for Progress<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").finish_non_exhaustive()
    }
}
