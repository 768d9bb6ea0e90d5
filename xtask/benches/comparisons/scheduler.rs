//! What the operating system's scheduler is told and asked.

#![expect(unsafe_code, reason = "no crate of this workspace wraps these calls")]

use std::io;
use std::mem::MaybeUninit;

use anyhow::Context as _;

/// While it lives, this thread and those that it starts are scheduled before all ordinary ones.
#[derive(Debug)]
pub(crate) struct RealTime(());

impl RealTime {
    pub(crate) fn enter() -> io::Result<Self> {
        // Above other real-time threads of the lowest kind, far below the kernel's own.
        schedule(libc::SCHED_FIFO, 5).map(|()| Self(()))
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        schedule(libc::SCHED_OTHER, 0).expect("priority can always be given up");
    }
}

fn schedule(policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: `param` is valid for reads while the call runs; 0 is the calling thread.
    let failed = unsafe { libc::sched_setscheduler(0, policy, &raw const param) } != 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How often threads of this process, also those that ended, were made to give way.
pub(crate) fn involuntary_switches() -> anyhow::Result<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is valid for writes of a `rusage`.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0;
    if failed {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: a `rusage` is plain numbers, for which zeros are valid too.
    let usage = unsafe { usage.assume_init() };
    Ok(u64::try_from(usage.ru_nivcsw)?)
}

/// The machine's load average of the last minute.
pub(crate) fn load() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let first = text.split(' ').next().context("an empty load average")?;
    Ok(first.parse()?)
}
