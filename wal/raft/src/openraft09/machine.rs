//! [`StateMachine`]: a [`machine::StateMachine`] as that of openraft 0.9 (features `openraft` and `state-machine`).

use std::fmt;
use std::io::{self, SeekFrom};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{
    AnyError, EntryPayload, ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftSnapshotBuilder,
    RaftTypeConfig, SnapshotMeta, StorageError, StorageIOError, StoredMembership,
};
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};
use tokio::sync::{oneshot, watch};

use super::{LogStorage, decode, encode};
use crate::error::{Error, Result};
use crate::machine::{self, Applied, Changes, SnapshotData};
use crate::{Failure, NoThread, Poisoned};

/// The state machine of one group, for openraft 0.9: generic over the function that applies a command.
///
/// The function gets the store as it is before the command, and says what the command changes; what it does not
/// know, such as the time, must come with the command, since each node calls it on its own. What it answers is what
/// the client gets: `C::R::default()` is the answer to what is no command. An error from it stops the node, so
/// what a client may have done wrong is an answer.
///
/// Snapshots are built and installed on a thread of their own, `raft-snapshot`, unless the state machine's background
/// work is done inline.
pub struct StateMachine<C, F> {
    core: machine::StateMachine,
    apply: Arc<F>,
    progress: watch::Sender<Progress>,
    types: PhantomData<fn() -> C>,
}

/// What [`Purging`] waits for: that it changes.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    installed: u64,
    has_failed: bool,
}

impl<C, F> Clone for StateMachine<C, F> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            apply: Arc::clone(&self.apply),
            progress: self.progress.clone(),
            types: PhantomData,
        }
    }
}

impl<C, F> fmt::Debug for StateMachine<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateMachine").field(&self.core).finish()
    }
}

impl<C, F> StateMachine<C, F> {
    /// That of `core`, which nobody else applies entries to. Each command is given to `apply`.
    pub fn new(core: machine::StateMachine, apply: F) -> Self {
        Self {
            core,
            apply: Arc::new(apply),
            progress: watch::Sender::new(Progress::default()),
            types: PhantomData,
        }
    }

    /// To read, and to close.
    pub fn core(&self) -> &machine::StateMachine {
        &self.core
    }

    /// What keeps a log from being purged too early.
    pub(super) fn purging(&self) -> Purging {
        Purging {
            core: self.core.clone(),
            progress: self.progress.subscribe(),
        }
    }
}

/// Keeps a log from being purged up to what the state machine does not hold durably.
#[derive(Clone, Debug)]
pub(super) struct Purging {
    core: machine::StateMachine,
    progress: watch::Receiver<Progress>,
}

impl Purging {
    /// Waits until all up to `index` was applied and is durable, or is in a snapshot.
    pub(super) async fn wait_until_held(&mut self, index: u64) -> Result<()> {
        loop {
            let progress = *self.progress.borrow_and_update();
            let core = self.core.clone();
            // Off the runtime's threads: it may wait for an installation, or for the disk.
            if at_leisure(&self.core, move || core.make_durable_up_to(index)).await? {
                return Ok(());
            }
            if progress.has_failed || self.progress.changed().await.is_err() {
                return Err(Error::NotHeld { index });
            }
        }
    }
}

/// Does `work` of `core`, which may take long, on a thread of its own, with whatever runtime; or here, if `core` has no
/// threads.
async fn at_leisure<T: Send + 'static>(
    core: &machine::StateMachine,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if core.is_inline() {
        return work();
    }
    let (sender, done) = oneshot::channel();
    let name = "raft-snapshot".to_owned();
    let spawned = thread::Builder::new()
        .name(name.clone())
        // If nobody waits any more, nobody is told.
        .spawn(move || drop(sender.send(work())));
    spawned.map_err(|source| NoThread {
        name,
        source: Arc::new(source),
    })?;
    let panicked = || Poisoned {
        source: Failure::Panic,
    };
    // A panic on the thread: the machine's locks say so to all who come later.
    done.await.map_err(|_dropped| panicked())?
}

type StoredMembershipOf<C> =
    StoredMembership<<C as RaftTypeConfig>::NodeId, <C as RaftTypeConfig>::Node>;
type MetaOf<C> = SnapshotMeta<<C as RaftTypeConfig>::NodeId, <C as RaftTypeConfig>::Node>;
type AppliedOf<C> = (
    Option<LogId<<C as RaftTypeConfig>::NodeId>>,
    StoredMembershipOf<C>,
);

fn of_applied<C>(applied: &Applied) -> Result<AppliedOf<C>>
where
    C: RaftTypeConfig<Entry = openraft::Entry<C>>,
{
    let last = applied.last.as_ref();
    let last = last.map(LogStorage::<C>::of_point).transpose()?;
    let membership = match &applied.membership {
        Some(bytes) => decode(bytes)?,
        None => StoredMembership::default(),
    };
    Ok((last, membership))
}

fn of_snapshot<C>(snapshot: machine::Snapshot) -> Result<Snapshot<C>>
where
    C: RaftTypeConfig<Entry = openraft::Entry<C>, SnapshotData = SnapshotStream>,
{
    let (last_log_id, last_membership) = of_applied::<C>(&snapshot.state)?;
    Ok(Snapshot {
        meta: SnapshotMeta {
            last_log_id,
            last_membership,
            snapshot_id: snapshot.id,
        },
        snapshot: Box::new(SnapshotStream::new(snapshot.data)),
    })
}

fn on_snapshot<N: openraft::NodeId>(verb: ErrorVerb, error: &Error) -> StorageError<N> {
    let subject = ErrorSubject::Snapshot(None);
    StorageIOError::new(subject, verb, AnyError::new(error)).into()
}

impl<C, F> RaftSnapshotBuilder<C> for StateMachine<C, F>
where
    C: RaftTypeConfig<Entry = openraft::Entry<C>, SnapshotData = SnapshotStream>,
    F: Send + Sync + 'static,
{
    async fn build_snapshot(&mut self) -> Result<Snapshot<C>, StorageError<C::NodeId>> {
        let core = self.core.clone();
        let built = at_leisure(&self.core, move || core.build_snapshot()).await;
        let built = built.and_then(of_snapshot);
        built.map_err(|error| on_snapshot(ErrorVerb::Write, &error))
    }
}

impl<C, F> RaftStateMachine<C> for StateMachine<C, F>
where
    C: RaftTypeConfig<Entry = openraft::Entry<C>, SnapshotData = SnapshotStream>,
    C::R: Default,
    F: Fn(&mut Changes<'_>, C::D) -> Result<C::R> + Send + Sync + 'static,
{
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<AppliedOf<C>, StorageError<C::NodeId>> {
        let applied = self
            .core
            .applied()
            .and_then(|found| of_applied::<C>(&found));
        applied.map_err(|error| StorageIOError::read_state_machine(AnyError::new(&error)).into())
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<C::R>, StorageError<C::NodeId>>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            let log_id = entry.log_id.clone();
            let answer = self.apply_one(entry);
            if answer.is_err() {
                // The node stops: what waits for an installation waits in vain.
                self.progress
                    .send_modify(|progress| progress.has_failed = true);
            }
            answers.push(answer.map_err(|error| {
                let error = AnyError::new(&error);
                StorageError::from(StorageIOError::apply(log_id, error))
            })?);
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<SnapshotStream>, StorageError<C::NodeId>> {
        let incoming = self.core.receive();
        let incoming = incoming.map_err(|error| on_snapshot(ErrorVerb::Write, &error))?;
        Ok(Box::new(SnapshotStream::new(SnapshotData::Incoming(
            incoming,
        ))))
    }

    async fn install_snapshot(
        &mut self,
        meta: &MetaOf<C>,
        snapshot: Box<SnapshotStream>,
    ) -> Result<(), StorageError<C::NodeId>> {
        let (core, meta) = (self.core.clone(), meta.clone());
        let installed = at_leisure(&self.core, move || {
            let expected = (meta.last_log_id, meta.last_membership);
            core.install(&meta.snapshot_id, snapshot.data, |found| {
                of_applied::<C>(found).is_ok_and(|found| found == expected)
            })
        });
        let installed = installed.await;
        self.progress.send_modify(|progress| match installed {
            Ok(()) => progress.installed += 1,
            Err(_) => progress.has_failed = true,
        });
        installed.map_err(|error| on_snapshot(ErrorVerb::Write, &error))
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<C>>, StorageError<C::NodeId>> {
        let current = self.core.snapshot();
        let current = current.and_then(|found| found.map(of_snapshot).transpose());
        current.map_err(|error| on_snapshot(ErrorVerb::Read, &error))
    }
}

impl<C, F> StateMachine<C, F>
where
    C: RaftTypeConfig<Entry = openraft::Entry<C>>,
    C::R: Default,
    F: Fn(&mut Changes<'_>, C::D) -> Result<C::R>,
{
    fn apply_one(&self, entry: openraft::Entry<C>) -> Result<C::R> {
        let point = LogStorage::<C>::to_point(&entry.log_id)?;
        match entry.payload {
            EntryPayload::Blank => self.core.apply(&point, None, |_| Ok(C::R::default())),
            EntryPayload::Normal(command) => {
                let apply = |changes: &mut Changes<'_>| (self.apply)(changes, command);
                self.core.apply(&point, None, apply)
            }
            EntryPayload::Membership(membership) => {
                let stored = StoredMembership::new(Some(entry.log_id), membership);
                let stored = encode(&stored)?;
                let answer = |_: &mut Changes<'_>| Ok(C::R::default());
                self.core.apply(&point, Some(&stored), answer)
            }
        }
    }
}

/// A snapshot on its way, as openraft moves it: read on one node, written on another. The calls that poll it read and
/// write the page cache; nothing of it is synced before it is installed.
#[derive(Debug)]
pub struct SnapshotStream {
    data: SnapshotData,
    position: u64,
}

impl SnapshotStream {
    fn new(data: SnapshotData) -> Self {
        Self { data, position: 0 }
    }
}

impl AsyncRead for SnapshotStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let to = buf.initialize_unfilled();
        let read = this
            .data
            .read_at(to, this.position)
            .map_err(io::Error::other)?;
        buf.advance(read);
        this.position += read as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SnapshotStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let SnapshotData::Incoming(incoming) = &this.data else {
            let refused = "a snapshot that is sent is not written to";
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                refused,
            )));
        };
        let written = incoming.write_at(bytes, this.position);
        written.map_err(io::Error::other)?;
        this.position += bytes.len() as u64;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for SnapshotStream {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => this.position.checked_add_signed(by),
            SeekFrom::End(by) => {
                let len = this.data.len().map_err(io::Error::other)?;
                len.checked_add_signed(by)
            }
        };
        this.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}
