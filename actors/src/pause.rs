//! Pauses: while one lasts, nothing new is begun in a partition, so that the partition can be given to another node without
//! anything being sent twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::desk::Desk;
use crate::dispatcher::DispatcherMsg;

/// Nothing new is begun in a partition until this is dropped.
#[derive(Debug)]
pub struct Pause(Arc<Desk>);

impl Pause {
    pub(crate) fn begin(desk: Arc<Desk>) -> Self {
        desk.pauses.fetch_add(1, Ordering::SeqCst);
        Self(desk)
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.pauses.fetch_sub(1, Ordering::SeqCst);
        self.0.dispatcher.ring(DispatcherMsg::Wake);
    }
}

/// A letter whose attempt is claimed, made or being written down. It is counted before the look at pauses, and a pause is
/// set before the look at the count: one of the two always sees the other.
#[derive(Debug)]
pub(crate) struct Calling(Arc<Desk>);

impl Calling {
    pub(crate) fn begin(desk: Arc<Desk>) -> Self {
        desk.calling.fetch_add(1, Ordering::SeqCst);
        Self(desk)
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.calling.fetch_sub(1, Ordering::SeqCst);
    }
}
