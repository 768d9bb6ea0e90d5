//! A store that panics has broken a promise, like one that answers wrongly.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Broken;

/// Does `work` of a store, which is `doing` something.
///
/// # Errors
/// It panicked.
pub(crate) fn guarded<T>(doing: &dyn Display, work: impl FnOnce() -> T) -> Result<T, Broken> {
    // A store that has panicked is not used again, nor is what it may have left half done.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or(panic.downcast_ref::<&str>().copied());
        Broken {
            promise: "a store does not panic",
            detail: format!("{doing} panicked: {}", words.unwrap_or("without words")),
        }
    })
}

/// Does `work` of a runner, in which what the store is asked is guarded already: what is left is the end of the store,
/// and the subject's own code.
///
/// # Errors
/// Those of `work`, or it panicked.
pub(crate) fn whole<T>(work: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    guarded(&"dropping the store, or the subject itself,", work)?
}
