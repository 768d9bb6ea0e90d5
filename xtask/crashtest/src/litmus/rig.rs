//! The file systems of the running kernel, each in a file of its own, and the cutting of their power.
//!
//! What the kernel has sent to the disk is in the file, and what is only in the page cache does
//! not: a copy of the file, made while it is mounted, is what a power loss leaves. Mounting the copy
//! replays the journal.
//!
//! All of it is mounted in a mount namespace of the thread that works with it: nobody else sees it or
//! holds it, and however the thread or the process ends, the kernel unmounts it and lets the loop
//! devices go.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use durable_io::sim::Profile;
use durable_io::{Dir, Disk};

use super::program::Program;
use super::step::Place;
use crate::Ran;
use crate::interrupt::Interrupt;
use crate::scratch::Scratch;

/// One file system, mounted in one way.
#[derive(Debug)]
pub(super) struct FileSystem {
    /// What it is called in the report, and what it must keep to.
    pub(super) profile: Profile,
    kind: &'static str,
    /// Commits by the clock are put off, so that a program alone decides.
    options: &'static str,
    /// The smallest that `mkfs` takes, with some room.
    mib: u64,
    mkfs: &'static [&'static str],
}

/// With blocks of a page, as on any disk that is not as small as this one.
const MKFS_EXT4: &[&str] = &["mkfs.ext4", "-q", "-F", "-b", "4096"];

pub(super) const FILE_SYSTEMS: [FileSystem; 4] = [
    FileSystem {
        profile: Profile::EXT4,
        kind: "ext4",
        options: "loop,commit=600",
        mib: 64,
        mkfs: MKFS_EXT4,
    },
    FileSystem {
        profile: Profile::EXT4_NOAUTO_DA_ALLOC,
        kind: "ext4",
        options: "loop,commit=600,noauto_da_alloc",
        mib: 64,
        mkfs: MKFS_EXT4,
    },
    FileSystem {
        profile: Profile::XFS,
        kind: "xfs",
        options: "loop",
        mib: 320,
        mkfs: &["mkfs.xfs", "-q", "-f"],
    },
    FileSystem {
        profile: Profile::BTRFS,
        kind: "btrfs",
        options: "loop,commit=300",
        mib: 160,
        mkfs: &["mkfs.btrfs", "-q", "-f"],
    },
];

/// Copies of the disk that stand at a time: programs between two mounts of a fresh file system.
const BATCH: usize = 16;

/// How long a file system may be busy.
const BUSY: Duration = Duration::from_secs(10);

/// Where an image is mounted, in the scratch directory.
const MOUNTED: &str = "mounted";

/// A file system at work, in a directory that is gone with it.
pub(super) struct Rig<'a> {
    file_system: &'static FileSystem,
    interrupt: &'a Interrupt,
    scratch: Scratch,
}

impl<'a> Rig<'a> {
    /// Makes the file system, and mounts it once: whatever is missing shows here. For a thread that
    /// does nothing else.
    pub(super) fn new(
        file_system: &'static FileSystem,
        interrupt: &'a Interrupt,
    ) -> anyhow::Result<Ran<Self>> {
        if let Err(error) = leave_mounts_of_others() {
            let reason = format!("a mount namespace cannot be had: {error}");
            return Ok(Ran::Skipped(reason));
        }
        let rig = Self {
            file_system,
            interrupt,
            scratch: scratch()?,
        };
        let dir = rig.dir()?;
        dir.create_dir(MOUNTED)?;
        let base = dir.create_new("base")?;
        base.set_len(file_system.mib << 20)?;
        if let [mkfs, arguments @ ..] = file_system.mkfs {
            let made = call(Command::new(mkfs).args(arguments).arg(rig.path("base")));
            if let Err(error) = made {
                return Ok(Ran::Skipped(format!("{error:#}")));
            }
        }
        if let Err(error) = rig.mount("base") {
            return Ok(Ran::Skipped(format!("{error:#}")));
        }
        rig.unmount()?;
        Ok(Ran::Ran(rig))
    }

    /// What a power loss after each of `programs` shows.
    pub(super) fn lose_power_after(&self, programs: &[Program]) -> anyhow::Result<Vec<String>> {
        let mut shown = Vec::new();
        for batch in programs.chunks(BATCH) {
            self.run(batch)?;
            for (nth, program) in batch.iter().enumerate() {
                self.interrupt.check()?;
                let look = self.look(nth);
                shown.push(look.with_context(|| format!("after {}", program.name))?);
            }
        }
        Ok(shown)
    }

    /// Runs the programs one after the other, each in a directory of its own and from a settled disk,
    /// and copies the disk after each.
    fn run(&self, programs: &[Program]) -> anyhow::Result<()> {
        self.copy("base", "disk")?;
        self.mount("disk")?;
        for (nth, program) in programs.iter().enumerate() {
            self.interrupt.check()?;
            let root = self.path(MOUNTED).join(directory(nth));
            let place = &mut Place::new(Disk::os(), &root);
            let ran = (|| {
                Disk::os().create_dir(&root)?;
                program.prepare(place)?;
                call(Command::new("sync").arg("-f").arg(&root))?;
                program.run(place)?;
                self.copy("disk", &image(nth))
            })();
            ran.with_context(|| format!("{}: {}", program.name, program.describe()))?;
        }
        self.unmount()?;
        Ok(self.dir()?.remove("disk")?)
    }

    fn look(&self, nth: usize) -> anyhow::Result<String> {
        let image = image(nth);
        self.mount(&image).context("a disk after a power loss")?;
        let root = self.path(MOUNTED).join(directory(nth));
        let shown = Place::new(Disk::os(), &root).look()?;
        self.unmount()?;
        self.dir()?.remove(&image)?;
        Ok(shown)
    }

    fn dir(&self) -> anyhow::Result<Dir> {
        Ok(Disk::os().open_dir(self.scratch.path())?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let mut copy = Command::new("cp");
        copy.arg("--sparse=always").arg(self.path(from));
        call(copy.arg(self.path(to)))
    }

    fn mount(&self, image: &str) -> anyhow::Result<()> {
        let FileSystem { kind, options, .. } = self.file_system;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", *kind, "-o", *options])
            .arg(self.path(image));
        call(mount.arg(self.path(MOUNTED)))
    }

    fn unmount(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            match call(Command::new("umount").arg(self.path(MOUNTED))) {
                // A child of another thread, between its fork and its exec, has our files open.
                Err(error) if started.elapsed() < BUSY && error.to_string().contains("busy") => {}
                other => return other,
            }
        }
    }
}

impl Drop for Rig<'_> {
    fn drop(&mut self) {
        // Something is mounted only on the way out with an error, which says more; and if this fails,
        // the end of the thread unmounts.
        drop(call(Command::new("umount").arg(self.path(MOUNTED))));
    }
}

/// The directory of the program with this number in its batch.
fn directory(nth: usize) -> String {
    format!("p{nth}")
}

/// The copy of the disk made after it.
fn image(nth: usize) -> String {
    format!("image{nth}")
}

/// In memory if there is room, for speed; else next to the program.
fn scratch() -> anyhow::Result<Scratch> {
    const ROOM: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let room = Disk::os().open_dir(memory).and_then(|dir| dir.free_space());
    if room.is_ok_and(|room| room >= ROOM)
        && let Ok(scratch) = Scratch::new_in(memory)
    {
        return Ok(scratch);
    }
    Scratch::new()
}

/// Gives this thread and its children a list of mounts of their own.
#[cfg(target_os = "linux")]
fn leave_mounts_of_others() -> nix::Result<()> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
}

#[cfg(not(target_os = "linux"))]
fn leave_mounts_of_others() -> anyhow::Result<()> {
    bail!("this is not Linux")
}

/// Runs `command` out of reach of the terminal's signals, which are for this process; what it
/// complains about is the error.
fn call(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.process_group(0).output() {
        Ok(output) => output,
        Err(error) => bail!("{program} cannot be started: {error}"),
    };
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.trim().replace('\n', "; ");
        bail!("{program} failed ({}): {complaint}", output.status);
    }
    Ok(())
}
