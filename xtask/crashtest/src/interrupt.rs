//! A run that is interrupted while something is mounted ends in order: what it holds is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// While it lives, SIGINT, SIGTERM and SIGHUP do not end the process at once: they make
/// [`check`](Interrupt::check) fail, and the error unwinds through every guard. Dropped, it leaves
/// the signals deadly again.
#[derive(Debug)]
pub(crate) struct Interrupt {
    raised: Arc<AtomicBool>,
    deadly: Arc<AtomicBool>,
}

impl Interrupt {
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        let deadly = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&raised))?;
            flag::register_conditional_default(signal, Arc::clone(&deadly))?;
        }
        Ok(Self { raised, deadly })
    }

    /// # Errors
    /// A signal has come.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.raised.load(Ordering::Relaxed) {
            bail!("interrupted by a signal");
        }
        Ok(())
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.deadly.store(true, Ordering::Relaxed);
    }
}
