//! Work that is spread over this machine's cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many cores there are.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What `work` makes of each of `jobs`, in their order.
pub(crate) fn each<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    let work = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(nth) else {
                return;
            };
            let result = work(job);
            let mut done = done.lock().expect("nothing panics with it");
            done.push((nth, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..count() {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("nothing panics with it");
    done.sort_by_key(|(nth, _)| *nth);
    done.into_iter().map(|(_, result)| result).collect()
}
