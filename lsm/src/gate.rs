//! [`Gate`]: writers pass it together; whoever changes what they write to waits until none is inside,
//! and lets none in meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

const CLOSED: u64 = 1 << 63;

/// Writers inside, and whether more may come. Not a `RwLock`: who goes in may be another thread than who
/// comes out.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// How many are inside; with [`CLOSED`], nobody may come in.
    inside: AtomicU64,
    turn: Mutex<()>,
    changed: Condvar,
    /// One at a time closes it.
    closing: Mutex<()>,
}

impl Gate {
    /// Goes in; waits while it is closed. Whoever goes in calls [`leave`](Self::leave).
    #[inline]
    pub(crate) fn enter(&self) {
        if self.inside.fetch_add(1, Ordering::SeqCst) & CLOSED != 0 {
            self.wait_to_enter();
        }
    }

    #[cold]
    fn wait_to_enter(&self) {
        self.leave();
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let inside = self.inside.load(Ordering::SeqCst);
            if inside & CLOSED == 0 {
                let entered = self.inside.compare_exchange(
                    inside,
                    inside + 1,
                    Ordering::SeqCst,
                    Ordering::SeqCst,
                );
                if entered.is_ok() {
                    return;
                }
                continue;
            }
            turn = self
                .changed
                .wait(turn)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Comes out.
    #[inline]
    pub(crate) fn leave(&self) {
        if self.inside.fetch_sub(1, Ordering::SeqCst) == CLOSED | 1 {
            // Taken so that the one who closes it, and has just seen somebody inside, is waiting.
            drop(self.turn.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }

    /// Closes it, and waits until nobody is inside. `help` does a part of what those inside wait for,
    /// and returns false if there is nothing to do but wait.
    pub(crate) fn close(&self, mut help: impl FnMut() -> bool) -> Closed<'_> {
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        self.inside.fetch_or(CLOSED, Ordering::SeqCst);
        let closed = Closed {
            gate: self,
            _closing: closing,
        };
        while self.inside.load(Ordering::SeqCst) != CLOSED {
            if help() {
                continue;
            }
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if self.inside.load(Ordering::SeqCst) != CLOSED {
                drop(
                    self.changed
                        .wait(turn)
                        .unwrap_or_else(PoisonError::into_inner),
                );
            }
        }
        closed
    }
}

/// Nobody is inside while this is there.
#[derive(Debug)]
pub(crate) struct Closed<'a> {
    gate: &'a Gate,
    _closing: std::sync::MutexGuard<'a, ()>,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.gate.inside.fetch_and(!CLOSED, Ordering::SeqCst);
        drop(
            self.gate
                .turn
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use super::*;

    #[test]
    fn nobody_is_inside_while_it_is_closed() {
        let (gate, inside) = (&Gate::default(), &AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    for _ in 0..2000 {
                        gate.enter();
                        inside.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        gate.leave();
                    }
                });
            }
            scope.spawn(move || {
                for _ in 0..500 {
                    let closed = gate.close(|| false);
                    assert_eq!(inside.load(Ordering::SeqCst), 0);
                    thread::yield_now();
                    assert_eq!(inside.load(Ordering::SeqCst), 0);
                    drop(closed);
                }
            });
        });
    }
}
