//! [`RecordStream`]: following a log in asynchronous code.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::error::Result;
use crate::follow::Follow;
use crate::lsn::Record;

/// A [`Follow`] as a [`futures_core::Stream`], which ends after an error. Made by [`Follow::into_stream`]. It
/// needs no runtime: whoever makes records durable wakes it.
///
/// Reading blocks the task for the time of a read.
#[derive(Debug)]
pub struct RecordStream {
    follow: Follow,
    has_ended: bool,
}

impl Follow {
    /// This as a stream. It does not end by itself: not before the log is closed or the
    /// [handle](Follow::handle) cancels it.
    pub fn into_stream(self) -> RecordStream {
        RecordStream {
            follow: self,
            has_ended: false,
        }
    }
}

impl Stream for RecordStream {
    type Item = Result<Record>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match self.follow.poll(context.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(next) => {
                self.has_ended = next.is_err();
                Poll::Ready(Some(next))
            }
        }
    }
}
