//! [`Clock`]: what time it is, for the times of events.

use std::fmt;
use std::sync::Arc;

/// What time it is.
#[derive(Clone, Default)]
pub(crate) struct Clock(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl Clock {
    pub(crate) fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    pub(crate) fn now(&self) -> u64 {
        match &self.0 {
            Some(now) => now(),
            None => system_clock(),
        }
    }
}

/// Microseconds since the Unix epoch; 0 if the system's clock is before it.
#[expect(
    clippy::disallowed_types,
    reason = "the default of the clock that the options inject"
)]
fn system_clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).expect("the year is below 500,000")
    })
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
