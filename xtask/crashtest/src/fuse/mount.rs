//! Mounting, so that nothing is left mounted however this process ends.
//!
//! The process leaves the mount namespace of everybody else first: then the kernel unmounts when the
//! process is gone, be it by a signal that nobody can catch, and no other process ever sees the
//! mount. Root may do that, and whoever may make a user namespace.
//!
//! The thread that works with the mounted files must not hold the device, or a kill would hang: it
//! would wait for an answer to its last call, from threads that are dead, through a device that is
//! open as long as it lives. Without it, the device closes with the threads that answer, and the
//! kernel ends the wait.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use durable_io::sim::Volume;
use fuser::{BackgroundSession, Config, MountOption, Session};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;

use super::filesystem::MachineFiles;
use super::machine::Machine;

/// A mounted machine. Dropping it unmounts.
#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) machine: Machine,
    pub(crate) device: Device,
    session: Option<BackgroundSession>,
}

/// The number of the open device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device(RawFd);

impl Device {
    /// Gives the calling thread, and those that it starts, open files of their own without the
    /// device. Must come before it opens anything on the mount.
    ///
    /// # Errors
    /// Those of `unshare` and `close`.
    pub(crate) fn let_go(self) -> io::Result<()> {
        nix::sched::unshare(CloneFlags::CLONE_FILES)?;
        Ok(nix::unistd::close(self.0)?)
    }
}

impl Mounted {
    /// Mounts an empty disk at the directory `place`, in a namespace of this process's own. Must be
    /// called before this process starts a thread.
    ///
    /// # Errors
    /// With the reason why this machine cannot do it, in words.
    pub(crate) fn new(place: &Path, volume: Volume) -> Result<Self, String> {
        let device = std::fs::metadata("/dev/fuse");
        device.map_err(|error| format!("no /dev/fuse: {error}"))?;
        leave_namespaces()?;
        let machine = Machine::new(volume);
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("crashtest".to_owned())];
        let files = MachineFiles(machine.clone());
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("this user may not open /dev/fuse, or not mount: {error}")
            }
            _ => format!("FUSE cannot be mounted: {error}"),
        };
        let session = Session::new(files, place, &config).map_err(refused)?;
        let device = Device(session.as_fd().as_raw_fd());
        let session = session.spawn().map_err(refused)?;
        Ok(Self {
            machine,
            device,
            session: Some(session),
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // A file that is still open keeps it busy; then the end of the process unmounts.
            drop(session.umount_and_join());
        }
    }
}

/// Gives this process mounts of its own, and lets it end when its parent does.
fn leave_namespaces() -> Result<(), String> {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let who = if user.is_root() {
        "root may not mount here"
    } else {
        "not root, and user namespaces are not to be had"
    };
    let refused = |error: io::Error| format!("{who}: {error}");
    if user.is_root() {
        nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(|error| refused(error.into()))?;
    } else {
        nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
            .map_err(|error| refused(error.into()))?;
        map_to_root(user.as_raw(), group.as_raw()).map_err(refused)?;
    }
    // Nothing mounted here may be seen elsewhere.
    let all_private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, all_private, None::<&str>)
        .map_err(|error| refused(error.into()))?;
    // After the namespaces: a change of user takes it back.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| format!("the end of the parent cannot be followed: {error}"))
}

/// In the new user namespace this user is root, which may mount there.
#[expect(
    clippy::disallowed_methods,
    reason = "files of the kernel, not of a disk"
)]
fn map_to_root(user: u32, group: u32) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}
