//! [`Ticket`]: an append that is not waited for yet.

use std::sync::Weak;

use durable_io::Member;

use crate::error::Result;
use crate::location::Appended;
use crate::log::Log;
use crate::results::Results;

/// An append in flight, from [`Wal::submit`](crate::Wal::submit). Dropping it changes nothing: the
/// append continues.
#[derive(Debug)]
#[must_use = "without waiting nobody knows whether the append succeeded"]
pub struct Ticket(State);

#[derive(Debug)]
enum State {
    /// A batch of no records, and where they are.
    Empty(Appended),
    InFlight {
        log: Weak<Log>,
        member: Member<Results>,
        /// Its records.
        count: u64,
    },
}

impl Ticket {
    pub(crate) fn empty(nothing: Appended) -> Self {
        Self(State::Empty(nothing))
    }

    pub(crate) fn new(log: Weak<Log>, member: Member<Results>, count: u64) -> Self {
        Self(State::InFlight { log, member, count })
    }

    /// Where the records are if the append has been acknowledged, its error if it failed, and
    /// `None` if it is still in flight. Cheap: no lock, no system call.
    ///
    /// # Errors
    /// As [`Wal::append`](crate::Wal::append).
    pub fn poll(&self) -> Option<Result<Appended>> {
        match &self.0 {
            State::Empty(nothing) => Some(Ok(*nothing)),
            State::InFlight { member, count, .. } => {
                Some(member.result()?.appended(member.index(), *count))
            }
        }
    }

    /// Waits until the append is acknowledged, as the [`SyncMode`](crate::SyncMode) says, and
    /// returns where the records are. If nobody commits the group that it is in, this thread
    /// does.
    ///
    /// # Errors
    /// As [`Wal::append`](crate::Wal::append).
    pub fn wait(&self) -> Result<Appended> {
        if let State::InFlight { log, member, count } = &self.0
            && let Some(log) = log.upgrade()
        {
            return log.wait(member).appended(member.index(), *count);
        }
        self.poll()
            .expect("a log commits what is in flight before it is dropped")
    }
}
