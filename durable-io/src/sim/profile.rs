//! [`Profile`]: what a file system promises beyond `strict`, as data.

/// What a file system promises beyond the crash model's own rules (`strict`).
///
/// Each promise takes crash states away, so every state of a profile is one of `strict`. `cargo xtask
/// crashtest --layer litmus` checks that, and holds the profiles against the file systems of the
/// running kernel. Where it is not known that a file system keeps a promise always, its profile does
/// not have it.
///
/// A store is judged under `strict`. A profile answers another question: what would *this* file
/// system leave?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a promise of its own"
)]
pub struct Profile {
    /// For reports.
    pub name: &'static str,
    /// Names, truncations and reservations reach the disk in the order in which they were made, a rename as
    /// one. A file is seen longer only if everything that was made before it grew is there too.
    pub journal: bool,
    /// What a sync makes durable besides what it was asked to.
    pub sync_commits: SyncCommits,
    /// Data too reaches the disk only after the names, truncations and reservations made before it: blocks
    /// are never overwritten in place.
    pub data_in_order: bool,
    /// A write makes a file longer only once the bytes at the new end are on the disk.
    pub data_before_size: bool,
    /// A rename that replaces a file carries the new file's length with it (not its bytes).
    pub flush_on_replace: bool,
    /// What was never written shows zeros: no garbage, nothing of other files.
    pub zero_holes: bool,
}

/// What else is durable when a sync returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncCommits {
    /// Nothing.
    Nothing,
    /// The journal, up to the last change of length or names of what was synced: there is one for
    /// the whole file system, and it is written in order.
    Journal,
    /// All names of what was synced and of the directories above it; and perhaps anything else that
    /// was done before, in no order.
    Names,
}

impl Profile {
    /// The crash model without any promise: what stores are judged by.
    pub const STRICT: Self = Self {
        name: "strict",
        journal: false,
        sync_commits: SyncCommits::Nothing,
        data_in_order: false,
        data_before_size: false,
        flush_on_replace: false,
        zero_holes: false,
    };

    /// ext4 with `noauto_da_alloc`. A length is in the journal as soon as the write of its blocks has
    /// begun, so it is seen without the bytes.
    pub const EXT4_NOAUTO_DA_ALLOC: Self = Self {
        name: "ext4 noauto_da_alloc",
        journal: true,
        sync_commits: SyncCommits::Journal,
        zero_holes: true,
        ..Self::STRICT
    };

    /// ext4 as it is mounted by default.
    pub const EXT4: Self = Self {
        name: "ext4",
        flush_on_replace: true,
        ..Self::EXT4_NOAUTO_DA_ALLOC
    };

    /// XFS: a length is changed when the write of its blocks has ended.
    pub const XFS: Self = Self {
        name: "xfs",
        data_before_size: true,
        ..Self::EXT4_NOAUTO_DA_ALLOC
    };

    /// btrfs: a commit is the whole tree at one moment. A sync between two of them writes a log of
    /// the synced file and of what that needs, and what else gets into the log follows no order that
    /// anyone promises: an entry of a synced directory, the removal of a name that was logged before.
    pub const BTRFS: Self = Self {
        name: "btrfs",
        journal: true,
        sync_commits: SyncCommits::Names,
        data_in_order: true,
        zero_holes: true,
        ..Self::STRICT
    };

    /// The profiles of real file systems.
    pub const REAL: [Self; 4] = [
        Self::EXT4,
        Self::EXT4_NOAUTO_DA_ALLOC,
        Self::XFS,
        Self::BTRFS,
    ];
}
