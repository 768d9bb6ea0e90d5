//! Which system call means "durable" on which system: one pure function, tested for each.

/// The call that makes a file's bytes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncPrimitive {
    /// `fdatasync`: the bytes and the length, without timestamps (Linux, Android, FreeBSD).
    Fdatasync,
    /// `fcntl(F_FULLFSYNC)`: on Apple's systems `fsync` only reaches the drive's cache.
    FullFsync,
    /// `fsync`: where nothing better is known.
    Fsync,
    /// No call at all: the simulated disk.
    Simulated,
}

/// How one written range is made durable ([`File::write_durable_at`](crate::File::write_durable_at)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DurableWrite {
    /// One `pwritev2` with `RWF_DSYNC`.
    Dsync,
    /// A write, then the [`SyncPrimitive`].
    WriteThenSync,
}

/// What a [`Disk`](crate::Disk) does when asked for durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Capabilities {
    /// The call after `sync_data`.
    pub sync: SyncPrimitive,
    /// The call after `write_durable_at`.
    pub durable_write: DurableWrite,
    /// True if `allocate` reserves blocks, on file systems that can; false if it only ever sets the
    /// length.
    pub reserves_space: bool,
}

/// The capabilities on the system that Rust calls `os` (`std::env::consts::OS`).
pub(crate) fn capabilities(os: &str) -> Capabilities {
    let sync = match os {
        "linux" | "android" | "freebsd" => SyncPrimitive::Fdatasync,
        "macos" | "ios" | "tvos" | "watchos" | "visionos" => SyncPrimitive::FullFsync,
        _ => SyncPrimitive::Fsync,
    };
    let linux = matches!(os, "linux" | "android");
    Capabilities {
        sync,
        durable_write: if linux {
            DurableWrite::Dsync
        } else {
            DurableWrite::WriteThenSync
        },
        reserves_space: matches!(os, "linux" | "android" | "freebsd"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d37_apple_systems_use_the_full_fsync() {
        for os in ["macos", "ios", "tvos", "watchos", "visionos"] {
            assert_eq!(capabilities(os).sync, SyncPrimitive::FullFsync, "{os}");
        }
    }

    #[test]
    fn every_system_gets_a_primitive_that_reaches_the_disk() {
        assert_eq!(capabilities("linux").sync, SyncPrimitive::Fdatasync);
        assert_eq!(capabilities("freebsd").sync, SyncPrimitive::Fdatasync);
        assert_eq!(capabilities("openbsd").sync, SyncPrimitive::Fsync);
        assert_eq!(
            capabilities("an unknown system").durable_write,
            DurableWrite::WriteThenSync
        );
    }

    #[test]
    fn the_disk_reports_what_it_uses() {
        assert_eq!(
            crate::Disk::os().capabilities(),
            capabilities(std::env::consts::OS)
        );
    }
}
