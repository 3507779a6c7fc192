//! Where an actor can be reached: a post that always holds the newest reference, and a bell that is rung once until heard.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use ractor::{ActorRef, Message};

/// The newest reference of an actor. Nobody keeps a reference longer than one sending, so a restart is seen at once.
pub(crate) struct Post<M>(RwLock<Option<ActorRef<M>>>);

impl<M> Default for Post<M> {
    fn default() -> Self {
        Self(RwLock::new(None))
    }
}

impl<M: Message> Post<M> {
    /// The actor is here from now on.
    pub(crate) fn move_in(&self, actor: ActorRef<M>) {
        *self.0.write() = Some(actor);
    }

    /// Sends, or drops the message if nobody is here: what is in it comes back by its tickets.
    pub(crate) fn send(&self, message: M) -> bool {
        let actor = self.0.read().clone();
        actor.is_some_and(|actor| actor.send_message(message).is_ok())
    }
}

/// A post for an actor that only needs to be woken: many rings before it hears are one message.
pub(crate) struct Bell<M> {
    post: Post<M>,
    rung: AtomicBool,
}

impl<M> Default for Bell<M> {
    fn default() -> Self {
        Self { post: Post::default(), rung: AtomicBool::new(false) }
    }
}

impl<M: Message> Bell<M> {
    /// The actor is here from now on, and will look around by itself first.
    pub(crate) fn move_in(&self, actor: ActorRef<M>) {
        self.post.move_in(actor);
        self.rung.store(false, Ordering::SeqCst);
    }

    /// Rings, unless it is ringing.
    pub(crate) fn ring(&self, message: M) {
        if !self.rung.swap(true, Ordering::SeqCst) && !self.post.send(message) {
            self.rung.store(false, Ordering::SeqCst);
        }
    }

    /// The actor heard it, and looks around after this.
    pub(crate) fn heard(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    /// Sends a message that says more than a ring.
    pub(crate) fn send(&self, message: M) -> bool {
        self.post.send(message)
    }
}

impl<M> std::fmt::Debug for Post<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Post")
    }
}

impl<M> std::fmt::Debug for Bell<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bell")
    }
}
