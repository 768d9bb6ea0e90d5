//! [`EventStream`]: a subscription for asynchronous code.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::error::Result;
use crate::event::Event;
use crate::subscription::Subscription;

/// A [`Subscription`] as a [`futures_core::Stream`], which ends after an error. Made by
/// [`Subscription::into_stream`]. It needs no runtime: whoever appends wakes it.
///
/// Reading what lies further back than memory blocks the task for the time of a read.
#[derive(Debug)]
pub struct EventStream {
    subscription: Subscription,
    has_ended: bool,
}

impl Subscription {
    /// This subscription as a stream.
    pub fn into_stream(self) -> EventStream {
        EventStream {
            subscription: self,
            has_ended: false,
        }
    }
}

impl EventStream {
    /// The subscription, to acknowledge what it has given out.
    pub fn subscription(&mut self) -> &mut Subscription {
        &mut self.subscription
    }
}

impl Stream for EventStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match self.subscription.poll(context.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(next) => {
                self.has_ended = next.is_err();
                Poll::Ready(Some(next))
            }
        }
    }
}
