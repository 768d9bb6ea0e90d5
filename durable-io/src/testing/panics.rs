//! Panics planted under the locks of a handle.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// How many steps this thread takes before it panics; `None` if it does not.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// What came of work with a panic planted in it.
#[derive(Debug)]
pub enum Planted<T> {
    /// It ended before the step with the panic: it has no further steps.
    Ended(T),
    /// The panic was met, and the work answered all the same.
    Caught(T),
    /// The panic came out of the work.
    Escaped,
}

/// Does `work` in this thread, and panics at its step `nth`, from 0. A step is each time that a lock of a
/// handle has been taken ([`Health::lock`](crate::engine::Health::lock)), with that lock and whatever
/// others are held. So a test that continues with `nth` until the work has ended has planted a panic under
/// each lock, at each step between the taking of two.
pub fn plant<T>(nth: u64, work: impl FnOnce() -> T) -> Planted<T> {
    LEFT.set(Some(nth));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let is_met = LEFT.take().is_none();
    match result {
        Ok(result) if is_met => Planted::Caught(result),
        Ok(result) => Planted::Ended(result),
        Err(_) => Planted::Escaped,
    }
}

/// A step of work.
pub(crate) fn step() {
    match LEFT.get() {
        None => {}
        Some(0) => {
            LEFT.set(None);
            panic!("planted");
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}
