//! Faults that are no crash: a call that fails, does half, or lies.

/// What goes wrong at a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The call fails with this error number and has done nothing.
    Errno(i32),
    /// The call fails with this error number although it has happened.
    ErrnoAfter(i32),
    /// A read or write of more than one byte moves only part of the bytes.
    Short(ShortBy),
    /// A sync fails with `EIO`, and this is what becomes of the bytes it was to make durable.
    Sync(SyncFailure),
}

/// How much of a short read or write is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShortBy {
    /// One byte.
    OneByte,
    /// As many whole units of tearing as fit, but not all of it.
    WholeSectors,
    /// All but the last byte.
    AllButOne,
}

/// What a failed sync leaves (Rebello et al., "Can Applications Recover from fsync Failures?",
/// ATC 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncFailure {
    /// The pages are marked clean: reads show the new bytes, the disk keeps the old ones until
    /// somebody writes them again, and the next sync succeeds (ext4 in ordered mode, xfs). Lengths
    /// and names, which go through a journal, stay dirty.
    CacheKeeps,
    /// Cache and disk both go back to the old bytes (btrfs).
    CacheReverts,
    /// The bytes are durable; only the answer was wrong.
    HappenedAnyway,
    /// Nothing happened: the bytes are still dirty, and a second sync would write them.
    StillDirty,
}

impl SyncFailure {
    /// Every variant.
    pub const ALL: [Self; 4] = [
        Self::CacheKeeps,
        Self::CacheReverts,
        Self::HappenedAnyway,
        Self::StillDirty,
    ];
}

/// A fault at one call of a run, or from that call on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The call, counted from 0 over every call that reaches the disk
    /// ([`SimDisk::calls`](super::SimDisk::calls)).
    pub call: u64,
    /// What goes wrong.
    pub kind: FaultKind,
    /// True if every later call to which `kind` applies fails in the same way.
    pub sticky: bool,
}

/// The class of a call, as far as faults care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallClass {
    Open,
    Create,
    Change,
    List,
    Read,
    Write,
    DurableWrite,
    Allocate,
    Length,
    Sync,
    Map,
    Lock,
}

const EPERM: i32 = 1;
const EINTR: i32 = 4;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EFBIG: i32 = 27;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EMLINK: i32 = 31;
const ENOLCK: i32 = 37;
const EDQUOT: i32 = 122;

impl CallClass {
    /// Every fault that such a call can legally meet.
    pub(crate) fn faults(self) -> Vec<FaultKind> {
        let errnos: &[i32] = match self {
            Self::Open => &[EIO, EINTR, ENOMEM, EACCES, EPERM, EMFILE, ENFILE],
            Self::Create => &[
                EIO, EINTR, ENOMEM, EACCES, EPERM, EMFILE, ENFILE, ENOSPC, EDQUOT, EROFS,
            ],
            Self::Change => &[
                EIO, ENOMEM, EACCES, EPERM, EBUSY, EMLINK, ENOSPC, EDQUOT, EROFS,
            ],
            Self::List => &[EIO, EINTR, ENOMEM, EACCES, EMFILE, ENFILE],
            Self::Read => &[EIO, EINTR, EAGAIN, ENOMEM],
            Self::Write | Self::DurableWrite => &[
                EIO, EINTR, EAGAIN, ENOMEM, EPERM, EFBIG, ENOSPC, EDQUOT, EROFS,
            ],
            Self::Allocate => &[EIO, EINTR, ENOMEM, EPERM, EFBIG, ENOSPC, EDQUOT, EROFS],
            Self::Length => &[EIO, ENOMEM],
            Self::Lock => &[EIO, EINTR, ENOMEM, ENOLCK],
            Self::Sync => &[EIO, EINTR, ENOSPC, EDQUOT, EROFS],
            Self::Map => &[ENOMEM, EAGAIN, ENFILE, EPERM],
        };
        let mut faults: Vec<FaultKind> = errnos.iter().copied().map(FaultKind::Errno).collect();
        match self {
            Self::Create | Self::Change | Self::Write | Self::DurableWrite => {
                faults.push(FaultKind::ErrnoAfter(EIO));
            }
            _ => {}
        }
        if matches!(self, Self::Sync | Self::DurableWrite) {
            faults.extend(SyncFailure::ALL.map(FaultKind::Sync));
        }
        if matches!(self, Self::Read | Self::Write | Self::DurableWrite) {
            let shorts = [ShortBy::OneByte, ShortBy::WholeSectors, ShortBy::AllButOne];
            faults.extend(shorts.map(FaultKind::Short));
        }
        faults
    }

    /// True if such a call, refused by `kind`, has changed nothing that counts: then nothing may be
    /// poisoned by it; nor, if it is sticky, by what it strikes later.
    pub(crate) fn is_refused_by(self, kind: FaultKind, sticky: bool) -> bool {
        let FaultKind::Errno(code) = kind else {
            return false;
        };
        if sticky
            && [Self::Write, Self::Sync]
                .iter()
                .any(|other| other.suffers(kind))
        {
            return false;
        }
        match self {
            Self::Open | Self::List | Self::Read | Self::Length | Self::Map | Self::Lock => true,
            Self::Create | Self::Change | Self::Allocate => code != EIO,
            Self::Write => code == ENOSPC || code == EDQUOT,
            Self::DurableWrite | Self::Sync => false,
        }
    }

    /// True if `kind`, injected for another class of call, also strikes this one when sticky.
    pub(crate) fn suffers(self, kind: FaultKind) -> bool {
        self.faults().contains(&kind)
    }
}

impl FaultKind {
    /// A sticky interruption would be repeated for ever, by design.
    pub(crate) fn may_be_sticky(self) -> bool {
        self != Self::Errno(EINTR)
    }
}
